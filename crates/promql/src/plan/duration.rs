//! Arithmetic between durations, such as `[5m * 2]` or `offset (step() - 1s)`. It is evaluated once per query.

use pharos_model::fragment::Steps;

use crate::arithmetic::{go_max, go_min, go_pow};
use crate::error::QueryError;
use crate::syntax::ast::{DurationExpr, DurationOp, Expr, Pos};

/// The value of a duration expression in milliseconds. Ranges and steps must be positive; offsets may be `negative`.
pub(super) fn evaluate(expr: &DurationExpr, times: &Steps, negative: bool) -> Result<i64, QueryError> {
    let seconds = compute(expr, times)?;
    if !seconds.is_finite() {
        return Err(invalid(expr.pos, "duration is NaN or infinite"));
    }
    if seconds <= 0.0 && !negative {
        return Err(invalid(expr.pos, "duration must be greater than 0"));
    }
    if seconds.abs() > (1u64 << 63) as f64 / 1e9 {
        return Err(invalid(expr.pos, "duration is out of range"));
    }
    Ok((seconds * 1000.0) as i64)
}

fn invalid(pos: Pos, reason: &str) -> QueryError {
    QueryError::BadData(format!("{}:{}: {reason}", pos.start, pos.end))
}

fn operand(expr: Option<&Expr>, times: &Steps) -> Result<f64, QueryError> {
    match expr {
        None => Ok(0.0),
        Some(Expr::Number(number)) => Ok(number.value),
        Some(Expr::Duration(inner)) => compute(inner, times),
        Some(Expr::Paren(inner)) => operand(Some(&inner.expr), times),
        Some(Expr::Unary(unary)) => {
            let value = operand(Some(&unary.expr), times)?;
            Ok(if unary.minus { -value } else { value })
        }
        Some(other) => Err(invalid(other.pos(), "unexpected expression in a duration")),
    }
}

/// The value in seconds.
fn compute(expr: &DurationExpr, times: &Steps) -> Result<f64, QueryError> {
    let lhs = operand(expr.lhs.as_deref(), times)?;
    let rhs = operand(expr.rhs.as_deref(), times)?;
    Ok(match expr.op {
        DurationOp::Step => times.step as f64 / 1000.0,
        DurationOp::Range => (times.end - times.start) as f64 / 1000.0,
        DurationOp::Min => go_min(lhs, rhs),
        DurationOp::Max => go_max(lhs, rhs),
        DurationOp::Add => lhs + rhs,
        DurationOp::Sub => lhs - rhs,
        DurationOp::Mul => lhs * rhs,
        DurationOp::Div if rhs == 0.0 => return Err(invalid(expr.pos, "division by zero")),
        DurationOp::Div => lhs / rhs,
        DurationOp::Mod if rhs == 0.0 => return Err(invalid(expr.pos, "modulo by zero")),
        DurationOp::Mod => lhs % rhs,
        DurationOp::Pow => go_pow(lhs, rhs),
    })
}
