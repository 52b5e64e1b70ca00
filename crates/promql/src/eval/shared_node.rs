//! Subexpressions that occur several times: the first occurrence is evaluated, the others replay its result while it is
//! cached.

use std::sync::Arc;

use super::cancellation::CancellationCheck;
use super::result_cache::{CachedResult, Footprint, SharedResult};
use super::row::{Grid, Row};
use super::{Eval, Outcome, Sink};
use crate::error::QueryError;
use crate::plan::SharedNode;

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
