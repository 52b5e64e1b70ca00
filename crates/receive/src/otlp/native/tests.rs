use super::*;

fn span(offset: i32, length: u32) -> Span {
    Span { offset, length }
}

/// An exponential histogram with four positive buckets.
fn exponential(scale: i32) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        scale,
        count: 10,
        sum: Some(4.0),
        positive: Some(Buckets { offset: -1, bucket_counts: vec![1, 2, 3, 4] }),
        ..Default::default()
    }
}

#[test]
fn empty_counts_have_no_spans() {
    assert_eq!(sparse(&[], |i| i), Ok((vec![], vec![])));
    assert_eq!(sparse(&[0, 0], |i| i), Ok((vec![], vec![])));
}

#[test]
fn long_gaps_start_a_new_span_and_short_ones_are_filled() {
    let (spans, buckets) = sparse(&[0, 1, 0, 0, 2, 0, 0, 0, 3, 4], |i| i - 3).unwrap();
    assert_eq!(spans, [span(-2, 4), span(3, 2)]);
    assert_eq!(buckets, [1.0, 0.0, 0.0, 2.0, 3.0, 4.0]);
}

#[test]
fn counts_of_one_index_are_added_up() {
    let (spans, buckets) = sparse(&[1, 2, 3, 4, 5], |i| ((i - 1) >> 1) + 1).unwrap();
    assert_eq!(spans, [span(0, 3)]);
    assert_eq!(buckets, [1.0, 5.0, 9.0]);
}

#[test]
fn an_index_out_of_range_is_rejected() {
    assert!(sparse(&[1], |_| i64::from(i32::MAX) + 1).is_err());
}

#[test]
fn a_scale_that_is_too_fine_is_reduced() {
    let histogram = of_exponential(&exponential(9), false).unwrap();
    assert_eq!(histogram.schema, 8);
    assert_eq!(histogram.positive_spans, [span(0, 3)]);
    assert_eq!(histogram.positive_buckets, [1.0, 5.0, 4.0]);
}

#[test]
fn the_finest_possible_scale_is_reduced() {
    let histogram = of_exponential(&exponential(i32::MAX), false).unwrap();
    assert_eq!(histogram.positive_spans, [span(0, 2)]);
    assert_eq!(histogram.positive_buckets, [1.0, 9.0]);
}

#[test]
fn a_scale_that_is_too_coarse_is_rejected() {
    assert!(of_exponential(&exponential(-5), false).unwrap_err().ends_with("was -5"));
}

#[test]
fn a_point_without_a_value_is_a_stale_marker() {
    assert!(of_exponential(&exponential(3), true).unwrap().is_stale());
    let explicit = HistogramDataPoint { explicit_bounds: vec![1.0], ..Default::default() };
    let marker = of_explicit(&explicit, true).unwrap();
    assert!(marker.is_stale());
    assert_eq!(marker.custom_values[..], [1.0]);
}

#[test]
fn explicit_bounds_become_custom_values() {
    let point = HistogramDataPoint {
        count: 3,
        sum: Some(4.0),
        explicit_bounds: vec![1.0, 2.0],
        bucket_counts: vec![1, 0, 2],
        ..Default::default()
    };
    let histogram = of_explicit(&point, false).unwrap();
    assert_eq!(histogram.schema, CUSTOM_BUCKETS_SCHEMA);
    assert_eq!(histogram.custom_values[..], [1.0, 2.0]);
    assert_eq!(histogram.positive_buckets, [1.0, 0.0, 2.0]);
    assert_eq!(histogram.count, 3.0);
}
