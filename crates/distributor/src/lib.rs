//! Replication of writes: a batch is split by shard, sent to every replica of its shards, and acknowledged once all in-sync
//! replicas have it.
//!
//! [`progress`] decides, [`Distributor`] sends. A replica that fails is reported to meta before the write continues without
//! it (invariant 4 of the design): meta removes it from the in-sync set, or ends its catch-up if it is a learner.

mod encoder;
pub mod progress;
mod replicas;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use pharos_cluster::{Command, Meta, Response, View};
use pharos_model::{TenantId, WriteBatch, WriteError, WriteOutcome};
use pharos_transport::Ingest;
use pharos_transport::append::{Appended, Openings, Replica, ReplicaError, ShardTarget, Shipment};

use encoder::Encoder;
use progress::{Next, Progress, is_in_sync, is_written_to, report_again};
pub use replicas::{Connect, Replicas};

/// Settings of a distributor.
#[derive(Clone, Debug)]
pub struct DistributorConfig {
    /// The identity of this node.
    pub identity: String,
    /// Time after which a replica that has not answered is reported (default: 4 s).
    pub replica_timeout: Duration,
    /// Time after which a write that is not durable fails (default: 20 s).
    pub write_timeout: Duration,
}

impl DistributorConfig {
    /// The default settings of the node with this identity.
    pub fn new(identity: impl Into<String>) -> Self {
        DistributorConfig {
            identity: identity.into(),
            replica_timeout: Duration::from_secs(4),
            write_timeout: Duration::from_secs(20),
        }
    }
}

/// Sends batches to the replicas of their shards.
pub struct Distributor {
    config: DistributorConfig,
    meta: Arc<Meta>,
    replicas: Replicas,
    encoder: Encoder,
}

impl Distributor {
    /// Creates a distributor. `openings` counts the streams that `replicas` open.
    pub fn new(config: DistributorConfig, meta: Arc<Meta>, replicas: Replicas, openings: Openings) -> Self {
        Distributor { config, meta, replicas, encoder: Encoder::new(openings) }
    }

    async fn distribute(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        let mut watch = self.meta.watch();
        let mut outcome = WriteOutcome::default();
        // Rejections by replicas other than the one that counts.
        let mut uncounted = WriteOutcome::default();
        let mut view = watch.borrow_and_update().clone();
        let split = self.encoder.split(batch, view.shards.len() as u32);
        let mut progress = Progress::new(split.shards());
        let mut shipment = Shipment { tenant, batch, shards: Vec::new() };
        loop {
            match progress.next(&view) {
                Next::Done => {
                    outcome.merge_rejections_of_replica(uncounted.rejected);
                    return Ok(outcome);
                }
                Next::Wait(reason) => {
                    let changed = watch.changed().await;
                    changed.map_err(|_| WriteError::Unavailable(format!("{reason}; this node is stopping")))?;
                }
                Next::Send(requests) => {
                    let is_remote = requests.keys().any(|node| !self.replicas.is_local(node));
                    if is_remote && shipment.shards.is_empty() {
                        shipment.shards = self.encoder.encode(tenant, batch, &split);
                    }
                    for appended in self.send(&view, &shipment, requests, &mut progress).await? {
                        outcome.absorb(appended.outcome);
                        uncounted.merge_rejections_of_replica(appended.uncounted);
                    }
                }
            }
            view = watch.borrow_and_update().clone();
        }
    }

    /// Sends to all replicas concurrently, and reports those that fail.
    async fn send(
        &self,
        view: &View,
        shipment: &Shipment<'_>,
        requests: BTreeMap<String, Vec<ShardTarget>>,
        progress: &mut Progress,
    ) -> Result<Vec<Appended>, WriteError> {
        let sends = requests.iter().map(|(node, targets)| self.send_to(view, shipment, node, targets));
        let results = join_all(sends).await;
        let mut appends = Vec::new();
        let mut failed = Vec::new();
        for ((node, targets), result) in requests.iter().zip(results) {
            match result {
                Ok(appended) => {
                    progress.appended(node, targets, &appended.stale);
                    appends.push(appended);
                }
                // An overloaded replica is not at fault: the sender has to slow down. A learner does not hold up the write.
                Err(ReplicaError::Refused(error @ WriteError::Overloaded(_))) if is_in_sync(view, node, targets) => {
                    return Err(error);
                }
                Err(error) => failed.push((node, targets, error)),
            }
        }
        for (node, targets, error) in failed {
            self.report(node, targets, &error).await?;
        }
        Ok(appends)
    }

    async fn send_to(
        &self,
        view: &View,
        shipment: &Shipment<'_>,
        node: &str,
        targets: &[ShardTarget],
    ) -> Result<Appended, ReplicaError> {
        let replica: Arc<dyn Replica> = self.replicas.get(view, node)?;
        let timeout = self.config.replica_timeout;
        match tokio::time::timeout(timeout, replica.append(shipment, targets)).await {
            Ok(result) => result,
            Err(_) => Err(ReplicaError::Unreachable(format!("no answer within {timeout:?}"))),
        }
    }

    /// Reports to meta that a replica lacks samples of these shards. Shards that are no longer written to it were already
    /// reported by others.
    async fn report(&self, node: &str, targets: &[ShardTarget], error: &ReplicaError) -> Result<(), WriteError> {
        let view = self.meta.view();
        let mut shards: Vec<(u32, u64)> = targets.iter().map(|target| (target.shard, target.epoch)).collect();
        shards.retain(|(shard, _)| is_written_to(&view, node, *shard));
        if !shards.is_empty() {
            tracing::warn!(node, shards = shards.len(), %error, "append to replica failed; reporting it as out of sync");
        }
        while !shards.is_empty() {
            let node = node.to_string();
            let reporter = self.config.identity.clone();
            let command = Command::ReportFailed { node: node.clone(), shards: shards.clone(), reporter };
            let reported = self.meta.propose(command).await;
            let reported =
                reported.map_err(|e| WriteError::Unavailable(format!("ingester {node} failed ({error}): {e}")))?;
            shards = match reported.response {
                Response::Unchanged(unchanged) => report_again(&reported.view, &node, &shards, &unchanged),
                _ => Vec::new(),
            };
        }
        Ok(())
    }
}

#[async_trait]
impl Ingest for Distributor {
    async fn append(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        let timeout = self.config.write_timeout;
        let timed_out =
            || WriteError::Unavailable(format!("samples were not durable on all replicas within {timeout:?}"));
        tokio::time::timeout(timeout, self.distribute(tenant, batch)).await.unwrap_or_else(|_| Err(timed_out()))
    }
}
