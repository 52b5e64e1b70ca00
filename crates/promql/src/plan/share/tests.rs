//! What is shared, and that it is done once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::plan::{self, Node};
use crate::promqltest::MemoryStore;
use crate::syntax::parse;
use crate::{Engine, EngineOptions, Querier, QueryOptions, Value};
use pharos_model::fragment::Steps;
use pharos_model::{Budget, Labels, SelectError, SelectRequest, SeriesSet};

const MINUTE: i64 = 60_000;
const TIMES: Steps = Steps { start: 0, end: 10 * MINUTE, step: MINUTE };

fn shared_parts(query: &str) -> Vec<(usize, usize)> {
    fn visit(node: &Node, out: &mut Vec<(usize, usize)>) {
        if let Node::Shared(shared) = node {
            out.push((shared.id, shared.uses));
        }
        node.children().into_iter().for_each(|child| visit(child, out));
    }
    let mut out = Vec::new();
    visit(&plan::build(&parse(query).unwrap(), &TIMES).unwrap(), &mut out);
    out
}

#[test]
fn equal_parts_are_found_whatever_their_place() {
    assert_eq!(shared_parts("sum(x) / sum(x)"), [(0, 2), (0, 2)]);
    let nested = shared_parts("sum(max by (a) (x)) / (1 + sum(max by (a) (x))) + max by (a) (x)");
    assert_eq!(nested, [(0, 2), (1, 2), (0, 2), (1, 2), (1, 2)]);
    for over_subquery in ["max_over_time(x[5m:1m])", "quantile_over_time(0.5, (-x)[5m:1m])", "sum(rate(x[5m:1m]))"] {
        assert_eq!(shared_parts(&format!("{over_subquery} - {over_subquery}")), [(0, 2), (0, 2)], "{over_subquery}");
    }
    let different = [
        "sum(x) / sum(y)",
        "sum(x) / sum( x)",
        "x / x",
        "sum(x) / sum(x offset 1m)",
        "sum(vector(1)) + sum(vector(1))",
        "max_over_time(x[5m:1m]) - max_over_time(x[5m:2m])",
        "rate(x[5m]) - rate(x[5m])",
    ];
    for query in different {
        assert_eq!(shared_parts(query), [], "{query}");
    }
}

#[test]
fn parts_are_equal_only_at_the_same_steps() {
    for query in [
        "sum(x) + max_over_time(sum(x)[5m:1m])",
        "max_over_time(sum(x)[5m:1m]) - min_over_time(sum(x)[6m:1m])",
        "max_over_time(sum(x)[5m:1m]) - min_over_time(sum(x)[5m:1m] offset 1m)",
        "max_over_time(sum(x)[5m:1m]) - max_over_time(max_over_time(sum(x)[5m:1m])[5m:1m])",
    ] {
        assert_eq!(shared_parts(query), [], "{query}");
    }
    for query in [
        "max_over_time(sum(x)[5m:1m]) - min_over_time(sum(x)[5m:1m])",
        // A fixed time is the same at all steps.
        "max_over_time(sum(x)[5m:1m] @ 60) - sum_over_time(max_over_time(sum(x)[5m:1m] @ 60)[5m:1m])",
    ] {
        assert_eq!(shared_parts(query), [(0, 2), (0, 2)], "{query}");
    }
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
fn what_is_shared_is_read_once() {
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
fn annotations_of_shared_parts_are_where_they_would_be() {
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
fn what_does_not_fit_is_evaluated_again() {
    let source = source(2000);
    let expr = parse("sum by (i) (x) / sum by (i) (x) + count by (i) (x)").unwrap();
    let ask = |change: &dyn Fn(&mut EngineOptions)| {
        let mut options = EngineOptions::default();
        change(&mut options);
        let budget = Arc::new(Budget::new(options.clock.clone(), options.timeout, options.max_memory_bytes));
        let query = QueryOptions { budget: Some(budget.clone()), ..QueryOptions::default() };
        let result = Engine::new(options).range(&source, &expr, 0, 10 * MINUTE, MINUTE, &query);
        assert_eq!(budget.used_bytes(), 0);
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
