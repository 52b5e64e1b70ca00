//! The roles that take samples in: the agent, which scrapes, and the receiver of pushes.

use std::sync::Arc;

use pharos_model::Clock;
use pharos_receive::{ReceiveConfig, Receiver};
use pharos_scrape::{Ownership, Scraper, ScraperConfig};

use super::writes::WritePath;
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
        writes: &WritePath,
    ) -> Result<Option<Intake>, String> {
        let args = parts.args;
        let registry = &parts.registry;
        let clock = &parts.clock;
        if !args.roles.has(cli::Role::Agent) {
            return Ok(None);
        }
        let ingest = writes.ingest.clone();
        let receive = receive_config(args, loaded);
        let receiver =
            Receiver::new(receive, ingest.clone(), parts.memory.clone(), clock.clone(), registry).map_err(text)?;
        receiver.set_otlp(loaded.otlp.clone());
        let config = ScraperConfig { scrape: loaded.scrape.clone(), ..ScraperConfig::default() };
        let (ownership, clock): (_, Arc<dyn Clock>) = match membership.is_open() {
            true => {
                let ownership = Ownership::in_cluster(&membership.identity, &membership.meta, membership.connect());
                (ownership, membership.meta.cluster_clock().clone())
            }
            false => (Ownership::everything(&replica_identity(loaded)), clock.clone()),
        };
        let agent = Scraper::create(config, ingest, parts.memory.clone(), ownership, clock, registry).map_err(text)?;
        Ok(Some(Intake { agent, receiver }))
    }
}

/// What tells a server that is alone from its replicas, which run on other hosts or have other external labels.
fn replica_identity(loaded: &Loaded) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut identity = host.trim().to_string();
    for (name, value) in &loaded.config.global.external_labels {
        identity.extend(["\0", name, "\0", value]);
    }
    identity
}

fn receive_config(args: &ServerArgs, loaded: &Loaded) -> ReceiveConfig {
    let limits = &loaded.config.limits;
    ReceiveConfig {
        remote_write: args.web.enable_remote_write_receiver,
        otlp: args.web.enable_otlp_receiver,
        max_body_bytes: limits.max_request_size.0 as usize,
        max_decompressed_bytes: limits.max_decompressed_request_size.0 as usize,
        ..ReceiveConfig::default()
    }
}
