//! Metrics of the frontend.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counts queries and what they take.
#[derive(Clone)]
pub struct QueryMetrics {
    /// Queries by endpoint and outcome (`success` or the error type).
    pub queries: IntCounterVec,
    /// Seconds from a query's start to its last byte.
    pub seconds: Histogram,
    /// Seconds that a query waited for its turn.
    pub queue_seconds: Histogram,
    /// Queries that run now.
    pub running: IntGauge,
    /// Samples read by queries.
    pub samples: IntCounter,
}

impl QueryMetrics {
    /// Registers the metrics.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets =
            vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
        let histogram =
            |name: &str, help: &str| Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.clone()));
        let metrics = QueryMetrics {
            queries: IntCounterVec::new(
                Opts::new("pharos_query_requests_total", "Queries by endpoint and outcome."),
                &["endpoint", "outcome"],
            )?,
            seconds: histogram("pharos_query_duration_seconds", "Time from a query's start to its last byte.")?,
            queue_seconds: histogram(
                "pharos_query_queue_duration_seconds",
                "Time that queries waited for their turn.",
            )?,
            running: IntGauge::new("pharos_query_running", "Queries that run now.")?,
            samples: IntCounter::new(
                "pharos_query_samples_read_total",
                "Samples that queries read from their sources.",
            )?,
        };
        registry.register(Box::new(metrics.queries.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.queue_seconds.clone()))?;
        registry.register(Box::new(metrics.running.clone()))?;
        registry.register(Box::new(metrics.samples.clone()))?;
        Ok(metrics)
    }
}
