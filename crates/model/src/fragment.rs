//! Fragments: parts of a query that are evaluated where the samples are. This is what is sent and what comes back.

use std::ops::Range;

use crate::batch::SeriesBatch;
use crate::labels::Labels;
use crate::series_set::SelectError;

/// The steps of a query, milliseconds: `start`, `start + step` and so on up to `end`. The `step` of an instant query is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The first step.
    pub start: i64,
    /// The time that no step exceeds.
    pub end: i64,
    /// The distance between steps.
    pub step: i64,
}

/// A part of a query, sent to a node that holds some of the series.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// The whole query, in which annotations name positions.
    pub query: String,
    /// The bytes of the query that the part consists of.
    pub place: Range<usize>,
    /// The expressions to evaluate: the part itself, or the partial aggregates that it is combined from.
    pub expressions: Vec<String>,
    /// The steps of the query, to which `@ start()` and `@ end()` refer.
    pub times: Steps,
    /// The steps to evaluate.
    pub steps: Steps,
    /// How far a selector looks back for a sample, milliseconds.
    pub lookback_ms: i64,
    /// The most samples that may be held at a time.
    pub max_samples: u64,
    /// Most series that may be selected, 0 for no limit.
    pub max_series: u64,
    /// Whether the label `__type__` tells which series are counters.
    pub type_and_unit_labels: bool,
    /// Whether functions use start timestamps of samples.
    pub use_start_timestamps: bool,
    /// Whether the answer counts the samples that each step looks at.
    pub samples_per_step: bool,
}

/// The result of one expression.
#[derive(Clone, Debug, Default)]
pub struct FragmentResult {
    /// The series with their names, even if the result will not have names.
    pub labels: Vec<Labels>,
    /// The values of each series at the steps.
    pub samples: SeriesBatch,
    /// Whether the caller must drop the names.
    pub names_go: bool,
}

/// An annotation about the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// The text without a position.
    pub text: String,
    /// The position in the query, bytes.
    pub pos: u64,
    /// What was collected over all occurrences.
    pub extra: NoteExtra,
}

/// What annotations collect over their occurrences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoteExtra {
    /// No more than the text.
    None,
    /// The number of occurrences.
    Count(u64),
    /// Classic buckets whose counts had to be made monotonic.
    Monotonicity {
        /// The first and last evaluation time, milliseconds.
        t: (i64, i64),
        /// The lowest and highest bound.
        buckets: (f64, f64),
        /// The largest correction of a count.
        max_diff: f64,
        /// The number of corrections.
        count: u64,
    },
}

/// The cost of evaluating a fragment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FragmentStats {
    /// Samples that were read from sources.
    pub samples_read: u64,
    /// The most samples that were held at a time.
    pub peak_samples: u64,
    /// Series that selectors matched.
    pub series: u64,
    /// The most bytes that were held at a time.
    pub peak_bytes: u64,
    /// Bytes that were read from objects.
    pub bytes_read: u64,
    /// Requests that read those bytes.
    pub requests: u64,
    /// Samples that all steps of the first expression looked at.
    pub queryable_samples: u64,
    /// The same for each step, if the fragment asked for it.
    pub queryable_by_step: Vec<u64>,
}

/// The answer of a node to a fragment.
#[derive(Clone, Debug, Default)]
pub struct FragmentAnswer {
    /// The results of the expressions, in their order.
    pub results: Vec<FragmentResult>,
    /// Annotations of the evaluation.
    pub notes: Vec<Note>,
    /// The cost of the evaluation.
    pub stats: FragmentStats,
}

/// Why a fragment was not evaluated.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FragmentError {
    /// The samples are unavailable.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The evaluation would hold too many samples.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// The evaluation exceeds another limit.
    #[error("{0}")]
    Limit(String),
    /// The evaluation failed on this data.
    #[error("{0}")]
    Execution(String),
    /// This program cannot evaluate the fragment. The caller has to fetch samples instead.
    #[error("{0}")]
    Unsupported(String),
}
