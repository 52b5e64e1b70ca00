//! Fragments of a query whose value is already known, because other nodes evaluated them.

use super::cancellation::CancellationCheck;
use super::counts::Counts;
use super::row::{Grid, Row};
use super::{Eval, Outcome, Sink};
use crate::annotations::Annotations;
use crate::error::QueryError;
use crate::fragment::FragmentValue;
use crate::plan::PrecomputedRef;

/// Passes the series of a fragment to `sink`, at the steps of a grid. The grid is that of the value, or its first step.
pub(super) fn evaluate(ev: &Eval<'_, '_>, node: &PrecomputedRef, grid: Grid, sink: Sink<'_>) -> Outcome {
    let Some(value) = ev.shared.precomputed.get(node.index) else {
        return Err(QueryError::Execution(format!("fragment {} of the query has no value", node.index)));
    };
    if value.steps.start != grid.start || grid.len > value.steps.count() {
        return Err(QueryError::Execution(format!("fragment {} of the query has no value at its steps", node.index)));
    }
    ev.note(|notes| notes.absorb(Annotations::from_notes(&value.notes)));
    ev.counted(counts(value, grid));
    let mut row = Row::default();
    let mut check = CancellationCheck::default();
    for series in &value.rows {
        check.row(ev, grid.len)?;
        row.reset(&series.labels, grid.len);
        row.drop_name = value.names_go;
        let floats = series.values.len().min(grid.len);
        row.values[..floats].copy_from_slice(&series.values[..floats]);
        row.present.copy_words(&series.present);
        row.hists.extend(series.hists.iter().filter(|(step, _)| (*step as usize) < grid.len).cloned());
        if !row.is_empty() {
            sink(&mut row)?;
        }
    }
    Ok(())
}

/// The number of samples that the fragment looked at.
fn counts(value: &FragmentValue, grid: Grid) -> Counts {
    let mut steps = value.queryable_by_step.clone();
    if !steps.is_empty() {
        steps.resize(grid.len, 0);
    }
    Counts { total: value.queryable_samples, steps }
}
