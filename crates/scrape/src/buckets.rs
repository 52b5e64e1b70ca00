//! Limits on the buckets of native histograms, kept by reducing the resolution.

use pharos_histogram::CUSTOM_BUCKETS_SCHEMA;
use pharos_model::Histogram;

use pharos_config::ResolvedScrapeConfig;

const LOWEST_SCHEMA: i32 = -4;
const HIGHEST_SCHEMA: i32 = 8;

/// Reduces the resolution of a histogram until the configuration allows it; `None` when that is not possible.
pub(crate) fn limit_buckets(mut histogram: Histogram, config: &ResolvedScrapeConfig) -> Option<Histogram> {
    let is_exponential = histogram.schema != CUSTOM_BUCKETS_SCHEMA;
    let highest = highest_schema(config.histogram_min_bucket_factor);
    if is_exponential && histogram.schema > highest {
        histogram.reduce_resolution(highest).ok()?;
    }
    let limit = config.histogram_bucket_limit;
    let buckets = |h: &Histogram| (h.positive_buckets.len() + h.negative_buckets.len()) as u64;
    while limit > 0 && buckets(&histogram) > limit {
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
mod tests;
