//! The rules of a valid histogram.

use super::*;

/// The error of a histogram that differs from a valid one with two exponential buckets.
#[track_caller]
fn check_refused(change: fn(&mut Histogram), expected: &str) {
    let mut h = exponential(0, 0, &[1.0, 2.0]);
    assert!(h.validate().is_ok());
    change(&mut h);
    let error = h.validate().unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn unknown_schemas_are_refused() {
    check_refused(|h| h.schema = 9, "got schema 9");
    check_refused(|h| h.schema = -5, "got schema -5");
}

#[test]
fn spans_must_match_the_buckets() {
    let span = |offset, length| Span { offset, length };
    check_refused(
        |h| h.positive_spans = vec![Span { offset: 0, length: u32::MAX }; 3],
        "spans need 12884901885 buckets",
    );
    check_refused(|h| h.negative_buckets.push(1.0), "negative side: spans need 0 buckets, have 1 buckets");
    let overlapping = Histogram { positive_spans: vec![span(0, 1), span(-1, 1)], ..exponential(0, 0, &[1.0, 2.0]) };
    assert!(overlapping.validate().unwrap_err().to_string().contains("span number 2 with offset -1"));
}

#[test]
fn bucket_indices_must_fit() {
    check_refused(|h| h.positive_spans[0].offset = i32::MAX, "spans reach bucket 2147483649, which is out of range");
}

#[test]
fn negative_counts_are_refused() {
    check_refused(|h| h.count = -1.0, "observation count is negative");
    check_refused(|h| h.positive_buckets[1] = -1.0, "bucket number 2 has observation count of -1");
    check_refused(|h| h.zero_count = -2.0, "zero bucket has observation count of -2");
}

#[test]
fn the_zero_threshold_must_be_a_positive_number() {
    check_refused(|h| h.zero_threshold = f64::NAN, "zero bucket has a threshold of NaN");
    check_refused(|h| h.zero_threshold = -1.0, "zero bucket has a threshold of -1");
}

fn integer(count: f64, sum: f64) -> Histogram {
    Histogram { integer: true, count, sum, ..exponential(0, 0, &[1.0, 2.0]) }
}

#[test]
fn the_count_of_an_integer_histogram_is_that_of_its_buckets() {
    assert!(integer(3.0, 1.0).validate().is_ok());
    assert!(integer(4.0, 1.0).validate().unwrap_err().to_string().contains("should equal"));
}

#[test]
fn observations_of_nan_are_in_no_bucket() {
    assert!(integer(5.0, f64::NAN).validate().is_ok());
    assert!(integer(2.0, f64::NAN).validate().unwrap_err().to_string().contains("at least"));
}

/// The error of a histogram that differs from a valid one with custom buckets.
#[track_caller]
fn check_refused_custom(change: fn(&mut Histogram), expected: &str) {
    let mut h = custom(&[1.0, 2.0], &[1.0, 1.0, 1.0]);
    assert!(h.validate().is_ok());
    change(&mut h);
    let error = h.validate().unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn custom_bounds_must_ascend_and_be_finite() {
    check_refused_custom(|h| h.custom_values = [2.0, 1.0].into(), "previous bound is 2 and current is 1");
    check_refused_custom(|h| h.custom_values = [f64::NAN].into(), "must not be NaN");
    check_refused_custom(
        |h| h.custom_values = [1.0, f64::INFINITY].into(),
        "last +Inf bound must not be explicitly defined",
    );
}

#[test]
fn custom_bounds_must_cover_the_spans() {
    check_refused_custom(|h| h.custom_values = [1.0].into(), "only 1 custom bounds defined");
    check_refused_custom(|h| h.positive_spans[0].offset = -1, "span number 1 with offset -1");
}

#[test]
fn custom_buckets_have_nothing_of_exponential_ones() {
    check_refused_custom(|h| h.zero_count = 1.0, "must have zero count of 0");
    check_refused_custom(|h| h.zero_threshold = 1.0, "must have zero threshold of 0");
    check_refused_custom(|h| h.negative_spans = vec![Span { offset: 0, length: 0 }], "must not have negative spans");
    check_refused_custom(|h| h.negative_buckets = vec![1.0], "must not have negative buckets");
}

#[test]
fn exponential_buckets_have_no_custom_bounds() {
    check_refused(|h| h.custom_values = [1.0].into(), "must not have custom bounds");
}
