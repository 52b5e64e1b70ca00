//! What all decoders share: the batch under construction, its memory limit and its rejections.

use pharos_model::{
    Exemplar, Hold, Labels, LabelsBuilder, MemoryFull, MetricType, RejectReason, Sample, TenantId, WriteBatch,
    WriteOutcome,
};

use crate::histogram;
use crate::series_labels::LabelError;
use crate::wire::{Reader, WireError};

/// An error for which the whole request is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    /// The request is not a protobuf message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The decoded request exceeds its memory limit.
    #[error("the decoded request needs more than {limit} bytes")]
    TooLarge { limit: usize },
    /// Requests hold as much memory as they may.
    #[error(transparent)]
    Full(#[from] MemoryFull),
    /// A generated decoder failed.
    #[error("{0}")]
    Message(String),
    /// A part of an OTLP request exceeds its size limit.
    #[error("a data point, resource or scope of {bytes} bytes is over the limit of {limit} bytes")]
    PartTooLarge { bytes: usize, limit: usize },
}

/// The batch of one request under construction.
pub(super) struct Decoder<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) batch: &'a mut WriteBatch,
    /// The rejections so far.
    pub(super) rejections: WriteOutcome,
    limit: usize,
    used: usize,
    hold: &'a Hold,
    /// The bytes that were reserved in `hold` for the batch.
    reserved: usize,
}

impl<'a> Decoder<'a> {
    /// Creates a decoder that fills an empty `batch` with at most `limit` bytes. They count as in flight while the batch
    /// grows.
    pub(super) fn new(tenant: &'a TenantId, batch: &'a mut WriteBatch, limit: usize, hold: &'a Hold) -> Self {
        Decoder { tenant, batch, rejections: WriteOutcome::default(), limit, used: 0, hold, reserved: 0 }
    }

    /// Counts memory towards the limits.
    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.used += bytes;
        if self.used > self.limit {
            return Err(DecodeError::TooLarge { limit: self.limit });
        }
        self.reserve(0)
    }

    /// Counts memory that a step of the decoding needs for a moment, besides the batch.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), DecodeError> {
        // Vectors have room for more than what is in them.
        let needed = self.used + self.used / 2 + bytes;
        if needed > self.reserved {
            // Each reservation is larger than the one before, so that there are few.
            let more = (needed - self.reserved).max(self.reserved / 2);
            self.hold.draw(more as u64)?;
            self.reserved += more;
        }
        Ok(())
    }

    /// Appends a float sample to the current series. `message` is a `Sample` of either version.
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

    /// Appends a histogram to the current series, or rejects it.
    pub(super) fn histogram(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        let mut sample = histogram::decode(message)?;
        self.take(size_of_val(&sample) + sample.h.bytes())?;
        match histogram::check(&mut sample) {
            Ok(()) => self.batch.histograms.push(sample),
            Err(error) => {
                self.batch.finish_series();
                let series = self.batch.series().last().map(|s| self.batch.display_labels(s)).unwrap_or_default();
                self.rejections
                    .reject(RejectReason::InvalidHistogram, || format!("{error} for series {series} at {}", sample.t));
            }
        }
        Ok(())
    }

    /// Appends an exemplar to the current series. Without labels it is rejected: they were invalid.
    pub(super) fn exemplar(&mut self, labels: Option<Labels>, value: f64, t: i64) -> Result<(), DecodeError> {
        match labels {
            Some(labels) => {
                self.take(size_of::<Exemplar>() + labels.as_bytes().len())?;
                self.batch.exemplars.push(Exemplar { labels, value, t });
            }
            None => self.rejections.reject(RejectReason::InvalidExemplar, || {
                format!("exemplar at {t} has labels that are duplicated, unnamed, too many or not valid UTF-8")
            }),
        }
        Ok(())
    }
}

/// Adds several rejections for one reason.
pub(super) fn reject_many(
    rejections: &mut WriteOutcome,
    reason: RejectReason,
    count: u64,
    message: impl FnOnce() -> String,
) {
    rejections.reject(reason, message);
    if let Some(rejected) = rejections.rejected.get_mut(&reason) {
        rejected.count += count.saturating_sub(1);
    }
}

/// Rejects all samples of a series because of its labels.
pub(super) fn reject_series(rejections: &mut WriteOutcome, error: &LabelError, samples: usize) {
    reject_many(rejections, RejectReason::InvalidLabels, samples as u64, || error.to_string());
}

/// The metric type with this number in either version of remote write.
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

/// The limit on labels of an exemplar, far above what fits into the 128 characters that one may have.
pub(super) const MAX_EXEMPLAR_LABELS: usize = 128;

/// The labels of an exemplar; `None` when a name is empty or repeated, bytes are not UTF-8, or there are too many labels.
pub(super) fn exemplar_labels(pairs: &[(&[u8], &[u8])]) -> Option<Labels> {
    if pairs.len() > MAX_EXEMPLAR_LABELS {
        return None;
    }
    let mut builder = LabelsBuilder::default();
    for (i, (name, value)) in pairs.iter().enumerate() {
        let name = std::str::from_utf8(name).ok()?;
        let value = std::str::from_utf8(value).ok()?;
        if name.is_empty() || pairs[..i].iter().any(|(other, _)| *other == name.as_bytes()) {
            return None;
        }
        builder.set(name, value);
    }
    Some(builder.build())
}
