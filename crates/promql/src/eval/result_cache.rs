//! What is kept to be used again: results of shared parts, and samples of selectors that read the same.
//!
//! All of it is taken from the query's budget and given back as soon as another operator would go short of memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pharos_model::{Matcher, SeriesBatch, SeriesSet, TimeRange};

use super::cancellation::CancellationCheck;
use super::counts::Counts;
use super::row::{Grid, Row};
use super::{Eval, Outcome, Sink};
use crate::annotations::Annotations;
use crate::engine::QueryError;
use crate::plan::{Selector, SharedNode};

/// What a query keeps.
#[derive(Default)]
pub(crate) struct ResultCache {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    results: Vec<CachedResult>,
    samples: Vec<CachedSamples>,
}

/// Memory and samples that something takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Bytes of the budget.
    pub(crate) bytes: u64,
    /// Samples of those that a query may hold.
    pub(crate) samples: u64,
}

struct CachedResult {
    id: usize,
    grid: Grid,
    /// How often it may still be asked for.
    uses: usize,
    /// Nothing when it was too large, or had to give way.
    found: Option<Arc<Found>>,
    share: Footprint,
}

struct Found {
    rows: Vec<Row>,
    notes: Annotations,
    counts: Counts,
    /// Where the part that was evaluated is in the query.
    pos: usize,
}

struct CachedSamples {
    matchers: Vec<Matcher>,
    range: TimeRange,
    set: Arc<dyn SeriesSet>,
    /// Batches by the series that they hold.
    batches: Vec<(Range<usize>, Arc<SeriesBatch>)>,
    share: Footprint,
}

impl ResultCache {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops everything; what it took.
    pub(crate) fn clear(&self) -> Footprint {
        let mut inner = self.lock();
        let mut all = Footprint::default();
        let results = inner.results.iter_mut().map(|r| {
            r.found = None;
            std::mem::take(&mut r.share)
        });
        results.for_each(|share| all.add(share));
        let samples = inner.samples.iter_mut().map(|s| {
            s.batches.clear();
            std::mem::take(&mut s.share)
        });
        samples.for_each(|share| all.add(share));
        all
    }

    /// Forgets what was kept, and that it was. All must have been cleared.
    pub(crate) fn forget(&self) {
        *self.lock() = Inner::default();
    }

    /// The series of an earlier selector that read the same.
    pub(crate) fn set(&self, selector: &Selector, range: TimeRange) -> Option<Arc<dyn SeriesSet>> {
        let wanted = &selector.matchers;
        let same = |s: &&CachedSamples| {
            s.range == range && s.matchers.len() == wanted.len() && s.matchers.iter().all(|m| wanted.contains(m))
        };
        self.lock().samples.iter().find(same).map(|s| s.set.clone())
    }

    /// Remembers the series of a selector, for those that read the same.
    pub(crate) fn cache_set(&self, selector: &Selector, range: TimeRange, set: &Arc<dyn SeriesSet>) {
        let (matchers, set) = (selector.matchers.clone(), set.clone());
        let entry = CachedSamples { matchers, range, set, batches: Vec::new(), share: Footprint::default() };
        self.lock().samples.push(entry);
    }

    /// The samples of series from `at` on, if they are kept: a batch and the series that it holds.
    pub(crate) fn batch(&self, set: &Arc<dyn SeriesSet>, at: usize) -> Option<(Range<usize>, Arc<SeriesBatch>)> {
        let inner = self.lock();
        let entry = inner.samples.iter().find(|s| Arc::ptr_eq(&s.set, set))?;
        entry.batches.iter().find(|(series, _)| series.contains(&at)).cloned()
    }

    /// Keeps the samples of some series, which took `share`.
    pub(crate) fn cache_batch(
        &self,
        set: &Arc<dyn SeriesSet>,
        series: Range<usize>,
        batch: Arc<SeriesBatch>,
        share: Footprint,
    ) {
        let mut inner = self.lock();
        if let Some(entry) = inner.samples.iter_mut().find(|s| Arc::ptr_eq(&s.set, set)) {
            entry.batches.push((series, batch));
            entry.share.add(share);
        }
    }
}

impl Footprint {
    fn add(&mut self, other: Footprint) {
        self.bytes += other.bytes;
        self.samples += other.samples;
    }
}

/// Evaluates a part that occurs several times, or repeats what was found before.
pub(crate) fn evaluate(ev: &Eval<'_, '_>, shared: &SharedNode, grid: Grid, sink: Sink<'_>) -> Outcome {
    match look_up(ev, shared, grid) {
        Some(Some(found)) => repeat(ev, shared, &found, sink),
        Some(None) => ev.vector(&shared.expr, grid, sink),
        None => match gather(ev, shared, grid)? {
            Some(found) => repeat(ev, shared, &found, sink),
            None => ev.vector(&shared.expr, grid, sink),
        },
    }
}

/// What was found before, if it was kept; nothing when it was not evaluated yet.
fn look_up(ev: &Eval<'_, '_>, shared: &SharedNode, grid: Grid) -> Option<Option<Arc<Found>>> {
    let mut inner = ev.shared.cache.lock();
    let result = inner.results.iter_mut().find(|r| r.id == shared.id && r.grid == grid)?;
    let found = result.found.clone();
    result.uses = result.uses.saturating_sub(1);
    if result.uses == 0 {
        result.found = None;
        let share = std::mem::take(&mut result.share);
        drop(inner);
        ev.shared.give_back(share);
    }
    Some(found)
}

/// Evaluates and keeps the result; nothing when it is too large to be kept.
fn gather(ev: &Eval<'_, '_>, shared: &SharedNode, grid: Grid) -> Outcome<Option<Arc<Found>>> {
    let (mut rows, mut share, mut fits) = (Vec::new(), Footprint::default(), true);
    let gathered = ev.apart(|| {
        ev.vector(&shared.expr, grid, &mut |row| {
            if row.is_empty() {
                return Ok(());
            }
            let more = Footprint { bytes: row.bytes() as u64, samples: row.samples() as u64 };
            fits = ev.shared.take_for_cache(more);
            if !fits {
                // Ends the evaluation; the error goes no further.
                return Err(QueryError::TooManySamples);
            }
            share.add(more);
            rows.push(std::mem::take(row));
            Ok(())
        })
    });
    let found = match gathered {
        Ok(((), notes, counts)) => Some(Arc::new(Found { rows, notes, counts, pos: shared.pos })),
        Err(error) => {
            ev.shared.give_back(std::mem::take(&mut share));
            if fits {
                return Err(error);
            }
            None
        }
    };
    let result = CachedResult { id: shared.id, grid, uses: shared.uses - 1, found: found.clone(), share };
    ev.shared.cache.lock().results.push(result);
    Ok(found)
}

fn repeat(ev: &Eval<'_, '_>, shared: &SharedNode, found: &Found, sink: Sink<'_>) -> Outcome {
    let by = shared.pos as isize - found.pos as isize;
    ev.note(|n| n.absorb(found.notes.clone().moved(by)));
    ev.counted(found.counts.clone());
    let (mut scratch, mut check) = (Row::default(), CancellationCheck::default());
    found.rows.iter().try_for_each(|row| {
        check.row(ev, row.values.len())?;
        scratch.clone_from(row);
        sink(&mut scratch)
    })
}
