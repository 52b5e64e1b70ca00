//! The roles that take samples in: the agent, which scrapes, and the receiver of pushes.

use std::sync::Arc;

use pharos_distributor::{Distributor, DistributorConfig, Replicas};
use pharos_ingester::Ingester;
use pharos_receive::{ReceiveConfig, Receiver};
use pharos_scrape::{Ownership, Scraper, ScraperConfig};
use pharos_transport::Ingest;
use pharos_transport::append::{IngestClient, Openings, Replica};

use super::{Parts, text};
use crate::cli::{self, ServerArgs};
use crate::config::Loaded;
use crate::server::membership::Membership;

/// The agent, and the receiver of pushes that comes with it.
pub(super) struct Intake {
    pub(super) agent: Arc<Scraper>,
    pub(super) receiver: Arc<Receiver>,
}

impl Intake {
    /// Creates both; none if this node does not have the role.
    pub(super) fn create(
        parts: &Parts<'_>,
        loaded: &Loaded,
        membership: &Membership,
        ingester: Option<&Arc<Ingester>>,
    ) -> Result<Option<Intake>, String> {
        let args = parts.args;
        let registry = &parts.registry;
        let clock = &parts.clock;
        if !args.roles.has(cli::Role::Agent) {
            return Ok(None);
        }
        let ingest: Arc<dyn Ingest> = match ingester {
            Some(ingester) if !membership.is_open() => ingester.clone(),
            local => Arc::new(distributor(membership, local)),
        };
        let receive = receive_config(args, loaded);
        let receiver = Receiver::new(receive, ingest.clone(), clock.clone(), registry).map_err(text)?;
        receiver.set_otlp(loaded.otlp.clone());
        let config = ScraperConfig { scrape: loaded.scrape.clone(), ..ScraperConfig::default() };
        let ownership = match membership.is_open() {
            true => Ownership::in_cluster(&membership.identity, &membership.meta, membership.connect()),
            false => Ownership::everything(),
        };
        let agent = Scraper::create(config, ingest, ownership, clock.clone(), registry).map_err(text)?;
        Ok(Some(Intake { agent, receiver }))
    }
}

/// The distributor, which sends samples to all replicas of their shards. One replica may be in this process.
fn distributor(membership: &Membership, local: Option<&Arc<Ingester>>) -> Distributor {
    let local = local.map(|ingester| (membership.identity.clone(), ingester.clone() as Arc<dyn Replica>));
    let (connect, openings) = (membership.connect(), Openings::default());
    let opened = openings.clone();
    let replica = move |address: &str| -> Result<Arc<dyn Replica>, String> {
        let connection = connect.connect(address).map_err(|status| status.message().to_string())?;
        Ok(Arc::new(IngestClient::of_sender(connection, opened.clone())))
    };
    let config = DistributorConfig::new(membership.identity.clone());
    Distributor::new(config, membership.meta.clone(), Replicas::new(local, Box::new(replica)), openings)
}

fn receive_config(args: &ServerArgs, loaded: &Loaded) -> ReceiveConfig {
    let limits = &loaded.config.limits;
    ReceiveConfig {
        remote_write: args.web.enable_remote_write_receiver,
        otlp: args.web.enable_otlp_receiver,
        max_body_bytes: limits.max_request_size.0 as usize,
        max_decompressed_bytes: limits.max_decompressed_request_size.0 as usize,
        max_inflight_bytes: limits.max_inflight_requests_size.0 as usize,
        ..ReceiveConfig::default()
    }
}
