//! The store: answers queries from the blocks in object storage.
//!
//! The catalogue lists live blocks and deletions; the bucket is never listed for a query. A query opens the blocks whose time
//! range and label filter match, reads only the byte ranges it needs, and merges the blocks in order of their sequences.

#![forbid(unsafe_code)]

mod mask;
mod metrics;
pub mod rebuild;
mod set;
mod source;

use std::sync::Arc;

use moka::sync::Cache;
use object_store::ObjectStore;
use pharos_block::{BlockCache, BlockMeta};
use pharos_cluster::{BlockEntry, Meta};
use pharos_model::SelectError;
use tokio::runtime::Handle;

use mask::MaskCache;
use metrics::StoreMetrics;

/// Settings of the store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Size of the cache of data read from blocks, bytes. Default: 256 MiB.
    pub cache_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig { cache_bytes: 256 << 20 }
    }
}

/// Number of block descriptions that are kept decoded.
const MAX_DECODED_BLOCKS: u64 = 10_000;

/// The role.
pub struct Store {
    meta: Arc<Meta>,
    objects: Arc<dyn ObjectStore>,
    cache: Arc<BlockCache>,
    decoded: Cache<String, Arc<BlockMeta>>,
    masks: MaskCache,
    runtime: Handle,
    metrics: StoreMetrics,
}

impl Store {
    /// Creates the role. Reads run on `runtime` while the calling thread waits, so it must not be a thread of that runtime.
    pub fn create(
        config: StoreConfig,
        meta: Arc<Meta>,
        objects: Arc<dyn ObjectStore>,
        runtime: Handle,
        registry: &prometheus::Registry,
    ) -> Result<Arc<Store>, prometheus::Error> {
        let cache = Arc::new(BlockCache::new(config.cache_bytes));
        let metrics = StoreMetrics::register(registry, cache.clone())?;
        let decoded = Cache::new(MAX_DECODED_BLOCKS);
        Ok(Arc::new(Store { meta, objects, cache, decoded, masks: MaskCache::new(), runtime, metrics }))
    }

    fn describe(&self, entry: &BlockEntry) -> Result<Arc<BlockMeta>, SelectError> {
        if let Some(known) = self.decoded.get(&entry.id) {
            return Ok(known);
        }
        let unreadable = |e| SelectError::Storage(format!("catalogue entry of block {}: {e}", entry.id));
        let meta = Arc::new(BlockMeta::from_bytes(entry.meta.as_bytes()).map_err(unreadable)?);
        self.decoded.insert(entry.id.clone(), meta.clone());
        Ok(meta)
    }
}
