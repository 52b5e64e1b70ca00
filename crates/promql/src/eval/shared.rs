//! What all operators of a query share: its source, its limits and what it has used of them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pharos_model::{Budget, Labels, Matcher, SelectRequest, SeriesBatch, SeriesSet, SeriesView, TimeRange};

use crate::engine::{EngineOptions, QueryError, QueryStats};
use crate::querier::Querier;

/// Samples that a batch of series should hold, so that it fits into a core's caches.
const BATCH_SAMPLES: usize = 64 << 10;
/// Most series of a batch.
const MAX_BATCH_SERIES: usize = 512;
/// Series of the first batch, when nothing is known of their length.
const FIRST_BATCH_SERIES: usize = 32;

/// A query's source and limits; shared by its threads.
pub(crate) struct Shared<'q> {
    querier: &'q dyn Querier,
    budget: Arc<Budget>,
    /// How far back a sample is looked for, milliseconds.
    pub(crate) lookback: i64,
    /// The step of subqueries that name none, milliseconds.
    pub(crate) subquery_step: i64,
    /// Threads to use for heavy selections.
    pub(crate) threads: usize,
    /// Whether counters are known by `__type__`.
    pub(crate) type_labels: bool,
    /// Whether start timestamps count.
    pub(crate) start_timestamps: bool,
    max_series: usize,
    max_samples: u64,
    held: AtomicU64,
    peak: AtomicU64,
    read: AtomicU64,
    series: AtomicU64,
}

impl<'q> Shared<'q> {
    /// The shared part of a query.
    pub(crate) fn new(querier: &'q dyn Querier, budget: Arc<Budget>, options: &EngineOptions, lookback: i64) -> Self {
        Shared {
            querier,
            budget,
            lookback,
            subquery_step: options.default_subquery_step_ms.max(1),
            threads: options.threads.max(1),
            type_labels: options.type_and_unit_labels,
            start_timestamps: options.use_start_timestamps,
            max_series: options.max_series,
            max_samples: options.max_samples as u64,
            held: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            read: AtomicU64::new(0),
            series: AtomicU64::new(0),
        }
    }

    /// Whether the query may go on.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        Ok(self.budget.check()?)
    }

    /// The series of a selector, with the time that will be read of them.
    pub(crate) fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Arc<dyn SeriesSet>, QueryError> {
        self.check()?;
        let request = SelectRequest { matchers: matchers.to_vec(), range, max_series: self.max_series };
        let set = self.querier.select(&request, &self.budget)?;
        self.series.fetch_add(set.labels().len() as u64, Ordering::Relaxed);
        Ok(set)
    }

    /// Most samples that may be held at a time.
    pub(crate) fn max_samples(&self) -> usize {
        self.max_samples as usize
    }

    /// An empty reservation of memory.
    pub(crate) fn reserve(&self) -> Reservation<'_, 'q> {
        Reservation { shared: self, bytes: 0, samples: 0 }
    }

    /// What the query did so far.
    pub(crate) fn stats(&self) -> QueryStats {
        QueryStats {
            samples_read: self.read.load(Ordering::Relaxed),
            peak_samples: self.peak.load(Ordering::Relaxed),
            series: self.series.load(Ordering::Relaxed),
            peak_bytes: self.budget.peak_bytes(),
        }
    }

    /// Walks over some series of a set in batches and hands each with its samples to `each`.
    pub(crate) fn walk(
        &self,
        set: &dyn SeriesSet,
        series: Range<usize>,
        range: TimeRange,
        mut each: impl FnMut(&Labels, SeriesView<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let mut batch = SeriesBatch::default();
        let mut reservation = self.reserve();
        let (mut at, mut width) = (series.start, FIRST_BATCH_SERIES);
        while at < series.end {
            self.check()?;
            let end = series.end.min(at + width);
            batch.clear();
            set.fetch(at..end, range, &mut batch)?;
            let samples = batch.samples();
            self.read.fetch_add(samples as u64, Ordering::Relaxed);
            reservation.set(batch.bytes(), samples)?;
            for (index, labels) in set.labels()[at..end].iter().enumerate() {
                each(labels, batch.view(index))?;
            }
            at = end;
            width = (BATCH_SAMPLES * width / samples.max(1)).clamp(1, MAX_BATCH_SERIES);
        }
        Ok(())
    }
}

/// Memory and samples taken from a query's limits; given back on drop.
pub(crate) struct Reservation<'s, 'q> {
    shared: &'s Shared<'q>,
    bytes: u64,
    samples: u64,
}

impl Reservation<'_, '_> {
    /// Takes more.
    pub(crate) fn grow(&mut self, bytes: usize, samples: usize) -> Result<(), QueryError> {
        self.shared.budget.take(bytes as u64)?;
        self.bytes += bytes as u64;
        let held = self.shared.held.fetch_add(samples as u64, Ordering::Relaxed) + samples as u64;
        self.samples += samples as u64;
        self.shared.peak.fetch_max(held, Ordering::Relaxed);
        if held > self.shared.max_samples {
            return Err(QueryError::TooManySamples);
        }
        Ok(())
    }

    /// Holds exactly this much from now on.
    pub(crate) fn set(&mut self, bytes: usize, samples: usize) -> Result<(), QueryError> {
        if (bytes as u64, samples as u64) == (self.bytes, self.samples) {
            return Ok(());
        }
        self.release();
        self.grow(bytes, samples)
    }

    fn release(&mut self) {
        self.shared.budget.give_back(self.bytes);
        self.shared.held.fetch_sub(self.samples, Ordering::Relaxed);
        (self.bytes, self.samples) = (0, 0);
    }
}

impl Drop for Reservation<'_, '_> {
    fn drop(&mut self) {
        self.release();
    }
}
