//! Caches for a single query: results of subexpressions that occur several times, and samples of selectors that read the same.
//!
//! The caches take their memory from the query's budget and release it as soon as an operator would run out of memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pharos_model::{Matcher, SeriesBatch, SeriesSet, TimeRange};

use super::cancellation::CancellationCheck;
use super::counts::Counts;
use super::row::{Grid, Row};
use super::{Eval, Outcome, Sink};
use crate::annotations::Annotations;
use crate::error::QueryError;
use crate::plan::{Selector, SharedNode};

/// The results and samples that a query may use again.
#[derive(Default)]
pub(crate) struct ResultCache {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    results: Vec<CachedResult>,
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

struct CachedResult {
    id: usize,
    grid: Grid,
    /// How many more evaluations may ask for it.
    uses: usize,
    /// `None` when the result was too large, or was evicted.
    result: Option<Arc<SharedResult>>,
    footprint: Footprint,
}

struct SharedResult {
    rows: Vec<Row>,
    notes: Annotations,
    counts: Counts,
    /// The position in the query of the occurrence that was evaluated.
    pos: usize,
}

struct CachedSamples {
    matchers: Vec<Matcher>,
    range: TimeRange,
    set: Arc<dyn SeriesSet>,
    /// Batches with the positions of their series.
    batches: Vec<(Range<usize>, Arc<SeriesBatch>)>,
    footprint: Footprint,
}

impl ResultCache {
    fn lock(&self) -> MutexGuard<'_, Inner> {
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
    fn add(&mut self, other: Footprint) {
        self.bytes += other.bytes;
        self.samples += other.samples;
    }
}

/// Evaluates a subexpression that occurs several times, or replays the cached result.
pub(crate) fn evaluate(ev: &Eval<'_, '_>, shared: &SharedNode, grid: Grid, sink: Sink<'_>) -> Outcome {
    let result = match look_up(ev, shared, grid) {
        Some(cached) => cached,
        None => evaluate_and_cache(ev, shared, grid)?,
    };
    match result {
        Some(result) => replay(ev, shared, &result, sink),
        None => ev.vector(&shared.expr, grid, sink),
    }
}

/// The cached result. `None` when the subexpression was not evaluated yet, `Some(None)` when its result is not cached.
fn look_up(ev: &Eval<'_, '_>, shared: &SharedNode, grid: Grid) -> Option<Option<Arc<SharedResult>>> {
    let mut inner = ev.shared.cache.lock();
    let result = inner.results.iter_mut().find(|r| r.id == shared.id && r.grid == grid)?;
    let found = result.result.clone();
    result.uses = result.uses.saturating_sub(1);
    if result.uses == 0 {
        result.result = None;
        let footprint = std::mem::take(&mut result.footprint);
        drop(inner);
        ev.shared.give_back(footprint);
    }
    Some(found)
}

/// Evaluates and caches the result; `None` when it is too large for the cache.
fn evaluate_and_cache(ev: &Eval<'_, '_>, shared: &SharedNode, grid: Grid) -> Outcome<Option<Arc<SharedResult>>> {
    let mut rows = Vec::new();
    let mut footprint = Footprint::default();
    let mut fits = true;
    let gathered = ev.apart(|| {
        ev.vector(&shared.expr, grid, &mut |row| {
            if row.is_empty() {
                return Ok(());
            }
            let more = Footprint { bytes: row.bytes() as u64, samples: row.samples() as u64 };
            fits = ev.shared.take_for_cache(more);
            if !fits {
                // Aborts the evaluation. The error is handled below.
                return Err(QueryError::TooManySamples);
            }
            footprint.add(more);
            rows.push(std::mem::take(row));
            Ok(())
        })
    });
    let found = match gathered {
        Ok(((), notes, counts)) => Some(Arc::new(SharedResult { rows, notes, counts, pos: shared.pos })),
        Err(error) => {
            ev.shared.give_back(std::mem::take(&mut footprint));
            if fits {
                return Err(error);
            }
            None
        }
    };
    let result = CachedResult { id: shared.id, grid, uses: shared.uses - 1, result: found.clone(), footprint };
    ev.shared.cache.lock().results.push(result);
    Ok(found)
}

/// Passes a cached result to `sink`, with its annotations moved to this occurrence.
fn replay(ev: &Eval<'_, '_>, shared: &SharedNode, found: &SharedResult, sink: Sink<'_>) -> Outcome {
    let by = shared.pos as isize - found.pos as isize;
    ev.note(|n| n.absorb(found.notes.clone().moved(by)));
    ev.counted(found.counts.clone());
    let mut scratch = Row::default();
    let mut check = CancellationCheck::default();
    found.rows.iter().try_for_each(|row| {
        check.row(ev, row.values.len())?;
        scratch.clone_from(row);
        sink(&mut scratch)
    })
}

#[cfg(test)]
mod tests;
