use pharos_model::Span;

use super::*;
use crate::targets::tests::resolved;

/// Eight adjacent buckets of schema 3.
fn histogram() -> Histogram {
    Histogram {
        schema: 3,
        count: 8.0,
        positive_spans: vec![Span { offset: 1, length: 8 }],
        positive_buckets: vec![1.0; 8],
        ..Histogram::default()
    }
}

fn limited(histogram: Histogram, yaml: &str) -> Option<Histogram> {
    limit_buckets(histogram, &resolved(&format!("job_name: a\n{yaml}")))
}

#[test]
fn a_histogram_without_limits_keeps_its_resolution() {
    assert_eq!(limited(histogram(), ""), Some(histogram()));
}

#[test]
fn the_bucket_limit_reduces_the_resolution() {
    assert_eq!(limited(histogram(), "native_histogram_bucket_limit: 4").unwrap().schema, 2);
}

#[test]
fn a_histogram_within_the_bucket_limit_keeps_its_resolution() {
    assert_eq!(limited(histogram(), "native_histogram_bucket_limit: 8").unwrap().schema, 3);
}

#[test]
fn the_least_bucket_factor_reduces_the_resolution() {
    assert_eq!(limited(histogram(), "native_histogram_min_bucket_factor: 2").unwrap().schema, 0);
    assert_eq!(limited(histogram(), "native_histogram_min_bucket_factor: 1.4").unwrap().schema, 1);
}

#[test]
fn custom_buckets_beyond_the_limit_are_refused() {
    let custom = Histogram { schema: CUSTOM_BUCKETS_SCHEMA, ..histogram() };
    assert_eq!(limited(custom, "native_histogram_bucket_limit: 4"), None);
}

#[test]
fn a_histogram_that_cannot_be_reduced_far_enough_is_refused() {
    let sparse = Histogram {
        schema: LOWEST_SCHEMA,
        count: 2.0,
        positive_spans: vec![Span { offset: 0, length: 1 }, Span { offset: 50, length: 1 }],
        positive_buckets: vec![1.0; 2],
        ..Histogram::default()
    };
    assert_eq!(limited(sparse, "native_histogram_bucket_limit: 1"), None);
}

#[test]
fn factors_map_to_the_finest_schema_that_grows_as_fast() {
    for (factor, schema) in [(0.0, 8), (1.0, 8), (1.0001, 8), (2.0, 0), (4.0, -1), (65_536.0, -4), (1e30, -4)] {
        assert_eq!(highest_schema(factor), schema, "{factor}");
    }
}
