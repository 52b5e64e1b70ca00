//! Which parts are shared, and that they are evaluated once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{MAX_NODES, Visited, visit_selectors};
use crate::plan::{self, Node};
use crate::promqltest::MemoryStore;
use crate::syntax::parse;
use crate::{Engine, EngineOptions, Querier, QueryOptions, Value};
use pharos_model::fragment::Steps;
use pharos_model::{Budget, Labels, SelectError, SelectRequest, SeriesSet};

const MINUTE: i64 = 60_000;
const TIMES: Steps = Steps { start: 0, end: 10 * MINUTE, step: MINUTE };

/// Appends the identifier and the number of uses of each shared part.
fn collect_shared(node: &Node, found: &mut Vec<(usize, usize)>) {
    if let Node::Shared(shared) = node {
        found.push((shared.id, shared.uses));
    }
    node.children().into_iter().for_each(|child| collect_shared(child, found));
}

fn shared_parts(query: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    collect_shared(&plan::build(&parse(query).unwrap(), &TIMES).unwrap(), &mut found);
    found
}

#[test]
fn equal_aggregations_are_shared() {
    assert_eq!(shared_parts("sum(x) / sum(x)"), [(0, 2), (0, 2)]);
}

#[test]
fn parts_of_shared_parts_are_shared_too() {
    let nested = shared_parts("sum(max by (a) (x)) / (1 + sum(max by (a) (x))) + max by (a) (x)");
    assert_eq!(nested, [(0, 2), (1, 2), (0, 2), (1, 2), (1, 2)]);
}

#[test]
fn functions_over_subqueries_are_shared() {
    for query in ["max_over_time(x[5m:1m])", "quantile_over_time(0.5, (-x)[5m:1m])", "sum(rate(x[5m:1m]))"] {
        assert_eq!(shared_parts(&format!("{query} - {query}")), [(0, 2), (0, 2)], "{query}");
    }
}

#[test]
fn parts_that_cost_little_are_not_shared() {
    for query in ["x / x", "rate(x[5m]) - rate(x[5m])", "sum(vector(1)) + sum(vector(1))"] {
        assert_eq!(shared_parts(query), [], "{query}");
    }
}

#[test]
fn parts_that_differ_are_not_shared() {
    for query in [
        "sum(x) / sum(y)",
        "sum(x) / max(x)",
        "sum(x) / sum(x offset 1m)",
        "sum by (a) (x) / sum by (b) (x)",
        "sum by (a) (x) / sum without (a) (x)",
        "sum(x{a=\"1\"}) / sum(x{a=\"2\"})",
        "topk(1, x) / topk(2, x)",
        "max_over_time(x[5m:1m]) - max_over_time(x[5m:2m])",
        "max_over_time(x[5m:1m]) - min_over_time(x[5m:1m])",
    ] {
        assert_eq!(shared_parts(query), [], "{query}");
    }
}

#[test]
fn distances_within_equal_parts_are_equal() {
    assert_eq!(shared_parts("sum(x) / sum( x)"), []);
}

#[test]
fn numbers_are_compared_by_their_bits() {
    assert_eq!(shared_parts("sum(x * -0) + sum(x * +0)"), []);
    assert_eq!(shared_parts("sum(x * NaN) + sum(x * NaN)"), [(0, 2), (0, 2)]);
}

#[test]
fn fill_values_are_compared() {
    assert_eq!(shared_parts("sum(x + fill(1) y) / sum(x + fill(1) y)"), [(0, 2), (0, 2)]);
    assert_eq!(shared_parts("sum(x + fill(1) y) / sum(x + fill(2) y)"), []);
    assert_eq!(shared_parts("sum(x + fill(NaN) y) / sum(x + fill(NaN) y)"), [(0, 2), (0, 2)]);
}

#[test]
fn large_plans_are_left_as_they_are() {
    // Grouped, so that the tree stays low.
    let group = format!("({})", vec!["sum(x)"; 20].join(" + "));
    let query = vec![group; MAX_NODES / 50].join(" + ");
    assert!(plan::resolve(&parse(&query).unwrap(), &TIMES).unwrap().size() > MAX_NODES);
    assert_eq!(shared_parts(&query), []);
}

/// How many selectors read the samples of each selector, in the order of the query.
fn readers(query: &str) -> Vec<usize> {
    let mut plan = plan::build(&parse(query).unwrap(), &TIMES).unwrap();
    let mut found = Vec::new();
    visit_selectors(&mut plan, &mut |part| {
        if let Visited::Selector(selector, _) = part {
            found.push(selector.readers);
        }
        true
    });
    found
}

#[test]
fn equal_selectors_read_once() {
    assert_eq!(readers("x - x"), [2, 2]);
    assert_eq!(readers("rate(x[5m]) - increase(x[5m])"), [2, 2]);
}

#[test]
fn selectors_of_other_times_read_for_themselves() {
    assert_eq!(readers("x - x offset 1m"), [1, 1]);
    assert_eq!(readers("x - rate(x[5m])"), [1, 1]);
    assert_eq!(readers("rate(x[5m]) - rate(x[6m])"), [1, 1]);
}

#[test]
fn the_order_of_matchers_does_not_change_what_is_read() {
    assert_eq!(readers("x{a=\"1\",b=\"2\"} - x{b=\"2\",a=\"1\"}"), [2, 2]);
}

#[test]
fn selectors_of_parts_that_are_not_evaluated_do_not_count() {
    assert_eq!(readers("sum(x) / sum(x)"), [1, 1]);
    assert_eq!(readers("sum(x) / sum(x) + max(x)"), [2, 2, 2]);
}

#[test]
fn parts_at_other_steps_are_not_shared() {
    for query in [
        "sum(x) + max_over_time(sum(x)[5m:1m])",
        "max_over_time(sum(x)[5m:1m]) - min_over_time(sum(x)[6m:1m])",
        "max_over_time(sum(x)[5m:1m]) - min_over_time(sum(x)[5m:1m] offset 1m)",
        "max_over_time(sum(x)[5m:1m]) - max_over_time(max_over_time(sum(x)[5m:1m])[5m:1m])",
    ] {
        assert_eq!(shared_parts(query), [], "{query}");
    }
}

#[test]
fn parts_at_the_same_steps_of_subqueries_are_shared() {
    let query = "max_over_time(sum(x)[5m:1m]) - min_over_time(sum(x)[5m:1m])";
    assert_eq!(shared_parts(query), [(0, 2), (0, 2)]);
}

#[test]
fn subqueries_at_a_fixed_time_have_the_same_steps_everywhere() {
    let query = "max_over_time(sum(x)[5m:1m] @ 60) - sum_over_time(max_over_time(sum(x)[5m:1m] @ 60)[5m:1m])";
    assert_eq!(shared_parts(query), [(0, 2), (0, 2)]);
}

/// Counts selections.
struct Counting(MemoryStore, AtomicUsize);

impl Querier for Counting {
    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.select(request, budget)
    }
}

fn source(series: usize) -> Counting {
    let mut store = MemoryStore::default();
    for i in 0..series {
        let labels = Labels::from_pairs([("__name__", "x".to_string()), ("i", i.to_string())]);
        store.add_floats(&labels, (0..20).map(|s| (s * MINUTE / 2, (s * i as i64 + 1) as f64, 0)));
    }
    Counting(store, AtomicUsize::new(0))
}

#[test]
fn shared_samples_are_read_once() {
    for (query, selections, share) in [
        ("sum(x) / sum(x)", 1, 2),
        ("sum(x) / count(x)", 1, 2),
        ("sum(rate(x[5m])) / count(rate(x[5m]))", 1, 2),
        ("sum(rate(x[5m])) / count(rate(x[4m]))", 2, 1),
        ("x - x", 1, 2),
        ("x{i=\"1\"} - x{i=\"1\"}", 1, 2),
        ("sum(x) + sum(x) + sum(x) + max(x)", 1, 4),
    ] {
        let source = source(300);
        let expr = parse(query).unwrap();
        let options = QueryOptions { text: query.into(), ..QueryOptions::default() };
        let output = Engine::default().range(&source, &expr, 0, 10 * MINUTE, MINUTE, &options).unwrap();
        assert_eq!(source.1.load(Ordering::Relaxed), selections, "{query}");
        let plain =
            Engine::default().range(&source, &parse("max(x)").unwrap(), 0, 10 * MINUTE, MINUTE, &options).unwrap();
        if selections == 1 && !query.contains('{') && !query.contains('[') {
            assert_eq!(output.stats.samples_read, plain.stats.samples_read, "{query}");
            assert_eq!(output.stats.queryable_samples, share * plain.stats.queryable_samples, "{query}");
        }
    }
}

#[test]
fn annotations_of_shared_parts_keep_their_places() {
    let source = source(3);
    for query in [
        "1 + sum(rate(x[5m:1m])) / sum(rate(x[5m:1m]))",
        "1 + quantile_over_time(7, x[5m:1m]) / quantile_over_time(7, x[5m:1m])",
        "1 + sum(quantile_over_time(7, x[5m])) / sum(quantile_over_time(7, x[5m]))",
    ] {
        let expr = parse(query).unwrap();
        let outputs = [plan::build(&expr, &TIMES), plan::build_plainly(&expr, &TIMES)].map(|plan| {
            let options = QueryOptions { text: query.into(), ..QueryOptions::default() };
            let budget = Arc::new(Budget::unlimited());
            let shared = crate::eval::Shared::new(&source, budget, &EngineOptions::default(), 5 * MINUTE, None);
            let output = crate::eval::run(&shared, &plan.unwrap(), &TIMES, &options).unwrap();
            // As text, where NaN equals itself.
            (format!("{:?}", output.value), [output.warnings, output.infos].concat())
        });
        assert_eq!(outputs[0], outputs[1], "{query}");
        assert_eq!(outputs[0].1.len(), 1, "{query}: {:?}", outputs[0].1);
    }
}

#[test]
fn shared_results_that_do_not_fit_are_evaluated_again() {
    let source = source(2000);
    let expr = parse("sum by (i) (x) / sum by (i) (x) + count by (i) (x)").unwrap();
    let ask = |change: &dyn Fn(&mut EngineOptions)| {
        let mut options = EngineOptions::default();
        change(&mut options);
        let budget = Arc::new(Budget::new(options.clock.clone(), options.timeout, options.max_memory_bytes));
        let query = QueryOptions { budget: Some(budget.clone()), ..QueryOptions::default() };
        let result = Engine::new(options).range(&source, &expr, 0, 10 * MINUTE, MINUTE, &query);
        assert_eq!(budget.used_bytes(), result.as_ref().map_or(0, |output| output.memory_bytes()));
        result
    };
    let whole = ask(&|_| {}).unwrap();
    let Value::Matrix(series) = &whole.value else { panic!("no matrix") };
    assert_eq!(series.len(), 2000);
    let (bytes, samples) = (whole.stats.peak_bytes, whole.stats.peak_samples);
    // With less room the same answer comes without sharing, and with far too little an error.
    let mut answers = 0;
    for part in 1..=10 {
        for change in [
            &(|o: &mut EngineOptions| o.max_memory_bytes = bytes * part / 10) as &dyn Fn(&mut EngineOptions),
            &|o: &mut EngineOptions| o.max_samples = (samples * part / 10) as usize,
        ] {
            if let Ok(output) = ask(change) {
                assert_eq!(output.value, whole.value);
                answers += 1;
            }
        }
    }
    assert!((2..20).contains(&answers), "{answers}");
}
