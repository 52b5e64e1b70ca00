//! Limits on the buckets of native histograms: resolution is reduced until they are kept.

use pharos_histogram::CUSTOM_BUCKETS_SCHEMA;
use pharos_model::Histogram;

use pharos_config::ResolvedScrapeConfig;

const LOWEST_SCHEMA: i32 = -4;
const HIGHEST_SCHEMA: i32 = 8;

/// Reduces a histogram to what the configuration allows; `None` when it cannot be reduced so far.
pub(crate) fn limit(mut histogram: Histogram, config: &ResolvedScrapeConfig) -> Option<Histogram> {
    let is_exponential = histogram.schema != CUSTOM_BUCKETS_SCHEMA;
    let highest = highest_schema(config.histogram_min_bucket_factor);
    if is_exponential && histogram.schema > highest {
        histogram.reduce_resolution(highest).ok()?;
    }
    let most = config.histogram_bucket_limit;
    let buckets = |h: &Histogram| (h.positive_buckets.len() + h.negative_buckets.len()) as u64;
    while most > 0 && buckets(&histogram) > most {
        if !is_exponential || histogram.schema <= LOWEST_SCHEMA {
            return None;
        }
        let schema = histogram.schema - 1;
        histogram.reduce_resolution(schema).ok()?;
    }
    Some(histogram)
}

/// The finest schema whose buckets grow by at least `factor`.
fn highest_schema(factor: f64) -> i32 {
    if factor <= 1.0 {
        return HIGHEST_SCHEMA;
    }
    let schema = (-factor.log2().log2()).floor();
    (schema as i32).clamp(LOWEST_SCHEMA, HIGHEST_SCHEMA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::tests::resolved;
    use pharos_model::Span;

    #[test]
    fn resolution_is_reduced_to_the_limits() {
        let fine = Histogram {
            schema: 3,
            count: 8.0,
            positive_spans: vec![Span { offset: 1, length: 8 }],
            positive_buckets: vec![1.0; 8],
            ..Histogram::default()
        };
        let limited = |yaml: &str| limit(fine.clone(), &resolved(&format!("job_name: a\n{yaml}")));
        assert_eq!(limited("native_histogram_bucket_limit: 4").unwrap().schema, 2);
        assert_eq!(limited("native_histogram_min_bucket_factor: 2").unwrap().schema, 0);
        assert_eq!(limited("native_histogram_min_bucket_factor: 1.4").unwrap().schema, 1);
        assert_eq!(limited("").unwrap().schema, 3);
        let custom = Histogram { schema: CUSTOM_BUCKETS_SCHEMA, ..fine.clone() };
        assert!(limit(custom, &resolved("job_name: a\nnative_histogram_bucket_limit: 4")).is_none());
    }
}
