//! The write path of a replica in a cluster, called in this process or through [`crate::service`].

use async_trait::async_trait;
use pharos_head::{AppendTargets, Commit};
use pharos_model::{RejectReason, ShardSet, TenantId, WriteBatch, WriteError};
use pharos_transport::append::{Appended, Replica, ReplicaError, ShardTarget, Shipment};

use crate::Ingester;

impl Ingester {
    /// Appends the samples of the targeted shards to the head, except for shards whose epoch is stale. They are durable once
    /// the commit resolves; there is none if nothing was taken.
    pub(crate) fn take(
        &self,
        tenant: &TenantId,
        batch: &WriteBatch,
        targets: &[ShardTarget],
    ) -> Result<(Appended, Option<Commit>), WriteError> {
        let view = self.meta.view();
        let mut taken = ShardSet::new();
        let mut counted = ShardSet::new();
        let mut appended = Appended::default();
        // Held from the check until the samples are in the head; see `fence`.
        let admission = self.fence.admit();
        for target in targets {
            match admission.check(&view, target.shard, target.epoch) {
                Ok(()) => _ = taken.insert(target.shard),
                Err(known) => appended.stale.push((target.shard, known)),
            }
            if target.counted {
                counted.insert(target.shard);
            }
        }
        if taken.is_empty() {
            return Ok((appended, None));
        }
        let targets = AppendTargets { taken: &taken, counted: &counted };
        let outcome = self.head.append_shards(tenant, batch, targets)?;
        drop(admission);
        appended.outcome = outcome.counted;
        appended.uncounted = outcome.uncounted.rejected;
        // Each replica keeps the exemplars that it has room for.
        appended.uncounted.remove(&RejectReason::InvalidExemplar);
        Ok((appended, Some(outcome.commit)))
    }
}

#[async_trait]
impl Replica for Ingester {
    async fn append(&self, shipment: &Shipment<'_>, targets: &[ShardTarget]) -> Result<Appended, ReplicaError> {
        let (appended, commit) = self.take(shipment.tenant, shipment.batch, targets)?;
        if let Some(commit) = commit {
            commit.await?;
        }
        Ok(appended)
    }
}

#[cfg(test)]
mod tests;
