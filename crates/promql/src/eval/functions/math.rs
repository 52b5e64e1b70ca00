//! Functions of one float to another: rounding, exponents, trigonometry. Histograms are left out.

use super::behind_vector;
use crate::arithmetic::{go_log2, go_max, go_min};
use crate::error::QueryError;
use crate::eval::row::{Grid, Row};
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::{Call, Node};

/// Evaluates a mathematical function.
pub(super) fn evaluate(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let arg = call.args.first().ok_or_else(|| unknown(call))?;
    match call.func.name {
        "abs" => map(ev, arg, grid, sink, f64::abs),
        "ceil" => map(ev, arg, grid, sink, f64::ceil),
        "floor" => map(ev, arg, grid, sink, f64::floor),
        "sqrt" => map(ev, arg, grid, sink, f64::sqrt),
        "exp" => map(ev, arg, grid, sink, f64::exp),
        "ln" => map(ev, arg, grid, sink, f64::ln),
        "log2" => map(ev, arg, grid, sink, go_log2),
        // As Go computes it.
        "log10" => map(ev, arg, grid, sink, |v| go_log2(v) * std::f64::consts::LOG10_2),
        "sin" => map(ev, arg, grid, sink, f64::sin),
        "cos" => map(ev, arg, grid, sink, f64::cos),
        "tan" => map(ev, arg, grid, sink, f64::tan),
        "asin" => map(ev, arg, grid, sink, f64::asin),
        "acos" => map(ev, arg, grid, sink, f64::acos),
        "atan" => map(ev, arg, grid, sink, f64::atan),
        "sinh" => map(ev, arg, grid, sink, f64::sinh),
        "cosh" => map(ev, arg, grid, sink, f64::cosh),
        "tanh" => map(ev, arg, grid, sink, f64::tanh),
        "asinh" => map(ev, arg, grid, sink, f64::asinh),
        "acosh" => map(ev, arg, grid, sink, f64::acosh),
        "atanh" => map(ev, arg, grid, sink, f64::atanh),
        "rad" => map(ev, arg, grid, sink, |v| v * std::f64::consts::PI / 180.0),
        "deg" => map(ev, arg, grid, sink, |v| v * 180.0 / std::f64::consts::PI),
        "sgn" => map(ev, arg, grid, sink, |v| {
            if v < 0.0 {
                -1.0
            } else if v > 0.0 {
                1.0
            } else {
                v
            }
        }),
        "round" => round(ev, call, grid, sink),
        "clamp" | "clamp_min" | "clamp_max" => clamp(ev, call, grid, sink),
        _ => Err(unknown(call)),
    }
}

fn unknown(call: &Call) -> QueryError {
    QueryError::Execution(format!("function {:?} is not known", call.func.name))
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

fn round(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let nearest = || call.args.get(1).map_or(Ok(vec![1.0; grid.len]), |arg| ev.scalar(arg, grid));
    let (nearest, notes) = behind_vector(ev, &call.args[0], grid, nearest)?;
    let inverse: Vec<f64> = nearest.into_iter().map(|n| 1.0 / n).collect();
    map_rows(ev, &call.args[0], grid, sink, |row| {
        row.values.iter_mut().zip(&inverse).for_each(|(v, i)| *v = (*v * i + 0.5).floor() / i);
    })?;
    ev.note(|n| n.absorb(notes));
    Ok(())
}

fn clamp(ev: &Eval<'_, '_>, call: &Call, grid: Grid, sink: Sink<'_>) -> Outcome {
    let bound = |index: usize, default: f64| {
        call.args.get(index).map_or(Ok(vec![default; grid.len]), |arg| ev.scalar(arg, grid))
    };
    let bounds = || {
        Ok(match call.func.name {
            "clamp" => (bound(1, f64::NEG_INFINITY)?, bound(2, f64::INFINITY)?),
            "clamp_min" => (bound(1, f64::NEG_INFINITY)?, vec![f64::INFINITY; grid.len]),
            _ => (vec![f64::NEG_INFINITY; grid.len], bound(1, f64::INFINITY)?),
        })
    };
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
