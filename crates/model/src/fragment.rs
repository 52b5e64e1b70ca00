//! Parts of queries that are evaluated where the samples are: what is asked for, and what is answered.

use std::ops::Range;

use crate::batch::SeriesBatch;
use crate::labels::Labels;
use crate::series_set::SelectError;

/// Steps of a query, milliseconds: `start`, `start + step` … up to `end`. Of an instant query, `step` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// First step.
    pub start: i64,
    /// No step is later.
    pub end: i64,
    /// Distance.
    pub step: i64,
}

/// A part of a query, for one who holds samples of some series.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// The whole query: annotations name places in it.
    pub query: String,
    /// Where the part is in the query, bytes.
    pub place: Range<usize>,
    /// What is evaluated, as they are written: the part itself, or the partials that it is put together from.
    pub expressions: Vec<String>,
    /// The steps of the query, which `@ start()` and the like look at.
    pub times: Steps,
    /// The steps to evaluate.
    pub steps: Steps,
    /// How far back a sample is looked for, milliseconds.
    pub lookback_ms: i64,
    /// Most samples that may be held at a time.
    pub max_samples: u64,
    /// Most series that may be selected, 0 for no limit.
    pub max_series: u64,
    /// Whether counters are known by their `__type__` label.
    pub type_and_unit_labels: bool,
    /// Whether start timestamps of samples are used.
    pub use_start_timestamps: bool,
    /// Whether the samples that steps look at are counted by step.
    pub samples_per_step: bool,
}

/// The value of one expression.
#[derive(Clone, Debug, Default)]
pub struct FragmentResult {
    /// The series, with their names also where they go away in the end.
    pub labels: Vec<Labels>,
    /// Their samples, a series each, at steps.
    pub samples: SeriesBatch,
    /// Whether the names go away in the end.
    pub names_go: bool,
}

/// What is to be said of the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// The text, without a place.
    pub text: String,
    /// The place in the query, bytes.
    pub pos: u64,
    /// What is collected over all occurrences.
    pub extra: NoteExtra,
}

/// What some notes collect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoteExtra {
    /// Nothing.
    None,
    /// How often.
    Count(u64),
    /// How classic buckets had to be fixed: first and last time, lowest and highest bound, largest fix, how often.
    Monotonicity {
        /// First and last evaluation time, milliseconds.
        t: (i64, i64),
        /// Lowest and highest bound.
        buckets: (f64, f64),
        /// Largest fix.
        max_diff: f64,
        /// How often.
        count: u64,
    },
}

/// What evaluating a fragment took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FragmentStats {
    /// Samples that were read.
    pub samples_read: u64,
    /// Most samples that were held at a time.
    pub peak_samples: u64,
    /// Series that were selected.
    pub series: u64,
    /// Most bytes that were held at a time.
    pub peak_bytes: u64,
    /// Bytes that were read from objects.
    pub bytes_read: u64,
    /// Requests in which they were read.
    pub requests: u64,
    /// Samples that all steps together looked at, of the first expression.
    pub queryable_samples: u64,
    /// The same step by step, if asked for.
    pub queryable_by_step: Vec<u64>,
}

/// The answer to a fragment.
#[derive(Clone, Debug, Default)]
pub struct FragmentAnswer {
    /// One result an expression, in their order.
    pub results: Vec<FragmentResult>,
    /// What is to be said.
    pub notes: Vec<Note>,
    /// What it took.
    pub stats: FragmentStats,
}

/// Why a fragment has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FragmentError {
    /// The samples could not be had.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// It would hold more samples than it may.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// It is over another limit.
    #[error("{0}")]
    Limit(String),
    /// It cannot be evaluated on this data.
    #[error("{0}")]
    Execution(String),
    /// It is no fragment that this program can evaluate; the samples have to be fetched.
    #[error("{0}")]
    Unsupported(String),
}
