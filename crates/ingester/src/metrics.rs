//! Metrics of the ingester.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// What shipping does.
pub(crate) struct IngesterMetrics {
    pub(crate) blocks: IntCounter,
    pub(crate) block_bytes: IntCounter,
    pub(crate) block_samples: IntCounter,
    pub(crate) failures: IntCounter,
    pub(crate) refused: IntCounter,
    pub(crate) matched: IntCounter,
    pub(crate) differing: IntCounter,
    pub(crate) seconds: Histogram,
    pub(crate) waiting_windows: IntGauge,
    pub(crate) catchup: CatchUpMetrics,
}

/// What learning does.
pub(crate) struct CatchUpMetrics {
    pub(crate) shards: IntGauge,
    pub(crate) bytes: IntCounter,
    pub(crate) samples: IntCounter,
    pub(crate) conflicts: IntCounter,
    pub(crate) failures: IntCounter,
    pub(crate) forgotten: IntCounter,
}

impl IngesterMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| counter(registry, name, help);
        let seconds = Histogram::with_opts(
            HistogramOpts::new("pharos_flush_duration_seconds", "Time to cut, upload and commit a window.")
                .buckets(vec![0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0]),
        )?;
        let waiting_windows =
            IntGauge::new("pharos_flush_waiting_windows", "Ended windows whose samples are not in a block yet.")?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(waiting_windows.clone()))?;
        Ok(IngesterMetrics {
            blocks: counter("pharos_flush_blocks_total", "Blocks that were committed.")?,
            block_bytes: counter("pharos_flush_block_bytes_total", "Bytes of the blocks that were committed.")?,
            block_samples: counter("pharos_flush_samples_total", "Samples in the blocks that were committed.")?,
            failures: counter("pharos_flush_failures_total", "Flushes that failed and are tried again.")?,
            refused: counter("pharos_flush_refused_total", "Blocks that were uploaded in vain: another node leads.")?,
            matched: counter("pharos_flush_matched_shards_total", "Shards of windows found in blocks of others.")?,
            differing: counter(
                "pharos_flush_differing_shards_total",
                "Shards of windows that differ from their blocks and are in them by their leader's word.",
            )?,
            seconds,
            waiting_windows,
            catchup: CatchUpMetrics::register(registry)?,
        })
    }
}

impl CatchUpMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| counter(registry, name, help);
        let shards = IntGauge::new("pharos_learn_shards", "Shards that this node has to learn before it is in sync.")?;
        registry.register(Box::new(shards.clone()))?;
        Ok(CatchUpMetrics {
            shards,
            bytes: counter("pharos_learn_bytes_total", "Bytes that were copied from other ingesters.")?,
            samples: counter("pharos_learn_samples_total", "Samples that were copied from other ingesters.")?,
            conflicts: counter("pharos_learn_conflicts_total", "Copied samples of which another value was there.")?,
            failures: counter("pharos_learn_failures_total", "Copies that were broken off and go on later.")?,
            forgotten: counter("pharos_learn_forgotten_shards_total", "Shards that were forgotten here.")?,
        })
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}
