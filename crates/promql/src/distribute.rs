//! Which parts of an expression can run where the samples are, and how their results are put together.
//!
//! The series of a query may be held by several nodes, each series by one of them as a whole. A part of an expression
//! can be sent to them when it treats each series by itself, or is an aggregation over such a part that decomposes: what
//! nodes answer ([`Pushdown::partials`]) is put together by [`Combine::apply`].
//!
//! How near the outcome is to that of one process, with `u = 2^-53` and `S` the sum:
//!
//! | operation | outcome |
//! |---|---|
//! | `count`, `group`, `count_values` | equal |
//! | `min`, `max` | equal, but for the sign of a zero |
//! | `topk`, `bottomk` | equal; nothing is combined when series at the edge of the choice have equal values |
//! | `sum` | both are compensated: at most `u (sum of \|partial sums\| + 2 \|S\|)` apart, so two units in the last place for values of one sign |
//! | `avg` | as `sum`, and `u` for each of two divisions; sums that overflow are infinite |
//! | `stddev`, `stdvar` | a relative `4 u (series + nodes)` |
//! | sums of native histograms | as `sum`, for each bucket |
//!
//! Where floats and histograms meet in a group nothing is combined ([`Combine::apply`] says so), as one process would
//! look at all of the group's samples; the expression is then evaluated on series as usual. `quantile`, `limitk`,
//! `limit_ratio` and averages of histograms are not decomposed.

mod combine;
mod fragment;
mod part;

pub use fragment::evaluate;
pub use part::{Given, Part, PartValue, from_result, parts, to_result};

use std::fmt;

use crate::functions::Function;
use crate::parser::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Expr, Pos};

/// A part of an expression that can run where the samples are. Its times are those of the query.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushdown {
    /// Where it is in the query.
    pub pos: Pos,
    /// The part itself, for those who have all series.
    pub whole: Expr,
    /// What each node evaluates, over the series that it holds. As text: `to_string()`.
    pub partials: Vec<Expr>,
    /// How what they answer is put together.
    pub combine: Combine,
}

/// How the answers of nodes become the value of a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Combine {
    /// The series of all nodes, side by side.
    Unite,
    /// Equal series are added up; for `count` and `count_values`.
    Add,
    /// Equal series are added up, compensated; the partials are sums, and counts that tell where there is no sum.
    Sum,
    /// The smaller of equal series.
    Min,
    /// The larger of equal series.
    Max,
    /// Any of equal series, which are ones.
    Any,
    /// Sums by counts; the partials are the two.
    Mean,
    /// From counts, means and variances; the partials are the three.
    Variance {
        /// Whether its root is wanted.
        deviation: bool,
    },
    /// The `k` largest or smallest of each group of all.
    Choose {
        /// How many.
        k: usize,
        /// Whether the largest.
        largest: bool,
        /// The labels that make a group, or that don't.
        grouping: Vec<String>,
        /// Whether `grouping` names those that don't.
        without: bool,
    },
}

impl fmt::Display for Combine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Combine::Unite => f.write_str("side by side"),
            Combine::Add => f.write_str("add"),
            Combine::Sum => f.write_str("sum"),
            Combine::Min => f.write_str("min"),
            Combine::Max => f.write_str("max"),
            Combine::Any => f.write_str("any"),
            Combine::Mean => f.write_str("mean"),
            Combine::Variance { .. } => f.write_str("variance"),
            Combine::Choose { k, largest, .. } => write!(f, "{} {k}", if *largest { "largest" } else { "smallest" }),
        }
    }
}

/// The largest parts of an expression that can run where the samples are, from left to right.
pub fn pushdowns(expr: &Expr) -> Vec<Pushdown> {
    let mut found = Vec::new();
    collect(expr, &mut found);
    found
}

fn collect(expr: &Expr, found: &mut Vec<Pushdown>) {
    if let Some(pushdown) = of(expr) {
        found.push(pushdown);
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
        // The inside of a subquery has steps of its own; selectors alone are read, not computed.
        Expr::Subquery(_) | Expr::Vector(_) | Expr::Matrix(_) => {}
        Expr::Number(_) | Expr::String(_) | Expr::Duration(_) => {}
    }
}

fn of(expr: &Expr) -> Option<Pushdown> {
    let pos = expr.pos();
    match expr {
        Expr::Paren(p) => of(&p.expr).map(|pushdown| Pushdown { pos, whole: expr.clone(), ..pushdown }),
        Expr::Aggregate(a) if is_local(&a.expr) => of_aggregate(a),
        Expr::Vector(_) => None,
        other if is_local(other) => {
            Some(Pushdown { pos, whole: other.clone(), partials: vec![other.clone()], combine: Combine::Unite })
        }
        _ => None,
    }
}

fn of_aggregate(a: &Aggregate) -> Option<Pushdown> {
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
            let parts = [AggregateOp::Count, AggregateOp::Avg, AggregateOp::Stdvar];
            (parts.map(with).to_vec(), Combine::Variance { deviation: a.op == AggregateOp::Stddev })
        }
        AggregateOp::Topk | AggregateOp::Bottomk => {
            let Some(Expr::Number(k)) = a.param.as_ref().map(inside) else { return None };
            let k = (k.value >= 1.0 && k.value < 1e6).then_some(k.value as usize)?;
            let mut grouping = a.grouping.clone();
            grouping.sort_unstable();
            // One more than are chosen shows whether others are equal to the last one.
            let more = a.param.as_ref().and_then(one_more)?;
            let partial = Expr::Aggregate(Box::new(Aggregate { param: Some(more), ..a.clone() }));
            let choose = Combine::Choose { k, largest: a.op == AggregateOp::Topk, grouping, without: a.without };
            (vec![partial], choose)
        }
        AggregateOp::Quantile | AggregateOp::Limitk | AggregateOp::LimitRatio => return None,
    };
    Some(Pushdown { pos: a.pos, whole: Expr::Aggregate(Box::new(a.clone())), partials, combine })
}

/// The next number.
fn one_more(param: &Expr) -> Option<Expr> {
    match inside(param) {
        Expr::Number(number) => {
            let mut number = number.clone();
            (number.value, number.duration) = (number.value.floor() + 1.0, false);
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
    /// It is the same number wherever it is evaluated.
    Constant,
    /// It treats each stored series by itself and names none anew.
    Local,
    /// In another way.
    Other,
}

/// Whether an expression treats each stored series by itself and names none anew.
fn is_local(expr: &Expr) -> bool {
    shape(expr) == Shape::Local
}

/// Looks at each node once: two questions at each level would take the square of a chain's length.
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

fn shape_of_call(func: &Function, args: &[Expr]) -> Shape {
    if matches!(func.name, "pi" | "time" | "start" | "end" | "range" | "step") {
        return Shape::Constant;
    }
    let shapes = args.iter().map(|arg| (inside(arg), shape(arg)));
    let series: Vec<(&Expr, Shape)> = shapes.filter(|(_, shape)| *shape != Shape::Constant).collect();
    let local = match series[..] {
        [(Expr::Matrix(_), _)] => func.name != "absent_over_time",
        [(_, Shape::Local)] => crate::eval::treats_by_series(func.name),
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

#[cfg(test)]
mod tests;
