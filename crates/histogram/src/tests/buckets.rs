//! Iterators over buckets, and the forms in which histograms are shown.

use super::*;

/// A histogram with buckets on both sides, a gap, an empty span and a populated zero bucket.
fn two_sided() -> Histogram {
    Histogram {
        zero_threshold: 0.75,
        zero_count: 2.0,
        positive_spans: vec![Span { offset: 0, length: 1 }, Span { offset: 1, length: 2 }],
        positive_buckets: vec![1.0, 0.0, 3.0],
        negative_spans: vec![
            Span { offset: -3, length: 1 },
            Span { offset: 0, length: 0 },
            Span { offset: 3, length: 1 },
        ],
        negative_buckets: vec![4.0, 5.0],
        ..Histogram::default()
    }
}

/// The buckets of [`two_sided`]: lower bound, upper bound, count.
const TWO_SIDED_BUCKETS: [(f64, f64, f64); 6] =
    [(-2.0, -1.0, 5.0), (-0.125, -0.75, 4.0), (-0.75, 0.75, 2.0), (0.75, 1.0, 1.0), (2.0, 4.0, 0.0), (4.0, 8.0, 3.0)];

#[test]
fn buckets_ascend() {
    let ends: Vec<_> = two_sided().buckets().map(|b| (b.lower, b.upper, b.count)).collect();
    assert_eq!(ends, TWO_SIDED_BUCKETS);
}

#[test]
fn buckets_descend_from_the_back() {
    let mut backwards: Vec<_> = two_sided().buckets().rev().map(|b| (b.lower, b.upper, b.count)).collect();
    backwards.reverse();
    assert_eq!(backwards, TWO_SIDED_BUCKETS);
}

#[test]
fn buckets_know_their_index() {
    assert_eq!(two_sided().positive().map(|b| b.index).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!(two_sided().negative().map(|b| b.index).collect::<Vec<_>>(), [-3, 1]);
    assert_eq!(two_sided().positive().len(), 3);
}

#[test]
fn an_empty_zero_bucket_is_not_among_the_buckets() {
    let h = Histogram { zero_count: 0.0, ..two_sided() };
    assert_eq!(h.buckets().count(), 5);
    assert_eq!(h.zero_bucket().upper, 0.75);
}

/// A histogram with a negative, a zero and a positive bucket that is populated.
fn three_buckets() -> Histogram {
    Histogram {
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 7.0,
        sum: 1.5e6,
        negative_spans: vec![Span { offset: 1, length: 1 }],
        negative_buckets: vec![3.0],
        ..exponential(0, 0, &[0.0, 3.0])
    }
}

#[test]
fn the_text_form_shows_populated_buckets() {
    assert_eq!(three_buckets().to_string(), "{count:7, sum:1.5e+06, [-2,-1):3, [-0.001,0.001]:1, (1,2]:3}");
}

#[test]
fn the_text_form_of_custom_buckets_reaches_to_infinity() {
    assert_eq!(custom(&[5.0], &[1.0, 2.0]).to_string(), "{count:3, sum:10, [-Inf,5]:1, (5,+Inf]:2}");
}

#[test]
fn buckets_of_the_api_say_which_bounds_belong_to_them() {
    let api: Vec<_> = three_buckets().api_buckets().collect();
    let bucket = |boundaries, left, right, count| ApiBucket { boundaries, left, right, count };
    let expected = [bucket(1, -2.0, -1.0, 3.0), bucket(3, -0.001, 0.001, 1.0), bucket(0, 1.0, 2.0, 3.0)];
    assert_eq!(api, expected);
}

#[test]
fn fractions_of_buckets_are_interpolated() {
    let bucket = Bucket { lower: 1.0, upper: 4.0, lower_inclusive: false, upper_inclusive: true, count: 1.0, index: 1 };
    assert_eq!(bucket.fraction_below(2.0, true), 1.0 / 3.0);
    assert_eq!(bucket.fraction_below(2.0, false), 0.5);
    let negative = Bucket { lower: -4.0, upper: -1.0, ..bucket };
    assert_eq!(negative.fraction_below(-2.0, false), 0.5);
}

#[test]
fn a_stale_marker_is_known_by_its_sum() {
    assert!(Histogram { sum: STALE_NAN, ..Histogram::default() }.is_stale());
    assert!(!Histogram { sum: f64::NAN, ..Histogram::default() }.is_stale());
    assert!(is_stale_nan(STALE_NAN) && !is_stale_nan(f64::NAN) && STALE_NAN.is_nan());
}

#[test]
fn the_size_grows_with_the_buckets() {
    let empty = Histogram::default().bytes();
    assert_eq!(exponential(0, 0, &[1.0, 2.0]).bytes(), empty + 8 + 16);
}
