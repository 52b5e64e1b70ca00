//! The limits of an engine and the options of a query.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{Budget, Clock, SystemClock};

/// Limits and defaults of all queries of an engine.
#[derive(Clone)]
pub struct EngineOptions {
    /// How long a sample remains the current value of its series, milliseconds. Default: 5 minutes.
    pub lookback_delta_ms: i64,
    /// The number of samples that a query may hold in memory at a time. Default: 50 million.
    pub max_samples: usize,
    /// The step of subqueries without one, milliseconds. Default: 1 minute.
    pub default_subquery_step_ms: i64,
    /// The time that a query may take. Default: 2 minutes.
    pub timeout: Duration,
    /// The memory that a query may take, bytes. Default: 2 GiB.
    pub max_memory_bytes: u64,
    /// The number of series that the selectors of a query may match together, 0 for no limit. Default: 0.
    pub max_series: usize,
    /// The number of points that a query may compute, 0 for no limit: the sum of series times steps over its selectors. Default: 0.
    pub max_points: u64,
    /// The number of steps that are evaluated at a time, 0 for no limit. The memory of operators grows with it instead of
    /// with the range. Ranges are split only where that does not change the result. Default: 2048.
    pub max_steps_per_range: usize,
    /// The number of threads that one query may use. Default: 2.
    pub threads: usize,
    /// Whether the `__type__` label says what a counter is, rather than the suffix of the name. Default: false.
    pub type_and_unit_labels: bool,
    /// Whether `rate` and other functions of counters use the start timestamps of samples. Default: true.
    pub use_start_timestamps: bool,
    /// The clock for timeouts and timings.
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

/// The options of one query.
#[derive(Clone, Default)]
pub struct QueryOptions {
    /// The text of the query, for the lines and columns of annotations. Without it, the query is assumed to be one line.
    pub text: String,
    /// Replaces [`EngineOptions::lookback_delta_ms`] when present.
    pub lookback_delta_ms: Option<i64>,
    /// The budget of the query, for callers that cancel it or account for it. Without it, the engine makes one from its
    /// limits.
    pub budget: Option<Arc<Budget>>,
    /// Whether each operator is measured, which takes some time per series. The result is in
    /// [`QueryOutput::plan`](crate::QueryOutput::plan).
    pub analyze: bool,
    /// Whether the samples that are looked at are counted for each step.
    pub samples_per_step: bool,
}
