//! Converts OTLP histograms to native ones: exponential buckets, or explicit bounds as custom buckets.

use std::sync::Arc;

use pharos_histogram::{CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, Histogram, Span};
use pharos_model::STALE_NAN;
use pharos_transport::otlp::metrics::v1::exponential_histogram_data_point::Buckets;
use pharos_transport::otlp::metrics::v1::{ExponentialHistogramDataPoint, HistogramDataPoint};

/// The width of the zero bucket. Few senders set the one of OTLP.
const ZERO_THRESHOLD: f64 = 1e-128;
/// The largest gap of empty buckets that is filled instead of starting a new span.
const MAX_GAP: i64 = 2;

/// Converts an exponential histogram.
pub(super) fn of_exponential(point: &ExponentialHistogramDataPoint, stale: bool) -> Result<Histogram, String> {
    if point.scale < EXPONENTIAL_SCHEMA_MIN {
        return Err(format!(
            "cannot convert exponential to native histogram. Scale must be >= {EXPONENTIAL_SCHEMA_MIN}, was {}",
            point.scale
        ));
    }
    let schema = point.scale.min(EXPONENTIAL_SCHEMA_MAX);
    if stale {
        return Ok(stale_marker(schema));
    }
    let coarser = i64::from(point.scale) - i64::from(schema);
    let side = |buckets: Option<&Buckets>| match buckets {
        // OTLP's bucket i covers (base^i, base^(i+1)], ours (base^(i-1), base^i].
        Some(b) => sparse(&b.bucket_counts, |i| ((i64::from(b.offset) + i) >> coarser.min(63)) + 1),
        None => Ok(Default::default()),
    };
    let (positive_spans, positive_buckets) = side(point.positive.as_ref())?;
    let (negative_spans, negative_buckets) = side(point.negative.as_ref())?;
    Ok(Histogram {
        integer: true,
        schema,
        zero_threshold: ZERO_THRESHOLD,
        zero_count: point.zero_count as f64,
        count: point.count as f64,
        sum: point.sum.unwrap_or(0.0),
        positive_spans,
        positive_buckets,
        negative_spans,
        negative_buckets,
        ..Histogram::default()
    })
}

/// Converts a histogram with explicit bounds to one with custom buckets.
pub(super) fn of_explicit(point: &HistogramDataPoint, stale: bool) -> Result<Histogram, String> {
    let custom_values: Arc<[f64]> = Arc::from(&point.explicit_bounds[..]);
    if stale {
        return Ok(Histogram { custom_values, ..stale_marker(CUSTOM_BUCKETS_SCHEMA) });
    }
    let (positive_spans, positive_buckets) = sparse(&point.bucket_counts, |i| i)?;
    Ok(Histogram {
        integer: true,
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: point.count as f64,
        sum: point.sum.unwrap_or(0.0),
        positive_spans,
        positive_buckets,
        custom_values,
        ..Histogram::default()
    })
}

fn stale_marker(schema: i32) -> Histogram {
    Histogram { integer: true, schema, sum: STALE_NAN, ..Histogram::default() }
}

/// Converts dense counts to spans and buckets. Counts with the same `index` are added up.
fn sparse(counts: &[u64], index: impl Fn(i64) -> i64) -> Result<(Vec<Span>, Vec<f64>), String> {
    let mut spans: Vec<Span> = Vec::new();
    let mut buckets: Vec<f64> = Vec::new();
    // The index after the last bucket.
    let mut end = 0;
    let mut sum = 0u64;
    for (i, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let at = index(i as i64);
        if !spans.is_empty() && at == end - 1 {
            sum = sum.saturating_add(count);
            if let Some(last) = buckets.last_mut() {
                *last = sum as f64;
            }
            continue;
        }
        let gap = at - end;
        match spans.last_mut() {
            Some(span) if gap <= MAX_GAP => {
                buckets.extend((0..gap).map(|_| 0.0));
                span.length += gap as u32 + 1;
            }
            _ => {
                let offset = i32::try_from(gap).map_err(|_| format!("bucket {at} is out of range"))?;
                spans.push(Span { offset, length: 1 });
            }
        }
        buckets.push(count as f64);
        end = at + 1;
        sum = count;
    }
    Ok((spans, buckets))
}

#[cfg(test)]
mod tests;
