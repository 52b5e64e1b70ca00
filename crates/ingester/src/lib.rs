//! Keeps the head, acknowledges what is durable, answers queries on recent data and ships finished windows as blocks.
//!
//! A sample goes one way: [`append`] puts it into the head and answers when the log is fsynced; [`source`] serves it to
//! queries until it is in a block; [`flush`] cuts windows, uploads blocks, commits them to the catalogue and drops
//! memory after the grace period.

mod append;
mod complete;
mod config;
pub mod flush;
mod metrics;
mod source;

pub use config::IngesterConfig;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use object_store::ObjectStore;
use pharos_head::Head;
use pharos_meta::Meta;
use pharos_model::{Clock, ShardSet};
use tokio::sync::watch;

use metrics::IngesterMetrics;

/// The role. Cheap to share.
pub struct Ingester {
    config: IngesterConfig,
    head: Arc<Head>,
    meta: Arc<Meta>,
    objects: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    metrics: IngesterMetrics,
    /// Held while a window is cut and shipped, and while series are deleted, so that a cut never brings back what was deleted.
    flushing: tokio::sync::Mutex<()>,
    /// Counts the names that were given to blocks.
    ids: AtomicU32,
}

impl Ingester {
    /// Puts the role together.
    pub fn create(
        config: IngesterConfig,
        head: Arc<Head>,
        meta: Arc<Meta>,
        objects: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        registry: &prometheus::Registry,
    ) -> Result<Arc<Ingester>, prometheus::Error> {
        let metrics = IngesterMetrics::register(registry)?;
        let (flushing, ids) = (tokio::sync::Mutex::default(), AtomicU32::new(0));
        Ok(Arc::new(Ingester { config, head, meta, objects, clock, metrics, flushing, ids }))
    }

    /// Flushes windows as they end, until `shutdown` becomes true.
    pub async fn run(self: Arc<Self>, shutdown: watch::Receiver<bool>) {
        flush::run(self, shutdown).await;
    }

    /// The head.
    pub fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// The shards that this node cuts and ships: all of them.
    fn led(&self) -> ShardSet {
        ShardSet::all(self.config.shards_total)
    }

    /// Deletes series from the head and masks them in blocks. Blocks the thread.
    pub fn delete(
        &self,
        tenant: &pharos_model::TenantId,
        matchers: &[pharos_model::Matcher],
        range: pharos_model::TimeRange,
    ) -> Result<(), String> {
        let _no_cut_under_way = self.flushing.blocking_lock();
        self.head.delete(tenant, matchers, range).and_then(|commit| commit.wait()).map_err(|e| e.to_string())?;
        let command = pharos_meta::CatalogueCommand::delete(tenant, matchers, range);
        self.meta.propose_blocking(command).map(|_| ()).map_err(|e| e.to_string())
    }
}
