//! The write path of a replica in a cluster, called in this process or through [`crate::service`].
//!
//! A write names the shard epochs and the tenant's newest deletion in its sender's view. A replica that is past either of
//! them refuses, and the sender waits for a newer view. One that is behind the deletion applies it first. The head checks the
//! deletion and appends under one lock, so no deletion slips in between.

use async_trait::async_trait;
use pharos_head::{AppendError, AppendTargets, Commit};
use pharos_model::write::RefusedByShard;
use pharos_model::{RejectReason, ShardSet, TenantId, WriteBatch, WriteError};
use pharos_transport::append::{Action, Appended, Replica, ReplicaError, ShardTarget, Shipment};

use crate::Ingester;
use crate::fence::Admission;

/// A write on its way into the head.
#[derive(Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) batch: &'a WriteBatch,
    pub(crate) targets: &'a [ShardTarget],
    /// The number of the deletion after which the samples belong; none takes them at any time.
    pub(crate) deletions: Option<u64>,
    /// What becomes of the samples.
    pub(crate) action: Action,
}

/// What became of a write.
pub(crate) enum Taken {
    /// The samples of the targeted shards are in the head, except for what the answer says. They are durable once the commit
    /// resolves; there is none if nothing was taken.
    Now(Appended, Option<Commit>),
    /// The head has not applied the deletion with this number yet.
    Behind(u64),
}

/// The targets of a write by what becomes of them.
#[derive(Default)]
struct Admitted {
    taken: ShardSet,
    counted: ShardSet,
    /// The taken shards that this node does not have whole, with the epochs at which their leaders have decided.
    learned: Vec<(u32, u64)>,
    /// The shards of which this node knows a newer epoch, with that epoch.
    stale: Vec<(u32, u64)>,
}

impl Ingester {
    /// Takes a write, after the deletion that it names is applied.
    pub(crate) async fn take_in_order(&self, write: Write<'_>) -> Result<(Appended, Option<Commit>), WriteError> {
        loop {
            match self.take(write)? {
                Taken::Now(appended, commit) => return Ok((appended, commit)),
                Taken::Behind(number) => _ = self.deletions.reach(write.tenant, number).await?,
            }
        }
    }

    /// Checks the epochs of a write's targets.
    fn admitted(&self, admission: &Admission<'_>, write: &Write<'_>) -> Admitted {
        let (view, mut admitted) = (self.meta.view(), Admitted::default());
        for ShardTarget { shard, epoch, counted } in write.targets.iter().copied() {
            if counted {
                admitted.counted.insert(shard);
            }
            if let Err(known) = admission.check(&view, shard, epoch) {
                admitted.stale.push((shard, known));
                continue;
            }
            admitted.taken.insert(shard);
            if write.action != Action::Append && !self.is_whole(&view, shard) {
                admitted.learned.push((shard, epoch));
            }
        }
        admitted
    }

    /// Takes a write, unless the head is behind the deletion that it names.
    pub(crate) fn take(&self, write: Write<'_>) -> Result<Taken, WriteError> {
        let Write { tenant, batch, deletions, action, .. } = write;
        // Held from the check until the samples are in the head; see `fence`.
        let admission = self.fence.admit();
        let Admitted { taken, counted, learned, stale } = self.admitted(&admission, &write);
        let mut appended = Appended { refused: Some(RefusedByShard::new()), stale, ..Appended::default() };
        if taken.is_empty() {
            return Ok(Taken::Now(appended, None));
        }
        if batch.is_empty() {
            // A barrier, which takes no memory: it must pass when the head is full.
            return Ok(match deletions.filter(|number| *number > self.head.last_deletion(tenant)) {
                Some(number) => Taken::Behind(number),
                None => Taken::Now(appended, Some(self.head.commit())),
            });
        }
        // Held until the decision is in the head, so that no copy undoes it.
        let mut decided = (!learned.is_empty()).then(|| self.decided.lock());
        if let Some(decided) = &mut decided {
            for learned in learned {
                decided.remember(batch, action, learned, self.config.shards_total)?;
            }
        }
        let targets = AppendTargets { taken: &taken, counted: &counted, deletions };
        let changed = match action {
            Action::Append => self.head.append_shards(tenant, batch, targets),
            Action::Force => self.head.force(tenant, batch, targets),
            Action::Retract => match self.head.retract(tenant, batch, &taken, deletions) {
                Ok((samples, commit)) => {
                    self.metrics.verdicts.retracted.inc_by(samples);
                    return Ok(Taken::Now(appended, Some(commit)));
                }
                Err(error) => Err(error),
            },
        };
        let outcome = match changed {
            Ok(outcome) => outcome,
            Err(AppendError::Refused(error)) => return Err(error),
            Err(AppendError::Deletions { expected, applied }) if applied < expected => {
                return Ok(Taken::Behind(expected));
            }
            Err(AppendError::Deletions { applied, .. }) => {
                appended.newer_deletion = Some(applied);
                return Ok(Taken::Now(appended, None));
            }
        };
        drop(decided);
        drop(admission);
        if action == Action::Force {
            let forced = [&outcome.counted, &outcome.uncounted].iter().map(|o| o.samples + o.histograms).sum();
            self.metrics.verdicts.forced.inc_by(forced);
        }
        appended.outcome = outcome.counted;
        appended.uncounted = outcome.uncounted.rejected;
        // Each replica keeps the exemplars that it has room for.
        appended.uncounted.remove(&RejectReason::InvalidExemplar);
        appended.refused = Some(batch.refused_by_shard(self.config.shards_total, outcome.refused));
        appended.undecided = self.lost.lock().keys().copied().filter(|shard| taken.contains(*shard)).collect();
        Ok(Taken::Now(appended, Some(outcome.commit)))
    }
}

#[async_trait]
impl Replica for Ingester {
    async fn append(&self, shipment: &Shipment<'_>, targets: &[ShardTarget]) -> Result<Appended, ReplicaError> {
        let Shipment { action, tenant, batch, deletions, .. } = *shipment;
        let (appended, commit) = self.take_in_order(Write { tenant, batch, targets, deletions, action }).await?;
        if let Some(commit) = commit {
            commit.await?;
        }
        Ok(appended)
    }
}

#[cfg(test)]
mod tests;
