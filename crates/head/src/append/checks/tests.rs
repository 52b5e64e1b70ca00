use std::sync::Arc;

use pharos_model::{Histogram, Labels};

use super::*;

const NOW: i64 = 10_000_000;
const WINDOW: i64 = 10_000;

fn bounds(newest: Option<i64>, max_future_ms: i64, origin: Origin) -> TimeBounds {
    let config = HeadConfig { max_future_ms, out_of_order_window_ms: WINDOW, ..HeadConfig::new("/wal") };
    TimeBounds::new(&config, &config.by_tenant().defaults, newest, NOW, origin)
}

fn reason(bounds: &TimeBounds, t: i64) -> Option<RejectReason> {
    assert_eq!(bounds.contain(t), bounds.rejection(t).is_none());
    bounds.rejection(t).map(|(reason, _)| reason)
}

#[test]
fn the_out_of_order_window_ends_at_the_newest_sample() {
    let bounds = bounds(Some(NOW - 500), 0, Origin::Sender);
    assert_eq!(reason(&bounds, NOW - 500 - WINDOW), None);
    assert_eq!(reason(&bounds, NOW - 501 - WINDOW), Some(RejectReason::TooOld));
}

#[test]
fn a_sample_in_order_may_lag_behind_by_an_hour_whatever_the_window() {
    let bounds = bounds(Some(NOW - 500), 0, Origin::Sender);
    assert!(bounds.contain_in_order(NOW - 500 - IN_ORDER_WINDOW_MS));
    assert!(!bounds.contain_in_order(NOW - 501 - IN_ORDER_WINDOW_MS));
    assert!(!bounds.contain(NOW - 501 - WINDOW));
}

#[test]
fn a_newest_sample_from_the_future_counts_as_one_from_now() {
    let bounds = bounds(Some(NOW + 50_000), 0, Origin::Sender);
    assert_eq!(reason(&bounds, NOW - WINDOW), None);
    assert_eq!(reason(&bounds, NOW - WINDOW - 1), Some(RejectReason::TooOld));
}

#[test]
fn nothing_is_too_old_without_a_recent_sample() {
    for newest in [None, Some(NOW - IN_ORDER_WINDOW_MS - 1), Some(i64::MIN)] {
        let bounds = bounds(newest, 0, Origin::Sender);
        assert_eq!(reason(&bounds, i64::MIN), None, "{newest:?}");
        assert!(bounds.contain_in_order(i64::MIN), "{newest:?}");
    }
}

#[test]
fn the_window_applies_when_samples_are_further_apart_than_it_is_wide() {
    let newest = NOW - WINDOW - 1;
    let bounds = bounds(Some(newest), 0, Origin::Sender);
    assert_eq!(reason(&bounds, newest - WINDOW), None);
    assert_eq!(reason(&bounds, newest - WINDOW - 1), Some(RejectReason::TooOld));
}

#[test]
fn a_sample_may_be_ahead_of_the_clock_by_the_limit() {
    let bounds = bounds(None, 1000, Origin::Sender);
    assert_eq!(reason(&bounds, NOW + 1000), None);
    assert_eq!(reason(&bounds, NOW + 1001), Some(RejectReason::TooFarInFuture));
    assert!(bounds.are_exceeded_by(NOW + 1001) && !bounds.are_exceeded_by(NOW + 1000));
}

#[test]
fn without_a_limit_no_sample_is_too_far_in_the_future() {
    assert_eq!(reason(&bounds(None, 0, Origin::Sender), i64::MAX), None);
}

#[test]
fn samples_of_another_head_have_no_bounds() {
    let bounds = bounds(Some(NOW), 1000, Origin::Head);
    assert_eq!(reason(&bounds, i64::MIN), None);
    assert_eq!(reason(&bounds, i64::MAX), None);
}

#[test]
fn a_rejection_names_the_timestamp_and_the_bound() {
    let bounds = bounds(Some(NOW), 1000, Origin::Sender);
    let (_, message) = bounds.rejection(5).unwrap();
    assert!(message.contains("timestamp 5 ") && message.contains("10000000"), "{message}");
    let (_, message) = bounds.rejection(NOW + 5000).unwrap();
    assert!(message.contains("10005000") && message.contains("1s"), "{message}");
}

fn labels(pairs: &[(&str, &str)], limits: &TenantLimits) -> Option<RejectReason> {
    check_labels(Labels::from_pairs(pairs.iter().copied()).as_bytes(), limits).err().map(|(reason, _)| reason)
}

#[test]
fn a_series_without_labels_is_invalid() {
    assert_eq!(labels(&[], &TenantLimits::default()), Some(RejectReason::InvalidLabels));
}

#[test]
fn labels_that_are_not_canonical_are_invalid() {
    let unsorted = [1, b'b', 1, b'x', 1, b'a', 1, b'x'];
    let rejected = check_labels(&unsorted, &TenantLimits::default()).unwrap_err();
    assert_eq!(rejected.0, RejectReason::InvalidLabels);
}

#[test]
fn a_label_set_that_exceeds_a_log_record_is_invalid() {
    let long = "x".repeat(MAX_LABEL_BYTES);
    assert_eq!(labels(&[("a", &long)], &TenantLimits::default()), Some(RejectReason::InvalidLabels));
}

#[test]
fn a_limit_of_zero_is_no_limit() {
    let long = "x".repeat(10_000);
    assert_eq!(labels(&[(&long, &long), ("b", "1")], &TenantLimits::default()), None);
}

#[test]
fn limits_include_their_value() {
    let limits = TenantLimits { max_labels: 2, max_label_name_length: 3, max_label_value_length: 4, max_series: 0 };
    assert_eq!(labels(&[("abc", "1234"), ("b", "1")], &limits), None);
    assert_eq!(labels(&[("a", "1"), ("b", "1"), ("c", "1")], &limits), Some(RejectReason::MaxLabels));
    assert_eq!(labels(&[("abcd", "1")], &limits), Some(RejectReason::MaxLabelNameLength));
    assert_eq!(labels(&[("abc", "12345")], &limits), Some(RejectReason::MaxLabelValueLength));
}

fn histogram(buckets: usize) -> HistogramSample {
    let h = Histogram { custom_values: vec![0.0; buckets].into(), ..Histogram::default() };
    HistogramSample { t: 0, st: 0, h: Arc::new(h) }
}

#[test]
fn a_histogram_that_exceeds_a_log_record_is_invalid() {
    let error = check_histogram(&histogram(MAX_BUCKETS + 1)).unwrap_err();
    assert!(error.contains("more than"), "{error}");
}

#[test]
fn an_empty_histogram_is_valid() {
    assert_eq!(check_histogram(&histogram(0)), Ok(()));
}
