//! Finds the fragments of an expression, and how each decomposes.
//!
//! Only the shape of the expression matters here; what a fragment reads is in [`super::query`].

use super::{Combine, Decomposition, inside};
use crate::functions::Function;
use crate::syntax::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Expr};

/// The largest fragments of an expression, from left to right.
pub fn decompose(expr: &Expr) -> Vec<Decomposition> {
    if let Expr::Vector(_) = inside(expr) {
        return vec![by_series(expr)];
    }
    let mut found = Vec::new();
    collect(expr, &mut found);
    found
}

fn collect(expr: &Expr, found: &mut Vec<Decomposition>) {
    if let Some(fragment) = decomposition_of(expr) {
        found.push(fragment);
        return;
    }
    match expr {
        Expr::Aggregate(a) => {
            // The values of a selector at the steps are fewer than its samples.
            match is_local(&a.expr) {
                true => found.push(by_series(&a.expr)),
                false => collect(&a.expr, found),
            }
            a.param.iter().for_each(|param| collect(param, found));
        }
        Expr::Binary(b) => {
            collect(&b.lhs, found);
            collect(&b.rhs, found);
        }
        Expr::Call(call) => call.args.iter().for_each(|arg| collect(arg, found)),
        Expr::Paren(p) => collect(&p.expr, found),
        Expr::Unary(u) => collect(&u.expr, found),
        // A subquery has steps of its own. Joins restrict their selectors, and some functions look at how one is written.
        Expr::Subquery(_) | Expr::Vector(_) | Expr::Matrix(_) => {}
        Expr::Number(_) | Expr::String(_) | Expr::Duration(_) => {}
    }
}

/// A fragment that treats each series by itself.
fn by_series(expr: &Expr) -> Decomposition {
    Decomposition { pos: expr.pos(), whole: expr.clone(), partial: expr.clone(), combine: Combine::Concatenate }
}

fn decomposition_of(expr: &Expr) -> Option<Decomposition> {
    match expr {
        Expr::Paren(p) => {
            decomposition_of(&p.expr).map(|inner| Decomposition { pos: expr.pos(), whole: expr.clone(), ..inner })
        }
        Expr::Aggregate(a) if is_local(&a.expr) => decompose_aggregate(a),
        Expr::Vector(_) => None,
        other if is_local(other) => Some(by_series(other)),
        _ => None,
    }
}

fn decompose_aggregate(a: &Aggregate) -> Option<Decomposition> {
    if !a.without && a.grouping.iter().any(|label| label == "__name__") {
        return None;
    }
    let whole = Expr::Aggregate(Box::new(a.clone()));
    let combine = match a.op {
        AggregateOp::Sum => Combine::Sum,
        AggregateOp::Count | AggregateOp::CountValues => Combine::Add,
        AggregateOp::Min => Combine::Min,
        AggregateOp::Max => Combine::Max,
        AggregateOp::Group => Combine::Any,
        AggregateOp::Topk | AggregateOp::Bottomk => {
            let Some(Expr::Number(k)) = a.param.as_ref().map(inside) else { return None };
            let k = (k.value >= 1.0 && k.value < 1e6).then_some(k.value as usize)?;
            // One extra series shows whether the last selected value is tied with one that is not selected.
            let next = a.param.as_ref().and_then(next_integer)?;
            let partial = Expr::Aggregate(Box::new(Aggregate { param: Some(next), ..a.clone() }));
            let mut grouping = a.grouping.clone();
            grouping.sort_unstable();
            let largest = a.op == AggregateOp::Topk;
            let combine = Combine::Select { k, largest, grouping, without: a.without };
            return Some(Decomposition { pos: a.pos, whole, partial, combine });
        }
        AggregateOp::Avg | AggregateOp::Stddev | AggregateOp::Stdvar => return None,
        AggregateOp::Quantile | AggregateOp::Limitk | AggregateOp::LimitRatio => return None,
    };
    Some(Decomposition { pos: a.pos, partial: whole.clone(), whole, combine })
}

/// The literal `floor(param) + 1`.
fn next_integer(param: &Expr) -> Option<Expr> {
    match inside(param) {
        Expr::Number(number) => {
            let mut number = number.clone();
            number.value = number.value.floor() + 1.0;
            number.duration = false;
            Some(Expr::Number(number))
        }
        _ => None,
    }
}

/// How the value of an expression depends on stored series.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The value is the same number on every node.
    Constant,
    /// Each stored series is treated by itself and keeps its labels, except for its name.
    Local,
    /// The value may depend on several series at once.
    Other,
}

fn is_local(expr: &Expr) -> bool {
    shape(expr) == Shape::Local
}

/// Visits each node once. Separate `is_local` and `is_constant` walks at every level would be quadratic in a chain's length.
fn shape(expr: &Expr) -> Shape {
    match expr {
        Expr::Number(_) | Expr::Duration(_) => Shape::Constant,
        Expr::Vector(_) => Shape::Local,
        Expr::Paren(p) => shape(&p.expr),
        Expr::Unary(u) => shape(&u.expr),
        Expr::Call(call) => shape_of_call(call.func, &call.args),
        Expr::Binary(binary) => shape_of_binary(binary),
        _ => Shape::Other,
    }
}

fn shape_of_call(func: Function, args: &[Expr]) -> Shape {
    if func.is_constant() {
        return Shape::Constant;
    }
    let shapes = args.iter().map(|arg| (inside(arg), shape(arg)));
    let series: Vec<(&Expr, Shape)> = shapes.filter(|(_, shape)| *shape != Shape::Constant).collect();
    let local = match series[..] {
        [(Expr::Matrix(_), _) | (_, Shape::Local)] => func.is_by_series(),
        _ => false,
    };
    if local { Shape::Local } else { Shape::Other }
}

fn shape_of_binary(binary: &Binary) -> Shape {
    let arithmetic = !matches!(binary.op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless);
    match (shape(&binary.lhs), shape(&binary.rhs)) {
        (Shape::Constant, Shape::Constant) => Shape::Constant,
        (Shape::Constant, Shape::Local) | (Shape::Local, Shape::Constant) if arithmetic => Shape::Local,
        _ => Shape::Other,
    }
}
