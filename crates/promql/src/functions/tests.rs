//! The table against what Prometheus documents of its functions.

use super::*;

/// The names of the functions that a condition holds for.
fn names(condition: impl Fn(Function) -> bool) -> Vec<&'static str> {
    Function::ALL.iter().filter(|f| condition(**f)).map(|f| f.name()).collect()
}

fn is_range_function(function: Function) -> bool {
    matches!(function.kernel(), Kernel::Range(_) | Kernel::AbsentOverTime)
}

#[test]
fn the_table_is_sorted_by_name() {
    assert!(TABLE.windows(2).all(|rows| rows[0].name < rows[1].name));
}

#[test]
fn every_function_is_found_by_its_name() {
    for function in Function::ALL {
        assert_eq!(Function::from_name(function.name()), Some(*function));
    }
}

#[test]
fn names_are_case_sensitive() {
    assert_eq!(Function::from_name("RATE"), None);
    assert_eq!(Function::from_name("Rate"), None);
}

#[test]
fn names_that_only_resemble_a_function_are_not_found() {
    for name in ["", "zzz", "rat", "rates", "sum"] {
        assert_eq!(Function::from_name(name), None, "{name}");
    }
}

#[test]
fn a_function_without_optional_arguments_has_one_number_of_arguments() {
    assert_eq!(Function::Rate.min_args(), 1);
    assert_eq!(Function::Rate.max_args(), Some(1));
    assert_eq!(Function::Pi.max_args(), Some(0));
}

#[test]
fn an_optional_argument_may_be_omitted() {
    assert_eq!(Function::Hour.min_args(), 0);
    assert_eq!(Function::Hour.max_args(), Some(1));
    assert_eq!(Function::Round.min_args(), 1);
    assert_eq!(Function::Round.max_args(), Some(2));
}

#[test]
fn a_repeated_argument_has_its_bound_or_none() {
    assert_eq!(Function::HistogramQuantiles.min_args(), 3);
    assert_eq!(Function::HistogramQuantiles.max_args(), Some(12));
    assert_eq!(Function::LabelJoin.min_args(), 3);
    assert_eq!(Function::LabelJoin.max_args(), None);
}

#[test]
fn functions_of_time_vary_by_step() {
    let varying = names(|f| !f.is_step_invariant());
    let expected = [
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "days_in_month",
        "end",
        "hour",
        "minute",
        "month",
        "predict_linear",
        "range",
        "start",
        "step",
        "time",
        "timestamp",
        "year",
    ];
    assert_eq!(varying, expected);
}

#[test]
fn functions_without_arguments_are_constant() {
    assert_eq!(names(Function::is_constant), ["end", "pi", "range", "start", "step", "time"]);
}

#[test]
fn functions_that_yield_a_number_are_few() {
    let scalars = names(|f| f.returns() == ValueType::Scalar);
    assert_eq!(scalars, ["end", "max_of", "min_of", "pi", "range", "scalar", "start", "step", "time"]);
}

#[test]
fn exactly_the_range_functions_take_a_range() {
    for function in Function::ALL {
        let takes_range = function.args().contains(&ValueType::Matrix);
        assert_eq!(takes_range, is_range_function(*function), "{}", function.name());
    }
}

#[test]
fn range_functions_compute_each_series_by_itself_unless_they_look_for_none() {
    for function in Function::ALL.iter().filter(|f| is_range_function(**f)) {
        let expected = *function != Function::AbsentOverTime;
        assert_eq!(function.is_by_series(), expected, "{}", function.name());
    }
}

#[test]
fn functions_of_floats_compute_each_series_by_itself_and_drop_its_name() {
    let of_floats = |f: &Function| matches!(f.kernel(), Kernel::Floats(_) | Kernel::Round | Kernel::Clamp { .. });
    for function in Function::ALL.iter().copied().filter(of_floats) {
        assert!(function.is_by_series(), "{}", function.name());
        assert!(!function.annotates(), "{}", function.name());
        assert_eq!(function.metric_name(), MetricName::Dropped, "{}", function.name());
    }
}

#[test]
fn range_functions_that_never_annotate() {
    let silent = names(|f| is_range_function(f) && !f.annotates());
    let expected = [
        "changes",
        "count_over_time",
        "first_over_time",
        "last_over_time",
        "present_over_time",
        "resets",
        "ts_of_first_over_time",
        "ts_of_last_over_time",
    ];
    assert_eq!(silent, expected);
}

#[test]
fn functions_that_keep_the_metric_name() {
    let kept = names(|f| f.metric_name() == MetricName::Kept);
    let sorts = ["sort", "sort_by_label", "sort_by_label_desc", "sort_desc"];
    assert_eq!(kept, [&["first_over_time", "last_over_time"][..], &sorts].concat());
}

#[test]
fn functions_whose_series_are_not_those_of_the_argument() {
    assert_eq!(names(|f| f.metric_name() == MetricName::Absent), ["absent", "absent_over_time", "vector"]);
}

#[test]
fn modifiers_of_range_selectors_fit_functions_of_counters_and_gauges() {
    assert_eq!(names(Function::may_be_anchored), ["changes", "delta", "increase", "rate", "resets"]);
    assert_eq!(names(Function::may_be_smoothed), ["delta", "increase", "rate"]);
}

#[test]
fn functions_that_read_count_and_sum_only() {
    let found = names(|f| f.histogram_parts() == Some(CountAndSum));
    assert_eq!(found, ["histogram_avg", "histogram_count", "histogram_sum"]);
}

#[test]
fn functions_that_read_the_buckets() {
    let found = names(|f| f.histogram_parts() == Some(Buckets));
    let expected =
        ["histogram_fraction", "histogram_quantile", "histogram_quantiles", "histogram_stddev", "histogram_stdvar"];
    assert_eq!(found, expected);
}

#[test]
fn start_timestamps_matter_to_functions_of_counters() {
    let with_starts = names(|f| matches!(f.kernel(), Kernel::Range(kernel) if kernel.uses_starts()));
    assert_eq!(with_starts, ["increase", "irate", "rate", "resets"]);
}

#[test]
fn functions_behind_a_feature_flag() {
    let experimental = names(Function::is_experimental);
    let expected = [
        "double_exponential_smoothing",
        "end",
        "histogram_quantiles",
        "info",
        "integral",
        "mad_over_time",
        "max_of",
        "min_of",
        "range",
        "sort_by_label",
        "sort_by_label_desc",
        "start",
        "start_timestamp",
        "step",
        "ts_of_first_over_time",
        "ts_of_last_over_time",
        "ts_of_max_over_time",
        "ts_of_min_over_time",
    ];
    assert_eq!(experimental, expected);
}

#[test]
fn a_kernel_of_floats_changes_every_value() {
    let Kernel::Floats(kernel) = Function::Abs.kernel() else { panic!("abs has another kernel") };
    let mut values = [-1.0, 0.0, 2.5];
    kernel(&mut values);
    assert_eq!(values, [1.0, 0.0, 2.5]);
}

#[test]
fn query_times_are_seconds() {
    let steps = pharos_model::fragment::Steps { start: 1_000, end: 61_000, step: 15_000 };
    let value = |function: Function| match function.kernel() {
        Kernel::QueryTime(value) => value(&steps),
        other => panic!("{other:?}"),
    };
    assert_eq!(value(Function::Start), 1.0);
    assert_eq!(value(Function::End), 61.0);
    assert_eq!(value(Function::Range), 60.0);
    assert_eq!(value(Function::Step), 15.0);
}

#[test]
fn the_step_of_an_instant_query_is_zero() {
    let steps = pharos_model::fragment::Steps { start: 1_000, end: 1_000, step: 15_000 };
    let Kernel::QueryTime(value) = Function::Step.kernel() else { panic!("step has another kernel") };
    assert_eq!(value(&steps), 0.0);
}
