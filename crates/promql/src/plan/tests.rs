//! What plans look like.

use super::*;
use crate::functions::Function;
use crate::syntax::parse;

const TIMES: Steps = Steps { start: 1_000_000, end: 2_000_000, step: 10_000 };

fn plan(query: &str) -> Node {
    build(&parse(query).unwrap(), &TIMES).unwrap()
}

fn is_invariant(node: &Node) -> bool {
    matches!(node, Node::Invariant(_))
}

#[test]
fn constants_are_folded() {
    assert_eq!(plan("-(1 + 2) * 4"), Node::Number(-12.0));
    assert_eq!(plan("pi() > bool 3"), Node::Number(1.0));
    assert_eq!(plan("start() + end()"), Node::Number(3000.0));
    assert_eq!(plan("range() / step()"), Node::Number(100.0));
    assert_eq!(plan("1h30m"), Node::Number(5400.0));
}

#[test]
fn the_highest_invariant_parts_are_marked() {
    for query in ["x @ 1", "sum(x @ 1)", "rate(x[5m] @ end()) * 2", "abs(x @ start()) + y @ 3", "timestamp(x @ 1)"] {
        assert!(is_invariant(&plan(query)), "{query}");
    }
    for query in ["x", "x + y @ 1", "timestamp(abs(x @ 1))", "predict_linear(x[5m] @ 1, 3)", "1", "vector(time())"] {
        assert!(!is_invariant(&plan(query)), "{query}");
    }
    let Node::Binary(binary) = plan("x + sum(y @ 1)") else { panic!("no operator") };
    assert!(!is_invariant(&binary.lhs) && is_invariant(&binary.rhs));
    let Node::Range(call) = plan("sum_over_time((x @ 1)[5m:1m])") else { panic!("no range function") };
    let RangeInput::Subquery(subquery) = &call.input else { panic!("no subquery") };
    assert!(is_invariant(&subquery.expr));
}

#[test]
fn durations_become_numbers() {
    let Node::Range(call) = plan("rate(x[step() * 2] offset (range() - 1s))") else { panic!("no range function") };
    assert_eq!(call.input.range(), 20_000);
    assert_eq!(call.input.time(), Reference { at: None, offset: 999_000 });
    let error = build(&parse("rate(x[1m - 1m])").unwrap(), &TIMES).unwrap_err();
    assert_eq!(error.to_string(), "7:14: duration must be greater than 0");
}

#[test]
fn buckets_are_left_out_where_only_count_and_sum_matter() {
    let marked = |query: &str| {
        fn any(node: &Node) -> bool {
            match node {
                Node::Selector(s) => s.stats,
                Node::Range(call) => match &call.input {
                    RangeInput::Selector(s) => s.selector.stats,
                    RangeInput::Subquery(s) => any(&s.expr),
                },
                other => other.children().into_iter().any(any),
            }
        }
        any(&plan(query))
    };
    assert!(marked("histogram_count(x)") && marked("histogram_sum(sum(rate(x[5m])))"));
    assert!(!marked("x") && !marked("histogram_quantile(0.9, x)"));
    assert!(!marked("histogram_count(sum_over_time(x[5m:1m]))") && !marked("histogram_count(x </ 3)"));
}

#[test]
fn modifiers_fit_their_functions() {
    let Node::Range(call) = plan("deriv(x[5m] smoothed)") else { panic!("no range function") };
    let error = check_modifiers(Function::Deriv, &call.input).unwrap_err();
    assert_eq!(error.to_string(), "smoothed modifier can only be used with: delta, increase, rate - not with deriv");
}

#[test]
fn kinds_follow_from_the_sides() {
    for query in ["1 + scalar(x)", "-(scalar(x) > bool 1) * time()", "-(-(scalar(x) + 1))"] {
        assert_eq!(plan(query).kind(), Kind::Scalar, "{query}");
    }
    for query in ["x + y", "1 + x", "(x + 1) * scalar(x)", "-(scalar(x) + 1 + sum(x)) > 2", "2 * sum(x @ 1)"] {
        let node = plan(query);
        let inner = if let Node::Invariant(inner) = &node { inner } else { &node };
        assert_eq!((node.kind(), inner.kind()), (Kind::Vector, Kind::Vector), "{query}");
    }
}

#[test]
fn planning_ends_when_the_query_must() {
    let budget = Budget::unlimited();
    let expr = parse("sum(x) / sum(y)").unwrap();
    assert!(build_with(&expr, &TIMES, &[], &budget).is_ok());
    budget.cancel();
    assert_eq!(build_with(&expr, &TIMES, &[], &budget), Err(QueryError::Canceled));
    assert_eq!(build_together(&[expr], &TIMES, &budget), Err(QueryError::Canceled));
}
