//! Replication of writes: a batch is split by shard, sent to every replica of its shards, and acknowledged once all in-sync
//! replicas have it.
//!
//! [`progress`] decides, [`Distributor`] sends. A replica that fails is reported to meta before the write continues without
//! it (invariant 4 of the design): meta removes it from the in-sync set, or ends its catch-up if it is a learner.

#![forbid(unsafe_code)]

mod encoder;
mod outcome;
pub mod progress;
mod replicas;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, join_all};
use pharos_cluster::{Command, DeletionBarrier, Meta, Response, View};
use pharos_model::{TenantId, WriteBatch, WriteError, WriteOutcome};
use pharos_transport::Ingest;
use pharos_transport::append::{Action, Appended, Openings, Replica, ReplicaError, ShardTarget, Shipment};

use encoder::{Encoder, Split};
use outcome::Outcome;
use progress::{Next, Progress, Repairs, in_sync, is_in_sync, is_in_sync_for, is_written_to, report_again};
pub use replicas::{Connect, Replicas};

/// The shards to send to each replica.
type Requests = BTreeMap<String, Vec<ShardTarget>>;

/// Settings of a distributor.
#[derive(Clone, Debug)]
pub struct DistributorConfig {
    /// The identity of this node.
    pub identity: String,
    /// Time after which a replica that has not answered is reported (default: 4 s).
    pub replica_timeout: Duration,
    /// Time after which a replica that has not applied a deletion is reported (default: 10 s).
    pub deletion_timeout: Duration,
    /// Time after which a write that is not durable fails (default: 20 s).
    pub write_timeout: Duration,
}

impl DistributorConfig {
    /// The default settings of the node with this identity.
    pub fn new(identity: impl Into<String>) -> Self {
        DistributorConfig {
            identity: identity.into(),
            replica_timeout: Duration::from_secs(4),
            deletion_timeout: Duration::from_secs(10),
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
        let split = self.encoder.split(batch, self.meta.view().shards.len() as u32);
        let progress = Progress::new(split.shards());
        self.drive(tenant, batch, &split, progress).await
    }

    /// Makes every replica apply the deletions up to a number, with an empty write to all shards.
    async fn distribute_barrier(&self, tenant: &TenantId, number: u64) -> Result<(), WriteError> {
        let mut watch = self.meta.watch();
        let has_it = |view: &View| view.catalogue.newest_deletion(tenant.as_str()) >= number;
        let stopping = |_| WriteError::Unavailable("this node is stopping".into());
        let shards = watch.wait_for(has_it).await.map_err(stopping)?.shards.len() as u32;
        let (batch, split) = (WriteBatch::default(), Split::whole(shards));
        let progress = Progress::barrier(split.shards());
        self.drive(tenant, &batch, &split, progress).await.map(|_| ())
    }

    /// Sends a batch, split by shard, until the progress of the write is done.
    async fn drive(
        &self,
        tenant: &TenantId,
        batch: &WriteBatch,
        split: &Split,
        mut progress: Progress,
    ) -> Result<WriteOutcome, WriteError> {
        let mut watch = self.meta.watch();
        let mut outcome = Outcome::default();
        let mut view = watch.borrow_and_update().clone();
        let mut shipment = Shipment { action: Action::Append, tenant, batch, deletions: None, shards: Vec::new() };
        loop {
            match progress.next(&view, view.catalogue.newest_deletion(tenant.as_str())) {
                Next::Done => return Ok(outcome.finish(&progress)),
                Next::Wait(reason) => {
                    let changed = watch.changed().await;
                    changed.map_err(|_| WriteError::Unavailable(format!("{reason}; this node is stopping")))?;
                }
                Next::Send(requests) => {
                    if self.any_remote(&requests) && shipment.shards.is_empty() {
                        shipment.shards = self.encoder.encode(tenant, batch, split);
                    }
                    shipment.deletions = progress.deletions();
                    for (node, appended) in self.send(&view, &shipment, &requests, &mut progress).await? {
                        progress.appended(node, &requests[node], &appended);
                        outcome.absorb(appended);
                    }
                }
                Next::Repair(repairs) => self.repair(&view, &shipment, split, &repairs, &mut progress).await?,
            }
            view = watch.borrow_and_update().clone();
        }
    }

    fn any_remote(&self, requests: &Requests) -> bool {
        requests.keys().any(|node| !self.replicas.is_local(node))
    }

    /// Makes replicas agree with the leaders of their shards.
    async fn repair(
        &self,
        view: &View,
        write: &Shipment<'_>,
        split: &Split,
        repairs: &Repairs,
        progress: &mut Progress,
    ) -> Result<(), WriteError> {
        let mut stale: BTreeMap<&str, Vec<(u32, u64)>> = repairs.requests.keys().map(|n| (&**n, Vec::new())).collect();
        for (action, samples) in [(Action::Force, &repairs.force), (Action::Retract, &repairs.retract)] {
            let mut requests = repairs.requests.clone();
            requests.values_mut().for_each(|targets| targets.retain(|target| samples.contains_key(&target.shard)));
            requests.retain(|node, targets| !targets.is_empty() && stale.contains_key(&**node));
            if requests.is_empty() {
                continue;
            }
            let mut picked = WriteBatch::default();
            for (shard, samples) in samples {
                write.batch.pick(split.series(write.batch, *shard), samples, &mut picked);
            }
            let mut shipment = Shipment { action, batch: &picked, shards: Vec::new(), ..*write };
            if self.any_remote(&requests) {
                let split = self.encoder.split(&picked, view.shards.len() as u32);
                shipment.shards = self.encoder.encode(write.tenant, &picked, &split);
            }
            let mut answers: BTreeMap<&str, Appended> =
                self.send(view, &shipment, &requests, progress).await?.into_iter().collect();
            for (node, targets) in &requests {
                let Some(appended) = answers.remove(&**node) else {
                    stale.remove(&**node);
                    continue;
                };
                if appended.refused.is_some_and(|refused| !refused.is_empty()) {
                    let rejected = appended.uncounted.values().next().map_or("", |rejected| &rejected.first);
                    let error = format!("it cannot store what the shard leader accepted: {rejected}");
                    self.report(node, targets, &ReplicaError::Unreachable(error)).await?;
                    stale.remove(&**node);
                } else if let Some(stale) = stale.get_mut(&**node) {
                    stale.extend(appended.stale);
                }
            }
        }
        for (node, stale) in stale {
            progress.repaired(node, &repairs.requests[node], &stale);
        }
        Ok(())
    }

    /// Sends to all replicas concurrently, and reports those that fail. Returns the answers of the others, except for those
    /// that are past the deletion of the shipment.
    async fn send<'a>(
        &self,
        view: &View,
        shipment: &Shipment<'_>,
        requests: &'a Requests,
        progress: &mut Progress,
    ) -> Result<Vec<(&'a str, Appended)>, WriteError> {
        let timeouts = &self.config;
        let timeout = if progress.is_barrier() { timeouts.deletion_timeout } else { timeouts.replica_timeout };
        let sends = requests.iter().map(|(node, targets)| self.send_to(view, shipment, node, targets, timeout));
        let results = join_all(sends).await;
        let mut answers = Vec::new();
        let mut failed = Vec::new();
        for ((node, targets), result) in requests.iter().zip(results) {
            match result {
                Ok(Appended { newer_deletion: Some(number), .. }) => progress.deletion_known(number),
                Ok(appended) => answers.push((node.as_str(), appended)),
                // An overloaded replica is not at fault: the sender has to slow down. A learner does not hold up the write.
                Err(ReplicaError::Refused(error @ WriteError::Overloaded(_))) if is_in_sync(view, node, targets) => {
                    return Err(error);
                }
                Err(error) => failed.push((node, targets, error)),
            }
        }
        // Without a replica that goes on, the one that is reported first would leave the shard to another one that is away, and
        // perhaps comes back without its disk. A replica that is the only one in sync is reported, which meta refuses.
        let goes_on = |node: &str, shard: u32| {
            let answered = |other: &str| answers.iter().any(|(answering, _)| *answering == other);
            let mut others = in_sync(view, shard).filter(|other| *other != node).peekable();
            others.peek().is_none() || others.any(|other| answered(other) || progress.has_taken(shard, other))
        };
        let mut stuck = None;
        for (node, targets, error) in failed {
            let may_report =
                |target: &ShardTarget| !is_in_sync_for(view, node, target.shard) || goes_on(node, target.shard);
            let (reported, kept): (Vec<ShardTarget>, Vec<_>) = targets.iter().cloned().partition(may_report);
            if let Some(target) = kept.first() {
                stuck = Some(format!(
                    "ingester {node} failed ({error}), and no other in-sync replica of shard {} has answered",
                    target.shard
                ));
            }
            self.report(node, &reported, &error).await?;
        }
        match stuck {
            Some(reason) => Err(WriteError::Unavailable(reason)),
            None => Ok(answers),
        }
    }

    async fn send_to(
        &self,
        view: &View,
        shipment: &Shipment<'_>,
        node: &str,
        targets: &[ShardTarget],
        timeout: Duration,
    ) -> Result<Appended, ReplicaError> {
        let replica: Arc<dyn Replica> = self.replicas.get(view, node)?;
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

impl DeletionBarrier for Distributor {
    fn settle<'a>(&'a self, tenant: &'a TenantId, number: u64) -> BoxFuture<'a, Result<(), WriteError>> {
        Box::pin(async move {
            let timeout = self.config.write_timeout;
            let timed_out =
                || WriteError::Unavailable(format!("not every replica applied deletion {number} within {timeout:?}"));
            let settling = tokio::time::timeout(timeout, self.distribute_barrier(tenant, number));
            settling.await.unwrap_or_else(|_| Err(timed_out()))
        })
    }
}

#[cfg(test)]
mod tests;
