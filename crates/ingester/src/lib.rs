//! Keeps the head, acknowledges what is durable, answers queries on recent data and ships finished windows as blocks.
//!
//! A sample goes one way: [`append`] puts it into the head and answers when the log is fsynced; [`source`] serves it to
//! queries until it is in a block; [`flush`] cuts windows, uploads blocks, commits them to the catalogue and drops
//! memory after the grace period. In a cluster it holds replicas of shards: [`replica`] takes what agents send, under the
//! epochs that [`fence`] guards, and [`service`] is what other nodes ask for.

mod append;
pub mod catchup;
mod completeness;
mod config;
mod deletions;
pub mod fence;
pub mod flush;
mod metrics;
mod replica;
mod service;
mod source;

pub use catchup::CatchUp;
pub use config::IngesterConfig;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use object_store::ObjectStore;
use pharos_cluster::{Meta, Shard, View};
use pharos_head::Head;
use pharos_model::{Clock, ShardSet};
use pharos_transport::Connect;
use tokio::sync::watch;

use fence::Fence;
use metrics::IngesterMetrics;

/// The role. Cheap to share.
pub struct Ingester {
    config: IngesterConfig,
    head: Arc<Head>,
    meta: Arc<Meta>,
    objects: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    connect: Arc<dyn Connect>,
    metrics: IngesterMetrics,
    fence: Fence,
    /// The copies under way.
    catch_ups: catchup::Progress,
    /// Shards of which the log lacks something although the view has this node in sync: until it has not, the node answers for
    /// none of them.
    lost: parking_lot::Mutex<catchup::policy::WantedShards>,
    /// Blocks whose commit was not answered.
    pending_commits: flush::ship::PendingCommits,
    /// What is known of samples here that are in blocks of others.
    reconciled: parking_lot::Mutex<flush::reconcile::Reconciled>,
    /// Held while a window is cut and shipped, and while series are deleted, so that a cut never brings back what was deleted.
    flushing: tokio::sync::Mutex<()>,
    /// Counts the names that were given to blocks.
    ids: AtomicU32,
}

impl Ingester {
    /// Puts the role together. The node must have entered its cluster before, so that its view is of now: it takes the
    /// place of the fence that a restart has lost.
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
        let (flushing, ids) = (tokio::sync::Mutex::default(), AtomicU32::new(0));
        let fence = Fence::new(config.shards_total);
        let lost = match head.is_incomplete() {
            true => catchup::policy::lost_shards(&config.identity, &meta.view(), |_| true),
            false => Default::default(),
        };
        let catch_ups = catchup::Progress::default();
        let ingester = Ingester {
            config,
            head,
            meta,
            objects,
            clock,
            connect,
            metrics,
            fence,
            catch_ups,
            lost: parking_lot::Mutex::new(lost),
            pending_commits: Default::default(),
            reconciled: Default::default(),
            flushing,
            ids,
        };
        // Before the first sample comes: what is appended from now on is not meant.
        if let Err(error) = ingester.apply_all_deletions(&ingester.meta.view()) {
            tracing::warn!(%error, "deletions are carried out later");
        }
        Ok(Arc::new(ingester))
    }

    /// Tells meta what of its shards this node has lost, if its log is incomplete. To be awaited before others count on it.
    pub async fn report_lost_shards(&self) {
        catchup::report_lost_shards(self).await;
    }

    /// Flushes windows as they end, and learns what it shall hold, until `shutdown` becomes true.
    pub async fn run(self: Arc<Self>, shutdown: watch::Receiver<bool>) {
        tokio::join!(
            flush::run(self.clone(), shutdown.clone()),
            deletions::run(self.clone(), shutdown.clone()),
            catchup::run(self, shutdown),
        );
    }

    /// The head.
    pub fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// The shards that this node cuts and ships: those that it leads.
    fn led(&self) -> ShardSet {
        self.led_in(&self.meta.view())
    }

    fn led_in(&self, view: &View) -> ShardSet {
        let (me, lost) = (self.config.identity.as_str(), self.lost.lock());
        let is_led =
            |(number, shard): &(u32, &Arc<Shard>)| shard.leader.as_deref() == Some(me) && !lost.contains_key(number);
        view.numbered_shards().filter(is_led).map(|(number, _)| number).collect()
    }

    /// Whether this node has everything of a shard that was acknowledged, as far as a view says.
    fn is_whole(&self, view: &View, shard: u32) -> bool {
        let known = view.shard(shard);
        known.is_some_and(|s| s.is_in_sync(&self.config.identity)) && !self.lost.lock().contains_key(&shard)
    }
}

#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
mod test_cluster;
