//! Native histograms of OTLP's exponential ones, and of explicit ones as custom buckets.

use std::sync::Arc;

use pharos_histogram::{CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, Histogram, Span};
use pharos_model::STALE_NAN;
use pharos_transport::otlp::metrics::v1::exponential_histogram_data_point::Buckets;
use pharos_transport::otlp::metrics::v1::{ExponentialHistogramDataPoint, HistogramDataPoint};

/// The width of the zero bucket: OTLP's is not known to most senders.
const ZERO_THRESHOLD: f64 = 1e-128;
/// Empty buckets between two others are kept up to this number, instead of a new span.
const MAX_GAP: i64 = 2;

/// The native histogram of an exponential one.
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

/// The native histogram with custom buckets of an explicit one.
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

/// Dense counts as spans and buckets, those of the same `index` added up.
fn sparse(counts: &[u64], index: impl Fn(i64) -> i64) -> Result<(Vec<Span>, Vec<f64>), String> {
    let (mut spans, mut buckets): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
    // The index behind the last bucket.
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
        (end, sum) = (at + 1, count);
    }
    Ok((spans, buckets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    #[test]
    fn dense_counts_become_spans() {
        assert_eq!(sparse(&[], |i| i), Ok((vec![], vec![])));
        assert_eq!(sparse(&[0, 0], |i| i), Ok((vec![], vec![])));
        let (spans, buckets) = sparse(&[0, 1, 0, 0, 2, 0, 0, 0, 3, 4], |i| i - 3).unwrap();
        assert_eq!((spans, buckets), (vec![span(-2, 4), span(3, 2)], vec![1.0, 0.0, 0.0, 2.0, 3.0, 4.0]));
        let (spans, buckets) = sparse(&[1, 2, 3, 4, 5], |i| ((i - 1) >> 1) + 1).unwrap();
        assert_eq!((spans, buckets), (vec![span(0, 3)], vec![1.0, 5.0, 9.0]));
        assert!(sparse(&[1], |_| i64::from(i32::MAX) + 1).is_err());
    }

    #[test]
    fn too_fine_scales_are_made_coarser_and_too_coarse_ones_refused() {
        let buckets = |offset, bucket_counts| Some(Buckets { offset, bucket_counts });
        let point = |scale| ExponentialHistogramDataPoint {
            scale,
            count: 10,
            sum: Some(4.0),
            positive: buckets(-1, vec![1, 2, 3, 4]),
            ..Default::default()
        };
        let h = of_exponential(&point(9), false).unwrap();
        assert_eq!((h.schema, h.positive_spans, h.positive_buckets), (8, vec![span(0, 3)], vec![1.0, 5.0, 4.0]));
        let h = of_exponential(&point(i32::MAX), false).unwrap();
        assert_eq!((h.schema, h.positive_spans, h.positive_buckets), (8, vec![span(0, 2)], vec![1.0, 9.0]));
        assert!(of_exponential(&point(-5), false).unwrap_err().ends_with("was -5"));
        assert!(of_exponential(&point(3), true).unwrap().is_stale());
    }
}
