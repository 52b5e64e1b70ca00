//! The metrics of scraping.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// The metrics of scraping.
#[derive(Clone, Debug)]
pub(crate) struct ScrapeMetrics {
    /// Scrapes by result: `up` or `down`.
    pub(crate) scrapes: IntCounterVec,
    pub(crate) duration: Histogram,
    pub(crate) samples: IntCounter,
    pub(crate) body_bytes: IntCounter,
    /// Scrapes that exceeded a limit, by limit.
    pub(crate) exceeded: IntCounterVec,
    /// Samples that were not stored, by reason.
    pub(crate) rejected: IntCounterVec,
    /// Batches that the store rejected as a whole, by reason.
    pub(crate) refused: IntCounterVec,
    /// Active targets by job. The gauge of a job exists while a [`PoolGauges`] does.
    pub(crate) targets: IntGaugeVec,
    /// Targets that relabelling dropped, by job.
    pub(crate) dropped_targets: IntGaugeVec,
    /// Discovered targets that cannot be scraped, by job.
    pub(crate) invalid_targets: IntCounterVec,
    /// The number of running pools by job.
    pools: Arc<Mutex<HashMap<String, usize>>>,
}

/// Keeps the gauges of a job. Two pools of one job overlap when the job is removed and added again while scrapes of the first one
/// are in progress; the gauges count the targets of both.
pub(crate) struct PoolGauges {
    metrics: ScrapeMetrics,
    job: String,
}

impl Drop for PoolGauges {
    fn drop(&mut self) {
        let mut pools = self.metrics.pools.lock();
        if let Some(others) = pools.get_mut(&self.job).filter(|count| **count > 1) {
            *others -= 1;
            return;
        }
        pools.remove(&self.job);
        // Fails only if there is no such gauge.
        let _removed = self.metrics.targets.remove_label_values(&[&self.job]);
        let _removed = self.metrics.dropped_targets.remove_label_values(&[&self.job]);
    }
}

impl ScrapeMetrics {
    /// Creates the gauges of a job, and keeps them while a pool of the job runs.
    pub(crate) fn of_pool(&self, job: &str) -> PoolGauges {
        *self.pools.lock().entry(job.to_string()).or_insert(0) += 1;
        // A job without targets has a gauge, too.
        let _created = self.targets.with_label_values(&[job]);
        PoolGauges { metrics: self.clone(), job: job.to_string() }
    }

    /// Creates the metrics and registers them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(format!("pharos_scrape_{name}"), help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauges = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(format!("pharos_scrape_{name}"), help), &["job"])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("pharos_scrape_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let duration = Histogram::with_opts(
            HistogramOpts::new("pharos_scrape_duration_seconds", "Time to fetch and read a target.")
                .buckets(prometheus::exponential_buckets(0.001, 2.5, 11)?),
        )?;
        registry.register(Box::new(duration.clone()))?;
        Ok(ScrapeMetrics {
            scrapes: counters("scrapes_total", "Scrapes by result.", "result")?,
            duration,
            samples: counter("samples_total", "Samples in scraped bodies.")?,
            body_bytes: counter("body_bytes_total", "Uncompressed bytes of scraped bodies.")?,
            exceeded: counters("limit_exceeded_total", "Scrapes that failed because of a limit.", "limit")?,
            rejected: counters("rejected_samples_total", "Scraped samples that were not stored.", "reason")?,
            refused: counters("refused_batches_total", "Scrapes whose samples were refused as a whole.", "reason")?,
            targets: gauges("targets", "Active targets.")?,
            dropped_targets: gauges("dropped_targets", "Targets dropped by relabelling.")?,
            invalid_targets: counters("invalid_targets_total", "Discovered targets that cannot be scraped.", "job")?,
            pools: Arc::default(),
        })
    }
}
