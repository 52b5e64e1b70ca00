//! Samples on their way in: one tenant's batch, how much of it was taken, and why a write fails.

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
    /// Start timestamp, milliseconds; 0 when unknown.
    pub st: i64,
    /// The histogram; its sum is the stale NaN in a stale marker.
    pub h: Arc<Histogram>,
}

/// Some series of one tenant with samples, in the order in which they were received. All parts are in shared columns,
/// so that a batch of thousands of series costs a handful of allocations and can be reused.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    labels: Vec<u8>,
    series: Vec<BatchSeries>,
    /// Samples of all series.
    pub samples: Vec<Sample>,
    /// Histogram samples of all series.
    pub histograms: Vec<HistogramSample>,
    /// Exemplars of all series.
    pub exemplars: Vec<Exemplar>,
    /// What was said about metric families, by metric family name.
    pub metadata: Vec<(String, Metadata)>,
}

/// One series of a [`WriteBatch`]: where its parts are in the columns. A series may occur more than once in a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchSeries {
    /// The series hash.
    pub hash: SeriesHash,
    labels: Range<u32>,
    /// Its samples, ascending or not.
    pub samples: Range<u32>,
    /// Its histogram samples.
    pub histograms: Range<u32>,
    /// Its exemplars.
    pub exemplars: Range<u32>,
}

impl WriteBatch {
    /// Begins a series whose canonical labels `write` appends; samples, histograms and exemplars that are pushed
    /// to the columns from now on belong to it. The labels must be canonical (sorted, valid, no empty values): receivers check.
    pub fn begin_series(&mut self, tenant: &TenantId, write: impl FnOnce(&mut Vec<u8>)) {
        self.finish_series();
        let start = self.labels.len();
        write(&mut self.labels);
        let hash = series_hash(tenant, &self.labels[start..]);
        self.push_series(hash, start);
    }

    /// As [`WriteBatch::begin_series`], with labels that may turn out to be bad: if `write` fails, what it appended is
    /// taken back and no series begins. Samples pushed after that belong to no series.
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

    /// As [`WriteBatch::begin_series`], with labels whose hash is known already.
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

    /// Closes the last series. Call it once when the batch is complete.
    pub fn finish_series(&mut self) {
        if let Some(last) = self.series.last_mut() {
            last.samples.end = self.samples.len() as u32;
            last.histograms.end = self.histograms.len() as u32;
            last.exemplars.end = self.exemplars.len() as u32;
        }
    }

    /// The series.
    pub fn series(&self) -> &[BatchSeries] {
        &self.series
    }

    /// The canonical labels of a series of this batch.
    pub fn labels_of(&self, series: &BatchSeries) -> &[u8] {
        &self.labels[series.labels.start as usize..series.labels.end as usize]
    }

    /// The labels of a series of this batch, for messages.
    pub fn display_labels(&self, series: &BatchSeries) -> crate::Labels {
        let bytes = self.labels_of(series);
        debug_assert!(LabelsIter::over(bytes).count() > 0 || bytes.is_empty());
        crate::Labels::from_canonical_unchecked(bytes)
    }

    /// The samples of a series of this batch.
    pub fn samples_of(&self, series: &BatchSeries) -> &[Sample] {
        &self.samples[series.samples.start as usize..series.samples.end as usize]
    }

    /// The histogram samples of a series of this batch.
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

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.labels.clear();
        self.series.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
    }

    /// The bytes that the batch holds, for limits on requests in flight.
    pub fn bytes(&self) -> usize {
        self.labels.len()
            + self.series.len() * size_of::<BatchSeries>()
            + self.samples.len() * size_of::<Sample>()
            + self.histograms.iter().map(|h| size_of::<HistogramSample>() + h.h.bytes()).sum::<usize>()
            + self.exemplars.iter().map(|e| size_of::<Exemplar>() + e.labels.as_bytes().len()).sum::<usize>()
    }
}

/// Why a sample was refused. The names are the values of the `reason` label of `pharos_*_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectReason {
    /// Older than the tenant's out-of-order window.
    TooOld,
    /// Further ahead of the clock than is plausible.
    TooFarInFuture,
    /// Another value at a timestamp that the series has.
    DuplicateTimestamp,
    /// Labels that are no series: none, no or a bad metric name, duplicates.
    InvalidLabels,
    /// A native histogram that breaks its own rules.
    InvalidHistogram,
    /// An exemplar that is too long, out of order or a duplicate.
    InvalidExemplar,
    /// The tenant has as many series as it may.
    MaxSeries,
    /// More labels than allowed.
    MaxLabels,
    /// A label name longer than allowed.
    MaxLabelNameLength,
    /// A label value longer than allowed.
    MaxLabelValueLength,
}

impl RejectReason {
    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::TooOld => "too_old",
            RejectReason::TooFarInFuture => "too_far_in_future",
            RejectReason::DuplicateTimestamp => "duplicate_timestamp",
            RejectReason::InvalidLabels => "invalid_labels",
            RejectReason::InvalidHistogram => "invalid_histogram",
            RejectReason::InvalidExemplar => "invalid_exemplar",
            RejectReason::MaxSeries => "max_series",
            RejectReason::MaxLabels => "max_labels",
            RejectReason::MaxLabelNameLength => "max_label_name_length",
            RejectReason::MaxLabelValueLength => "max_label_value_length",
        }
    }

    /// The reason of that name.
    pub fn parse(name: &str) -> Option<Self> {
        use RejectReason::*;
        let all = [
            TooOld,
            TooFarInFuture,
            DuplicateTimestamp,
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

/// What became of a batch that was handled: how much is durable now, what was refused and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteOutcome {
    /// Float samples taken (silently accepted duplicates included).
    pub samples: u64,
    /// Histogram samples taken.
    pub histograms: u64,
    /// Exemplars taken.
    pub exemplars: u64,
    /// How many samples, histograms and exemplars were refused, by reason, with the first one's message.
    pub rejected: BTreeMap<RejectReason, Rejected>,
    /// Series that the batch created.
    pub new_series: u64,
}

/// The refused samples of one reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rejected {
    /// How many.
    pub count: u64,
    /// Of the first: what is wrong, with which series and timestamp.
    pub first: String,
}

impl WriteOutcome {
    /// Counts a refusal; `message` is made only for the first of its reason.
    pub fn reject(&mut self, reason: RejectReason, message: impl FnOnce() -> String) {
        let entry = self.rejected.entry(reason).or_insert_with(|| Rejected { count: 0, first: message() });
        entry.count += 1;
    }

    /// Adds what replicas refused that do not count. A sample that one of them lacks is not acknowledged, also where the one that counts
    /// has taken it. A reason counts as often as where it was found most often, since most refusals are those of all replicas.
    pub fn refuse_too(&mut self, uncounted: BTreeMap<RejectReason, Rejected>) {
        for (reason, refused) in uncounted {
            let rejected = self.rejected.entry(reason).or_insert_with(|| Rejected { count: 0, first: refused.first });
            rejected.count = rejected.count.max(refused.count);
        }
    }

    /// Adds what became of another part of the same request.
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

/// Why nothing of a batch was acknowledged. All of it may be sent again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// A limit is reached; the sender shall slow down (HTTP 429).
    #[error("{0}")]
    Overloaded(String),
    /// The node cannot make samples durable at the moment (HTTP 503): disk full, starting, stopping.
    #[error("{0}")]
    Unavailable(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Labels;

    #[test]
    fn what_a_replica_refuses_is_refused_once() {
        let refused = |reason, count: u64| {
            let mut outcome = WriteOutcome::default();
            (0..count).for_each(|n| outcome.reject(reason, || format!("sample {n}")));
            outcome
        };
        let mut outcome = refused(RejectReason::TooOld, 3);
        outcome.refuse_too(refused(RejectReason::TooOld, 3).rejected);
        outcome.refuse_too(refused(RejectReason::MaxSeries, 2).rejected);
        let counts: Vec<_> = outcome.rejected.iter().map(|(reason, r)| (*reason, r.count, r.first.as_str())).collect();
        assert_eq!(counts.len(), 2);
        assert!(counts.contains(&(RejectReason::TooOld, 3, "sample 0")));
        assert!(counts.contains(&(RejectReason::MaxSeries, 2, "sample 0")));
    }

    #[test]
    fn a_series_with_bad_labels_leaves_no_trace() {
        let up = Labels::from_pairs([("__name__", "up")]);
        let tenant = TenantId::default();
        let write = |out: &mut Vec<u8>| -> Result<(), ()> {
            out.extend_from_slice(up.as_bytes());
            Ok(())
        };
        let mut batch = WriteBatch::default();
        assert_eq!(batch.try_begin_series(&tenant, write), Ok(()));
        batch.samples.push(Sample { t: 1, v: 1.0, st: 0 });
        let bad = |out: &mut Vec<u8>| {
            out.push(9);
            Err("bad")
        };
        assert_eq!(batch.try_begin_series(&tenant, bad), Err("bad"));
        assert_eq!(batch.try_begin_series(&tenant, write), Ok(()));
        batch.samples.push(Sample { t: 2, v: 2.0, st: 0 });
        batch.finish_series();
        assert_eq!(batch.series().len(), 2);
        for series in batch.series() {
            assert_eq!(batch.labels_of(series), up.as_bytes());
            assert_eq!(batch.samples_of(series).len(), 1);
            assert_eq!(series.hash, series_hash(&tenant, up.as_bytes()));
        }
    }
}
