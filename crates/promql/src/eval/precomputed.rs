//! Fragments of a query whose value is already known, because other nodes evaluated them.

use super::cancellation::CancellationCheck;
use super::counts::Counts;
use super::row::{Grid, Row};
use super::{Eval, Outcome, Sink};
use crate::annotations::Annotations;
use crate::error::QueryError;
use crate::fragment::FragmentValue;
use crate::plan::PrecomputedRef;

/// The step of a grid at time `t`, if there is one.
fn step_at(grid: Grid, t: i64) -> Option<usize> {
    let since = t.checked_sub(grid.start).filter(|since| *since >= 0 && since % grid.step == 0)?;
    usize::try_from(since / grid.step).ok().filter(|step| *step < grid.len)
}

/// Passes the series of a fragment to `sink`, at the steps of a grid.
pub(super) fn evaluate(ev: &Eval<'_, '_>, node: &PrecomputedRef, grid: Grid, sink: Sink<'_>) -> Outcome {
    let Some(value) = ev.shared.precomputed.get(node.index) else {
        return Err(QueryError::Execution(format!("fragment {} of the query has no value", node.index)));
    };
    ev.note(|notes| notes.absorb(Annotations::from_notes(&value.notes)));
    ev.counted(counts(value, grid));
    let mut row = Row::default();
    let mut check = CancellationCheck::default();
    for series in &value.series {
        check.row(ev, series.floats.len() + series.histograms.len())?;
        row.reset(&series.labels, grid.len);
        row.drop_name = value.names_go;
        for (t, v) in &series.floats {
            if let Some(step) = step_at(grid, *t) {
                row.put(step, *v);
            }
        }
        let histograms = series.histograms.iter();
        row.hists.extend(histograms.filter_map(|(t, h)| Some((step_at(grid, *t)? as u32, h.clone()))));
        if !row.is_empty() {
            sink(&mut row)?;
        }
    }
    Ok(())
}

/// The number of samples that the fragment looked at.
fn counts(value: &FragmentValue, grid: Grid) -> Counts {
    let mut counts = Counts { total: value.queryable_samples, steps: Vec::new() };
    if !value.queryable_by_step.is_empty() {
        counts.steps = vec![0; grid.len];
        for (t, n) in &value.queryable_by_step {
            if let Some(step) = step_at(grid, *t) {
                counts.steps[step] += n;
            }
        }
    }
    counts
}
