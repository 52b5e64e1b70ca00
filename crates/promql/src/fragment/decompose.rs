//! Finds the fragments of an expression, and how each decomposes.
//!
//! Only the shape of the expression matters here; what a fragment reads is in [`super::query`].

use super::{Combine, Decomposition};
use crate::functions::Function;
use crate::syntax::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Expr};

/// The largest fragments of an expression, from left to right.
pub fn decompose(expr: &Expr) -> Vec<Decomposition> {
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
            collect(&a.expr, found);
            a.param.iter().for_each(|param| collect(param, found));
        }
        Expr::Binary(b) => {
            collect(&b.lhs, found);
            collect(&b.rhs, found);
        }
        Expr::Call(call) => call.args.iter().for_each(|arg| collect(arg, found)),
        Expr::Paren(p) => collect(&p.expr, found),
        Expr::Unary(u) => collect(&u.expr, found),
        // A subquery has steps of its own, and a bare selector computes nothing.
        Expr::Subquery(_) | Expr::Vector(_) | Expr::Matrix(_) => {}
        Expr::Number(_) | Expr::String(_) | Expr::Duration(_) => {}
    }
}

fn decomposition_of(expr: &Expr) -> Option<Decomposition> {
    let pos = expr.pos();
    match expr {
        Expr::Paren(p) => decomposition_of(&p.expr).map(|inner| Decomposition { pos, whole: expr.clone(), ..inner }),
        Expr::Aggregate(a) if is_local(&a.expr) => decompose_aggregate(a),
        Expr::Vector(_) => None,
        other if is_local(other) => Some(Decomposition {
            pos,
            whole: other.clone(),
            partials: vec![other.clone()],
            combine: Combine::Concatenate,
        }),
        _ => None,
    }
}

fn decompose_aggregate(a: &Aggregate) -> Option<Decomposition> {
    if !a.without && a.grouping.iter().any(|label| label == "__name__") {
        return None;
    }
    let with = |op| Expr::Aggregate(Box::new(Aggregate { op, ..a.clone() }));
    let same = |combine| (vec![with(a.op)], combine);
    let (partials, combine) = match a.op {
        AggregateOp::Sum => (vec![with(AggregateOp::Sum), with(AggregateOp::Count)], Combine::Sum),
        AggregateOp::Count | AggregateOp::CountValues => same(Combine::Add),
        AggregateOp::Min => same(Combine::Min),
        AggregateOp::Max => same(Combine::Max),
        AggregateOp::Group => same(Combine::Any),
        AggregateOp::Avg => (vec![with(AggregateOp::Sum), with(AggregateOp::Count)], Combine::Mean),
        AggregateOp::Stddev | AggregateOp::Stdvar => {
            let moments = [AggregateOp::Count, AggregateOp::Avg, AggregateOp::Stdvar];
            (moments.map(with).to_vec(), Combine::Variance { deviation: a.op == AggregateOp::Stddev })
        }
        AggregateOp::Topk | AggregateOp::Bottomk => {
            let Some(Expr::Number(k)) = a.param.as_ref().map(inside) else { return None };
            let k = (k.value >= 1.0 && k.value < 1e6).then_some(k.value as usize)?;
            let mut grouping = a.grouping.clone();
            grouping.sort_unstable();
            // One extra series shows whether the last selected value is tied with one that is not selected.
            let next = a.param.as_ref().and_then(next_integer)?;
            let partial = Expr::Aggregate(Box::new(Aggregate { param: Some(next), ..a.clone() }));
            let select = Combine::Select { k, largest: a.op == AggregateOp::Topk, grouping, without: a.without };
            (vec![partial], select)
        }
        AggregateOp::Quantile | AggregateOp::Limitk | AggregateOp::LimitRatio => return None,
    };
    Some(Decomposition { pos: a.pos, whole: Expr::Aggregate(Box::new(a.clone())), partials, combine })
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

fn inside(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => inside(&paren.expr),
        other => other,
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
