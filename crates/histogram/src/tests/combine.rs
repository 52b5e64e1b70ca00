//! Addition and subtraction.

use super::*;

#[test]
fn addition_takes_the_coarser_schema() {
    let mut a = exponential(-1, 1, &[1.0]);
    assert_eq!(a.add(&exponential(0, 1, &[2.0, 2.0])), Ok(Combined::default()));
    assert_eq!(a.schema, -1);
    assert_eq!(bucket_counts(&a), [(4.0, 5.0)]);
}

#[test]
fn addition_reduces_the_finer_histogram() {
    let mut a = exponential(0, 1, &[2.0, 2.0]);
    a.add(&exponential(-1, 1, &[1.0])).unwrap();
    assert_eq!(a.schema, -1);
    assert_eq!(bucket_counts(&a), [(4.0, 5.0)]);
}

#[test]
fn addition_fills_gaps_between_spans() {
    let mut a = exponential(0, 0, &[1.0]);
    a.add(&exponential(0, 2, &[3.0])).unwrap();
    a.add(&exponential(0, 1, &[2.0])).unwrap();
    assert_eq!(bucket_counts(&a), [(1.0, 1.0), (2.0, 2.0), (4.0, 3.0)]);
    assert_eq!(a.positive_spans, [Span { offset: 0, length: 3 }]);
}

fn narrow_zero_bucket() -> Histogram {
    Histogram { zero_threshold: 0.5, zero_count: 1.0, ..exponential(0, 0, &[2.0, 3.0]) }
}

fn wide_zero_bucket() -> Histogram {
    Histogram { zero_threshold: 1.5, zero_count: 10.0, ..exponential(0, 2, &[4.0]) }
}

#[test]
fn addition_widens_the_own_zero_bucket_to_a_bucket_bound() {
    let mut sum = narrow_zero_bucket();
    sum.add(&wide_zero_bucket()).unwrap();
    assert_eq!(sum.zero_threshold, 2.0);
    assert_eq!(sum.zero_count, 16.0);
    assert_eq!(bucket_counts(&sum), [(4.0, 4.0)]);
}

#[test]
fn addition_widens_the_other_zero_bucket_to_a_bucket_bound() {
    let mut sum = wide_zero_bucket();
    sum.add(&narrow_zero_bucket()).unwrap();
    assert_eq!(sum.zero_threshold, 2.0);
    assert_eq!(sum.zero_count, 16.0);
    assert_eq!(bucket_counts(&sum), [(4.0, 4.0)]);
}

#[test]
fn only_a_sum_of_integer_histograms_is_an_integer_histogram() {
    let integer = Histogram { integer: true, ..exponential(0, 0, &[1.0]) };
    let float = exponential(0, 0, &[1.0]);
    let mut sum = integer.clone();
    sum.add(&integer).unwrap();
    assert!(sum.integer);
    sum.add(&float).unwrap();
    assert!(!sum.integer);
    let mut difference = integer.clone();
    difference.sub(&integer).unwrap();
    assert!(!difference.integer);
}

#[test]
fn mismatched_custom_bounds_meet_at_shared_ones() {
    let mut a = custom(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.0, 5.0]);
    let combined = a.add(&custom(&[2.0, 3.5, 4.0], &[10.0, 20.0, 30.0, 40.0])).unwrap();
    assert!(combined.bounds_reconciled);
    assert_eq!(&a.custom_values[..], [2.0, 4.0]);
    assert_eq!(bucket_counts(&a), [(2.0, 13.0), (4.0, 57.0), (f64::INFINITY, 45.0)]);
}

#[test]
fn equal_custom_bounds_stay() {
    let mut a = custom(&[1.0, 2.0], &[1.0, 2.0, 3.0]);
    let combined = a.add(&custom(&[1.0, 2.0], &[1.0, 1.0, 1.0])).unwrap();
    assert!(!combined.bounds_reconciled);
    assert_eq!(bucket_counts(&a), [(1.0, 2.0), (2.0, 3.0), (f64::INFINITY, 4.0)]);
}

#[test]
fn custom_bounds_without_a_shared_one_leave_one_bucket() {
    let mut none = custom(&[], &[1.0]);
    none.sub(&custom(&[1.0], &[1.0, 1.0])).unwrap();
    assert_eq!(bucket_counts(&none), [(f64::INFINITY, -1.0)]);
}

#[test]
fn a_refused_addition_changes_nothing() {
    let mut a = custom(&[1.0], &[1.0, 2.0]);
    let before = a.clone();
    assert_eq!(a.add(&exponential(0, 0, &[1.0])), Err(HistogramError::IncompatibleSchemas));
    assert_eq!(a, before);
}

#[test]
fn hints_combine_and_collide() {
    use CounterReset::*;
    for (a, b, result, collides) in [
        (NotReset, NotReset, NotReset, false),
        (Reset, NotReset, Unknown, true),
        (NotReset, Reset, Unknown, true),
        (Gauge, Reset, Gauge, false),
        (NotReset, Gauge, Gauge, false),
        (Unknown, Reset, Unknown, false),
        (NotReset, Unknown, Unknown, false),
    ] {
        let mut h = Histogram { counter_reset: a, ..Histogram::default() };
        let combined = h.add(&Histogram { counter_reset: b, ..Histogram::default() }).unwrap();
        assert_eq!(h.counter_reset, result, "{a:?} {b:?}");
        assert_eq!(combined.counter_reset_collision, collides, "{a:?} {b:?}");
    }
}
