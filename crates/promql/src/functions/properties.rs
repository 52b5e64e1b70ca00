//! What is known of a function beside its name, and how a row of the table is written.

use super::kernel::{Kernel, RangeFn};
use crate::syntax::operators::ValueType::{self, Matrix, Scalar, Vector};

/// Properties of a function.
#[derive(Debug)]
pub(super) struct Properties {
    pub(super) name: &'static str,
    /// The types of the arguments; see `variadic`.
    pub(super) args: &'static [ValueType],
    /// 0: exactly `args`; n > 0: the last argument is optional and may be repeated up to n times; -1: without bound.
    pub(super) variadic: i32,
    pub(super) returns: ValueType,
    pub(super) experimental: bool,
    pub(super) step_invariant: bool,
    pub(super) by_series: bool,
    pub(super) annotates: bool,
    pub(super) metric_name: MetricName,
    pub(super) histogram_parts: Option<HistogramParts>,
    pub(super) window_modifiers: WindowModifiers,
    pub(super) kernel: Kernel,
}

/// What becomes of the metric name of a series that a function is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricName {
    /// The result has no series of its argument.
    Absent,
    /// The result keeps it.
    Kept,
    /// The result drops it.
    Dropped,
    /// That depends on the arguments.
    Varies,
}

/// The parts of a native histogram that a function reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistogramParts {
    /// Count and sum.
    CountAndSum,
    /// The buckets, too.
    Buckets,
}

/// The modifiers of a range selector that a function can be used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowModifiers {
    None,
    /// `anchored` alone.
    Anchored,
    /// `anchored` and `smoothed`.
    All,
}

const fn function(name: &'static str, args: &'static [ValueType], returns: ValueType, kernel: Kernel) -> Properties {
    Properties {
        name,
        args,
        variadic: 0,
        returns,
        experimental: false,
        step_invariant: true,
        by_series: false,
        annotates: true,
        metric_name: MetricName::Varies,
        histogram_parts: None,
        window_modifiers: WindowModifiers::None,
        kernel,
    }
}

/// A function that yields a number.
pub(super) const fn scalar(name: &'static str, args: &'static [ValueType], kernel: Kernel) -> Properties {
    function(name, args, Scalar, kernel)
}

/// A function that yields a vector, of anything but a range.
pub(super) const fn vector(name: &'static str, args: &'static [ValueType], kernel: Kernel) -> Properties {
    function(name, args, Vector, kernel)
}

/// A function of floats alone.
pub(super) const fn math(name: &'static str, of_floats: fn(&mut [f64])) -> Properties {
    vector(name, &[Vector], Kernel::Floats(of_floats)).by_series()
}

/// A function of dates, or of the time of the step.
pub(super) const fn calendar(name: &'static str, kernel: fn(crate::civil::Moment) -> i64) -> Properties {
    vector(name, &[Vector], Kernel::Calendar(kernel)).optional(1).varies_by_step()
}

/// A function of each window of a range.
pub(super) const fn over_range(name: &'static str, kernel: RangeFn) -> Properties {
    let mut properties = vector(name, &[Matrix], Kernel::Range(kernel)).by_series();
    properties.annotates = true;
    properties
}

impl Properties {
    /// Sets the arguments.
    pub(super) const fn args(mut self, args: &'static [ValueType]) -> Self {
        self.args = args;
        self
    }

    /// Makes the last argument optional, repeated up to `repeats` times.
    pub(super) const fn optional(mut self, repeats: i32) -> Self {
        self.variadic = repeats;
        self
    }

    /// Makes the last argument optional, repeated without bound.
    pub(super) const fn repeated(self) -> Self {
        self.optional(-1)
    }

    pub(super) const fn experimental(mut self) -> Self {
        self.experimental = true;
        self
    }

    /// The result may differ between steps though the arguments do not.
    pub(super) const fn varies_by_step(mut self) -> Self {
        self.step_invariant = false;
        self
    }

    /// Each series of the result comes from one of the argument, without its metric name; nothing is annotated.
    pub(super) const fn by_series(mut self) -> Self {
        self.by_series = true;
        self.metric_name = MetricName::Dropped;
        self.silent()
    }

    /// The function annotates nothing, whatever its argument.
    pub(super) const fn silent(mut self) -> Self {
        self.annotates = false;
        self
    }

    pub(super) const fn keeps_name(mut self) -> Self {
        self.metric_name = MetricName::Kept;
        self
    }

    /// The series of the result are none of the argument's.
    pub(super) const fn unnamed(mut self) -> Self {
        self.metric_name = MetricName::Absent;
        self
    }

    pub(super) const fn reads(mut self, parts: HistogramParts) -> Self {
        self.histogram_parts = Some(parts);
        self
    }

    pub(super) const fn anchored(mut self) -> Self {
        self.window_modifiers = WindowModifiers::Anchored;
        self
    }

    pub(super) const fn anchored_and_smoothed(mut self) -> Self {
        self.window_modifiers = WindowModifiers::All;
        self
    }
}
