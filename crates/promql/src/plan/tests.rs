//! What plans look like.

use super::*;
use crate::functions::Function;
use crate::syntax::parse;

const TIMES: Steps = Steps { start: 1_000_000, end: 2_000_000, step: 10_000 };

fn plan(query: &str) -> Node {
    build(&parse(query).unwrap(), &TIMES).unwrap()
}

fn refusal(query: &str) -> String {
    build(&parse(query).unwrap(), &TIMES).unwrap_err().to_string()
}

fn is_invariant(node: &Node) -> bool {
    matches!(node, Node::Invariant(_))
}

fn range_call(query: &str) -> RangeCall {
    let Node::Range(call) = plan(query) else { panic!("{query} is not a range function") };
    *call
}

fn selector(query: &str) -> Selector {
    match plan(query) {
        Node::Selector(selector) => selector,
        Node::Invariant(inner) => match *inner {
            Node::Selector(selector) => selector,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn arithmetic_of_constants_is_folded() {
    assert_eq!(plan("-(1 + 2) * 4"), Node::Number(-12.0));
    assert_eq!(plan("1 / 0"), Node::Number(f64::INFINITY));
}

#[test]
fn comparisons_of_constants_are_folded() {
    assert_eq!(plan("pi() > bool 3"), Node::Number(1.0));
    assert_eq!(plan("2 == bool 3"), Node::Number(0.0));
}

#[test]
fn functions_of_the_query_are_folded() {
    assert_eq!(plan("start() + end()"), Node::Number(3000.0));
    assert_eq!(plan("range() / step()"), Node::Number(100.0));
}

#[test]
fn durations_are_numbers_of_seconds() {
    assert_eq!(plan("1h30m"), Node::Number(5400.0));
}

#[test]
fn the_time_of_the_step_is_not_folded() {
    assert!(matches!(plan("time() + 1"), Node::Binary(_)));
}

#[test]
fn parentheses_and_plus_signs_disappear() {
    assert!(matches!(plan("((x))"), Node::Selector(_)));
    assert!(matches!(plan("+x"), Node::Selector(_)));
    assert!(matches!(plan("-x"), Node::Negate(_)));
}

#[test]
fn the_start_and_the_end_become_times() {
    assert_eq!(selector("x @ start()").time.at, Some(TIMES.start));
    assert_eq!(selector("x @ end()").time.at, Some(TIMES.end));
    assert_eq!(selector("x").time.at, None);
}

#[test]
fn offsets_may_point_into_the_future() {
    assert_eq!(selector("x offset 1m").time.offset, 60_000);
    assert_eq!(selector("x offset -1m").time.offset, -60_000);
}

#[test]
fn references_replace_the_step_before_they_subtract_the_offset() {
    assert_eq!(Reference { at: None, offset: 5 }.from(100), 95);
    assert_eq!(Reference { at: Some(10), offset: 5 }.from(100), 5);
}

#[test]
fn the_grouping_is_sorted_without_duplicates() {
    let Node::Aggregate(aggregate) = plan("sum by (b, a, b) (x)") else { panic!("no aggregation") };
    assert_eq!(aggregate.grouping, ["a", "b"]);
}

#[test]
fn parts_with_a_fixed_time_are_invariant() {
    for query in ["x @ 1", "sum(x @ 1)", "rate(x[5m] @ end()) * 2", "abs(x @ start()) + y @ 3"] {
        assert!(is_invariant(&plan(query)), "{query}");
    }
}

#[test]
fn parts_that_follow_the_step_are_not_invariant() {
    for query in ["x", "x + y @ 1", "vector(time())"] {
        assert!(!is_invariant(&plan(query)), "{query}");
    }
}

#[test]
fn constants_are_not_worth_a_mark() {
    assert_eq!(plan("1"), Node::Number(1.0));
    assert!(!is_invariant(&plan("vector(1) + x")));
}

#[test]
fn timestamps_of_samples_at_a_fixed_time_are_invariant() {
    assert!(is_invariant(&plan("timestamp(x @ 1)")));
    assert!(!is_invariant(&plan("timestamp(abs(x @ 1))")));
}

#[test]
fn predictions_follow_the_step_at_a_fixed_time_too() {
    assert!(!is_invariant(&plan("predict_linear(x[5m] @ 1, 3)")));
}

#[test]
fn the_largest_invariant_parts_are_marked() {
    let Node::Binary(binary) = plan("x + sum(y @ 1)") else { panic!("no operator") };
    assert!(!is_invariant(&binary.lhs));
    assert!(is_invariant(&binary.rhs));
}

#[test]
fn the_inside_of_a_subquery_is_marked_by_itself() {
    let call = range_call("sum_over_time((x @ 1)[5m:1m])");
    let RangeInput::Subquery(subquery) = &call.input else { panic!("no subquery") };
    assert!(is_invariant(&subquery.expr));
}

#[test]
fn durations_may_be_computed_from_the_query() {
    let call = range_call("rate(x[step() * 2] offset (range() - 1s))");
    assert_eq!(call.input.range(), 20_000);
    assert_eq!(call.input.time(), Reference { at: None, offset: 999_000 });
}

#[test]
fn ranges_must_be_positive() {
    assert_eq!(refusal("rate(x[1m - 1m])"), "7:14: duration must be greater than 0");
}

#[test]
fn label_names_must_be_utf8() {
    let error = refusal(r#"label_replace(x, "\xff", "", "", "")"#);
    assert!(error.starts_with("invalid destination label name in label_replace(): "), "{error}");
}

#[test]
fn source_labels_are_not_empty() {
    assert_eq!(refusal(r#"label_join(x, "a", "-", "")"#), "invalid source label name in label_join(): ");
}

/// Whether a selector of the plan reads count and sum only.
fn reads_no_buckets(query: &str) -> bool {
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
}

#[test]
fn buckets_are_not_read_where_only_count_and_sum_matter() {
    assert!(reads_no_buckets("histogram_count(x)"));
    assert!(reads_no_buckets("histogram_sum(sum(rate(x[5m])))"));
}

#[test]
fn buckets_are_read_for_quantiles_and_for_whole_histograms() {
    assert!(!reads_no_buckets("x"));
    assert!(!reads_no_buckets("histogram_quantile(0.9, x)"));
    assert!(!reads_no_buckets("histogram_count(histogram_stddev(x))"));
}

#[test]
fn buckets_are_read_below_subqueries_and_trims() {
    assert!(!reads_no_buckets("histogram_count(sum_over_time(x[5m:1m]))"));
    assert!(!reads_no_buckets("histogram_count(x </ 3)"));
}

#[test]
fn a_modifier_is_refused_with_the_functions_that_it_fits() {
    let call = range_call("deriv(x[5m] smoothed)");
    let error = check_modifiers(Function::Deriv, &call.input).unwrap_err();
    assert_eq!(error.to_string(), "smoothed modifier can only be used with: delta, increase, rate - not with deriv");
}

#[test]
fn anchored_fits_more_functions_than_smoothed() {
    let anchored = range_call("changes(x[5m] anchored)");
    assert_eq!(check_modifiers(Function::Changes, &anchored.input), Ok(()));
    let smoothed = range_call("changes(x[5m] smoothed)");
    assert!(check_modifiers(Function::Changes, &smoothed.input).is_err());
}

#[test]
fn subqueries_have_no_modifiers_to_check() {
    let call = range_call("deriv(x[5m:1m])");
    assert_eq!(check_modifiers(Function::Deriv, &call.input), Ok(()));
}

#[test]
fn operations_of_numbers_are_numbers() {
    for query in ["1 + scalar(x)", "-(scalar(x) > bool 1) * time()", "-(-(scalar(x) + 1))"] {
        assert_eq!(plan(query).kind(), Kind::Scalar, "{query}");
    }
}

#[test]
fn operations_with_a_vector_are_vectors() {
    for query in ["x + y", "1 + x", "(x + 1) * scalar(x)", "-(scalar(x) + 1 + sum(x)) > 2", "2 * sum(x @ 1)"] {
        let node = plan(query);
        let inner = if let Node::Invariant(inner) = &node { inner } else { &node };
        assert_eq!(node.kind(), Kind::Vector, "{query}");
        assert_eq!(inner.kind(), Kind::Vector, "{query}");
    }
}

#[test]
fn children_are_the_same_to_read_and_to_change() {
    for query in ["sum(x)", "topk(2, x)", "x + y", "-x", "clamp(x, 1, time())", "max_over_time(x[5m:1m])", "x", "1"] {
        let mut node = plan(query);
        let read: Vec<Node> = node.children().into_iter().cloned().collect();
        let changed: Vec<Node> = node.children_mut().into_iter().map(|child| child.clone()).collect();
        assert_eq!(read, changed, "{query}");
    }
}

#[test]
fn the_size_is_the_number_of_nodes() {
    assert_eq!(plan("x").size(), 1);
    assert_eq!(plan("sum(x) + 1").size(), 4);
}

#[test]
fn only_selectors_read_samples() {
    assert!(plan("sum(x) + 1").reads_samples());
    assert!(plan("rate(x[5m])").reads_samples());
    assert!(!plan("vector(time())").reads_samples());
}

#[test]
fn planning_ends_when_the_query_is_cancelled() {
    let budget = Budget::unlimited();
    let expr = parse("sum(x) / sum(y)").unwrap();
    assert!(build_with(&expr, &TIMES, &[], &budget).is_ok());
    budget.cancel();
    assert_eq!(build_with(&expr, &TIMES, &[], &budget), Err(QueryError::Canceled));
}
