//! Queries that would run forever or exhaust memory: each ends with an error, or a value, in bounded time and memory, and
//! leaves the engine usable.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{Budget, Clock, Labels, SystemClock};
use pharos_promql::promqltest::{GridSeries, GridStore, MemoryStore};
use pharos_promql::syntax::parse;
use pharos_promql::{Engine, EngineOptions, Querier, QueryError, QueryOptions, Value};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// The time that no query here may exceed, its timeout included, on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

fn store(series: usize) -> MemoryStore {
    let mut store = MemoryStore::default();
    let samples = if series > 1000 { 2 } else { 240 };
    for i in 0..series {
        let labels =
            Labels::from_pairs([("__name__", "m".to_string()), ("i", i.to_string()), ("text", "a".repeat(64))]);
        store.add_floats(&labels, (0..samples).map(|s| (HOUR - s * MINUTE / 4, ((s * 7 + i as i64) % 11) as f64, 0)));
    }
    store
}

fn engine(change: impl FnOnce(&mut EngineOptions)) -> Engine {
    let mut options = EngineOptions { timeout: Duration::from_secs(2), ..EngineOptions::default() };
    change(&mut options);
    Engine::new(options)
}

/// Runs an instant query and checks that it ends, releases its memory, and leaves the engine usable.
fn instant(engine: &Engine, source: &dyn Querier, query: &str) -> Result<Value, QueryError> {
    let expr = match parse(query) {
        Ok(expr) => expr,
        Err(error) => return Err(QueryError::BadData(error.to_string())),
    };
    let clock = SystemClock::new();
    let options = engine.options();
    let budget = Arc::new(Budget::new(options.clock.clone(), options.timeout, options.max_memory_bytes));
    let query_options = QueryOptions { budget: Some(budget.clone()), ..QueryOptions::default() };
    let result = engine.instant(source, &expr, HOUR, &query_options);
    assert!(clock.monotonic() < BOUND, "took {:?}", clock.monotonic());
    let of_result = result.as_ref().map_or(0, |output| output.memory_bytes());
    assert_eq!(budget.used_bytes(), of_result, "{query}: memory is not released");
    let after = engine.instant(source, &parse("1 + 1").unwrap(), HOUR, &QueryOptions::default()).unwrap();
    assert_eq!(after.value, Value::Scalar(HOUR, 2.0));
    result.map(|output| output.value)
}

#[test]
fn sums_of_ten_thousand_terms_end() {
    let engine = engine(|_| {});
    let store = store(3);
    for term in ["m", "1", "sum(m)", "rate(m[5m])", "(m or m)", "time()"] {
        let long = vec![term; 10_000].join(" + ");
        // The parser may refuse the depth.
        let _ = instant(&engine, &store, &long);
        let shorter = vec![term; 300].join(" + ");
        assert!(instant(&engine, &store, &shorter).is_ok(), "{term}");
    }
}

#[test]
fn nested_subqueries_of_one_millisecond_end() {
    let engine = engine(|o| o.max_memory_bytes = 512 << 20);
    let store = store(3);
    for query in [
        "sum_over_time(m[1h:1ms])",
        "sum_over_time(sum_over_time(m[10m:1ms])[10m:1ms])",
        "stddev_over_time(quantile_over_time(0.5, m[5m:1ms])[5m:1ms])",
        "rate(rate(m[10m:1ms])[10m:1ms])",
        "max_over_time(sum_over_time(deriv(rate(m[5m:1ms])[1h:1ms])[1h:1ms])[1h:1ms])",
        "max_over_time(vector(time())[10h:1ms])",
        "max_over_time((vector(time() + time() * time()))[13h:1ms])",
        "count_over_time(m[10000h:1ms])",
        "count_over_time((m + m)[1h:1ms])",
        "changes(count_values(\"v\", m)[1h:1ms])",
    ] {
        if let Err(error) = instant(&engine, &store, query) {
            let known = matches!(error, QueryError::Timeout | QueryError::TooManySamples | QueryError::Limit(_));
            assert!(known, "{query}: {error:?}");
        }
    }
}

#[test]
fn steps_count_towards_the_memory_budget() {
    let engine = engine(|o| o.max_memory_bytes = 16 << 20);
    let store = store(1);
    for query in
        ["count_over_time(m[1h:1ms])", "max_over_time(vector(1)[1h:1ms])", "max_over_time(rate(m[5m])[1h:1ms])"]
    {
        let error = instant(&engine, &store, query).unwrap_err();
        assert_eq!(
            error.to_string(),
            "query needs more memory than its budget of 16777216 bytes (max_query_memory)",
            "{query}"
        );
    }
}

#[test]
fn regular_expressions_cannot_backtrack() {
    let engine = engine(|_| {});
    let store = store(100);
    for pattern in
        ["(a+)+b", "(a|a)*b", "(a*)*(a*)*(a*)*b", "(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)b", "((a{0,60}){0,60}){0,60}b"]
    {
        let replaced = format!("label_replace(m, \"x\", \"$1\", \"text\", \"{pattern}\")");
        if let Err(error) = instant(&engine, &store, &replaced) {
            assert!(error.to_string().starts_with("invalid regular expression in label_replace()"), "{error}");
        }
        let _ = instant(&engine, &store, &format!("m{{text=~\"{pattern}\"}}"));
    }
}

#[test]
fn labels_cannot_grow_without_bound() {
    let engine = engine(|_| {});
    let store = store(1);
    let mut query = "m".to_string();
    for _ in 0..40 {
        query = format!("label_replace({query}, \"text\", \"$1$1\", \"text\", \"(.*)\")");
    }
    let error = instant(&engine, &store, &query).unwrap_err();
    assert!(error.to_string().contains("label_replace() would make a label of"), "{error}");
    let many = "$1".repeat(100_000);
    let error =
        instant(&engine, &store, &format!("label_replace(m, \"text\", \"{many}{many}{many}\", \"text\", \"(.*)\")"));
    assert!(error.unwrap_err().to_string().contains("would make a label of"));
    let mut query = "m".to_string();
    for _ in 0..40 {
        query = format!("label_join({query}, \"text\", \",\", \"text\", \"text\")");
    }
    assert!(instant(&engine, &store, &query).unwrap_err().to_string().contains("label_join() would make a label of"));
}

#[test]
fn joins_that_would_explode_are_refused() {
    let engine = engine(|o| o.timeout = BOUND);
    let store = store(20_000);
    for (query, reason) in [
        ("m * on () m", "found duplicate series for the match group {} on the right hand-side of the operation"),
        ("m * on (text) group_left m", "many-to-many matching not allowed: matching labels must be unique on one side"),
        ("sum(m) * on () m", "found duplicate series for the match group {} on the right hand-side"),
        (
            "m * on () sum(m)",
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        ),
    ] {
        let error = instant(&engine, &store, query).unwrap_err().to_string();
        assert!(error.contains(reason), "{query}: {error}");
    }
    let Value::Vector(all) = instant(&engine, &store, "m * on () group_left sum(m)").unwrap() else { panic!() };
    assert_eq!(all.len(), 20_000);
}

/// A million series with one sample each.
fn million() -> GridStore {
    let series = GridSeries::single_samples("m", 1_000_000, HOUR, |i| (i % 1013) as f64);
    GridStore::default().with_metric("m", series)
}

#[test]
fn a_million_series_do_not_fit_into_a_small_budget() {
    let source = million();
    let small = engine(|o| {
        o.max_memory_bytes = 8 << 20;
        o.timeout = BOUND;
    });
    for query in [
        "quantile(0.9, m)",
        "quantile by (i) (0.9, m)",
        "topk(900000, m)",
        "sum by (i) (m)",
        "m + m",
        "m and m",
        "sort(m)",
        "m",
        "label_replace(m, \"x\", \"$1\", \"i\", \"(.*)\")",
        "histogram_quantile(0.9, label_replace(m, \"le\", \"1\", \"\", \"\"))",
        "max_over_time(m[5m:1m])",
    ] {
        let error = instant(&small, &source, query).unwrap_err();
        assert_eq!(
            error.to_string(),
            "query needs more memory than its budget of 8388608 bytes (max_query_memory)",
            "{query}"
        );
    }
    // There are only 1013 different values to count.
    assert!(instant(&small, &source, "count_values(\"v\", m * 1.000001 + time())").is_ok());
}

#[test]
fn limits_on_samples_series_and_points_end_a_query() {
    let source = million();
    let few = engine(|o| {
        o.max_samples = 1000;
        o.timeout = BOUND;
    });
    assert_eq!(instant(&few, &source, "quantile(0.9, m)"), Err(QueryError::TooManySamples));
    let narrow = engine(|o| {
        o.max_series = 1_500_000;
        o.timeout = BOUND;
    });
    assert!(instant(&narrow, &source, "count(m)").is_ok());
    let error = instant(&narrow, &source, "count(m) + count(m offset 1m)").unwrap_err().to_string();
    assert_eq!(error, "query selects more than 1500000 series (max_query_series)");
    let short = engine(|o| {
        o.max_points = 2_000_000;
        o.timeout = BOUND;
    });
    assert!(instant(&short, &source, "count(m)").is_ok());
    let error = instant(&short, &source, "count_over_time(count(m)[5m:1m])").unwrap_err().to_string();
    assert_eq!(error, "query has more than 2000000 points, series times steps (max_query_total_points)");
}
