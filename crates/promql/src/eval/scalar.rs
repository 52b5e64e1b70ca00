//! Scalar expressions: one number for each step.

use super::row::Grid;
use super::{Eval, Outcome};
use crate::arithmetic::scalar_op;
use crate::error::QueryError;
use crate::functions::Kernel;
use crate::plan::{Call, Node};

/// The values of a scalar at all steps.
pub(crate) fn evaluate(ev: &Eval<'_, '_>, node: &Node, grid: Grid) -> Outcome<Vec<f64>> {
    ev.shared.check()?;
    // The numbers are short-lived, so it is enough to check that they would fit.
    ev.reserve().grow(8 * grid.len, 0)?;
    match node {
        Node::Number(value) => Ok(vec![*value; grid.len]),
        Node::Negate(inner) => Ok(evaluate(ev, inner, grid)?.into_iter().map(|v| -v).collect()),
        Node::Invariant(inner) => {
            let (value, count) = ev.counting_apart(|| evaluate(ev, inner, Grid::single(grid.start)))?;
            ev.counted_everywhere(count, grid.len);
            let value = value.first().copied().unwrap_or(f64::NAN);
            Ok(vec![value; grid.len])
        }
        Node::Binary(binary) => {
            let mut lhs = evaluate(ev, &binary.lhs, grid)?;
            let rhs = evaluate(ev, &binary.rhs, grid)?;
            for (l, r) in lhs.iter_mut().zip(rhs) {
                let reason = || {
                    let op = binary.op.as_str();
                    QueryError::Execution(format!("operator \"{op}\" not allowed for Scalar operations"))
                };
                *l = scalar_op(binary.op, *l, r).ok_or_else(reason)?;
            }
            Ok(lhs)
        }
        Node::Call(call) => function(ev, call, grid),
        _ => Err(QueryError::Execution("the expression is not a scalar".into())),
    }
}

fn function(ev: &Eval<'_, '_>, call: &Call, grid: Grid) -> Outcome<Vec<f64>> {
    match (call.func.kernel(), &call.args[..]) {
        (Kernel::StepTime, _) => Ok((0..grid.len).map(|step| grid.time(step) as f64 / 1000.0).collect()),
        (Kernel::Constant(value), _) => Ok(vec![value; grid.len]),
        (Kernel::Pairwise(choose), [a, b]) => pairwise(evaluate(ev, a, grid)?, evaluate(ev, b, grid)?, choose),
        (Kernel::OnlySeries, [vector]) => only_float(ev, vector, grid),
        _ => Err(QueryError::Execution(format!("function {:?} does not return a scalar", call.func.name()))),
    }
}

fn pairwise(mut a: Vec<f64>, b: Vec<f64>, f: impl Fn(f64, f64) -> f64) -> Outcome<Vec<f64>> {
    a.iter_mut().zip(b).for_each(|(a, b)| *a = f(*a, b));
    Ok(a)
}

/// `scalar()`: the float of the only series that has one at a step, else NaN.
fn only_float(ev: &Eval<'_, '_>, vector: &Node, grid: Grid) -> Outcome<Vec<f64>> {
    let mut values = vec![f64::NAN; grid.len];
    let mut seen = vec![false; grid.len];
    ev.vector(vector, grid, &mut |row| {
        for step in row.present.iter() {
            values[step] = if seen[step] { f64::NAN } else { row.values[step] };
            seen[step] = true;
        }
        Ok(())
    })?;
    Ok(values)
}
