//! Semantic checks beyond the grammar: types, argument counts, vector matching and matchers.
//!
//! The checks run in the same order as in Prometheus, so that both report the same error. The pass also completes the
//! tree: it removes the vector matching of operations with a scalar and makes that of set operators many-to-many.

use std::collections::HashSet;

use pharos_gocompat::GoQuoted;
use pharos_model::{MatchOp, Matcher};

use super::ast::{Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, Pos, ValueType, VectorSelector};
use super::error::Failure;
use super::expression::Parser;
use super::selector::METRIC_NAME;
use crate::functions::Function;

type Checked<T> = Result<T, Failure>;

/// Checks an expression and returns its type.
pub(super) fn check(parser: &Parser<'_>, expr: &mut Expr) -> Checked<ValueType> {
    let pos = expr.pos();
    match expr {
        Expr::Aggregate(aggregate) => check_aggregate(parser, aggregate),
        Expr::Binary(binary) => check_binary(parser, binary),
        Expr::Call(call) => check_call(parser, call),
        Expr::Paren(paren) => check(parser, &mut paren.expr),
        Expr::Unary(unary) => {
            let operand = check(parser, &mut unary.expr)?;
            if matches!(operand, ValueType::Scalar | ValueType::Vector) {
                return Ok(operand);
            }
            let what = "unary expression only allowed on expressions of type scalar or instant vector";
            Err(parser.error(pos, format!("{what}, got \"{}\"", operand.documented())))
        }
        Expr::Subquery(subquery) => {
            let inner = check(parser, &mut subquery.expr)?;
            if inner == ValueType::Vector {
                return Ok(ValueType::Matrix);
            }
            let message = format!("subquery is only allowed on instant vector, got {} instead", inner.as_str());
            Err(parser.error(pos, message))
        }
        Expr::Matrix(matrix) => {
            check_selector(parser, &matrix.selector)?;
            Ok(ValueType::Matrix)
        }
        Expr::Vector(selector) => {
            check_selector(parser, selector)?;
            Ok(ValueType::Vector)
        }
        Expr::Number(_) | Expr::Duration(_) => Ok(ValueType::Scalar),
        Expr::String(_) => Ok(ValueType::String),
    }
}

fn expect_type(parser: &Parser<'_>, pos: Pos, want: ValueType, got: ValueType, place: &str) -> Checked<()> {
    if want == got {
        return Ok(());
    }
    let message = format!("expected type {} in {place}, got {}", want.documented(), got.documented());
    Err(parser.error(pos, message))
}

fn check_aggregate(parser: &Parser<'_>, aggregate: &mut Aggregate) -> Checked<ValueType> {
    let inner = check(parser, &mut aggregate.expr)?;
    expect_type(parser, aggregate.expr.pos(), ValueType::Vector, inner, "aggregation expression")?;
    if let Some(param) = &mut aggregate.param {
        let want = if aggregate.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
        let got = check(parser, param)?;
        expect_type(parser, param.pos(), want, got, "aggregation parameter")?;
    }
    Ok(ValueType::Vector)
}

fn check_call(parser: &Parser<'_>, call: &mut Call) -> Checked<ValueType> {
    let func = call.func;
    let (least, got) = (func.min_args(), call.args.len());
    let wrong_number = |bound: &str, expected: usize| {
        let message = format!("expected {bound}{expected} argument(s) in call to \"{}\", got {got}", func.name());
        Err(parser.error(call.pos, message))
    };
    if func.variadic() == 0 && got != least {
        return wrong_number("", least);
    }
    if got < least {
        return wrong_number("at least ", least);
    }
    if let Some(most) = func.max_args().filter(|most| got > *most) {
        return wrong_number("at most ", most);
    }
    let place = format!("call to function \"{}\"", func.name());
    let data_labels = func == Function::Info && got > 1;
    if data_labels {
        check_info_selector(parser, call, &place)?;
    }
    for (index, arg) in call.args.iter_mut().enumerate() {
        let Some(want) = func.args().get(index).or(func.args().last()) else { break };
        // The label selector of `info` may match every series, so it is not checked as a selector.
        let got = if data_labels && index == 1 { arg.value_type() } else { check(parser, arg)? };
        expect_type(parser, arg.pos(), *want, got, &place)?;
    }
    Ok(func.returns())
}

fn check_info_selector(parser: &Parser<'_>, call: &Call, place: &str) -> Checked<()> {
    let Some(selector) = call.args.get(1) else { return Ok(()) };
    expect_type(parser, call.pos, ValueType::Vector, selector.value_type(), place)?;
    match selector {
        Expr::Vector(vector) if vector.name.is_empty() => Ok(()),
        Expr::Vector(vector) => {
            Err(parser.error(vector.pos, "expected label selectors only, got vector selector instead"))
        }
        other => Err(parser.error(other.pos(), "expected label selectors only")),
    }
}

fn check_selector(parser: &Parser<'_>, selector: &VectorSelector) -> Checked<()> {
    if selector.name.is_empty() {
        if selector.matchers.iter().any(|matcher| !matcher.matches_empty()) {
            return Ok(());
        }
        return Err(parser.error(selector.pos, "vector selector must contain at least one non-empty matcher"));
    }
    let is_second_name = |matcher: &&Matcher| matcher.name == METRIC_NAME;
    let others = selector.matchers.split_last().map_or(&[][..], |(_, others)| others);
    match others.iter().find(is_second_name) {
        None => Ok(()),
        Some(second) => {
            let (name, second) = (GoQuoted(&selector.name), GoQuoted(&second.value));
            Err(parser.error(selector.pos, format!("metric name must not be set twice: {name} or {second}")))
        }
    }
}

fn check_binary(parser: &Parser<'_>, binary: &mut Binary) -> Checked<ValueType> {
    let left = check(parser, &mut binary.lhs)?;
    let right = check(parser, &mut binary.rhs)?;
    check_modifiers(parser, binary, left, right)?;
    for (side, expr) in [(left, &binary.lhs), (right, &binary.rhs)] {
        if !matches!(side, ValueType::Scalar | ValueType::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(parser.error(expr.pos(), message));
        }
    }
    let vectors = left == ValueType::Vector && right == ValueType::Vector;
    let is_set = binary.op.is_set();
    let op = binary.op.as_str();
    let refuse = |message: String| Err(parser.error(binary.pos, message));
    let Some(matching) = &mut binary.matching else { return Ok(result_type(left, right)) };
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    if !vectors {
        if !matching.labels.is_empty() {
            return refuse("vector matching only allowed between instant vectors".to_string());
        }
        if fills {
            return refuse("filling in missing series only allowed between instant vectors".to_string());
        }
        binary.matching = None;
        if is_set {
            return refuse(format!("set operator \"{op}\" not allowed in binary scalar expression"));
        }
    } else if is_set {
        if matching.card != Cardinality::OneToOne {
            return refuse(format!("no grouping allowed for \"{op}\" operation"));
        }
        if fills {
            return refuse("filling in missing series not allowed for set operators".to_string());
        }
        matching.card = Cardinality::ManyToMany;
    }
    Ok(result_type(left, right))
}

fn result_type(left: ValueType, right: ValueType) -> ValueType {
    if left == ValueType::Scalar && right == ValueType::Scalar { ValueType::Scalar } else { ValueType::Vector }
}

/// Checks `bool` and the labels of `on` and `group_left`. The errors point at the operator.
fn check_modifiers(parser: &Parser<'_>, binary: &Binary, left: ValueType, right: ValueType) -> Checked<()> {
    let refuse = |message: String| Err(parser.error(operator_pos(parser.input(), binary), message));
    let comparison = binary.op.is_comparison();
    if binary.return_bool && !comparison {
        return refuse("bool modifier can only be used on comparison operators".to_string());
    }
    let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
    if comparison && !binary.return_bool && scalars {
        return refuse("comparisons between scalars must use BOOL modifier".to_string());
    }
    let Some(matching) = binary.matching.as_ref().filter(|matching| matching.on) else { return Ok(()) };
    let included: HashSet<&String> = matching.include.iter().collect();
    match matching.labels.iter().find(|label| included.contains(label)) {
        None => Ok(()),
        Some(label) => refuse(format!("label {} must not occur in ON and GROUP clause at once", GoQuoted(label))),
    }
}

/// Returns the position of an operator with its modifiers: the text between the operands, without outer whitespace.
fn operator_pos(input: &str, binary: &Binary) -> Pos {
    let (start, end) = (binary.lhs.pos().end, binary.rhs.pos().start);
    let between = input.get(start..end).unwrap_or("");
    let blank = [' ', '\t', '\n', '\r'];
    let start = start + (between.len() - between.trim_start_matches(blank).len());
    Pos { start, end: start.max(end - (between.len() - between.trim_end_matches(blank).len()).min(end)) }
}

/// Returns whether a matcher only repeats the metric name that precedes the braces.
pub(super) fn repeats_name(matcher: &Matcher, name: &str) -> bool {
    matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal && matcher.value == name && !name.is_empty()
}
