//! Samples on their way to every replica of their shards: split, sent, and acknowledged when all that are in sync have them.
//!
//! [`progress`] decides, [`Distributor`] sends. A replica that fails is reported to meta before the write goes on
//! without it (invariant 4 of the design): meta takes it out of the in-sync set, or ends its learning.

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

/// Settings of distribution.
#[derive(Clone, Debug)]
pub struct DistributeConfig {
    /// Who sends: this node's identity.
    pub identity: String,
    /// A replica that has not answered after this time is reported. Default: 4 seconds.
    pub replica_timeout: Duration,
    /// A write that is not durable after this time fails. Default: 20 seconds.
    pub write_timeout: Duration,
}

impl DistributeConfig {
    /// The defaults.
    pub fn new(identity: impl Into<String>) -> Self {
        let (replica_timeout, write_timeout) = (Duration::from_secs(4), Duration::from_secs(20));
        DistributeConfig { identity: identity.into(), replica_timeout, write_timeout }
    }
}

/// Sends batches to the ingesters that own their shards.
pub struct Distributor {
    config: DistributeConfig,
    meta: Arc<Meta>,
    replicas: Replicas,
    encoder: Encoder,
}

impl Distributor {
    /// A distributor over the ingesters of meta's view, which counts the streams that its replicas open.
    pub fn new(config: DistributeConfig, meta: Arc<Meta>, replicas: Replicas, openings: Openings) -> Self {
        Distributor { config, meta, replicas, encoder: Encoder::new(openings) }
    }

    async fn distribute(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        let mut watch = self.meta.watch();
        let (mut outcome, mut uncounted) = (WriteOutcome::default(), WriteOutcome::default());
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
                Next::Wait(why) => {
                    let changed = watch.changed().await;
                    changed.map_err(|_| WriteError::Unavailable(format!("{why}; this node is stopping")))?;
                }
                Next::Send(requests) => {
                    let remote = requests.keys().any(|node| !self.replicas.is_local(node));
                    if remote && shipment.shards.is_empty() {
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

    /// Asks the replicas, all at once, and reports those that fail.
    async fn send(
        &self,
        view: &View,
        shipment: &Shipment<'_>,
        requests: BTreeMap<String, Vec<ShardTarget>>,
        progress: &mut Progress,
    ) -> Result<Vec<Appended>, WriteError> {
        let asked = requests.iter().map(|(node, targets)| self.ask(view, shipment, node, targets));
        let answers = join_all(asked).await;
        let (mut taken, mut failed) = (Vec::new(), Vec::new());
        for ((node, targets), answer) in requests.iter().zip(answers) {
            match answer {
                Ok(appended) => {
                    progress.appended(node, targets, &appended.stale);
                    taken.push(appended);
                }
                // Slowing the sender down is what helps, and it is no fault of the replica. One that only learns stops nobody.
                Err(ReplicaError::Refused(error @ WriteError::Overloaded(_))) if is_in_sync(view, node, targets) => {
                    return Err(error);
                }
                Err(error) => failed.push((node, targets, error)),
            }
        }
        for (node, targets, error) in failed {
            self.report(node, targets, &error).await?;
        }
        Ok(taken)
    }

    async fn ask(
        &self,
        view: &View,
        shipment: &Shipment<'_>,
        node: &str,
        targets: &[ShardTarget],
    ) -> Result<Appended, ReplicaError> {
        let replica: Arc<dyn Replica> = self.replicas.get(view, node)?;
        let timeout = self.config.replica_timeout;
        match tokio::time::timeout(timeout, replica.append(shipment, targets)).await {
            Ok(answer) => answer,
            Err(_) => Err(ReplicaError::Unreachable(format!("no answer within {timeout:?}"))),
        }
    }

    /// Tells meta that a replica lacks samples of these shards, but for those that are not written to it any more: others have said so.
    async fn report(&self, node: &str, targets: &[ShardTarget], error: &ReplicaError) -> Result<(), WriteError> {
        let view = self.meta.view();
        let mut shards: Vec<(u32, u64)> = targets.iter().map(|target| (target.shard, target.epoch)).collect();
        shards.retain(|(shard, _)| is_written_to(&view, node, *shard));
        if !shards.is_empty() {
            tracing::warn!(node, shards = shards.len(), %error, "an ingester does not take samples; it is taken out of sync");
        }
        while !shards.is_empty() {
            let (node, reporter) = (node.to_string(), self.config.identity.clone());
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
        let late =
            || WriteError::Unavailable(format!("the samples were not durable on all replicas within {timeout:?}"));
        tokio::time::timeout(timeout, self.distribute(tenant, batch)).await.unwrap_or_else(|_| Err(late()))
    }
}
