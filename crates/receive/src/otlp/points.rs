//! Converts data points to samples and histograms.

use std::sync::Arc;

use pharos_histogram::Histogram;
use pharos_model::write::HistogramSample;
use pharos_model::{Exemplar, RejectReason, STALE_NAN, Sample};
use pharos_transport::otlp::metrics::v1 as proto;

use super::translate::{Family, Translation};
use super::values::{decimal, to_millis};
use super::walk::part;
use super::{exemplars, native};
use crate::decode::DecodeError;
use crate::histogram::check;

/// The flag of a point without a value.
const NO_RECORDED_VALUE: u32 = proto::DataPointFlags::NoRecordedValueMask as u32;

/// The timestamps of a point, and whether it marks its series stale.
#[derive(Clone, Copy)]
struct Header {
    t: i64,
    st: i64,
    stale: bool,
}

impl Header {
    fn new(time: u64, start: u64, flags: u32) -> Self {
        Header { t: to_millis(time), st: to_millis(start), stale: flags & NO_RECORDED_VALUE != 0 }
    }

    fn sample(self, value: f64) -> Sample {
        Sample { t: self.t, v: if self.stale { STALE_NAN } else { value }, st: self.st }
    }
}

/// A point of a gauge or a sum. Only sums have exemplars in Prometheus.
pub(super) fn number(
    to: &mut Translation<'_, '_, '_>,
    family: &Family<'_>,
    point: &[u8],
    with_exemplars: bool,
) -> Result<(), DecodeError> {
    let point: proto::NumberDataPoint = part(to.decoder, point)?;
    let header = Header::new(point.time_unix_nano, point.start_time_unix_nano, point.flags);
    if !to.begin_point(family, &point.attributes, header.t) {
        return Ok(());
    }
    let value = match point.value {
        Some(proto::number_data_point::Value::AsDouble(value)) => value,
        Some(proto::number_data_point::Value::AsInt(value)) => value as f64,
        None => 0.0,
    };
    to.begin_series(&family.name, "", None)?;
    to.sample(header.sample(value))?;
    if with_exemplars {
        push_exemplars(to, exemplars::of_point(&point.exemplars, header.t))?;
    }
    Ok(())
}

/// A point of a summary: sum, count and a series for each quantile.
pub(super) fn summary(to: &mut Translation<'_, '_, '_>, family: &Family<'_>, point: &[u8]) -> Result<(), DecodeError> {
    let point: proto::SummaryDataPoint = part(to.decoder, point)?;
    let header = Header::new(point.time_unix_nano, point.start_time_unix_nano, point.flags);
    if !to.begin_point(family, &point.attributes, header.t) {
        return Ok(());
    }
    to.begin_series(&family.name, "_sum", None)?;
    to.sample(header.sample(point.sum))?;
    to.begin_series(&family.name, "_count", None)?;
    to.sample(header.sample(point.count as f64))?;
    for quantile in &point.quantile_values {
        to.begin_series(&family.name, "", Some(("quantile", &decimal(quantile.quantile))))?;
        to.sample(header.sample(quantile.value))?;
    }
    Ok(())
}

/// A point of a histogram with explicit bounds, as a classic histogram.
pub(super) fn classic(to: &mut Translation<'_, '_, '_>, family: &Family<'_>, point: &[u8]) -> Result<(), DecodeError> {
    let point: proto::HistogramDataPoint = part(to.decoder, point)?;
    let header = Header::new(point.time_unix_nano, point.start_time_unix_nano, point.flags);
    if !to.begin_point(family, &point.attributes, header.t) {
        return Ok(());
    }
    if let Some(sum) = point.sum {
        to.begin_series(&family.name, "_sum", None)?;
        to.sample(header.sample(sum))?;
    }
    to.begin_series(&family.name, "_count", None)?;
    to.sample(header.sample(point.count as f64))?;
    let mut exemplars = exemplars::of_point(&point.exemplars, header.t);
    exemplars.sort_by(|a, b| a.value.total_cmp(&b.value));
    let mut exemplars = exemplars.into_iter().peekable();
    let mut below = 0u64;
    for (&bound, &count) in point.explicit_bounds.iter().zip(&point.bucket_counts) {
        below = below.saturating_add(count);
        to.begin_series(&family.name, "_bucket", Some(("le", &decimal(bound))))?;
        to.sample(header.sample(below as f64))?;
        let of_bucket = std::iter::from_fn(|| exemplars.next_if(|exemplar| exemplar.value <= bound));
        push_exemplars(to, of_bucket.collect())?;
    }
    to.begin_series(&family.name, "_bucket", Some(("le", "+Inf")))?;
    to.sample(header.sample(point.count as f64))?;
    push_exemplars(to, exemplars.collect())
}

/// A point of a histogram with explicit bounds, as a native histogram with custom buckets.
pub(super) fn custom_buckets(
    to: &mut Translation<'_, '_, '_>,
    family: &Family<'_>,
    point: &[u8],
) -> Result<(), DecodeError> {
    let point: proto::HistogramDataPoint = part(to.decoder, point)?;
    let header = Header::new(point.time_unix_nano, point.start_time_unix_nano, point.flags);
    if !to.begin_point(family, &point.attributes, header.t) {
        return Ok(());
    }
    let histogram = native::of_explicit(&point, header.stale);
    push_histogram(to, family, header, histogram, exemplars::of_point(&point.exemplars, header.t))
}

/// A point of an exponential histogram, as a native histogram.
pub(super) fn exponential(
    to: &mut Translation<'_, '_, '_>,
    family: &Family<'_>,
    point: &[u8],
) -> Result<(), DecodeError> {
    let point: proto::ExponentialHistogramDataPoint = part(to.decoder, point)?;
    let header = Header::new(point.time_unix_nano, point.start_time_unix_nano, point.flags);
    if !to.begin_point(family, &point.attributes, header.t) {
        return Ok(());
    }
    let histogram = native::of_exponential(&point, header.stale);
    push_histogram(to, family, header, histogram, exemplars::of_point(&point.exemplars, header.t))
}

fn push_histogram(
    to: &mut Translation<'_, '_, '_>,
    family: &Family<'_>,
    header: Header,
    histogram: Result<Histogram, String>,
    exemplars: Vec<Exemplar>,
) -> Result<(), DecodeError> {
    let checked = histogram.and_then(|h| {
        let mut sample = HistogramSample { t: header.t, st: header.st, h: Arc::new(h) };
        check(&mut sample).map(|()| sample)
    });
    match checked {
        Ok(sample) => {
            to.begin_series(&family.name, "", None)?;
            to.decoder.take(size_of::<HistogramSample>() + sample.h.bytes())?;
            to.decoder.batch.histograms.push(sample);
            push_exemplars(to, exemplars)
        }
        Err(error) => {
            to.reject(RejectReason::InvalidHistogram, 1, || format!("{error} for metric {}", family.name));
            Ok(())
        }
    }
}

fn push_exemplars(to: &mut Translation<'_, '_, '_>, exemplars: Vec<Exemplar>) -> Result<(), DecodeError> {
    exemplars.into_iter().try_for_each(|e| to.decoder.exemplar(Some(e.labels), e.value, e.t))
}
