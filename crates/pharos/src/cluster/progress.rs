//! The progress of replicas that catch up, as they report it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use pharos_cluster::{ClusterState, Member};
use pharos_ingester::Ingester;
use pharos_transport::Connect;
use pharos_transport::ingest_v1::LearningRequest;
use pharos_transport::ingest_v1::ingest_client::IngestClient;
use tonic::Status;

use super::status::{Copied, Progress};

/// How long a status waits for the report of a node.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Collects reports from the nodes that catch up.
pub struct Copies {
    /// The ingester of this process, if any.
    pub ingester: Option<Arc<Ingester>>,
    /// Connections to other nodes.
    pub connect: Arc<dyn Connect>,
}

impl Copies {
    /// The progress of all replicas. Nodes that do not answer in time are omitted.
    pub async fn all(&self, state: &ClusterState, here: &str) -> Progress {
        let learners = state.shards.iter().flat_map(|shard| &shard.learners).map(|learner| learner.node.as_str());
        let learners: BTreeSet<&str> = learners.collect();
        let each = learners.into_iter().filter_map(|node| state.members.get(node)).map(|member| async move {
            let copies = match &self.ingester {
                Some(ingester) if member.id == here => of_this_node(ingester),
                _ => self.of(member).await,
            };
            copies.into_iter().map(|(shard, copied)| ((shard, member.id.clone()), copied)).collect::<Vec<_>>()
        });
        join_all(each).await.into_iter().flatten().collect()
    }

    async fn of(&self, member: &Member) -> Vec<(u32, Copied)> {
        let asked = async {
            let mut client = IngestClient::new(self.connect.connect(&member.address)?);
            Ok::<_, Status>(client.learning(LearningRequest {}).await?.into_inner().copies)
        };
        let copies = match tokio::time::timeout(REPORT_TIMEOUT, asked).await {
            Ok(Ok(copies)) => copies,
            Ok(Err(status)) => {
                tracing::debug!(
                    node = member.id,
                    error = status.message(),
                    "node does not report its catch-up progress"
                );
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        let of_copy = |copy: pharos_transport::ingest_v1::CopyProgress| {
            let copied = Copied { samples: copy.samples, bytes: copy.bytes };
            copy.shards.into_iter().map(move |shard| (shard, copied))
        };
        copies.into_iter().flat_map(of_copy).collect()
    }
}

fn of_this_node(ingester: &Ingester) -> Vec<(u32, Copied)> {
    let mut all = Vec::new();
    for copy in ingester.progress() {
        let copied = Copied { samples: copy.samples, bytes: copy.bytes };
        all.extend(copy.shards.iter().map(|shard| (shard, copied)));
    }
    all
}
