//! Trimming, comparison, compaction, scaling, and compensated sums.

use super::*;

/// A histogram with buckets on both sides of a narrow zero bucket.
fn for_trimming() -> Histogram {
    Histogram {
        zero_threshold: 0.001,
        zero_count: 1.0,
        negative_spans: vec![Span { offset: 0, length: 2 }],
        negative_buckets: vec![1.0, 2.0],
        count: 34.0,
        ..exponential(0, 0, &[2.0, 4.0, 8.0, 16.0])
    }
}

#[test]
fn trimming_from_above_interpolates_exponentially() {
    let mut upper = for_trimming();
    upper.trim_upper(2f64.sqrt());
    assert!((upper.count - 8.0).abs() < 1e-9 && (upper.sum - 0.2570938865).abs() < 1e-6, "{upper}");
}

#[test]
fn trimming_from_below_drops_buckets() {
    let mut lower = for_trimming();
    lower.trim_lower(2.0);
    assert_eq!(lower.count, 24.0);
    assert_eq!(bucket_counts(&lower), [(4.0, 8.0), (8.0, 16.0)]);
    assert_eq!(lower.positive_spans, [Span { offset: 2, length: 2 }]);
}

#[test]
fn trimming_beyond_all_buckets_changes_nothing() {
    let mut h = for_trimming();
    h.trim_upper(f64::INFINITY);
    h.trim_lower(f64::NEG_INFINITY);
    assert_eq!(h, for_trimming());
}

#[test]
fn trimming_interpolates_custom_buckets_linearly() {
    let mut c = custom(&[5.0, 10.0, 15.0, 20.0], &[1.0, 6.0, 4.0, 3.0, 1.0]);
    c.trim_upper(13.0);
    assert!((c.count - 9.4).abs() < 1e-9 && (c.sum - 75.1).abs() < 1e-9);
}

fn single_bucket() -> Histogram {
    Histogram {
        count: 2.0,
        positive_spans: vec![Span { offset: 1, length: 1 }],
        positive_buckets: vec![2.0],
        ..Histogram::default()
    }
}

#[test]
fn empty_buckets_make_no_difference() {
    let h = single_bucket();
    let filled = Histogram {
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_buckets: vec![0.0, 2.0, 0.0],
        ..h.clone()
    };
    assert!(h.same_as(&filled) && filled.same_as(&h));
}

#[test]
fn the_same_count_in_another_bucket_makes_a_difference() {
    let h = single_bucket();
    let moved = Histogram { positive_spans: vec![Span { offset: 0, length: 1 }], ..h.clone() };
    assert!(!h.same_as(&moved) && !moved.same_as(&h));
}

#[test]
fn hints_make_no_difference_but_schemas_do() {
    let h = single_bucket();
    assert!(h.same_as(&Histogram { counter_reset: CounterReset::Gauge, ..h.clone() }));
    assert!(!h.same_as(&Histogram { schema: 1, ..h.clone() }));
}

fn with_empty_buckets() -> Histogram {
    Histogram {
        positive_spans: vec![
            Span { offset: 0, length: 3 },
            Span { offset: 0, length: 2 },
            Span { offset: 2, length: 0 },
        ],
        positive_buckets: vec![0.0, 1.0, 0.0, 0.0, 2.0],
        ..Histogram::default()
    }
}

#[test]
fn compaction_drops_empty_buckets() {
    let mut h = with_empty_buckets();
    h.compact(0);
    assert_eq!(h.positive_spans, [Span { offset: 1, length: 1 }, Span { offset: 2, length: 1 }]);
    assert_eq!(h.positive_buckets, [1.0, 2.0]);
}

#[test]
fn compaction_keeps_short_runs_of_empty_buckets() {
    let mut h = with_empty_buckets();
    h.compact(2);
    assert_eq!(h.positive_spans, [Span { offset: 1, length: 4 }]);
    assert_eq!(h.positive_buckets, [1.0, 0.0, 0.0, 2.0]);
}

#[test]
fn compaction_fills_short_gaps() {
    let mut dropped = with_empty_buckets();
    dropped.compact(0);
    dropped.compact(2);
    let mut kept = with_empty_buckets();
    kept.compact(2);
    assert_eq!(dropped, kept);
}

#[test]
fn division_by_zero_leaves_no_buckets() {
    let mut h = exponential(0, 0, &[1.0]);
    h.div(0.0);
    assert!(h.count.is_infinite());
    assert!(h.positive_buckets.is_empty() && h.positive_spans.is_empty());
}

#[test]
fn a_negative_factor_or_divisor_makes_a_gauge() {
    let operations: [fn(&mut Histogram); 3] = [|h| h.mul(-1.0), |h| h.div(-2.0), Histogram::negate];
    for operation in operations {
        let mut h = exponential(0, 0, &[1.0]);
        operation(&mut h);
        assert_eq!(h.counter_reset, CounterReset::Gauge);
    }
}

#[test]
fn scaling_applies_to_all_counts_and_the_sum() {
    let mut h = Histogram { integer: true, zero_count: 2.0, ..exponential(0, 0, &[1.0, 3.0]) };
    h.mul(0.5);
    assert_eq!(h.positive_buckets, [0.5, 1.5]);
    assert_eq!([h.zero_count, h.count, h.sum], [1.0, 2.0, 5.0]);
    assert!(!h.integer);
}

#[test]
fn the_resolution_can_only_be_reduced() {
    let mut h = exponential(0, 0, &[1.0]);
    let refused = h.reduce_resolution(0).unwrap_err();
    assert_eq!(refused.to_string(), "cannot reduce resolution from schema 0 to 0");
    assert!(h.reduce_resolution(CUSTOM_BUCKETS_SCHEMA).is_err());
    assert!(custom(&[1.0], &[1.0]).reduce_resolution(-1).is_err());
}

#[test]
fn a_copy_of_lower_resolution_has_no_hint() {
    let h = Histogram { counter_reset: CounterReset::NotReset, ..exponential(0, 1, &[1.0, 2.0]) };
    assert_eq!(h.at_schema(-1).counter_reset, CounterReset::Unknown);
    assert_eq!(bucket_counts(&h.at_schema(-1)), [(4.0, 3.0)]);
    assert_eq!(h.at_schema(0), h);
}

#[test]
fn infinite_counts_are_overflow() {
    assert!(!exponential(0, 0, &[1.0]).has_overflow());
    assert!(exponential(0, 0, &[f64::INFINITY]).has_overflow());
    assert!(Histogram { sum: f64::NEG_INFINITY, ..Histogram::default() }.has_overflow());
}

fn with_sum(sum: f64) -> Histogram {
    Histogram { sum, ..exponential(0, 0, &[1.0]) }
}

#[test]
fn compensated_sums_keep_small_numbers_beside_large_ones() {
    let mut total = CompensatedHistogram::new(&with_sum(3.1));
    for sum in [1e100, 1.3, -1e100] {
        total.add(&with_sum(sum)).unwrap();
    }
    let total = total.finish();
    assert_eq!(total.sum, 4.4);
    assert_eq!(total.count, 4.0);
}

#[test]
fn means_do_not_overflow() {
    let mut mean = MeanHistogram::new(&Histogram { count: f64::MAX, ..with_sum(1.0) });
    for count in [f64::MAX, 0.0, 0.0] {
        mean.add(&Histogram { count, ..with_sum(1.0) }).unwrap();
    }
    let mean = mean.finish();
    assert!((mean.count / f64::MAX - 0.5).abs() < 1e-9 && (mean.sum - 1.0).abs() < 1e-12);
    assert_eq!(mean.positive_buckets, [1.0]);
}

#[test]
fn one_histogram_alone_keeps_its_bits() {
    let h = Histogram { sum: -0.0, count: -0.0, zero_count: -0.0, ..exponential(0, 0, &[-1.0]) };
    let all = [
        CompensatedHistogram::new(&h).finish(),
        CompensatedHistogram::new(&h).finish_divided(1.0),
        MeanHistogram::new(&h).finish(),
    ];
    for alone in all {
        assert_eq!([alone.sum, alone.count, alone.zero_count].map(f64::is_sign_negative), [true; 3]);
        assert_eq!(alone.positive_buckets, [-1.0]);
    }
}

#[test]
fn the_compensation_of_two_histograms_is_added() {
    let h = Histogram { sum: -0.0, ..exponential(0, 0, &[1.0]) };
    let mut two = CompensatedHistogram::new(&h);
    two.add(&h).unwrap();
    assert!(two.finish().sum.is_sign_positive(), "adding a compensation of 0 turns -0 into 0");
}

#[test]
fn sums_of_mixed_schemas_are_refused() {
    let mut sum = CompensatedHistogram::new(&exponential(0, 0, &[1.0]));
    assert_eq!(sum.add(&custom(&[1.0], &[1.0, 1.0])), Err(HistogramError::IncompatibleSchemas));
    assert!(!sum.has_overflow());
}
