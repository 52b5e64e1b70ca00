//! Queries that would take for ever or need more memory than there is: each ends with an error (or a value) in bounded
//! time and memory, and the next query is fine.

#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::{
    Budget, Clock, Labels, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, SystemClock, TimeRange,
};
use pharos_promql::parser::parse;
use pharos_promql::promqltest::MemoryStore;
use pharos_promql::{Engine, EngineOptions, Querier, QueryError, QueryOptions, Value};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Longer than any query here may take, timeouts included, on a busy machine.
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

/// Runs a query at one time and makes sure that it ends, gives back what it took, and harms no other.
fn instant(engine: &Engine, source: &dyn Querier, query: &str) -> Result<Value, QueryError> {
    let expr = match parse(query) {
        Ok(expr) => expr,
        Err(error) => return Err(QueryError::BadData(error.to_string())),
    };
    let (clock, options) = (SystemClock::new(), engine.options());
    let budget = Arc::new(Budget::new(options.clock.clone(), options.timeout, options.max_memory_bytes));
    let query_options = QueryOptions { budget: Some(budget.clone()), ..QueryOptions::default() };
    let result = engine.instant(source, &expr, HOUR, &query_options);
    assert!(clock.monotonic() < BOUND, "took {:?}", clock.monotonic());
    assert_eq!(budget.used_bytes(), 0, "memory is given back");
    let after = engine.instant(source, &parse("1 + 1").unwrap(), HOUR, &QueryOptions::default()).unwrap();
    assert_eq!(after.value, Value::Scalar(HOUR, 2.0));
    result.map(|output| output.value)
}

#[test]
fn sums_of_ten_thousand_terms() {
    let (engine, store) = (engine(|_| {}), store(3));
    for term in ["m", "1", "sum(m)", "rate(m[5m])", "(m or m)", "time()"] {
        let long = vec![term; 10_000].join(" + ");
        // A value or an error: the parser may find it too deep.
        let _ = instant(&engine, &store, &long);
        let shorter = vec![term; 300].join(" + ");
        assert!(instant(&engine, &store, &shorter).is_ok(), "{term}");
    }
}

#[test]
fn nested_subqueries_of_one_millisecond() {
    let (engine, store) = (engine(|o| o.max_memory_bytes = 512 << 20), store(3));
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
fn memory_of_steps_is_part_of_the_budget() {
    let (engine, store) = (engine(|o| o.max_memory_bytes = 16 << 20), store(1));
    for query in
        ["count_over_time(m[1h:1ms])", "max_over_time(vector(1)[1h:1ms])", "max_over_time(rate(m[5m])[1h:1ms])"]
    {
        let error = instant(&engine, &store, query).unwrap_err();
        assert_eq!(error.to_string(), "query needs more memory than its budget of 16777216 bytes", "{query}");
    }
}

#[test]
fn regular_expressions_that_look_catastrophic() {
    let (engine, store) = (engine(|_| {}), store(100));
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
fn labels_that_double() {
    let (engine, store) = (engine(|_| {}), store(1));
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
fn joins_that_explode() {
    let (engine, store) = (engine(|o| o.timeout = BOUND), store(20_000));
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
struct Million(Vec<Labels>);

impl SeriesSet for Million {
    fn labels(&self) -> &[Labels] {
        &self.0
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        for i in series {
            let view = SeriesView { t: &[HOUR], v: &[(i % 1013) as f64], ..SeriesView::EMPTY };
            out.push(if range.start <= HOUR && HOUR <= range.end { view } else { SeriesView::EMPTY });
        }
        Ok(())
    }
}

struct Source(Arc<Million>);

impl Querier for Source {
    fn select(&self, _: &SelectRequest, _: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        Ok(self.0.clone())
    }
}

#[test]
fn a_million_series_and_a_small_budget() {
    let labels = (0..1_000_000).map(|i| Labels::from_pairs([("__name__", "m".into()), ("i", format!("{i:07}"))]));
    let source = Source(Arc::new(Million(labels.collect())));
    let small = engine(|o| {
        o.max_memory_bytes = 8 << 20;
        o.timeout = BOUND;
    });
    for query in [
        "quantile(0.9, m)",
        "quantile by (i) (0.9, m)",
        "count_values(\"v\", m * 1.000001 + time())",
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
        match instant(&small, &source, query) {
            Err(error) => {
                assert_eq!(error.to_string(), "query needs more memory than its budget of 8388608 bytes", "{query}")
            }
            Ok(_) => assert_eq!(query, "count_values(\"v\", m * 1.000001 + time())", "only few values"),
        }
    }
    let few = engine(|o| (o.max_samples, o.timeout) = (1000, BOUND));
    assert_eq!(instant(&few, &source, "quantile(0.9, m)"), Err(QueryError::TooManySamples));
    let narrow = engine(|o| (o.max_series, o.timeout) = (1_500_000, BOUND));
    assert!(instant(&narrow, &source, "count(m)").is_ok());
    let error = instant(&narrow, &source, "count(m) + count(m offset 1m)").unwrap_err().to_string();
    assert_eq!(error, "query selects more than 1500000 series (max_query_series)");
    let short = engine(|o| (o.max_points, o.timeout) = (2_000_000, BOUND));
    assert!(instant(&short, &source, "count(m)").is_ok());
    let error = instant(&short, &source, "count_over_time(count(m)[5m:1m])").unwrap_err().to_string();
    assert_eq!(error, "query has more than 2000000 points, series times steps (max_query_total_points)");
}
