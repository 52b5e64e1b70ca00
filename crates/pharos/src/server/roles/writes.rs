//! The way of samples and deletions to the ingesters.

use std::sync::Arc;

use pharos_cluster::DeletionBarrier;
use pharos_distributor::{Distributor, DistributorConfig, Replicas};
use pharos_ingester::Ingester;
use pharos_transport::Ingest;
use pharos_transport::append::{IngestClient, Openings, Replica};

use crate::server::membership::Membership;

/// Where samples and deletions go: all replicas of the cluster, or the ingester of a process that is alone.
pub(super) struct WritePath {
    pub(super) ingest: Arc<dyn Ingest>,
    pub(super) barrier: Arc<dyn DeletionBarrier>,
}

impl WritePath {
    pub(super) fn create(membership: &Membership, ingester: Option<&Arc<Ingester>>) -> WritePath {
        match ingester {
            Some(ingester) if !membership.is_open() => {
                WritePath { ingest: ingester.clone(), barrier: ingester.clone() }
            }
            local => {
                let distributor = Arc::new(distributor(membership, local));
                WritePath { ingest: distributor.clone(), barrier: distributor }
            }
        }
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
