//! Statistics of a tenant's samples in memory, over all ingesters of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use pharos_cluster::{ClusterState, Meta};
use pharos_head::{HeadStats, LabelCount, LabelValues, ShardStats};
use pharos_ingester::Ingester;
use pharos_model::{ShardSet, TenantId};
use pharos_transport::Connect;
use pharos_transport::ingest_v1::ingest_client::IngestClient;
use pharos_transport::ingest_v1::{self as wire, StatisticsRequest, StatisticsResponse};
use tonic::Status;

/// How long an ingester may count.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The limit on an answer, bytes: rows and hashes of many labels.
const MAX_ANSWER_BYTES: usize = 128 << 20;

/// Collects statistics.
pub(super) struct Statistics {
    pub(super) meta: Arc<Meta>,
    /// Identity of this node.
    pub(super) node: String,
    /// The ingester of this process, if any.
    pub(super) ingester: Option<Arc<Ingester>>,
    pub(super) connect: Arc<dyn Connect>,
}

impl Statistics {
    /// The statistics of a tenant, with lists of at most `limit` entries. Each shard is counted on one replica.
    ///
    /// # Errors
    /// No replica of some shards answers.
    pub(super) async fn of(&self, tenant: &TenantId, limit: usize) -> Result<HeadStats, String> {
        let view = self.meta.view();
        let mut left: BTreeSet<u32> = view.numbered_shards().map(|(number, _)| number).collect();
        let (mut parts, mut failed) = (Vec::new(), BTreeMap::new());
        while !left.is_empty() {
            let asked = assign(&view, &left, &self.node, &failed);
            if asked.is_empty() {
                let reasons: Vec<String> = failed.values().cloned().collect();
                let shards = left.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
                return Err(format!("no replica of shards {shards} answers: {}", reasons.join("; ")));
            }
            let asking = asked.into_iter().map(|(node, shards)| async {
                let counted = self.count(&view, &node, tenant, &shards, limit).await;
                (node, shards, counted)
            });
            for (node, shards, counted) in join_all(asking).await {
                match counted {
                    Ok(part) => {
                        left.retain(|shard| !shards.contains(*shard));
                        parts.push(part);
                    }
                    Err(status) => _ = failed.insert(node.clone(), format!("{node}: {}", status.message())),
                }
            }
        }
        Ok(HeadStats::of_cluster(&parts, limit))
    }

    async fn count(
        &self,
        view: &ClusterState,
        node: &str,
        tenant: &TenantId,
        shards: &ShardSet,
        limit: usize,
    ) -> Result<ShardStats, Status> {
        if let Some(ingester) = self.ingester.clone().filter(|_| node == self.node) {
            let (tenant, shards) = (tenant.clone(), shards.clone());
            let counting =
                tokio::task::spawn_blocking(move || ingester.head().stats_of_shards(&tenant, &shards, limit));
            return counting.await.map_err(|error| Status::internal(error.to_string()));
        }
        let member = view.member(node).ok_or_else(|| Status::not_found("not a member any more"))?;
        let client = IngestClient::new(self.connect.connect(&member.address)?);
        let request =
            StatisticsRequest { tenant: tenant.to_string(), shards: shards.iter().collect(), rows: limit as u64 };
        let mut client = client.max_decoding_message_size(MAX_ANSWER_BYTES);
        let answer = tokio::time::timeout(TIMEOUT, client.statistics(request)).await;
        let late = |_| Status::deadline_exceeded(format!("no answer in {TIMEOUT:?}"));
        Ok(decode(answer.map_err(late)??.into_inner()))
    }
}

/// The shards to ask of each node: of this one where it has them, else of their leaders, else of any replica in sync. Nodes
/// that failed are asked for nothing.
fn assign(
    view: &ClusterState,
    shards: &BTreeSet<u32>,
    here: &str,
    failed: &BTreeMap<String, String>,
) -> BTreeMap<String, ShardSet> {
    let mut asked: BTreeMap<String, ShardSet> = BTreeMap::new();
    for (number, shard) in view.numbered_shards().filter(|(number, _)| shards.contains(number)) {
        let is_live = |node: &&String| {
            !failed.contains_key(*node) && view.member(node).is_some_and(|member| member.state.is_live())
        };
        let preferred = |node: &&String| match node.as_str() {
            node if node == here => 0,
            node if shard.leader.as_deref() == Some(node) => 1,
            _ => 2,
        };
        if let Some(node) = shard.in_sync.iter().filter(is_live).min_by_key(preferred) {
            asked.entry(node.clone()).or_default().insert(number);
        }
    }
    asked
}

fn decode(answer: StatisticsResponse) -> ShardStats {
    let counts = |counts: Vec<wire::NamedCount>| {
        counts.into_iter().map(|wire::NamedCount { name, value }| LabelCount { name, value }).collect()
    };
    let label = |label: wire::LabelValues| LabelValues {
        name: label.name,
        values: label.values,
        bytes: label.bytes,
        least: label.least,
    };
    ShardStats {
        series: answer.series,
        chunks: answer.chunks,
        samples: answer.samples,
        min_t: answer.min_t,
        max_t: answer.max_t,
        series_by_metric: counts(answer.series_by_metric),
        series_by_pair: counts(answer.series_by_pair),
        labels: answer.labels.into_iter().map(label).collect(),
    }
}

#[cfg(test)]
mod tests {
    use pharos_cluster::state::Settings;
    use pharos_cluster::{Command, Member, MemberState, Placement, Role};

    use super::*;

    fn cluster() -> ClusterState {
        let mut state = ClusterState::default();
        let settings = Settings { cluster: "c".into(), shards: 4, replication_factor: 2 };
        state.apply(&Command::Bootstrap { settings }).unwrap();
        for id in ["A", "B", "C"] {
            let roles = [Role::Ingester].into();
            let member = Member { id: id.into(), roles, weight: 100, state: MemberState::Active, ..Member::default() };
            state.apply(&Command::Join { member, at_ms: 0 }).unwrap();
        }
        let nodes = |shard: u32| if shard < 2 { ["A", "B"] } else { ["B", "C"] };
        let placements = (0..4).map(|shard| Placement { shard, nodes: nodes(shard).map(String::from).into() });
        state.apply(&Command::PlaceShards { placements: placements.collect() }).unwrap();
        state
    }

    fn shown(asked: &BTreeMap<String, ShardSet>) -> Vec<String> {
        asked.iter().map(|(node, shards)| format!("{node} {:?}", shards.iter().collect::<Vec<_>>())).collect()
    }

    #[test]
    fn each_shard_is_asked_of_one_replica_and_of_this_node_first() {
        let state = cluster();
        let all = (0..4).collect();
        assert_eq!(shown(&assign(&state, &all, "F", &BTreeMap::new())), ["A [0, 1]", "B [2, 3]"]);
        assert_eq!(shown(&assign(&state, &all, "B", &BTreeMap::new())), ["B [0, 1, 2, 3]"]);
    }

    #[test]
    fn a_node_that_failed_is_replaced() {
        let failed = [("B".to_string(), "down".to_string())].into();
        assert_eq!(shown(&assign(&cluster(), &[2, 3].into(), "F", &failed)), ["C [2, 3]"]);
        let all_failed = [("B".to_string(), String::new()), ("C".to_string(), String::new())].into();
        assert!(assign(&cluster(), &[2, 3].into(), "F", &all_failed).is_empty());
    }
}
