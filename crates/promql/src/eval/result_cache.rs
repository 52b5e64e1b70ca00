//! Caches for a single query: results of subexpressions that occur several times, and samples of selectors that read the same.
//!
//! The caches take their memory from the query's budget and release it as soon as an operator would run out of memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pharos_model::{Matcher, SeriesBatch, SeriesSet, TimeRange};

use super::counts::Counts;
use super::row::{Grid, Row};
use crate::annotations::Annotations;
use crate::plan::Selector;

/// The results and samples that a query may use again.
#[derive(Default)]
pub(crate) struct ResultCache {
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) results: Vec<CachedResult>,
    samples: Vec<CachedSamples>,
}

/// The memory and samples that a cached item occupies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Bytes taken from the budget.
    pub(crate) bytes: u64,
    /// Samples, of those that the query may hold at a time.
    pub(crate) samples: u64,
}

pub(super) struct CachedResult {
    pub(super) id: usize,
    pub(super) grid: Grid,
    /// How many more evaluations may ask for it.
    pub(super) uses: usize,
    /// `None` when the result was too large, or was evicted.
    pub(super) result: Option<Arc<SharedResult>>,
    pub(super) footprint: Footprint,
}

pub(super) struct SharedResult {
    pub(super) rows: Vec<Row>,
    pub(super) notes: Annotations,
    pub(super) counts: Counts,
    /// The position in the query of the occurrence that was evaluated.
    pub(super) pos: usize,
}

pub(super) struct CachedSamples {
    matchers: Vec<Matcher>,
    range: TimeRange,
    set: Arc<dyn SeriesSet>,
    /// Batches with the positions of their series.
    batches: Vec<(Range<usize>, Arc<SeriesBatch>)>,
    footprint: Footprint,
}

impl ResultCache {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evicts everything and returns what it occupied.
    pub(crate) fn clear(&self) -> Footprint {
        let mut inner = self.lock();
        let mut all = Footprint::default();
        let results = inner.results.iter_mut().map(|r| {
            r.result = None;
            std::mem::take(&mut r.footprint)
        });
        results.for_each(|footprint| all.add(footprint));
        let samples = inner.samples.iter_mut().map(|s| {
            s.batches.clear();
            std::mem::take(&mut s.footprint)
        });
        samples.for_each(|footprint| all.add(footprint));
        all
    }

    /// Forgets all entries. They must have been evicted with [`ResultCache::clear`] before.
    pub(crate) fn forget(&self) {
        *self.lock() = Inner::default();
    }

    /// The series of an earlier selector with the same matchers and range.
    pub(crate) fn set(&self, selector: &Selector, range: TimeRange) -> Option<Arc<dyn SeriesSet>> {
        let wanted = &selector.matchers;
        let same = |s: &&CachedSamples| {
            s.range == range && s.matchers.len() == wanted.len() && s.matchers.iter().all(|m| wanted.contains(m))
        };
        self.lock().samples.iter().find(same).map(|s| s.set.clone())
    }

    /// Caches the series of a selector, for others with the same matchers and range.
    pub(crate) fn cache_set(&self, selector: &Selector, range: TimeRange, set: &Arc<dyn SeriesSet>) {
        let matchers = selector.matchers.clone();
        let entry =
            CachedSamples { matchers, range, set: set.clone(), batches: Vec::new(), footprint: Footprint::default() };
        self.lock().samples.push(entry);
    }

    /// The cached batch that holds the series at position `at`, with the positions of all its series.
    pub(crate) fn batch(&self, set: &Arc<dyn SeriesSet>, at: usize) -> Option<(Range<usize>, Arc<SeriesBatch>)> {
        let inner = self.lock();
        let entry = inner.samples.iter().find(|s| Arc::ptr_eq(&s.set, set))?;
        entry.batches.iter().find(|(series, _)| series.contains(&at)).cloned()
    }

    /// Caches the samples of some series, which occupy `footprint`.
    pub(crate) fn cache_batch(
        &self,
        set: &Arc<dyn SeriesSet>,
        series: Range<usize>,
        batch: Arc<SeriesBatch>,
        footprint: Footprint,
    ) {
        let mut inner = self.lock();
        if let Some(entry) = inner.samples.iter_mut().find(|s| Arc::ptr_eq(&s.set, set)) {
            entry.batches.push((series, batch));
            entry.footprint.add(footprint);
        }
    }
}

impl Footprint {
    pub(super) fn add(&mut self, other: Footprint) {
        self.bytes += other.bytes;
        self.samples += other.samples;
    }
}

#[cfg(test)]
mod tests;
