//! Kernels: what the table of functions names as the code that computes a function.
//!
//! A kernel that is a plain Rust function is in the table itself and is called once per series, so its inner loop is
//! compiled for it. The others name code of the evaluator, which matches on them once per call.

use pharos_model::Histogram;
use pharos_model::fragment::Steps;

use crate::civil::Moment;

/// What computes a function.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kernel {
    /// A number that the planner replaces by its value.
    Constant(f64),
    /// A number that follows from the steps of the query; the planner replaces it by its value.
    QueryTime(fn(&Steps) -> f64),
    /// The time of each step.
    StepTime,
    /// One of two numbers.
    Pairwise(fn(f64, f64) -> f64),
    /// The float of the only series, as a number.
    OnlySeries,
    /// A number, as a series without labels.
    Unlabelled,
    /// 1 where a vector is empty.
    Absent,
    /// 1 where a range holds no sample.
    AbsentOverTime,
    /// The floats of a series, changed in place.
    Floats(fn(&mut [f64])),
    /// Rounding to a multiple.
    Round,
    /// Limiting to an interval.
    Clamp {
        /// Whether there is a lower bound, the first of the bounds.
        lower: bool,
        /// Whether there is an upper bound.
        upper: bool,
    },
    /// The times of samples.
    SampleTime(SampleTime),
    /// A part of a date.
    Calendar(fn(Moment) -> i64),
    /// A number of a native histogram.
    HistogramStatistic(fn(&Histogram) -> f64),
    /// A quantile of histograms of both kinds.
    HistogramQuantile,
    /// Several quantiles, told apart by a label.
    HistogramQuantiles,
    /// The fraction of observations in an interval.
    HistogramFraction,
    /// A label made of a match of another.
    LabelReplace,
    /// A label made of several others.
    LabelJoin,
    /// Labels of info series.
    Info,
    /// An order of the series.
    Sort {
        /// What is compared.
        key: SortKey,
        /// Whether the largest comes first.
        descending: bool,
    },
    /// A number of each window of samples.
    Range(RangeFn),
}

/// Which time of a sample is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SampleTime {
    /// When it was taken.
    Taken,
    /// When its counter began.
    Start,
}

/// What series are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SortKey {
    /// Their values.
    Value,
    /// The values of some of their labels.
    Labels,
}

/// A function of the samples in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeFn {
    Rate(Rate),
    /// The change between the last two samples.
    Instant {
        counter: bool,
    },
    Sum,
    Avg,
    Extreme {
        largest: bool,
    },
    ExtremeTime {
        largest: bool,
    },
    Count,
    First,
    Last,
    FirstTime,
    LastTime,
    Present,
    Quantile,
    Stddev,
    Stdvar,
    MedianDeviation,
    Changes,
    Resets,
    Derivative,
    Integral,
    Predict,
    Smooth,
}

impl RangeFn {
    /// Whether start timestamps change the result.
    pub(crate) fn uses_starts(self) -> bool {
        matches!(self, RangeFn::Rate(Rate { counter: true, .. }) | RangeFn::Instant { counter: true } | RangeFn::Resets)
    }
}

/// An extrapolating function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Whether counter resets and the zero point are taken into account.
    pub(crate) counter: bool,
    /// Whether the result is per second.
    pub(crate) per_second: bool,
}
