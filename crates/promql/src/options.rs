//! The limits of an engine and the options of a query.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{Budget, Clock, SystemClock};

/// Limits and defaults of all queries of an engine.
#[derive(Clone)]
pub struct EngineOptions {
    /// How far back a sample is looked for, milliseconds. Default: 5 minutes.
    pub lookback_delta_ms: i64,
    /// Most samples that a query may hold in memory at a time. Default: 50 million.
    pub max_samples: usize,
    /// The step of subqueries that name none, milliseconds. Default: 1 minute.
    pub default_subquery_step_ms: i64,
    /// Longest time that a query may take. Default: 2 minutes.
    pub timeout: Duration,
    /// Most memory that a query may take, bytes. Default: 2 GiB.
    pub max_memory_bytes: u64,
    /// Most series that the selectors of a query may match together, 0 for no limit. Default: 0.
    pub max_series: usize,
    /// Most points that a query may compute: series times steps of all of its selectors, 0 for no limit. Default: 0.
    pub max_points: u64,
    /// Most steps of a range that are evaluated at a time, where that changes nothing: what operators keep in memory grows with
    /// this, not with the range. 0 for any number. Default: 2048.
    pub max_steps_per_range: usize,
    /// Threads that one heavy query may use. Default: 2.
    pub threads: usize,
    /// Whether counters are known by their `__type__` label instead of their name's suffix. Default: false.
    pub type_and_unit_labels: bool,
    /// Whether start timestamps of samples are used by `rate` and the like. Default: true.
    pub use_start_timestamps: bool,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            lookback_delta_ms: 300_000,
            max_samples: 50_000_000,
            default_subquery_step_ms: 60_000,
            timeout: Duration::from_secs(120),
            max_memory_bytes: 2 << 30,
            max_series: 0,
            max_points: 0,
            max_steps_per_range: 2048,
            threads: 2,
            type_and_unit_labels: false,
            use_start_timestamps: true,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

/// What is said of one query beside its expression and times.
#[derive(Clone, Default)]
pub struct QueryOptions {
    /// The query's text, for the line and column of annotations. When empty, the query is taken to be one line.
    pub text: String,
    /// Replaces [`EngineOptions::lookback_delta_ms`] when present.
    pub lookback_delta_ms: Option<i64>,
    /// The budget to use, for callers that cancel or account; when absent, one is made from the engine's limits.
    pub budget: Option<Arc<Budget>>,
    /// Whether each operator is measured: [`QueryOutput::plan`] then says what it did. Costs some time by series.
    pub analyze: bool,
    /// Whether the samples that steps look at are counted by step.
    pub samples_per_step: bool,
}
