//! The ingester: acknowledges samples once they are durable, answers queries about recent time, and flushes finished windows
//! as blocks.
//!
//! A sample takes one path. [`append`] puts it into the head and answers when the log is fsynced. [`source`] serves it to
//! queries. [`flush`] cuts its window, uploads a block, commits it to the catalogue, and drops it from memory after a grace
//! period. In a cluster the ingester holds replicas of shards: [`replica`] takes appends under the epochs that [`fence`]
//! guards, [`catchup`] copies what a replica lacks, and [`service`] answers other nodes.

#![forbid(unsafe_code)]

mod append;
pub mod catchup;
mod completeness;
mod config;
mod deletions;
pub mod fence;
pub mod flush;
mod health;
mod metrics;
mod replica;
mod service;
mod share;
mod source;

pub use catchup::CatchUp;
pub use config::IngesterConfig;

use std::sync::Arc;

use object_store::ObjectStore;
use pharos_cluster::{Meta, Shard, View};
use pharos_head::Head;
use pharos_model::{Clock, ShardSet};
use pharos_transport::Connect;
use tokio::sync::watch;

use fence::Fence;
use metrics::IngesterMetrics;

/// The role.
pub struct Ingester {
    config: IngesterConfig,
    head: Arc<Head>,
    meta: Arc<Meta>,
    objects: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    connect: Arc<dyn Connect>,
    metrics: IngesterMetrics,
    fence: Fence,
    deletions: Arc<deletions::Deletions>,
    /// Copies in progress, by source.
    catch_ups: catchup::Progress,
    /// What leaders have decided about samples of shards that this node learns.
    decided: parking_lot::Mutex<catchup::decided::Decided>,
    /// Shards of which this node's log has lost samples; see [`catchup::lost`].
    lost: catchup::lost::LostShards,
    older: catchup::lost::OlderReplicas,
    flusher: flush::Flusher,
}

impl Ingester {
    /// Creates the role and applies the deletions of the current view.
    ///
    /// The node must have joined its cluster before, so that the view is at least as new as the start of the process: after
    /// a restart the view stands in for the fence, which is in memory only.
    pub fn create(
        config: IngesterConfig,
        head: Arc<Head>,
        meta: Arc<Meta>,
        objects: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        connect: Arc<dyn Connect>,
        registry: &prometheus::Registry,
    ) -> Result<Arc<Ingester>, prometheus::Error> {
        let metrics = IngesterMetrics::register(registry)?;
        let fence = Fence::new(config.shards_total);
        let lost = catchup::lost::LostShards::default();
        meta.set_incomplete(head.is_incomplete());
        if head.is_incomplete() {
            *lost.lock() = catchup::policy::lost_shards(&config.identity, &meta.view(), |_| true);
        }
        let older = catchup::lost::OlderReplicas::of(&config.identity, &lost.lock(), &meta.view());
        head.number_cuts_above(newest_cut(&config.identity, &meta.view()));
        let catch_ups = catchup::Progress::default();
        let deletions = deletions::Deletions::new(&config.identity, head.clone(), meta.clone(), lost.clone());
        let ingester = Ingester {
            config,
            head,
            meta,
            objects,
            clock,
            connect,
            metrics,
            fence,
            deletions,
            catch_ups,
            decided: Default::default(),
            lost,
            older,
            flusher: flush::Flusher::default(),
        };
        ingester.note_listed_blocks();
        // Before the first append: samples that arrive from now on are not subject to these deletions.
        if let Err(error) = ingester.deletions.apply_all(&ingester.meta.view()) {
            tracing::warn!(%error, "could not apply deletions at the start; will retry");
        }
        Ok(Arc::new(ingester))
    }

    /// Reports to meta the shards that this node lost with its log, if its log is incomplete and other nodes have them. Await it
    /// before serving.
    pub async fn report_lost_shards(&self) {
        catchup::lost::report(self).await;
    }

    /// Flushes windows as they end, applies deletions and catches up, until `shutdown` becomes true.
    pub async fn run(self: Arc<Self>, shutdown: watch::Receiver<bool>) {
        tokio::join!(
            flush::run(self.clone(), shutdown.clone()),
            deletions::run(self.clone(), shutdown.clone()),
            health::run(self.clone(), shutdown.clone()),
            catchup::lost::run(self.clone(), shutdown.clone()),
            share::run(self.clone(), shutdown.clone()),
            catchup::run(self, shutdown),
        );
    }

    /// The samples in memory.
    pub fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// The shards that this node leads in a view, and therefore cuts and flushes.
    fn led_in(&self, view: &View) -> ShardSet {
        let (me, lost) = (self.config.identity.as_str(), self.lost.lock());
        let is_led =
            |(number, shard): &(u32, &Arc<Shard>)| shard.leader.as_deref() == Some(me) && !lost.contains_key(number);
        view.numbered_shards().filter(is_led).map(|(number, _)| number).collect()
    }

    /// Whether a learner can copy a shard from this node, as of a view: nobody in sync has more than it has.
    fn is_source(&self, view: &View, shard: u32) -> bool {
        let me = [&self.config.identity];
        self.is_whole(view, shard) || view.shard(shard).is_some_and(|known| known.in_sync.iter().eq(me))
    }

    /// Whether this node has every acknowledged sample of a shard, as of a view.
    fn is_whole(&self, view: &View, shard: u32) -> bool {
        self.whole_in(view)(shard)
    }

    /// Tells of each shard whether this node has every acknowledged sample of it, as of a view. Holds the lock of the lost shards.
    fn whole_in<'a>(&'a self, view: &'a View) -> impl Fn(u32) -> bool + 'a {
        let lost = self.lost.lock();
        move |shard| {
            view.shard(shard).is_some_and(|s| s.is_in_sync(&self.config.identity)) && !lost.contains_key(&shard)
        }
    }
}

/// The greatest number of the cuts of an ingester of which blocks are listed; 0 if there are none. Its log knows it, unless the
/// log was lost.
fn newest_cut(identity: &str, view: &View) -> u32 {
    let blocks = view.catalogue.tenants.values().flat_map(|tenant| &tenant.blocks);
    let cuts = blocks.filter_map(|block| block.cut.as_ref()).filter(|cut| cut.ingester == identity);
    cuts.map(|cut| cut.number).max().unwrap_or(0)
}

#[cfg(test)]
mod test_cluster;
#[cfg(test)]
mod test_objects;
#[cfg(test)]
mod verdict_tests;
