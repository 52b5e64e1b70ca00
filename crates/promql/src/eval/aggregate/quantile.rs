//! `quantile`: holds all floats of each group and step.

use super::grouping::Groups;
use super::{note_ignored, parameter, result_row};
use crate::arithmetic::{go_max, go_min};
use crate::eval::cancellation::CancellationCheck;
use crate::eval::row::Grid;
use crate::eval::{Eval, Outcome, Sink, over_time};
use crate::plan::Aggregate;

/// The work of sorting a sample, in samples.
const SORT_WORK: usize = 16;

/// Evaluates `quantile`.
pub(super) fn evaluate(ev: &Eval<'_, '_>, aggregate: &Aggregate, grid: Grid, sink: Sink<'_>) -> Outcome {
    let q = parameter(ev, aggregate, grid)?;
    let mut groups = Groups::new(&aggregate.grouping, aggregate.without);
    let mut cells: Vec<Vec<f64>> = Vec::new();
    let mut reservation = ev.reserve();
    ev.stream(&aggregate.expr, grid, &mut |row| {
        let (group, new) = groups.of(&row.labels, row.drop_name);
        if new {
            reservation.grow(groups.bytes_of(group), 0)?;
            reservation.resize(&mut cells, groups.len() * grid.len, Vec::new())?;
        }
        if !row.hists.is_empty() {
            note_ignored(ev, "quantile", aggregate.expr_pos);
        }
        let (mut grown, mut added) = (0, 0);
        for step in row.present.iter() {
            let cell = &mut cells[group * grid.len + step];
            let room = cell.capacity();
            cell.push(row.values[step]);
            grown += cell.capacity() - room;
            added += 1;
        }
        reservation.grow(size_of::<f64>() * grown, added)
    })?;
    note_parameter(ev, &q, aggregate.param_pos);
    let mut check = CancellationCheck::default();
    for group in 0..groups.len() {
        check.row(ev, grid.len)?;
        let mut row = result_row(&groups, group, grid.len);
        for (step, q) in q.iter().enumerate() {
            let values = &mut cells[group * grid.len + step];
            if !values.is_empty() {
                check.samples(ev, SORT_WORK * values.len())?;
                row.put(step, over_time::quantile(*q, values));
            }
        }
        if !row.is_empty() {
            sink(&mut row)?;
        }
    }
    Ok(())
}

/// Warns about quantiles outside of 0 to 1: NaN, the largest and the smallest. If there is a NaN, Go's minimum and maximum are
/// NaN as well, unless an infinity is among the quantiles.
fn note_parameter(ev: &Eval<'_, '_>, q: &[f64], pos: usize) {
    let (low, high) = q.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), q| (go_min(l, *q), go_max(h, *q)));
    let nan = q.iter().find(|q| q.is_nan()).copied();
    let bad = nan.into_iter().chain((high > 1.0).then_some(high)).chain((low < 0.0).then_some(low));
    bad.for_each(|q| ev.note(|n| n.quantile_out_of_range(q, pos)));
}
