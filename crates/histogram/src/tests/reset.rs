//! Counter resets and hints.

use super::*;

/// Whether a counter was reset between two histograms with these buckets of schema 0.
fn is_reset(before: &[f64], now: &[f64]) -> bool {
    exponential(0, 0, now).detect_reset(&exponential(0, 0, before))
}

#[test]
fn counts_that_grow_are_no_reset() {
    assert!(!is_reset(&[1.0, 1.0], &[1.0, 2.0]));
    assert!(!is_reset(&[1.0, 0.0], &[5.0]), "an empty bucket may vanish");
}

#[test]
fn a_count_that_goes_down_is_a_reset() {
    assert!(is_reset(&[3.0], &[2.0]));
    assert!(is_reset(&[1.0, 2.0, 1.0], &[1.0, 1.0, 3.0]), "only one bucket went down");
}

#[test]
fn a_populated_bucket_that_vanishes_is_a_reset() {
    assert!(is_reset(&[1.0, 1.0], &[5.0]));
}

#[test]
fn a_finer_resolution_is_a_reset() {
    assert!(exponential(1, 0, &[5.0]).detect_reset(&exponential(0, 0, &[1.0])));
}

#[test]
fn a_coarser_resolution_is_compared_at_that_resolution() {
    let before = exponential(0, 0, &[1.0, 2.0, 3.0]);
    assert!(!exponential(-1, 0, &[5.0, 5.0]).detect_reset(&before));
    assert!(exponential(-1, 0, &[6.0, 4.0]).detect_reset(&before));
}

#[test]
fn a_wider_zero_bucket_takes_in_buckets() {
    let before = exponential(0, 0, &[1.0, 2.0]);
    let wide = Histogram { zero_threshold: 2.0, zero_count: 3.0, ..exponential(0, 2, &[5.0]) };
    assert!(!wide.detect_reset(&before));
    assert!(Histogram { zero_count: 2.0, ..wide }.detect_reset(&before));
}

#[test]
fn a_narrower_zero_bucket_is_a_reset() {
    let wide = Histogram { zero_threshold: 2.0, count: 3.0, ..Histogram::default() };
    assert!(exponential(0, 0, &[1.0, 2.0]).detect_reset(&wide));
}

#[test]
fn custom_buckets_are_compared_at_shared_bounds() {
    let finer = custom(&[2.0, 3.0, 4.0, 6.0], &[1.0, 0.0, 1.0, 5.0, 8.0]);
    assert!(finer.detect_reset(&custom(&[2.0, 4.0, 6.0], &[1.0, 2.0, 5.0, 7.0])));
    assert!(!finer.detect_reset(&custom(&[2.0, 4.0, 6.0], &[1.0, 1.0, 5.0, 7.0])));
}

#[test]
fn a_change_to_custom_buckets_is_a_reset() {
    assert!(custom(&[1.0], &[5.0, 5.0]).detect_reset(&exponential(0, 0, &[1.0])));
}

#[test]
fn a_hint_takes_precedence_over_counts() {
    let reset = Histogram { counter_reset: CounterReset::Reset, ..exponential(0, 0, &[2.0]) };
    assert!(reset.detect_reset(&exponential(0, 0, &[1.0])));
    let continues = Histogram { counter_reset: CounterReset::NotReset, ..exponential(0, 0, &[1.0]) };
    assert!(!continues.detect_reset(&exponential(0, 0, &[2.0])));
}

#[test]
fn histograms_that_continue_the_previous_one_are_read_with_a_hint() {
    let h = |count: f64| exponential(0, 0, &[count]);
    assert_eq!(h(1.0).hint_when_read(None), CounterReset::Unknown);
    assert_eq!(h(1.0).hint_when_read(Some(&h(2.0))), CounterReset::Unknown);
    assert_eq!(h(2.0).hint_when_read(Some(&h(1.0))), CounterReset::NotReset);
}

#[test]
fn gauges_are_read_as_gauges() {
    let gauge = Histogram { counter_reset: CounterReset::Gauge, ..exponential(0, 0, &[2.0]) };
    assert_eq!(gauge.hint_when_read(None), CounterReset::Gauge);
    assert_eq!(exponential(0, 0, &[3.0]).hint_when_read(Some(&gauge)), CounterReset::Unknown);
}

#[test]
fn nothing_continues_a_stale_marker() {
    let stale = Histogram { sum: STALE_NAN, ..Histogram::default() };
    assert_eq!(exponential(0, 0, &[3.0]).hint_when_read(Some(&stale)), CounterReset::Unknown);
}
