//! Fragments: parts of a query that are evaluated where the samples are. This is what is sent and what comes back.

use std::ops::Range;
use std::sync::Arc;

use pharos_histogram::Histogram;

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

impl Steps {
    /// The number of steps.
    pub fn count(&self) -> usize {
        match self.step {
            ..=0 => 1,
            _ if self.end < self.start => 0,
            step => usize::try_from(self.end.saturating_sub(self.start) / step).map_or(usize::MAX, |n| n + 1),
        }
    }
}

/// What a node computes for a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentForm {
    /// Its value, as if there were no series on other nodes.
    Whole,
    /// A partial value, which is merged with those of other nodes.
    Partial,
    /// The value of its argument, from which the caller computes the value of the fragment.
    Argument,
}

/// A part of a query, sent to a node that holds some of the series.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// The whole query, in which annotations name positions.
    pub query: String,
    /// The bytes of the query that the part consists of.
    pub place: Range<usize>,
    /// What to compute for the part.
    pub form: FragmentForm,
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

/// A series of a fragment's value, with a column of one value for each step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FragmentRow {
    /// The labels of the series, including its name even if the result has no names.
    pub labels: Labels,
    /// For the group of an aggregation: the first of the group's series in the order of labels. Groups are in the order of
    /// their first series.
    pub first: Option<Labels>,
    /// The position among several groups with the same first series; 0 if there is only one.
    pub rank: u32,
    /// The steps that have a float, one bit for each.
    pub present: Vec<u64>,
    /// One float for each step, meaningful only at steps that are present.
    pub values: Vec<f64>,
    /// Steps that have a native histogram, ascending.
    pub hists: Vec<(u32, Arc<Histogram>)>,
    /// The rounding errors and bounds of partial sums; `None` for other values.
    pub sum: Option<Box<PartialSum>>,
}

impl FragmentRow {
    /// Whether a step has a float.
    pub fn has(&self, step: usize) -> bool {
        self.present.get(step / 64).is_some_and(|word| word >> (step % 64) & 1 == 1)
    }

    /// The approximate memory that the row holds, bytes.
    pub fn bytes(&self) -> usize {
        let histograms: usize = self.hists.iter().map(|(_, h)| 16 + h.bytes()).sum();
        let lost = self.sum.as_ref().map_or(0, |sum| sum.lost.len() + 2 * sum.special.len());
        size_of::<Self>()
            + self.labels.as_bytes().len()
            + 8 * (self.values.len() + lost)
            + self.values.len() / 8
            + histograms
    }
}

/// What a column of partial sums has besides the rounded sums. At each step, the sum of the finite terms is the value plus `lost`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartialSum {
    /// The rounding error of each step.
    pub lost: Vec<f64>,
    /// What is known about the terms.
    pub terms: Terms,
    /// Steps with terms that are infinite or NaN, ascending, each with the sum of these terms.
    pub special: Vec<(u32, f64)>,
}

/// What is known about the finite terms of sums. It bounds their rounding errors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Maximum number of terms of a sum.
    pub count: u64,
    /// No sum of absolute values of terms exceeds this.
    pub magnitude: f64,
    /// No term other than zero has a smaller absolute value than this.
    pub smallest: f64,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { count: 0, magnitude: 0.0, smallest: f64::INFINITY }
    }
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
    /// Samples that all steps looked at.
    pub queryable_samples: u64,
    /// The same for each step, if the fragment asked for it.
    pub queryable_by_step: Vec<u64>,
}

/// The answer of a node to a fragment.
#[derive(Clone, Debug, Default)]
pub struct FragmentAnswer {
    /// The series of the value.
    pub rows: Vec<FragmentRow>,
    /// Whether the caller must drop the names.
    pub names_go: bool,
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
    /// The partial values of this node cannot be merged exactly. The caller must request the argument instead.
    #[error("{0}")]
    Inexact(String),
    /// This version cannot evaluate the fragment. The caller must fetch samples instead.
    #[error("{0}")]
    Unsupported(String),
}
