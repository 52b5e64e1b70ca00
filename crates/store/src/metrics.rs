//! Metrics of the store.

use std::sync::Arc;

use pharos_block::BlockCache;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Registry};

/// Metrics of queries.
pub(crate) struct StoreMetrics {
    pub(crate) blocks_asked: IntCounter,
    pub(crate) blocks_skipped: IntCounter,
    pub(crate) series: IntCounter,
}

impl StoreMetrics {
    pub(crate) fn register(registry: &Registry, cache: Arc<BlockCache>) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let bytes = IntGauge::new("pharos_store_cache_bytes", "Bytes of blocks held in memory.")?;
        registry.register(Box::new(CacheBytes { cache, bytes }))?;
        Ok(StoreMetrics {
            blocks_asked: counter("pharos_store_blocks_queried_total", "Blocks that queries opened.")?,
            blocks_skipped: counter("pharos_store_blocks_skipped_total", "Blocks whose label filter ruled them out.")?,
            series: counter("pharos_store_series_selected_total", "Series that selectors matched in blocks.")?,
        })
    }
}

/// Reads the size of the cache when metrics are collected.
struct CacheBytes {
    cache: Arc<BlockCache>,
    bytes: IntGauge,
}

impl Collector for CacheBytes {
    fn desc(&self) -> Vec<&Desc> {
        self.bytes.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.bytes.set(i64::try_from(self.cache.bytes()).unwrap_or(i64::MAX));
        self.bytes.collect()
    }
}
