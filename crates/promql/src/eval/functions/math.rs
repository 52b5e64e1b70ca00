//! Functions of floats: rounding, clamping, exponents, trigonometry. Histograms are dropped.

use super::behind_vector;
use crate::arithmetic::{go_max, go_min};
use crate::eval::row::{Grid, Row};
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::{Call, Node};

/// A function that changes the floats of a series in place.
pub(super) fn floats(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>, kernel: fn(&mut [f64])) -> Outcome {
    map_rows(ev, &call.args[0], grid, sink, |row| kernel(&mut row.values))
}

/// Changes all floats.
pub(super) fn map(ev: &Eval<'_, '_>, arg: &Node, grid: Grid, sink: Sink<'_>, f: impl Fn(f64) -> f64) -> Outcome {
    map_rows(ev, arg, grid, sink, |row| row.values.iter_mut().for_each(|v| *v = f(*v)))
}

/// Changes the floats of rows.
fn map_rows(ev: &Eval<'_, '_>, arg: &Node, grid: Grid, sink: Sink<'_>, f: impl Fn(&mut Row)) -> Outcome {
    ev.vector(arg, grid, &mut |row| {
        row.hists.clear();
        row.drop_name = true;
        f(row);
        if row.is_empty() { Ok(()) } else { sink(row) }
    })
}

/// `round`
pub(super) fn round(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let nearest = || call.args.get(1).map_or(Ok(vec![1.0; grid.len]), |arg| ev.scalar(arg, grid));
    let (nearest, notes) = behind_vector(ev, &call.args[0], grid, nearest)?;
    let inverse: Vec<f64> = nearest.into_iter().map(|n| 1.0 / n).collect();
    map_rows(ev, &call.args[0], grid, sink, |row| {
        row.values.iter_mut().zip(&inverse).for_each(|(v, i)| *v = (*v * i + 0.5).floor() / i);
    })?;
    ev.note(|n| n.absorb(notes));
    Ok(())
}

/// `clamp`, `clamp_min` and `clamp_max`.
pub(super) fn clamp(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>, lower: bool, upper: bool) -> Outcome {
    let mut args = call.args.iter().skip(1);
    let mut bound = |given: bool, default: f64| match if given { args.next() } else { None } {
        Some(arg) => ev.scalar(arg, grid),
        None => Ok(vec![default; grid.len]),
    };
    let bounds = || Ok((bound(lower, f64::NEG_INFINITY)?, bound(upper, f64::INFINITY)?));
    let ((low, high), notes) = behind_vector(ev, &call.args[0], grid, bounds)?;
    map_rows(ev, &call.args[0], grid, sink, |row| {
        for step in 0..row.values.len() {
            if high[step] < low[step] {
                row.present.unset(step);
            }
            row.values[step] = go_max(low[step], go_min(high[step], row.values[step]));
        }
    })?;
    ev.note(|n| n.absorb(notes));
    Ok(())
}
