//! Known quantiles and fractions, and hostile buckets.

use pharos_model::Span;
use proptest::prelude::*;

use super::*;

fn classic(buckets: &[(f64, f64)]) -> Vec<ClassicBucket> {
    buckets.iter().map(|&(upper_bound, count)| ClassicBucket { upper_bound, count }).collect()
}

fn native(schema: i32, zero: (f64, f64), positive: &[f64], negative: &[f64]) -> Histogram {
    let spans = |n: usize| if n == 0 { vec![] } else { vec![Span { offset: 0, length: n as u32 }] };
    Histogram {
        schema,
        zero_count: zero.0,
        zero_threshold: zero.1,
        count: zero.0 + positive.iter().chain(negative).sum::<f64>(),
        sum: 100.0,
        positive_spans: spans(positive.len()),
        positive_buckets: positive.to_vec(),
        negative_spans: spans(negative.len()),
        negative_buckets: negative.to_vec(),
        ..Histogram::default()
    }
}

fn close(a: f64, b: f64) {
    assert!(almost_equal(a, b, 1e-12), "{a} is not {b}");
}

const INF: f64 = f64::INFINITY;

fn classic_quantile(q: f64, buckets: &[(f64, f64)]) -> f64 {
    bucket_quantile(q, &mut classic(buckets)).0
}

#[test]
fn classic_buckets_are_interpolated_linearly_in_any_order() {
    close(classic_quantile(0.5, &[(INF, 4.0), (1.0, 1.0), (2.0, 3.0)]), 1.5);
}

#[test]
fn the_first_classic_bucket_begins_at_zero() {
    close(classic_quantile(0.25, &[(1.0, 2.0), (INF, 4.0)]), 0.5);
}

#[test]
fn quantiles_in_the_infinite_bucket_are_its_lower_bound() {
    close(classic_quantile(0.99, &[(1.0, 2.0), (INF, 4.0)]), 1.0);
}

#[test]
fn quantiles_in_a_negative_first_bucket_are_its_upper_bound() {
    close(classic_quantile(0.1, &[(-1.0, 2.0), (INF, 4.0)]), -1.0);
}

#[test]
fn classic_quantiles_need_an_infinite_bucket_and_another_one() {
    assert!(classic_quantile(0.5, &[]).is_nan());
    assert!(classic_quantile(0.5, &[(1.0, 2.0)]).is_nan());
    assert!(classic_quantile(0.5, &[(INF, 2.0)]).is_nan());
}

#[test]
fn classic_quantiles_need_observations() {
    assert!(classic_quantile(0.5, &[(1.0, 0.0), (INF, 0.0)]).is_nan());
}

#[test]
fn quantiles_outside_of_zero_to_one_are_infinite() {
    assert_eq!(classic_quantile(-0.1, &[]), -INF);
    assert_eq!(classic_quantile(1.1, &[]), INF);
    assert!(classic_quantile(f64::NAN, &[]).is_nan());
}

#[test]
fn buckets_with_equal_bounds_are_merged() {
    close(classic_quantile(0.5, &[(1.0, 1.0), (1.0, 1.0), (INF, 4.0)]), 1.0);
}

#[test]
fn classic_buckets_are_made_monotonic() {
    let mut falling = classic(&[(0.1, 2.0), (1.0, 1.0), (10.0, 5.0), (100.0, 4.0), (INF, 9.0)]);
    let (value, forced) = bucket_quantile(0.5, &mut falling);
    let expected = ForcedMonotonic { min_bucket: 1.0, max_bucket: 100.0, max_diff: 1.0 };
    assert_eq!((value, forced), (1.0 + 9.0 * (2.5 / 3.0), Some(expected)));
}

#[test]
fn rounding_errors_are_not_reported_as_fixes() {
    let mut rounding = classic(&[(1.0, 10.0), (2.0, 10.0 - 1e-13), (INF, 20.0)]);
    assert_eq!(bucket_quantile(0.1, &mut rounding).1, None);
}

fn classic_fraction(lower: f64, upper: f64) -> f64 {
    bucket_fraction(lower, upper, &mut classic(&[(1.0, 1.0), (2.0, 3.0), (INF, 4.0)]))
}

#[test]
fn classic_fractions_are_interpolated_within_buckets() {
    close(classic_fraction(0.0, 2.0), 0.75);
    close(classic_fraction(0.5, 1.5), 0.375);
    close(classic_fraction(2.0, INF), 0.25);
}

#[test]
fn the_fraction_of_an_empty_interval_is_zero() {
    close(classic_fraction(3.0, 2.0), 0.0);
    close(classic_fraction(2.0, 2.0), 0.0);
}

#[test]
fn the_fraction_between_bounds_that_are_not_numbers_is_not_a_number() {
    assert!(classic_fraction(f64::NAN, 2.0).is_nan());
    assert!(classic_fraction(0.0, f64::NAN).is_nan());
}

#[test]
fn the_fraction_of_no_observations_is_not_a_number() {
    assert!(bucket_fraction(0.0, 1.0, &mut classic(&[(1.0, 0.0), (INF, 0.0)])).is_nan());
}

#[test]
fn native_quantiles_are_those_of_prometheus() {
    let both = native(0, (4.0, 0.001), &[2.0, 3.0, 0.0, 1.0, 4.0], &[2.0, 3.0, 0.0, 1.0, 4.0]);
    for (q, expected) in
        [(1.0, 16.0), (0.55, 0.0006), (0.5, 0.0), (0.45, -0.0006), (0.0, -16.0), (0.99, 15.34822590920423)]
    {
        let (value, note) = histogram_quantile(q, &both);
        assert!(almost_equal(value, expected, 1e-9) || value.abs() < 1e-15 && expected == 0.0, "{q}: {value}");
        assert_eq!(note, None);
    }
}

#[test]
fn native_buckets_are_interpolated_exponentially() {
    close(histogram_quantile(0.5, &native(0, (0.0, 0.0), &[1.0, 2.0, 1.0], &[])).0, 2f64.sqrt());
}

#[test]
fn the_zero_bucket_ends_at_zero_without_positive_buckets() {
    close(histogram_quantile(0.9, &native(0, (2.0, 0.001), &[], &[2.0, 3.0, 0.0, 1.0, 4.0])).0, -0.0006);
}

#[test]
fn custom_buckets_are_interpolated_linearly() {
    let custom = Histogram { custom_values: [5.0, 10.0].into(), ..native(-53, (0.0, 0.0), &[1.0, 2.0, 1.0], &[]) };
    close(histogram_quantile(0.5, &custom).0, 7.5);
    close(histogram_quantile(0.99, &custom).0, 10.0);
}

#[test]
fn an_empty_histogram_has_no_quantiles() {
    assert!(histogram_quantile(0.5, &Histogram::default()).0.is_nan());
    assert_eq!(histogram_quantile(-1.0, &Histogram::default()).0, -INF);
}

#[test]
fn nan_observations_are_noted() {
    let h = Histogram { sum: f64::NAN, count: 8.0, ..native(0, (0.0, 0.0), &[1.0, 2.0, 1.0], &[]) };
    assert_eq!(histogram_quantile(0.1, &h).1, Some(NanNote::Skew));
    let (value, note) = histogram_quantile(0.9, &h);
    assert!(value.is_nan() && note == Some(NanNote::Result));
    assert_eq!(histogram_fraction(f64::NEG_INFINITY, INF, &h), (0.5, true));
}

#[test]
fn native_fractions_are_those_of_prometheus() {
    let h = native(0, (2.0, 0.001), &[2.0, 3.0, 0.0, 1.0, 4.0], &[]);
    for (lower, upper, expected) in [
        (0.0, 0.001, 2.0 / 12.0),
        (0.0, 0.0005, 1.0 / 12.0),
        (1.0, 2.0, 0.25),
        (0.0, 6.0, 0.6320802083934297),
        (f64::NEG_INFINITY, 0.0, 0.0),
        (0.0, INF, 1.0),
    ] {
        close(histogram_fraction(lower, upper, &h).0, expected);
    }
}

#[test]
fn deviations_are_those_of_prometheus() {
    let h = Histogram { sum: 10.0, ..native(2, (0.0, 0.0), &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0], &[]) };
    close(histogram_stddev(&h), 1.0787993180043811);
    let negative = Histogram { sum: -100.0, ..native(0, (0.0, 0.0), &[], &[0.0, 0.0, 0.0, 0.0, 10.0]) };
    assert!((histogram_stddev(&negative) - 1.3137084989848).abs() < 1e-12);
    close(histogram_avg(&h), 2.5);
}

#[test]
fn quantiles_of_values_are_interpolated_between_neighbours() {
    close(quantile(0.5, &mut [3.0, 1.0, 2.0, 4.0]), 2.5);
    close(quantile(1.0, &mut [3.0, 1.0]), 3.0);
}

#[test]
fn values_that_are_not_numbers_are_the_smallest() {
    assert!(quantile(0.0, &mut [f64::NAN, 1.0]).is_nan());
    close(quantile(1.0, &mut [f64::NAN, 1.0]), 1.0);
}

#[test]
fn no_values_have_no_quantile() {
    assert!(quantile(0.5, &mut []).is_nan());
}

proptest! {
    #[test]
    fn hostile_buckets_never_panic(
        q in any::<f64>(), numbers in prop::collection::vec((any::<f64>(), any::<f64>()), 0..8), to in any::<f64>(),
        offset in any::<i32>(), schema in prop_oneof![-4i32..9, Just(-53)],
    ) {
        let mut buckets = classic(&numbers);
        buckets.push(ClassicBucket { upper_bound: INF, count: to });
        bucket_quantile(q, &mut buckets.clone());
        bucket_fraction(q, to, &mut buckets);
        let counts: Vec<f64> = numbers.iter().map(|n| n.0).collect();
        let mut h = native(schema, (to, q), &counts, &counts);
        h.positive_spans = vec![Span { offset, length: u32::MAX }];
        histogram_quantile(q.fract().abs(), &h);
        histogram_fraction(q, to, &h);
        histogram_stddev(&h);
        quantile(q.fract().abs(), &mut counts.clone());
    }

    #[test]
    fn fraction_is_the_inverse_of_quantile(
        counts in prop::collection::vec(1u32..100, 1..10), schema in -2i32..=8, q in 0.01f64..0.99,
    ) {
        let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
        let h = native(schema, (1.0, 1e-9), &counts, &[]);
        let (value, _) = histogram_quantile(q, &h);
        prop_assert!((histogram_fraction(f64::NEG_INFINITY, value, &h).0 - q).abs() < 1e-9);
    }
}
