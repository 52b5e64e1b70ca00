//! The functions of PromQL. A function is a variant of [`Function`] with its row in the table: the parser, the planner, the
//! evaluator and the rest of the crate ask the row, never the name.
//!
//! To add a function, add its row; where no kernel fits, add one to [`Kernel`] and implement it in the evaluator.
//!
//! Invariant: the table is sorted by name, so that a name is found by bisection and messages list functions in
//! alphabetical order.

mod kernel;
mod properties;

pub(crate) use kernel::{Kernel, RangeFn, Rate, SampleTime, SortKey};
pub(crate) use properties::{HistogramParts, MetricName};

use crate::arithmetic::{go_log2, go_log10, go_max, go_min, sign};
use crate::quantile::{histogram_stddev, histogram_stdvar};
use crate::syntax::operators::ValueType::{self, Matrix, Scalar, String, Vector};
use HistogramParts::{Buckets, CountAndSum};
use properties::{Properties, WindowModifiers, calendar, math, over_range, scalar, vector};

/// Defines [`Function`] and the table from rows of `variant => properties`.
macro_rules! functions {
    ($($variant:ident => $properties:expr,)*) => {
        /// A function of PromQL. The variants are named after the functions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "a variant says no more than the name of its function")]
        pub enum Function {
            $($variant,)*
        }

        impl Function {
            /// All functions, sorted by name.
            pub const ALL: &'static [Function] = &[$(Function::$variant,)*];
        }

        /// The rows, in the order of the variants.
        static TABLE: [Properties; Function::ALL.len()] = [$($properties,)*];
    };
}

functions! {
    Abs => math("abs", |v| each(v, f64::abs)),
    Absent => vector("absent", &[Vector], Kernel::Absent).unnamed(),
    AbsentOverTime => vector("absent_over_time", &[Matrix], Kernel::AbsentOverTime).unnamed(),
    Acos => math("acos", |v| each(v, f64::acos)),
    Acosh => math("acosh", |v| each(v, f64::acosh)),
    Asin => math("asin", |v| each(v, f64::asin)),
    Asinh => math("asinh", |v| each(v, f64::asinh)),
    Atan => math("atan", |v| each(v, f64::atan)),
    Atanh => math("atanh", |v| each(v, f64::atanh)),
    AvgOverTime => over_range("avg_over_time", RangeFn::Avg),
    Ceil => math("ceil", |v| each(v, f64::ceil)),
    Changes => over_range("changes", RangeFn::Changes).silent().anchored(),
    Clamp => vector("clamp", &[Vector, Scalar, Scalar], Kernel::Clamp { lower: true, upper: true }).by_series(),
    ClampMax => vector("clamp_max", &[Vector, Scalar], Kernel::Clamp { lower: false, upper: true }).by_series(),
    ClampMin => vector("clamp_min", &[Vector, Scalar], Kernel::Clamp { lower: true, upper: false }).by_series(),
    Cos => math("cos", |v| each(v, f64::cos)),
    Cosh => math("cosh", |v| each(v, f64::cosh)),
    CountOverTime => over_range("count_over_time", RangeFn::Count).silent(),
    DayOfMonth => calendar("day_of_month", |m| m.day),
    DayOfWeek => calendar("day_of_week", |m| m.weekday()),
    DayOfYear => calendar("day_of_year", |m| m.day_of_year()),
    DaysInMonth => calendar("days_in_month", |m| m.days_in_month()),
    Deg => math("deg", |v| each(v, |x| x * 180.0 / std::f64::consts::PI)),
    Delta => over_range("delta", rate(false, false)).anchored_and_smoothed(),
    Deriv => over_range("deriv", RangeFn::Derivative),
    DoubleExponentialSmoothing => over_range("double_exponential_smoothing", RangeFn::Smooth)
        .args(&[Matrix, Scalar, Scalar])
        .experimental(),
    End => scalar("end", &[], Kernel::QueryTime(|steps| steps.end as f64 / 1000.0)).varies_by_step().experimental(),
    Exp => math("exp", |v| each(v, f64::exp)),
    FirstOverTime => over_range("first_over_time", RangeFn::First).keeps_name().silent(),
    Floor => math("floor", |v| each(v, f64::floor)),
    HistogramAvg => vector("histogram_avg", &[Vector], Kernel::HistogramStatistic(|h| h.sum / h.count))
        .reads(CountAndSum),
    HistogramCount => vector("histogram_count", &[Vector], Kernel::HistogramStatistic(|h| h.count)).reads(CountAndSum),
    HistogramFraction => vector("histogram_fraction", &[Scalar, Scalar, Vector], Kernel::HistogramFraction)
        .reads(Buckets),
    HistogramQuantile => vector("histogram_quantile", &[Scalar, Vector], Kernel::HistogramQuantile).reads(Buckets),
    HistogramQuantiles => vector("histogram_quantiles", &[Vector, String, Scalar, Scalar], Kernel::HistogramQuantiles)
        .optional(9)
        .experimental()
        .reads(Buckets),
    HistogramStddev => vector("histogram_stddev", &[Vector], Kernel::HistogramStatistic(histogram_stddev))
        .reads(Buckets),
    HistogramStdvar => vector("histogram_stdvar", &[Vector], Kernel::HistogramStatistic(histogram_stdvar))
        .reads(Buckets),
    HistogramSum => vector("histogram_sum", &[Vector], Kernel::HistogramStatistic(|h| h.sum)).reads(CountAndSum),
    Hour => calendar("hour", |m| m.hour),
    Idelta => over_range("idelta", RangeFn::Instant { counter: false }),
    Increase => over_range("increase", rate(true, false)).anchored_and_smoothed(),
    Info => vector("info", &[Vector, Vector], Kernel::Info).optional(1).experimental(),
    Integral => over_range("integral", RangeFn::Integral).args(&[Matrix, Scalar]).optional(1).experimental(),
    Irate => over_range("irate", RangeFn::Instant { counter: true }),
    LabelJoin => vector("label_join", &[Vector, String, String, String], Kernel::LabelJoin).repeated(),
    LabelReplace => vector("label_replace", &[Vector, String, String, String, String], Kernel::LabelReplace),
    LastOverTime => over_range("last_over_time", RangeFn::Last).keeps_name().silent(),
    Ln => math("ln", |v| each(v, f64::ln)),
    Log10 => math("log10", |v| each(v, go_log10)),
    Log2 => math("log2", |v| each(v, go_log2)),
    MadOverTime => over_range("mad_over_time", RangeFn::MedianDeviation).experimental(),
    MaxOf => scalar("max_of", &[Scalar, Scalar], Kernel::Pairwise(go_max)).experimental(),
    MaxOverTime => over_range("max_over_time", RangeFn::Extreme { largest: true }),
    MinOf => scalar("min_of", &[Scalar, Scalar], Kernel::Pairwise(go_min)).experimental(),
    MinOverTime => over_range("min_over_time", RangeFn::Extreme { largest: false }),
    Minute => calendar("minute", |m| m.minute),
    Month => calendar("month", |m| m.month),
    Pi => scalar("pi", &[], Kernel::Constant(std::f64::consts::PI)),
    PredictLinear => over_range("predict_linear", RangeFn::Predict).args(&[Matrix, Scalar]).varies_by_step(),
    PresentOverTime => over_range("present_over_time", RangeFn::Present).silent(),
    QuantileOverTime => over_range("quantile_over_time", RangeFn::Quantile).args(&[Scalar, Matrix]),
    Rad => math("rad", |v| each(v, |x| x * std::f64::consts::PI / 180.0)),
    Range => scalar("range", &[], Kernel::QueryTime(|steps| (steps.end - steps.start) as f64 / 1000.0))
        .varies_by_step()
        .experimental(),
    Rate => over_range("rate", rate(true, true)).anchored_and_smoothed(),
    Resets => over_range("resets", RangeFn::Resets).silent().anchored(),
    Round => vector("round", &[Vector, Scalar], Kernel::Round).optional(1).by_series(),
    Scalar => scalar("scalar", &[Vector], Kernel::OnlySeries),
    Sgn => math("sgn", |v| each(v, sign)),
    Sin => math("sin", |v| each(v, f64::sin)),
    Sinh => math("sinh", |v| each(v, f64::sinh)),
    Sort => sorted("sort", &[Vector], SortKey::Value, false),
    SortByLabel => sorted("sort_by_label", &[Vector, String], SortKey::Labels, false).repeated().experimental(),
    SortByLabelDesc => sorted("sort_by_label_desc", &[Vector, String], SortKey::Labels, true)
        .repeated()
        .experimental(),
    SortDesc => sorted("sort_desc", &[Vector], SortKey::Value, true),
    Sqrt => math("sqrt", |v| each(v, f64::sqrt)),
    Start => scalar("start", &[], Kernel::QueryTime(|steps| steps.start as f64 / 1000.0))
        .varies_by_step()
        .experimental(),
    StartTimestamp => vector("start_timestamp", &[Vector], Kernel::SampleTime(SampleTime::Start)).experimental(),
    StddevOverTime => over_range("stddev_over_time", RangeFn::Stddev),
    StdvarOverTime => over_range("stdvar_over_time", RangeFn::Stdvar),
    Step => scalar("step", &[], Kernel::QueryTime(|steps| if steps.start == steps.end { 0.0 } else { steps.step as f64 / 1000.0 }))
        .varies_by_step()
        .experimental(),
    SumOverTime => over_range("sum_over_time", RangeFn::Sum),
    Tan => math("tan", |v| each(v, f64::tan)),
    Tanh => math("tanh", |v| each(v, f64::tanh)),
    Time => scalar("time", &[], Kernel::StepTime).varies_by_step(),
    Timestamp => vector("timestamp", &[Vector], Kernel::SampleTime(SampleTime::Taken)).varies_by_step(),
    TsOfFirstOverTime => over_range("ts_of_first_over_time", RangeFn::FirstTime).silent().experimental(),
    TsOfLastOverTime => over_range("ts_of_last_over_time", RangeFn::LastTime).silent().experimental(),
    TsOfMaxOverTime => over_range("ts_of_max_over_time", RangeFn::ExtremeTime { largest: true }).experimental(),
    TsOfMinOverTime => over_range("ts_of_min_over_time", RangeFn::ExtremeTime { largest: false }).experimental(),
    Vector => vector("vector", &[Scalar], Kernel::Unlabelled).unnamed(),
    Year => calendar("year", |m| m.year),
}

const fn rate(counter: bool, per_second: bool) -> RangeFn {
    RangeFn::Rate(Rate { counter, per_second })
}

const fn sorted(name: &'static str, args: &'static [ValueType], key: SortKey, descending: bool) -> Properties {
    vector(name, args, Kernel::Sort { key, descending }).keeps_name()
}

/// Changes each value. Compiled for each function, so that the loop calls nothing.
#[inline]
fn each(values: &mut [f64], f: impl Fn(f64) -> f64) {
    values.iter_mut().for_each(|v| *v = f(*v));
}

impl Function {
    /// The function of a name; names are case-sensitive.
    pub fn from_name(name: &str) -> Option<Function> {
        TABLE.binary_search_by(|row| row.name.cmp(name)).ok().map(|at| Function::ALL[at])
    }

    fn properties(self) -> &'static Properties {
        &TABLE[self as usize]
    }

    /// The name in queries.
    pub fn name(self) -> &'static str {
        self.properties().name
    }

    /// The types of the arguments. The last type applies to all further arguments; see [`Function::variadic`].
    pub fn args(self) -> &'static [ValueType] {
        self.properties().args
    }

    /// How often the last argument may be given, in Prometheus's notation: 0 for once, n for up to n times or not at all,
    /// -1 for any number of times.
    pub fn variadic(self) -> i32 {
        self.properties().variadic
    }

    /// The smallest number of arguments of a call.
    pub fn min_args(self) -> usize {
        if self.variadic() == 0 { self.args().len() } else { self.args().len().saturating_sub(1) }
    }

    /// The largest number of arguments of a call; `None` without a bound.
    pub fn max_args(self) -> Option<usize> {
        usize::try_from(self.variadic()).ok().map(|repeats| self.min_args() + repeats)
    }

    /// The type of the result.
    pub fn returns(self) -> ValueType {
        self.properties().returns
    }

    /// Whether Prometheus has the function behind a feature flag.
    pub fn is_experimental(self) -> bool {
        self.properties().experimental
    }

    /// Whether the result is the same at all steps when the arguments are.
    pub(crate) fn is_step_invariant(self) -> bool {
        self.properties().step_invariant
    }

    /// Whether each series of the result comes from one series of the argument alone and has its labels, but for those
    /// of the metric. Such a function can be evaluated where the series are, or by several threads.
    pub(crate) fn is_by_series(self) -> bool {
        self.properties().by_series
    }

    /// Whether a call may leave annotations, beside those of its arguments.
    pub(crate) fn annotates(self) -> bool {
        self.properties().annotates
    }

    /// Whether a call reads no series and yields the same number wherever it is evaluated.
    pub(crate) fn is_constant(self) -> bool {
        self.args().is_empty()
    }

    /// What becomes of the metric name of a series.
    pub(crate) fn metric_name(self) -> MetricName {
        self.properties().metric_name
    }

    /// The parts of native histograms that are read; `None` when whoever uses the result decides.
    pub(crate) fn histogram_parts(self) -> Option<HistogramParts> {
        self.properties().histogram_parts
    }

    /// Whether the argument may be `anchored`.
    pub(crate) fn may_be_anchored(self) -> bool {
        self.properties().window_modifiers != WindowModifiers::None
    }

    /// Whether the argument may be `smoothed`.
    pub(crate) fn may_be_smoothed(self) -> bool {
        self.properties().window_modifiers == WindowModifiers::All
    }

    /// What computes it.
    pub(crate) fn kernel(self) -> Kernel {
        self.properties().kernel
    }
}

#[cfg(test)]
mod tests;
