//! The tenant that a step of flushing is about.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::View;
use pharos_head::WindowCut;
use pharos_model::{ShardSet, TenantId};
use tokio::sync::SemaphorePermit;

use super::error::{FlushError, blocking};
use super::known::Known;
use crate::Ingester;

/// Limit of the blocks that are in memory at the same time, MiB. A larger one is written alone.
pub(crate) const MEMORY_MIB: u32 = 1024;

/// A tenant, the ingester that flushes it, and what queries want to know about it.
pub(crate) struct Flushing<'a> {
    pub(super) ingester: &'a Arc<Ingester>,
    pub(super) tenant: &'a TenantId,
    pub(super) known: &'a Mutex<Known>,
}

impl Flushing<'_> {
    /// The time on the monotonic clock.
    pub(super) fn now(&self) -> Duration {
        self.ingester.clock.monotonic()
    }

    /// Applies the deletions of a view to memory.
    pub(super) async fn apply_deletions(&self, view: &View) -> Result<(), FlushError> {
        let (shared, tenant, view) = (self.ingester.clone(), self.tenant.clone(), view.clone());
        blocking(move || Ok(shared.deletions.apply(&tenant, &view)?)).await
    }

    /// Waits until there is memory for the block of a cut. It is free again once the permit is dropped.
    pub(super) async fn reserve_memory(&self, cut: &WindowCut) -> Option<SemaphorePermit<'_>> {
        // A block is about as large as its samples in memory.
        let mib = (cut.window().bytes >> 20).saturating_add(1).min(MEMORY_MIB.into());
        // The semaphore is never closed.
        self.ingester.flusher.memory.acquire_many(mib as u32).await.ok()
    }

    /// Notes the tenant's blocks as a view lists them.
    pub(super) fn note_listing(&self, view: &View) {
        let windows = self.ingester.head.windows(self.tenant);
        let catalogue = view.catalogue.tenant(self.tenant.as_str());
        let vanished = self.known.lock().listing.note(self.now(), catalogue, &windows);
        for block in vanished {
            tracing::error!(
                tenant = %self.tenant, block,
                "the catalogue does not list a block any more that nobody removed; keeping its samples in memory until listed blocks have them"
            );
        }
    }

    /// The shards for which this node has every acknowledged sample and which another node leads, as of a view.
    pub(super) fn led_by_others(&self, view: &View) -> ShardSet {
        let me = self.ingester.config.identity.as_str();
        let led_by_other = |shard: &u32| view.shard(*shard).and_then(|s| s.leader.as_deref()).is_some_and(|l| l != me);
        let shards = (0u32..view.shards.len() as u32).filter(led_by_other);
        shards.filter(|shard| self.ingester.is_whole(view, *shard)).collect()
    }
}
