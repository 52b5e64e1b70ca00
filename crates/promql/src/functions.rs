//! The functions of PromQL: names, arguments and results, as data. The parser checks calls against this table; the
//! evaluator holds one kernel for each.
//!
//! Invariant: [`FUNCTIONS`] is sorted by name, so that a name is found by bisection.

use crate::syntax::ast::ValueType::{self, Matrix, Scalar, String, Vector};

/// A function's signature.
#[derive(Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments; see `variadic`.
    pub args: &'static [ValueType],
    /// 0: exactly `args`; n > 0: the last argument is optional and may be repeated up to n times; -1: without bound.
    pub variadic: i32,
    /// The type of its result.
    pub returns: ValueType,
    /// Whether Prometheus has it behind a feature flag.
    pub experimental: bool,
}

impl Function {
    /// The least number of arguments of a call.
    pub fn min_args(&self) -> usize {
        if self.variadic == 0 { self.args.len() } else { self.args.len().saturating_sub(1) }
    }

    /// The largest number of arguments of a call; none when there is no bound.
    pub fn max_args(&self) -> Option<usize> {
        usize::try_from(self.variadic).ok().map(|repeats| self.min_args() + repeats)
    }
}

/// The function of a name; names are case-sensitive.
pub fn lookup(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
}

const fn function(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, variadic: 0, returns, experimental: false }
}

impl Function {
    const fn variadic(mut self, repeats: i32) -> Self {
        self.variadic = repeats;
        self
    }

    const fn experimental(mut self) -> Self {
        self.experimental = true;
        self
    }
}

/// All functions, sorted by name.
pub static FUNCTIONS: &[Function] = &[
    function("abs", &[Vector], Vector),
    function("absent", &[Vector], Vector),
    function("absent_over_time", &[Matrix], Vector),
    function("acos", &[Vector], Vector),
    function("acosh", &[Vector], Vector),
    function("asin", &[Vector], Vector),
    function("asinh", &[Vector], Vector),
    function("atan", &[Vector], Vector),
    function("atanh", &[Vector], Vector),
    function("avg_over_time", &[Matrix], Vector),
    function("ceil", &[Vector], Vector),
    function("changes", &[Matrix], Vector),
    function("clamp", &[Vector, Scalar, Scalar], Vector),
    function("clamp_max", &[Vector, Scalar], Vector),
    function("clamp_min", &[Vector, Scalar], Vector),
    function("cos", &[Vector], Vector),
    function("cosh", &[Vector], Vector),
    function("count_over_time", &[Matrix], Vector),
    function("day_of_month", &[Vector], Vector).variadic(1),
    function("day_of_week", &[Vector], Vector).variadic(1),
    function("day_of_year", &[Vector], Vector).variadic(1),
    function("days_in_month", &[Vector], Vector).variadic(1),
    function("deg", &[Vector], Vector),
    function("delta", &[Matrix], Vector),
    function("deriv", &[Matrix], Vector),
    function("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector).experimental(),
    function("end", &[], Scalar).experimental(),
    function("exp", &[Vector], Vector),
    function("first_over_time", &[Matrix], Vector),
    function("floor", &[Vector], Vector),
    function("histogram_avg", &[Vector], Vector),
    function("histogram_count", &[Vector], Vector),
    function("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    function("histogram_quantile", &[Scalar, Vector], Vector),
    function("histogram_quantiles", &[Vector, String, Scalar, Scalar], Vector).variadic(9).experimental(),
    function("histogram_stddev", &[Vector], Vector),
    function("histogram_stdvar", &[Vector], Vector),
    function("histogram_sum", &[Vector], Vector),
    function("hour", &[Vector], Vector).variadic(1),
    function("idelta", &[Matrix], Vector),
    function("increase", &[Matrix], Vector),
    function("info", &[Vector, Vector], Vector).variadic(1).experimental(),
    function("irate", &[Matrix], Vector),
    function("label_join", &[Vector, String, String, String], Vector).variadic(-1),
    function("label_replace", &[Vector, String, String, String, String], Vector),
    function("last_over_time", &[Matrix], Vector),
    function("ln", &[Vector], Vector),
    function("log10", &[Vector], Vector),
    function("log2", &[Vector], Vector),
    function("mad_over_time", &[Matrix], Vector).experimental(),
    function("max_of", &[Scalar, Scalar], Scalar).experimental(),
    function("max_over_time", &[Matrix], Vector),
    function("min_of", &[Scalar, Scalar], Scalar).experimental(),
    function("min_over_time", &[Matrix], Vector),
    function("minute", &[Vector], Vector).variadic(1),
    function("month", &[Vector], Vector).variadic(1),
    function("pi", &[], Scalar),
    function("predict_linear", &[Matrix, Scalar], Vector),
    function("present_over_time", &[Matrix], Vector),
    function("quantile_over_time", &[Scalar, Matrix], Vector),
    function("rad", &[Vector], Vector),
    function("range", &[], Scalar).experimental(),
    function("rate", &[Matrix], Vector),
    function("resets", &[Matrix], Vector),
    function("round", &[Vector, Scalar], Vector).variadic(1),
    function("scalar", &[Vector], Scalar),
    function("sgn", &[Vector], Vector),
    function("sin", &[Vector], Vector),
    function("sinh", &[Vector], Vector),
    function("sort", &[Vector], Vector),
    function("sort_by_label", &[Vector, String], Vector).variadic(-1).experimental(),
    function("sort_by_label_desc", &[Vector, String], Vector).variadic(-1).experimental(),
    function("sort_desc", &[Vector], Vector),
    function("sqrt", &[Vector], Vector),
    function("start", &[], Scalar).experimental(),
    function("start_timestamp", &[Vector], Vector).experimental(),
    function("stddev_over_time", &[Matrix], Vector),
    function("stdvar_over_time", &[Matrix], Vector),
    function("step", &[], Scalar).experimental(),
    function("sum_over_time", &[Matrix], Vector),
    function("tan", &[Vector], Vector),
    function("tanh", &[Vector], Vector),
    function("time", &[], Scalar),
    function("timestamp", &[Vector], Vector),
    function("ts_of_first_over_time", &[Matrix], Vector).experimental(),
    function("ts_of_last_over_time", &[Matrix], Vector).experimental(),
    function("ts_of_max_over_time", &[Matrix], Vector).experimental(),
    function("ts_of_min_over_time", &[Matrix], Vector).experimental(),
    function("vector", &[Scalar], Vector),
    function("year", &[Vector], Vector).variadic(1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_found_by_name() {
        assert!(FUNCTIONS.windows(2).all(|w| w[0].name < w[1].name));
        for function in FUNCTIONS {
            assert!(std::ptr::eq(lookup(function.name).unwrap(), function));
        }
        assert!(lookup("RATE").is_none() && lookup("").is_none() && lookup("zzz").is_none());
    }

    #[test]
    fn argument_counts_follow_the_signature() {
        let counts = |name| lookup(name).map(|f| (f.min_args(), f.max_args())).unwrap();
        assert_eq!(counts("rate"), (1, Some(1)));
        assert_eq!(counts("hour"), (0, Some(1)));
        assert_eq!(counts("round"), (1, Some(2)));
        assert_eq!(counts("label_join"), (3, None));
        assert_eq!(counts("histogram_quantiles"), (3, Some(12)));
    }
}
