//! Binary operators with at least one vector operand.

mod element;
mod join;
mod sets;

use std::sync::Arc;

use pharos_model::Histogram;

use super::row::{Grid, Row};
use super::{Eval, Outcome, Sink};
use crate::error::QueryError;
use crate::plan::{Binary, Node};
use crate::syntax::ast::BinaryOp;
use element::{Element, Outcomes};

/// Evaluates a binary operator that yields a vector.
pub(crate) fn vector(ev: &Eval<'_, '_>, binary: &Binary, grid: Grid, sink: Sink<'_>) -> Outcome {
    match (binary.lhs.is_scalar(), binary.rhs.is_scalar(), binary.op) {
        (true, _, _) | (_, true, _) => with_scalar(ev, binary, grid, sink),
        (_, _, BinaryOp::And) => sets::and(ev, binary, grid, sink),
        (_, _, BinaryOp::Or) => sets::or(ev, binary, grid, sink),
        (_, _, BinaryOp::Unless) => sets::unless(ev, binary, grid, sink),
        _ => join::evaluate(ev, binary, grid, sink),
    }
}

/// The error of an operator whose right side failed with `error`. If the left side fails as well, its error takes precedence.
pub(crate) fn left_first(ev: &Eval<'_, '_>, left: &Node, grid: Grid, error: QueryError) -> QueryError {
    if !matches!(error, QueryError::Execution(_)) {
        return error;
    }
    ev.vector(left, grid, &mut |_| Ok(())).err().unwrap_or(error)
}

/// Whether the operator is a comparison.
fn compares(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Eql | BinaryOp::Neq | BinaryOp::Gtr | BinaryOp::Lss | BinaryOp::Gte | BinaryOp::Lte)
}

/// Whether the operator changes the metric, so that its name is dropped.
fn changes_metric(op: BinaryOp) -> bool {
    !compares(op) && !matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper)
}

/// Evaluates an operator between a vector and a scalar.
fn with_scalar(ev: &Eval<'_, '_>, binary: &Binary, grid: Grid, sink: Sink<'_>) -> Outcome {
    let scalar_left = binary.lhs.is_scalar();
    let (scalar, vector) = if scalar_left { (&binary.lhs, &binary.rhs) } else { (&binary.rhs, &binary.lhs) };
    let (scalar, notes) = match ev.ahead(|| ev.scalar(scalar, grid)) {
        Ok(computed) => computed,
        Err(error) if scalar_left => return Err(error),
        Err(error) => return Err(left_first(ev, vector, grid, error)),
    };
    if scalar_left {
        ev.note(|n| n.absorb(notes.clone()));
    }
    let mut outcomes = Outcomes::default();
    ev.vector(vector, grid, &mut |row| {
        let hists = std::mem::take(&mut row.hists);
        floats_with_scalar(binary, scalar_left, &scalar, &mut outcomes, row);
        for (step, h) in hists {
            let number = Element::Float(scalar[step as usize]);
            let (l, r) = if scalar_left { (number, Element::Hist(&h)) } else { (Element::Hist(&h), number) };
            let Some((result, keep)) = outcomes.apply(binary.op, step as usize, l, r) else { continue };
            if binary.return_bool {
                row.put(step as usize, f64::from(u8::from(keep)));
            } else if keep && let element::Value::Hist(h) = result {
                row.hists.push((step, h));
            }
        }
        row.drop_name |= changes_metric(binary.op) || binary.return_bool;
        if row.is_empty() { Ok(()) } else { sink(row) }
    })?;
    if !scalar_left {
        ev.note(|n| n.absorb(notes));
    }
    outcomes.note(ev, binary);
    Ok(())
}

/// Applies the operator to the floats of a row and the scalar of each step.
fn floats_with_scalar(binary: &Binary, scalar_left: bool, scalar: &[f64], outcomes: &mut Outcomes, row: &mut Row) {
    if row.present.is_empty() {
        return;
    }
    if compares(binary.op) {
        let truth = element::comparison(binary.op);
        for (step, (v, s)) in row.values.iter_mut().zip(scalar).enumerate() {
            let keep = if scalar_left { truth(*s, *v) } else { truth(*v, *s) };
            if binary.return_bool {
                *v = f64::from(u8::from(keep));
            } else if !keep {
                row.present.unset(step);
            }
        }
    } else if changes_metric(binary.op) {
        element::arithmetic(binary.op, &mut row.values, scalar, scalar_left);
    } else {
        row.present.iter().for_each(|step| outcomes.incompatible(step, "float", "float"));
        row.present.reset(row.values.len());
    }
}

/// A histogram that may be shared.
type Shared = Arc<Histogram>;
