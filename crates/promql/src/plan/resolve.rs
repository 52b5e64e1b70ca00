//! From syntax to nodes: times become numbers, parentheses disappear.

use std::ops::Deref;

use pharos_model::fragment::Steps;

use super::duration;
use super::node::{
    Aggregate, Binary, Call, MAX_TIME, Node, PrecomputedRef, RangeCall, RangeInput, RangeSelector, Reference, Selector,
    Subquery,
};
use crate::annotations::NOWHERE;
use crate::error::QueryError;
use crate::functions::{Function, Kernel};
use crate::syntax::ast::{self, AggregateOp, AtPreprocessor, DurationExpr, Expr, Pos, TimeModifiers};

/// A precomputed part of a query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Its position in the query.
    pub(crate) pos: Pos,
    /// Whether its value is the same at all steps.
    pub(crate) is_invariant: bool,
}

/// The times of a query and its precomputed parts.
pub(super) struct Context<'a> {
    pub(super) times: &'a Steps,
    pub(super) precomputed: &'a [Place],
}

impl Deref for Context<'_> {
    type Target = Steps;

    fn deref(&self) -> &Steps {
        self.times
    }
}

/// The node of an expression. Fails on durations that are out of range and on label names that are not valid.
pub(super) fn resolve(expr: &Expr, times: &Context<'_>) -> Result<Node, QueryError> {
    if let Some(index) = times.precomputed.iter().position(|place| place.pos == expr.pos()) {
        let is_invariant = times.precomputed[index].is_invariant;
        return Ok(Node::Precomputed(PrecomputedRef { index, pos: expr.pos().start, is_invariant }));
    }
    match expr {
        Expr::Number(number) => Ok(Node::Number(number.value)),
        Expr::String(string) => Ok(Node::Text(string.value.clone())),
        Expr::Paren(paren) => resolve(&paren.expr, times),
        Expr::Unary(unary) => {
            let inner = resolve(&unary.expr, times)?;
            Ok(if unary.minus { Node::Negate(Box::new(inner)) } else { inner })
        }
        Expr::Vector(selector) => Ok(Node::Selector(resolve_selector(selector, times)?)),
        Expr::Matrix(matrix) => Ok(Node::Matrix(resolve_matrix(matrix, times)?)),
        Expr::Subquery(subquery) => Ok(Node::Subquery(Box::new(resolve_subquery(subquery, times)?))),
        Expr::Duration(inner) => Ok(Node::Number(duration::evaluate(inner, times, true)? as f64 / 1000.0)),
        Expr::Aggregate(aggregate) => resolve_aggregate(aggregate, times),
        Expr::Binary(binary) => resolve_binary(binary, times),
        Expr::Call(call) => resolve_call(call, times),
    }
}

fn resolve_binary(binary: &ast::Binary, times: &Context<'_>) -> Result<Node, QueryError> {
    let lhs = resolve(&binary.lhs, times)?;
    let rhs = resolve(&binary.rhs, times)?;
    Ok(Node::Binary(Box::new(Binary {
        op: binary.op,
        kind: Binary::kind_of(&lhs, &rhs),
        lhs,
        rhs,
        matching: binary.matching.clone().unwrap_or_default(),
        return_bool: binary.return_bool,
        pos: binary.pos.start,
    })))
}

/// The expression without the parentheses around it.
fn inside(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => inside(&paren.expr),
        other => other,
    }
}

fn resolve_time(time: &TimeModifiers, times: &Context<'_>) -> Result<Reference, QueryError> {
    let offset = match &time.offset_expr {
        Some(expr) => duration::evaluate(expr, times, true)?,
        None => time.offset,
    };
    let at = match time.at_preprocessor {
        Some(AtPreprocessor::Start) => Some(times.start),
        Some(AtPreprocessor::End) => Some(times.end),
        None => time.at,
    };
    let near = |t: i64| t.clamp(-MAX_TIME, MAX_TIME);
    Ok(Reference { at: at.map(near), offset: near(offset) })
}

fn resolve_length(fixed: i64, expr: Option<&DurationExpr>, times: &Context<'_>) -> Result<i64, QueryError> {
    let length = expr.map_or(Ok(fixed), |expr| duration::evaluate(expr, times, false))?;
    Ok(length.clamp(0, MAX_TIME))
}

fn resolve_selector(selector: &ast::VectorSelector, times: &Context<'_>) -> Result<Selector, QueryError> {
    Ok(Selector {
        matchers: selector.matchers.clone(),
        time: resolve_time(&selector.time, times)?,
        anchored: selector.anchored,
        smoothed: selector.smoothed,
        stats: false,
        implied: 0,
        readers: 1,
        pos: selector.pos.start,
    })
}

fn resolve_matrix(matrix: &ast::MatrixSelector, times: &Context<'_>) -> Result<RangeSelector, QueryError> {
    // The first error of durations in Prometheus's order: the outer ones first.
    let range = resolve_length(matrix.range, matrix.range_expr.as_ref(), times)?;
    Ok(RangeSelector { selector: resolve_selector(&matrix.selector, times)?, range })
}

fn resolve_subquery(subquery: &ast::Subquery, times: &Context<'_>) -> Result<Subquery, QueryError> {
    let time = resolve_time(&subquery.time, times)?;
    let step = resolve_length(subquery.step, subquery.step_expr.as_ref(), times)?;
    let range = resolve_length(subquery.range, subquery.range_expr.as_ref(), times)?;
    Ok(Subquery { expr: resolve(&subquery.expr, times)?, range, step, time })
}

fn resolve_aggregate(aggregate: &ast::Aggregate, times: &Context<'_>) -> Result<Node, QueryError> {
    let mut grouping = aggregate.grouping.clone();
    grouping.sort_unstable();
    grouping.dedup();
    if let (AggregateOp::CountValues, Some(Expr::String(label))) = (aggregate.op, aggregate.param.as_ref().map(inside))
        && label.bytes.is_some()
    {
        return Err(QueryError::Execution(format!("invalid label name {label}")));
    }
    Ok(Node::Aggregate(Box::new(Aggregate {
        op: aggregate.op,
        expr: resolve(&aggregate.expr, times)?,
        param: aggregate.param.as_ref().map(|p| resolve(p, times)).transpose()?,
        grouping,
        without: aggregate.without,
        pos: aggregate.pos.start,
        expr_pos: inside(&aggregate.expr).pos().start,
        param_pos: aggregate.param.as_ref().map_or(0, |p| inside(p).pos().start),
    })))
}

fn resolve_call(call: &ast::Call, times: &Context<'_>) -> Result<Node, QueryError> {
    if let Kernel::QueryTime(value) = call.func.kernel() {
        return Ok(Node::Number(value(times)));
    }
    check_label_names(call)?;
    let mut input = None;
    let mut args = Vec::new();
    let mut arg_pos = Vec::new();
    for arg in &call.args {
        let arg = inside(arg);
        arg_pos.push(arg.pos().start);
        match arg {
            Expr::Matrix(matrix) => input = Some(RangeInput::Selector(resolve_matrix(matrix, times)?)),
            Expr::Subquery(subquery) => {
                input = Some(RangeInput::Subquery(resolve_subquery(subquery, times)?));
                // As in Prometheus, where the samples of a subquery have no place in the query.
                arg_pos.pop();
                arg_pos.push(NOWHERE);
            }
            other => args.push(resolve(other, times)?),
        }
    }
    let Some(input) = input else {
        let signed = call.args.first().is_some_and(|arg| matches!(inside(arg), Expr::Unary(_)));
        return Ok(Node::Call(Box::new(Call { func: call.func, args, arg_pos, signed, pos: call.pos.start })));
    };
    let pos = arg_pos.first().copied().unwrap_or(call.pos.start);
    Ok(Node::Range(Box::new(RangeCall { func: call.func, input, args, pos })))
}

/// Fails when a function does not support the `anchored` or `smoothed` modifier of its range vector.
pub(crate) fn check_modifiers(function: Function, input: &RangeInput) -> Result<(), QueryError> {
    let RangeInput::Selector(RangeSelector { selector, .. }) = input else { return Ok(()) };
    let (modifier, is_allowed): (&str, fn(Function) -> bool) = match (selector.anchored, selector.smoothed) {
        (true, _) => ("anchored", Function::may_be_anchored),
        (_, true) => ("smoothed", Function::may_be_smoothed),
        _ => return Ok(()),
    };
    if is_allowed(function) {
        return Ok(());
    }
    let allowed: Vec<&str> = Function::ALL.iter().filter(|f| is_allowed(**f)).map(|f| f.name()).collect();
    let (allowed, function) = (allowed.join(", "), function.name());
    Err(QueryError::Execution(format!("{modifier} modifier can only be used with: {allowed} - not with {function}")))
}

/// Fails on label names that are not UTF-8, which string literals need not be, and on empty sources. Sources are checked
/// first, as in Prometheus.
fn check_label_names(call: &ast::Call) -> Result<(), QueryError> {
    let joins = call.func == Function::LabelJoin;
    if !joins && call.func != Function::LabelReplace {
        return Ok(());
    }
    let name = call.func.name();
    let sources = call.args.iter().skip(3).filter(|_| joins).map(|arg| ("source", arg));
    for (what, arg) in sources.chain(call.args.get(1).map(|arg| ("destination", arg))) {
        let Expr::String(string) = inside(arg) else { continue };
        if string.bytes.is_some() || (what == "source" && string.value.is_empty()) {
            let reason = format!("invalid {what} label name in {name}(): {}", string.value);
            return Err(QueryError::Execution(reason));
        }
    }
    Ok(())
}
