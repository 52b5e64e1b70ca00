//! Metrics of the ingester.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// Metrics of flushing.
pub(crate) struct IngesterMetrics {
    pub(crate) blocks: IntCounter,
    pub(crate) block_bytes: IntCounter,
    pub(crate) block_samples: IntCounter,
    pub(crate) failures: IntCounter,
    pub(crate) refused: IntCounter,
    pub(crate) matched: IntCounter,
    pub(crate) differing: IntCounter,
    pub(crate) difference_samples: IntCounter,
    pub(crate) missing_windows: IntGauge,
    pub(crate) seconds: Histogram,
    pub(crate) waiting_windows: IntGauge,
    pub(crate) catchup: CatchUpMetrics,
    pub(crate) verdicts: VerdictMetrics,
}

/// Metrics of samples for which the leader's verdict differed from this replica's.
pub(crate) struct VerdictMetrics {
    pub(crate) forced: IntCounter,
    pub(crate) retracted: IntCounter,
}

/// Metrics of catching up.
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
        let missing_windows = IntGauge::new(
            "pharos_flush_missing_windows",
            "Windows with flushed samples whose block is not listed although nobody removed it; the samples stay in memory.",
        )?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(waiting_windows.clone()))?;
        registry.register(Box::new(missing_windows.clone()))?;
        Ok(IngesterMetrics {
            blocks: counter("pharos_flush_blocks_total", "Committed blocks.")?,
            block_bytes: counter("pharos_flush_block_bytes_total", "Bytes of committed blocks.")?,
            block_samples: counter("pharos_flush_samples_total", "Samples in committed blocks.")?,
            failures: counter("pharos_flush_failures_total", "Flushes that failed and will be retried.")?,
            refused: counter(
                "pharos_flush_refused_total",
                "Uploaded blocks that the catalogue refused, mostly because another node leads their shards.",
            )?,
            matched: counter(
                "pharos_flush_matched_shards_total",
                "Shards of windows whose samples were found in blocks of other nodes.",
            )?,
            differing: counter(
                "pharos_flush_differing_shards_total",
                "Shards of windows that differed from their blocks and were compared with them sample by sample.",
            )?,
            difference_samples: counter(
                "pharos_flush_difference_samples_total",
                "Samples that no block had and that this node shipped as a replica.",
            )?,
            missing_windows,
            seconds,
            waiting_windows,
            catchup: CatchUpMetrics::register(registry)?,
            verdicts: VerdictMetrics::register(registry)?,
        })
    }
}

impl VerdictMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| counter(registry, name, help);
        Ok(VerdictMetrics {
            forced: counter(
                "pharos_ingest_forced_samples_total",
                "Samples stored because the shard's leader accepted them, although replicas rejected them or had other values.",
            )?,
            retracted: counter(
                "pharos_ingest_retracted_samples_total",
                "Samples removed because the shard's leader rejected them.",
            )?,
        })
    }
}

impl CatchUpMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| counter(registry, name, help);
        let shards =
            IntGauge::new("pharos_learn_shards", "Shards that this node catches up with before it is in sync.")?;
        registry.register(Box::new(shards.clone()))?;
        Ok(CatchUpMetrics {
            shards,
            bytes: counter("pharos_learn_bytes_total", "Bytes copied from other ingesters.")?,
            samples: counter("pharos_learn_samples_total", "Samples copied from other ingesters.")?,
            conflicts: counter(
                "pharos_learn_conflicts_total",
                "Samples in memory that were replaced or removed because the source of a copy had other values.",
            )?,
            failures: counter("pharos_learn_failures_total", "Copies that failed and will be resumed.")?,
            forgotten: counter(
                "pharos_learn_forgotten_shards_total",
                "Shards that were forgotten after they moved to other nodes.",
            )?,
        })
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}
