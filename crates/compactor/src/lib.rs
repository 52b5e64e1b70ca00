//! The compactor: removes blocks past their retention, forgets deletions that mask nothing any more, and collects garbage in
//! object storage.
//!
//! Invariant: an object is deleted only if the catalogue has recorded the removal of its block, and only a fixed time after
//! that. So neither a commit in progress nor a query that started earlier loses it. Nothing of a tenant that the catalogue does
//! not know is deleted.

#![forbid(unsafe_code)]

pub mod forget;
pub mod garbage;
pub mod retention;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use parking_lot::Mutex;
use pharos_cluster::{Command, DeletionBarrier, Meta, MetaError, REMOVAL_DELAY_MS, Refusal};
use pharos_model::{Clock, TenantId};
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::watch;

/// The lease that makes one compactor work at a time.
const LEASE: &str = "compactor";

/// Most folders of unknown tenants that an audit logs; a metric counts all.
const LOGGED_FOLDERS: usize = 10;

/// Settings of the compactor.
#[derive(Clone, Debug)]
pub struct CompactorConfig {
    /// Identity of this node, which holds the lease.
    pub node: String,
    /// How long samples are kept (`--storage.tsdb.retention.time`); none keeps them forever.
    pub retention: Option<Duration>,
    /// Limit of the size of all blocks (`--storage.tsdb.retention.size`); none for no limit.
    pub max_bytes: Option<u64>,
    /// Interval of rounds. Default: 10 minutes.
    pub interval: Duration,
    /// Time from the removal of a block to the deletion of its objects: longer than any query runs, and at least
    /// [`REMOVAL_DELAY_MS`]. Default: that and 2 minutes.
    pub removal_delay: Duration,
    /// Interval of audits, which list the whole bucket for uploads that were never committed. Default: one day.
    pub audit_interval: Duration,
    /// Age from which an upload that was not committed is garbage. Default: one day.
    pub garbage_age: Duration,
}

impl Default for CompactorConfig {
    fn default() -> Self {
        CompactorConfig {
            node: String::new(),
            retention: None,
            max_bytes: None,
            interval: Duration::from_secs(600),
            removal_delay: Duration::from_millis(REMOVAL_DELAY_MS as u64) + Duration::from_secs(120),
            audit_interval: Duration::from_secs(86_400),
            garbage_age: Duration::from_secs(86_400),
        }
    }
}

/// The role.
pub struct Compactor {
    config: CompactorConfig,
    meta: Arc<Meta>,
    store: Arc<dyn ObjectStore>,
    barrier: Arc<dyn DeletionBarrier>,
    clock: Arc<dyn Clock>,
    removed: IntCounter,
    collected: IntCounter,
    unknown_folders: IntGauge,
    /// When the next audit is due, on the monotonic clock; at once if none.
    audit_due: Mutex<Option<Duration>>,
}

impl Compactor {
    /// Creates the role.
    pub fn create(
        config: CompactorConfig,
        meta: Arc<Meta>,
        store: Arc<dyn ObjectStore>,
        barrier: Arc<dyn DeletionBarrier>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let removed = IntCounter::new(
            "pharos_compactor_blocks_removed_total",
            "Blocks removed because their retention has passed or all blocks together were too large.",
        )?;
        let collected = IntCounter::new(
            "pharos_compactor_garbage_objects_total",
            "Objects of removed blocks, and of uploads that were never committed, that were deleted.",
        )?;
        registry.register(Box::new(removed.clone()))?;
        let unknown_folders = IntGauge::new(
            "pharos_compactor_unknown_folders",
            "Folders of the object store with blocks that belong to no tenant of the catalogue. Nothing in them is deleted.",
        )?;
        registry.register(Box::new(collected.clone()))?;
        registry.register(Box::new(unknown_folders.clone()))?;
        Ok(Compactor {
            config,
            meta,
            store,
            barrier,
            clock,
            removed,
            collected,
            unknown_folders,
            audit_due: Mutex::default(),
        })
    }

    /// Runs rounds while this node holds the lease, until `shutdown` becomes true.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        loop {
            // Stopping in the middle of a round is safe, like a crash: the next one continues.
            let working = async {
                if self.has_lease().await {
                    self.round().await;
                }
                tokio::time::sleep(self.config.interval).await;
            };
            tokio::select! {
                () = working => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn has_lease(&self) -> bool {
        let take = Command::TakeLease { name: LEASE.into(), node: self.config.node.clone() };
        match self.meta.propose(take).await {
            Ok(_) => true,
            Err(MetaError::Refused(Refusal::LeaseHeld { .. })) => false,
            Err(error) => {
                tracing::warn!(%error, retry_in = ?self.config.interval, "could not acquire the compactor lease");
                false
            }
        }
    }

    /// Runs one round: retention, deletions, then garbage collection. Failures are logged and retried in the next round.
    pub async fn round(&self) {
        if let Some(retention) = self.config.retention {
            match retention::expire(&self.meta, self.clock.now_ms(), retention.as_millis() as i64).await {
                Ok(count) => self.removed.inc_by(count),
                Err(error) => {
                    tracing::warn!(%error, retry_in = ?self.config.interval, "removing blocks past their retention failed")
                }
            }
        }
        if let Some(max_bytes) = self.config.max_bytes {
            match retention::shrink(&self.meta, max_bytes).await {
                Ok(count) => self.removed.inc_by(count),
                Err(error) => {
                    tracing::warn!(%error, retry_in = ?self.config.interval, "removing blocks over the size limit failed")
                }
            }
        }
        self.forget_deletions().await;
        self.collect_garbage().await;
    }

    async fn collect_garbage(&self) {
        let retry_in = self.config.interval;
        let removed_before = self.clock.now_ms().saturating_sub(self.config.removal_delay.as_millis() as i64);
        match garbage::delete_removed(&*self.store, &self.meta, removed_before).await {
            Ok(count) => self.collected.inc_by(count),
            Err(error) => tracing::warn!(%error, ?retry_in, "deleting the objects of removed blocks failed"),
        }
        let now = self.clock.monotonic();
        if self.audit_due.lock().is_some_and(|due| now < due) {
            return;
        }
        match garbage::condemn(&*self.store, &self.meta, self.config.garbage_age.as_millis() as i64).await {
            Ok(audited) => {
                *self.audit_due.lock() = Some(now + self.config.audit_interval);
                self.report(&audited.unknown_folders);
            }
            Err(error) => tracing::warn!(%error, ?retry_in, "looking for uploads that were never committed failed"),
        }
    }

    fn report(&self, unknown_folders: &BTreeMap<String, u64>) {
        self.unknown_folders.set(unknown_folders.len() as i64);
        for (folder, blocks) in unknown_folders.iter().take(LOGGED_FOLDERS) {
            tracing::error!(
                folder,
                blocks,
                "the object store has blocks of a tenant that the catalogue does not know; keeping them: \
                 restore the catalogue if it lost them, or delete the folder by hand"
            );
        }
    }
}

impl Compactor {
    async fn forget_deletions(&self) {
        let view = self.meta.view();
        let with_deletions = view.catalogue.tenants.iter().filter(|(_, known)| !known.deletions.is_empty());
        for tenant in with_deletions.filter_map(|(name, _)| TenantId::new(name).ok()) {
            if let Err(error) = forget::forget(&self.meta, &*self.barrier, &tenant).await {
                tracing::warn!(%tenant, %error, retry_in = ?self.config.interval, "could not forget deletions");
            }
        }
    }
}

#[cfg(test)]
mod test_blocks;
#[cfg(test)]
mod tests;
