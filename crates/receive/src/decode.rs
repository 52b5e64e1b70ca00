//! What the decoders of both protocols share: where they write, what they refuse, and how much they may make of a request.

use pharos_model::{
    Exemplar, Labels, LabelsBuilder, MetricType, RejectReason, Sample, TenantId, WriteBatch, WriteOutcome,
};

use crate::histogram;
use crate::series_labels::LabelError;
use crate::wire::{Reader, WireError};

/// Why nothing of a request is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    /// It is no protobuf message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Decoded, it would need more memory than a request may.
    #[error("the decoded request needs more than {limit} bytes")]
    TooLarge { limit: usize },
    /// A message that a generated decoder refuses.
    #[error("{0}")]
    Message(String),
    /// One part of it is larger than any such part is.
    #[error("a data point, resource or scope of {bytes} bytes is over the limit of {limit} bytes")]
    PartTooLarge { bytes: usize, limit: usize },
}

/// A batch under construction, of one request.
pub(super) struct Decoder<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) batch: &'a mut WriteBatch,
    /// What was refused so far.
    pub(super) refused: WriteOutcome,
    limit: usize,
    used: usize,
}

impl<'a> Decoder<'a> {
    /// Fills an empty `batch` with no more than `limit` bytes.
    pub(super) fn new(tenant: &'a TenantId, batch: &'a mut WriteBatch, limit: usize) -> Self {
        Decoder { tenant, batch, refused: WriteOutcome::default(), limit, used: 0 }
    }

    /// Takes memory from the limit.
    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.used += bytes;
        if self.used > self.limit { Err(DecodeError::TooLarge { limit: self.limit }) } else { Ok(()) }
    }

    /// Appends a float of the series that has begun. `message` is a `Sample` of either protocol.
    #[inline]
    pub(super) fn sample(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        let mut sample = Sample { t: 0, v: 0.0, st: 0 };
        let mut reader = Reader::new(message);
        while let Some((field, kind)) = reader.key()? {
            match field {
                1 => sample.v = reader.double(field, kind)?,
                2 => sample.t = reader.number(field, kind)? as i64,
                3 => sample.st = reader.number(field, kind)? as i64,
                _ => reader.skip(kind)?,
            }
        }
        self.batch.samples.push(sample);
        self.take(size_of::<Sample>())
    }

    /// Appends a histogram of the series that has begun, or refuses it.
    pub(super) fn histogram(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        let mut sample = histogram::decode(message)?;
        self.take(size_of_val(&sample) + sample.h.bytes())?;
        match histogram::check(&mut sample) {
            Ok(()) => self.batch.histograms.push(sample),
            Err(error) => {
                self.batch.finish_series();
                let series = self.batch.series().last().map(|s| self.batch.display_labels(s)).unwrap_or_default();
                self.refused
                    .reject(RejectReason::InvalidHistogram, || format!("{error} for series {series} at {}", sample.t));
            }
        }
        Ok(())
    }

    /// Appends an exemplar of the series that has begun. Its labels are in any order; `None` when they are bad.
    pub(super) fn exemplar(&mut self, labels: Option<Labels>, value: f64, t: i64) -> Result<(), DecodeError> {
        match labels {
            Some(labels) => {
                self.take(size_of::<Exemplar>() + labels.as_bytes().len())?;
                self.batch.exemplars.push(Exemplar { labels, value, t });
            }
            None => self.refused.reject(RejectReason::InvalidExemplar, || {
                format!("exemplar at {t} has labels that are duplicated, unnamed, too many or not valid UTF-8")
            }),
        }
        Ok(())
    }
}

/// Counts several refusals of one reason.
pub(super) fn reject_many(
    refused: &mut WriteOutcome,
    reason: RejectReason,
    count: u64,
    message: impl FnOnce() -> String,
) {
    refused.reject(reason, message);
    if let Some(rejected) = refused.rejected.get_mut(&reason) {
        rejected.count += count.saturating_sub(1);
    }
}

/// Refuses all of a series with so many samples because of its labels.
pub(super) fn refuse_series(refused: &mut WriteOutcome, error: &LabelError, samples: usize) {
    reject_many(refused, RejectReason::InvalidLabels, samples as u64, || error.to_string());
}

/// The metric type of a number, which both protocols use.
pub(super) fn metric_type(number: u64) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// Most labels of an exemplar that are read: far more than fit in the 128 characters that one may have.
pub(super) const MAX_EXEMPLAR_LABELS: usize = 128;

/// An exemplar's labels, which need no metric name; `None` when a name is empty or occurs twice, bytes
/// are no UTF-8, or there are too many.
pub(super) fn exemplar_labels(pairs: &[(&[u8], &[u8])]) -> Option<Labels> {
    if pairs.len() > MAX_EXEMPLAR_LABELS {
        return None;
    }
    let mut builder = LabelsBuilder::default();
    for (i, (name, value)) in pairs.iter().enumerate() {
        let (name, value) = (std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?);
        if name.is_empty() || pairs[..i].iter().any(|(other, _)| *other == name.as_bytes()) {
            return None;
        }
        builder.set(name, value);
    }
    Some(builder.build())
}
