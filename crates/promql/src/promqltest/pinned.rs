//! Pins an expression to its evaluation time with `@` modifiers, so that it must have the same value at any other time.

use crate::syntax::ast::{Expr, TimeModifiers};

/// Adds `@ t` wherever there is no `@` yet. `None` when the value would still depend on the evaluation time.
pub(super) fn pinned(expr: &Expr, t: i64) -> Option<Expr> {
    let mut expr = expr.clone();
    pin(&mut expr, t).then_some(expr)
}

/// The other times at which a pinned expression is evaluated.
pub(super) fn other_times(t: i64) -> Vec<i64> {
    if t == 0 { vec![-1000, 0, 1000] } else { vec![t.saturating_mul(-10), 0, t / 5, t, t.saturating_mul(10)] }
}

/// Pins an expression in place; false when its value would still depend on the evaluation time.
fn pin(expr: &mut Expr, t: i64) -> bool {
    let pin_time = |time: &mut TimeModifiers| {
        if time.at.is_none() {
            time.at = Some(t);
            time.at_preprocessor = None;
        }
        true
    };
    match expr {
        Expr::Aggregate(e) => pin(&mut e.expr, t) && e.param.as_mut().is_none_or(|param| pin(param, t)),
        Expr::Binary(e) => pin(&mut e.lhs, t) && pin(&mut e.rhs, t),
        Expr::Call(e) => e.func.is_step_invariant() && e.args.iter_mut().all(|arg| pin(arg, t)),
        Expr::Matrix(e) => pin_time(&mut e.selector.time),
        Expr::Vector(e) => pin_time(&mut e.time),
        // The inner expression is evaluated relative to the pinned time.
        Expr::Subquery(e) => pin_time(&mut e.time),
        Expr::Paren(e) => pin(&mut e.expr, t),
        Expr::Unary(e) => pin(&mut e.expr, t),
        Expr::Number(_) | Expr::String(_) | Expr::Duration(_) => true,
    }
}
