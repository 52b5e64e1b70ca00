//! The batch of the write path, the outcome of a write, and why writes fail.

mod refused;

pub use refused::{RefusedByShard, RefusedSample, SampleIndex};

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::hash::{SeriesHash, series_hash};
use crate::labels::LabelsIter;
use crate::sample::{Exemplar, Metadata, Sample};
use crate::tenant::TenantId;
use pharos_histogram::Histogram;

/// One histogram sample.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSample {
    /// Milliseconds since the epoch.
    pub t: i64,
    /// Start timestamp, milliseconds; 0 if unknown.
    pub st: i64,
    /// The histogram. The sum of a stale marker is the stale NaN.
    pub h: Arc<Histogram>,
}

/// Series of one tenant with samples, in the order in which they were received.
///
/// All series share a few columns, so that a batch of thousands of series costs a handful of allocations and can be
/// reused.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    labels: Vec<u8>,
    series: Vec<BatchSeries>,
    /// The floats of all series.
    pub samples: Vec<Sample>,
    /// The histograms of all series.
    pub histograms: Vec<HistogramSample>,
    /// The exemplars of all series.
    pub exemplars: Vec<Exemplar>,
    /// Metadata by name of the metric family.
    pub metadata: Vec<(String, Metadata)>,
    /// Whether a stale marker is rejected unless it is newer than all samples of its series. It says that a target no longer has
    /// the series, which another target may have continued since.
    pub stale_in_order: bool,
}

/// Where the parts of a series are in a [`WriteBatch`]. A series may occur more than once in a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchSeries {
    /// The hash of tenant and labels.
    pub hash: SeriesHash,
    labels: Range<u32>,
    /// The range of its floats, in any order.
    pub samples: Range<u32>,
    /// The range of its histograms, in any order.
    pub histograms: Range<u32>,
    /// The range of its exemplars.
    pub exemplars: Range<u32>,
}

impl WriteBatch {
    /// Begins a series whose canonical labels `write` appends. Samples, histograms and exemplars that are pushed to the
    /// columns from now on belong to it. Receivers have checked the labels: they are sorted and valid, without empty
    /// values.
    pub fn begin_series(&mut self, tenant: &TenantId, write: impl FnOnce(&mut Vec<u8>)) {
        self.finish_series();
        let start = self.labels.len();
        write(&mut self.labels);
        let hash = series_hash(tenant, &self.labels[start..]);
        self.push_series(hash, start);
    }

    /// Like [`WriteBatch::begin_series`], for labels that may turn out to be invalid.
    ///
    /// # Errors
    /// The error of `write`. What it appended is removed and no series begins, so the caller must not push samples.
    pub fn try_begin_series<E>(
        &mut self,
        tenant: &TenantId,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.finish_series();
        let start = self.labels.len();
        if let Err(error) = write(&mut self.labels) {
            self.labels.truncate(start);
            return Err(error);
        }
        let hash = series_hash(tenant, &self.labels[start..]);
        self.push_series(hash, start);
        Ok(())
    }

    /// Like [`WriteBatch::begin_series`], for labels whose hash is known.
    pub fn begin_known_series(&mut self, canonical: &[u8], hash: SeriesHash) {
        self.finish_series();
        let start = self.labels.len();
        self.labels.extend_from_slice(canonical);
        self.push_series(hash, start);
    }

    fn push_series(&mut self, hash: SeriesHash, labels_start: usize) {
        let empty_at = |len: usize| len as u32..len as u32;
        self.series.push(BatchSeries {
            hash,
            labels: labels_start as u32..self.labels.len() as u32,
            samples: empty_at(self.samples.len()),
            histograms: empty_at(self.histograms.len()),
            exemplars: empty_at(self.exemplars.len()),
        });
    }

    /// Ends the last series. Callers do this once, when the batch is complete.
    pub fn finish_series(&mut self) {
        if let Some(last) = self.series.last_mut() {
            last.samples.end = self.samples.len() as u32;
            last.histograms.end = self.histograms.len() as u32;
            last.exemplars.end = self.exemplars.len() as u32;
        }
    }

    /// The series in the order in which they were begun.
    pub fn series(&self) -> &[BatchSeries] {
        &self.series
    }

    /// The canonical labels of a series of this batch.
    pub fn labels_of(&self, series: &BatchSeries) -> &[u8] {
        &self.labels[series.labels.start as usize..series.labels.end as usize]
    }

    /// The labels of a series of this batch in a form for messages.
    pub fn display_labels(&self, series: &BatchSeries) -> crate::Labels {
        let bytes = self.labels_of(series);
        debug_assert!(LabelsIter::over(bytes).count() > 0 || bytes.is_empty());
        crate::Labels::from_canonical_unchecked(bytes)
    }

    /// The floats of a series of this batch.
    pub fn samples_of(&self, series: &BatchSeries) -> &[Sample] {
        &self.samples[series.samples.start as usize..series.samples.end as usize]
    }

    /// The histograms of a series of this batch.
    pub fn histograms_of(&self, series: &BatchSeries) -> &[HistogramSample] {
        &self.histograms[series.histograms.start as usize..series.histograms.end as usize]
    }

    /// The exemplars of a series of this batch.
    pub fn exemplars_of(&self, series: &BatchSeries) -> &[Exemplar] {
        &self.exemplars[series.exemplars.start as usize..series.exemplars.end as usize]
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.metadata.is_empty()
    }

    /// Removes everything. The memory stays allocated.
    pub fn clear(&mut self) {
        self.labels.clear();
        self.series.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.stale_in_order = false;
    }

    /// The size of the contents, bytes. Limits on requests in flight count it.
    pub fn bytes(&self) -> usize {
        self.labels.len()
            + self.series.len() * size_of::<BatchSeries>()
            + self.samples.len() * size_of::<Sample>()
            + self.histograms.iter().map(|h| size_of::<HistogramSample>() + h.h.bytes()).sum::<usize>()
            + self.exemplars.iter().map(|e| size_of::<Exemplar>() + e.labels.as_bytes().len()).sum::<usize>()
            + self.metadata.iter().map(|(family, metadata)| metadata.bytes(family)).sum::<usize>()
    }
}

/// Why a sample was rejected. The names are the values of the label `reason` of `pharos_*_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectReason {
    /// Older than the tenant's out-of-order window.
    TooOld,
    /// Further ahead of the clock than is plausible.
    TooFarInFuture,
    /// The series has another value at this timestamp.
    DuplicateTimestamp,
    /// A stale marker of a series that has newer samples, if that is asked for ([`WriteBatch::stale_in_order`]).
    OutOfOrder,
    /// The labels are not those of a series: there are none, the metric name is missing or invalid, or names repeat.
    InvalidLabels,
    /// A native histogram that contradicts itself.
    InvalidHistogram,
    /// An exemplar that is too long, out of order or a duplicate.
    InvalidExemplar,
    /// The tenant has reached its limit of series.
    MaxSeries,
    /// The series has too many labels.
    MaxLabels,
    /// A label name is too long.
    MaxLabelNameLength,
    /// A label value is too long.
    MaxLabelValueLength,
}

impl RejectReason {
    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::TooOld => "too_old",
            RejectReason::TooFarInFuture => "too_far_in_future",
            RejectReason::DuplicateTimestamp => "duplicate_timestamp",
            RejectReason::OutOfOrder => "out_of_order",
            RejectReason::InvalidLabels => "invalid_labels",
            RejectReason::InvalidHistogram => "invalid_histogram",
            RejectReason::InvalidExemplar => "invalid_exemplar",
            RejectReason::MaxSeries => "max_series",
            RejectReason::MaxLabels => "max_labels",
            RejectReason::MaxLabelNameLength => "max_label_name_length",
            RejectReason::MaxLabelValueLength => "max_label_value_length",
        }
    }

    /// The reason with a name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        use RejectReason::*;
        let all = [
            TooOld,
            TooFarInFuture,
            DuplicateTimestamp,
            OutOfOrder,
            InvalidLabels,
            InvalidHistogram,
            InvalidExemplar,
            MaxSeries,
            MaxLabels,
            MaxLabelNameLength,
            MaxLabelValueLength,
        ];
        all.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// The outcome of a write: what is durable now, and what was rejected and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteOutcome {
    /// Floats that were accepted, including duplicates that change nothing.
    pub samples: u64,
    /// Histograms that were accepted.
    pub histograms: u64,
    /// Exemplars that were accepted.
    pub exemplars: u64,
    /// The samples, histograms and exemplars that were rejected, by reason.
    pub rejected: BTreeMap<RejectReason, Rejected>,
    /// Series that the write created.
    pub new_series: u64,
}

/// The samples that were rejected for one reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rejected {
    /// The number of samples.
    pub count: u64,
    /// The message for the first of them, which names the series and the timestamp.
    pub first: String,
}

impl WriteOutcome {
    /// Counts a rejected sample. `message` is only called for the first one of a reason.
    pub fn reject(&mut self, reason: RejectReason, message: impl FnOnce() -> String) {
        let entry = self.rejected.entry(reason).or_insert_with(|| Rejected { count: 0, first: message() });
        entry.count += 1;
    }

    /// Merges what another replica rejected of the same batch. A sample that any replica rejected is not acknowledged.
    ///
    /// Replicas mostly reject the same samples, so a reason counts as often as on the replica with the most.
    pub fn merge_rejections_of_replica(&mut self, rejected: BTreeMap<RejectReason, Rejected>) {
        for (reason, other) in rejected {
            let mine = self.rejected.entry(reason).or_insert_with(|| Rejected { count: 0, first: other.first });
            mine.count = mine.count.max(other.count);
        }
    }

    /// Adds the outcome of another part of the same request.
    pub fn absorb(&mut self, other: WriteOutcome) {
        self.samples += other.samples;
        self.histograms += other.histograms;
        self.exemplars += other.exemplars;
        self.new_series += other.new_series;
        for (reason, rejected) in other.rejected {
            self.rejected.entry(reason).or_insert_with(|| Rejected { count: 0, first: rejected.first }).count +=
                rejected.count;
        }
    }
}

/// Why a batch was not acknowledged. The sender may send all of it again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// A limit is reached and the sender must slow down (HTTP 429).
    #[error("{0}")]
    Overloaded(String),
    /// The node cannot make samples durable at the moment (HTTP 503), because its disk is full or it starts or stops.
    #[error("{0}")]
    Unavailable(String),
}

#[cfg(test)]
mod tests;
