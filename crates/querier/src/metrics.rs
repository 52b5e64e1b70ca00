//! Metrics of queries and of their reads from nodes.

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Counts and times queries.
#[derive(Clone)]
pub struct QueryMetrics {
    /// Queries by endpoint and outcome (`success` or the error type).
    pub queries: IntCounterVec,
    /// Seconds from a query's start to its last byte.
    pub seconds: Histogram,
    /// Seconds that queries waited for a permit.
    pub queue_seconds: Histogram,
    /// Queries that are running.
    pub running: IntGauge,
    /// Requests that are waiting for a permit.
    pub queued: IntGauge,
    /// PromQL queries in flight by stage: `queued`, `evaluating`, `answering`.
    pub active: IntGaugeVec,
    /// Requests that were rejected because too many of their tenant waited.
    pub refused: IntCounter,
    /// Queries that were cancelled through the API.
    pub cancelled: IntCounter,
    /// Queries that took longer than the threshold of the slow-query log.
    pub slow: IntCounter,
    /// Samples that queries read from their sources.
    pub samples: IntCounter,
}

impl QueryMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// The registry has metrics of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let outcomes = Opts::new("pharos_query_requests_total", "Queries by endpoint and outcome.");
        let stages = Opts::new("pharos_query_active", "PromQL queries in flight by stage.");
        Ok(QueryMetrics {
            queries: registered(registry, IntCounterVec::new(outcomes, &["endpoint", "outcome"])?)?,
            seconds: histogram(registry, "duration_seconds", "Time from a query's start to its last byte.")?,
            queue_seconds: histogram(registry, "queue_duration_seconds", "Time that queries waited for a permit.")?,
            running: gauge(registry, "running", "Queries that are running.")?,
            queued: gauge(registry, "queued", "Requests that are waiting for a permit.")?,
            active: registered(registry, IntGaugeVec::new(stages, &["stage"])?)?,
            refused: counter(registry, "refused_total", "Requests rejected because too many of their tenant waited.")?,
            cancelled: counter(registry, "cancelled_total", "Queries that were cancelled through the API.")?,
            slow: counter(registry, "slow_total", "Queries that took longer than the slow-query log's threshold.")?,
            samples: counter(registry, "samples_read_total", "Samples that queries read from their sources.")?,
        })
    }
}

/// Counts the reads of queries from nodes that hold samples, this node included.
#[derive(Clone)]
pub struct DispatchMetrics {
    pub(crate) asked: IntCounter,
    pub(crate) hedged: IntCounter,
    pub(crate) overtaken: IntCounter,
    pub(crate) refused: IntCounter,
    pub(crate) unanswered: IntCounter,
    pub(crate) missing: IntCounter,
    pub(crate) unproven: IntCounter,
}

impl DispatchMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// The registry has metrics of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let unproven = counter(registry, "unproven_views_total", "Queries under a view that meta had not confirmed.")?;
        let counter = |name: &str, help| counter(registry, &format!("node_{name}_total"), help);
        Ok(DispatchMetrics {
            unproven,
            asked: counter("requests", "Reads of queries from nodes that hold samples.")?,
            hedged: counter("hedges", "Reads that were sent to a second node because the first was slow.")?,
            overtaken: counter("hedges_won", "Hedged reads that the second node answered first.")?,
            refused: counter("refusals", "Reads that a node refused under its view, so that another node was read.")?,
            unanswered: counter("failures", "Reads that a node failed, so that another node was read.")?,
            missing: counter("missing", "Reads that no node could answer, omitted from a partial response.")?,
        })
    }
}

fn registered<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    registered(registry, IntCounter::new(format!("pharos_query_{name}"), help)?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    registered(registry, IntGauge::new(format!("pharos_query_{name}"), help)?)
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
    registered(
        registry,
        Histogram::with_opts(HistogramOpts::new(format!("pharos_query_{name}"), help).buckets(buckets))?,
    )
}
