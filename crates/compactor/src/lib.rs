//! Keeps object storage in order: removes blocks past their retention and collects garbage.
//!
//! Invariant: an object is deleted only when the catalogue does not list its block, and then only a day after the block
//! was made, so that neither a commit under way nor a query that began before loses it.

pub mod garbage;
pub mod retention;

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use pharos_cluster::{Command, Meta, MetaError, Refusal};
use pharos_model::Clock;
use prometheus::{IntCounter, Registry};
use tokio::sync::watch;

/// The name of the lease under which one compactor works.
const LEASE: &str = "compactor";

/// Settings of the compactor.
#[derive(Clone, Debug)]
pub struct CompactorConfig {
    /// Who this node is: of several compactors, the one with the lease works.
    pub node: String,
    /// How long samples are kept, `--storage.tsdb.retention.time`; none keeps them for ever.
    pub retention: Option<Duration>,
    /// The most bytes of blocks, `--storage.tsdb.retention.size`: the oldest go first. None is no limit.
    pub max_bytes: Option<u64>,
    /// Time between two rounds. Default: 10 minutes.
    pub interval: Duration,
    /// How old a block must be before its objects count as garbage when the catalogue does not list it. Default: a day.
    pub garbage_age: Duration,
}

impl Default for CompactorConfig {
    fn default() -> Self {
        CompactorConfig {
            node: String::new(),
            retention: None,
            max_bytes: None,
            interval: Duration::from_secs(600),
            garbage_age: Duration::from_secs(86_400),
        }
    }
}

/// The role.
pub struct Compactor {
    config: CompactorConfig,
    meta: Arc<Meta>,
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    removed: IntCounter,
    collected: IntCounter,
}

impl Compactor {
    /// Puts the role together.
    pub fn create(
        config: CompactorConfig,
        meta: Arc<Meta>,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let removed = IntCounter::new(
            "pharos_compactor_blocks_removed_total",
            "Blocks removed because their retention has passed or all blocks were too large.",
        )?;
        let collected = IntCounter::new(
            "pharos_compactor_garbage_objects_total",
            "Objects deleted because no block in the catalogue needs them.",
        )?;
        registry.register(Box::new(removed.clone()))?;
        registry.register(Box::new(collected.clone()))?;
        Ok(Compactor { config, meta, store, clock, removed, collected })
    }

    /// Works while no other compactor does, until `shutdown` becomes true.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        loop {
            if self.has_lease().await {
                self.round().await;
            }
            tokio::select! {
                () = tokio::time::sleep(self.config.interval) => {}
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
                tracing::warn!(%error, "the lease of the compactor cannot be had, it is tried again later");
                false
            }
        }
    }

    /// One round: retention first, then garbage.
    pub async fn round(&self) {
        if let Some(retention) = self.config.retention {
            let horizon = self.clock.now_ms().saturating_sub(retention.as_millis() as i64);
            match retention::expire(&self.meta, horizon).await {
                Ok(count) => self.removed.inc_by(count),
                Err(error) => tracing::warn!(%error, "removing old blocks failed, it is tried again later"),
            }
        }
        if let Some(max_bytes) = self.config.max_bytes {
            match retention::shrink(&self.meta, max_bytes).await {
                Ok(count) => self.removed.inc_by(count),
                Err(error) => {
                    tracing::warn!(%error, "removing blocks over the size limit failed, it is tried again later")
                }
            }
        }
        let born_before = self.clock.now_ms().saturating_sub(self.config.garbage_age.as_millis() as i64);
        match garbage::collect(&*self.store, &self.meta.view().catalogue, born_before).await {
            Ok(count) => self.collected.inc_by(count),
            Err(error) => tracing::warn!(%error, "collecting garbage failed, it is tried again later"),
        }
    }
}
