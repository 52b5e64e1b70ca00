//! Metrics of the frontend.

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

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
    /// Requests that wait for their turn now.
    pub queued: IntGauge,
    /// PromQL queries under way by stage: `queued`, `evaluating`, `answering`.
    pub active: IntGaugeVec,
    /// Requests that were refused because too many of their tenant waited.
    pub refused: IntCounter,
    /// Queries that were cancelled through the API.
    pub cancelled: IntCounter,
    /// Queries that took longer than the threshold of the slow-query log.
    pub slow: IntCounter,
    /// Samples read by queries.
    pub samples: IntCounter,
}

impl QueryMetrics {
    /// Registers the metrics.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let outcomes = Opts::new("pharos_query_requests_total", "Queries by endpoint and outcome.");
        let stages = Opts::new("pharos_query_active", "PromQL queries under way by stage.");
        Ok(QueryMetrics {
            queries: known(registry, IntCounterVec::new(outcomes, &["endpoint", "outcome"])?)?,
            seconds: histogram(registry, "duration_seconds", "Time from a query's start to its last byte.")?,
            queue_seconds: histogram(registry, "queue_duration_seconds", "Time that queries waited for their turn.")?,
            running: gauge(registry, "running", "Queries that run now.")?,
            queued: gauge(registry, "queued", "Requests that wait for their turn now.")?,
            active: known(registry, IntGaugeVec::new(stages, &["stage"])?)?,
            refused: counter(registry, "refused_total", "Requests refused because too many of their tenant waited.")?,
            cancelled: counter(registry, "cancelled_total", "Queries that were cancelled through the API.")?,
            slow: counter(registry, "slow_total", "Queries that took longer than the slow-query log's threshold.")?,
            samples: counter(registry, "samples_read_total", "Samples that queries read from their sources.")?,
        })
    }
}

/// Counts the questions of queries to nodes that hold samples, this one included.
#[derive(Clone)]
pub struct AskMetrics {
    pub(crate) asked: IntCounter,
    pub(crate) hedged: IntCounter,
    pub(crate) overtaken: IntCounter,
    pub(crate) refused: IntCounter,
    pub(crate) unanswered: IntCounter,
    pub(crate) missing: IntCounter,
}

impl AskMetrics {
    /// Registers the metrics.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help| counter(registry, &format!("node_{name}_total"), help);
        Ok(AskMetrics {
            asked: counter("requests", "Questions of queries to nodes that hold samples.")?,
            hedged: counter("hedges", "Questions that another node was asked, too, because the first was slow.")?,
            overtaken: counter("hedges_won", "Questions that the other node answered first.")?,
            refused: counter("refusals", "Questions that a node refused under its view, so that another was asked.")?,
            unanswered: counter("failures", "Questions that a node did not answer, so that another was asked.")?,
            missing: counter("missing", "Questions that nobody could answer, left out of a partial answer.")?,
        })
    }
}

/// Registers a metric.
fn known<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    known(registry, IntCounter::new(format!("pharos_query_{name}"), help)?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    known(registry, IntGauge::new(format!("pharos_query_{name}"), help)?)
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
    known(registry, Histogram::with_opts(HistogramOpts::new(format!("pharos_query_{name}"), help).buckets(buckets))?)
}
