//! Limits, errors and the independence of results from how the work is divided.

use std::time::Duration;

use super::*;
use crate::eval::SampleValue;
use crate::eval::Value;
use crate::promqltest::MemoryStore;
use crate::syntax::parse;
use pharos_model::clock::ManualClock;
use pharos_model::{Labels, SelectError, SelectRequest, SeriesSet};
use proptest::prelude::*;

const MINUTE: i64 = 60_000;

fn store(series: usize, samples: i64) -> MemoryStore {
    let mut store = MemoryStore::default();
    for i in 0..series {
        let labels = Labels::from_pairs([
            ("__name__", "m_total".to_string()),
            ("i", i.to_string()),
            ("group", (i % 7).to_string()),
        ]);
        let value = |s: i64| (s * (i as i64 % 13 + 1)) as f64 + 0.1 * i as f64;
        store.add_floats(&labels, (0..samples).map(|s| (s * MINUTE / 2, value(s), 0)));
    }
    store
}

fn range(engine: &Engine, store: &MemoryStore, query: &str) -> Result<QueryOutput, QueryError> {
    engine.range(store, &parse(query).unwrap(), 0, 30 * MINUTE, MINUTE, &QueryOptions::default())
}

fn engine(change: impl FnOnce(&mut EngineOptions)) -> Engine {
    let mut options = EngineOptions::default();
    change(&mut options);
    Engine::new(options)
}

#[test]
fn divided_work_gives_equal_results() {
    let store = store(3000, 60);
    let (one, two) = (engine(|o| o.threads = 1), engine(|o| o.threads = 3));
    for query in [
        "rate(m_total[5m])",
        "sum by (group) (rate(m_total[5m]))",
        "avg(m_total)",
        "max by (group) (m_total * 2)",
        "count(m_total > 3)",
        "stddev(m_total)",
        "min without (i) (-m_total)",
        "avg(m_total * 1e306)",
        "abs(m_total)",
    ] {
        let (a, b) = (range(&one, &store, query).unwrap(), range(&two, &store, query).unwrap());
        assert_eq!(a.infos, b.infos, "{query}");
        let (Value::Matrix(a), Value::Matrix(b)) = (a.value, b.value) else { panic!("no matrix") };
        assert!(!a.is_empty() && a.len() == b.len(), "{query}");
        for (a, b) in a.iter().zip(&b) {
            assert_eq!((&a.labels, a.floats.len()), (&b.labels, b.floats.len()), "{query}");
            for (x, y) in a.floats.iter().zip(&b.floats) {
                let near = (x.1 - y.1).abs() <= 1e-12 * x.1.abs() || x.1 == y.1;
                assert!(x.0 == y.0 && near, "{query}: {x:?} {y:?}");
            }
        }
    }
}

#[test]
fn limits_end_a_query() {
    let store = store(500, 60);
    let few = engine(|o| o.max_samples = 1000);
    assert_eq!(range(&few, &store, "m_total"), Err(QueryError::TooManySamples));
    assert_eq!(range(&few, &store, "count_values(\"v\", m_total)"), Err(QueryError::TooManySamples));
    let small = engine(|o| o.max_memory_bytes = 10_000);
    let error = range(&small, &store, "m_total").unwrap_err();
    assert_eq!(error.to_string(), "query needs more memory than its budget of 10000 bytes (max_query_memory)");
    let budget = Arc::new(Budget::unlimited());
    budget.cancel();
    let options = QueryOptions { budget: Some(budget), ..QueryOptions::default() };
    let error = Engine::default().instant(&store, &parse("m_total").unwrap(), 0, &options);
    assert_eq!(error, Err(QueryError::Canceled));
}

/// A source whose clock moves on while it is asked.
struct Slow(MemoryStore, Arc<ManualClock>);

impl Querier for Slow {
    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        self.1.advance(Duration::from_secs(60));
        self.0.select(request, budget)
    }
}

#[test]
fn a_query_that_takes_too_long_ends() {
    let clock = Arc::new(ManualClock::at(0));
    let engine = engine(|o| {
        o.clock = clock.clone();
        o.timeout = Duration::from_secs(10);
    });
    let slow = Slow(store(10, 10), clock);
    let error = engine.instant(&slow, &parse("sum(m_total)").unwrap(), 0, &QueryOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
}

#[test]
fn annotations_have_places_in_the_text() {
    let store = MemoryStore::default();
    let text = "vector(1)\n  + quantile(2, vector(3))";
    let options = QueryOptions { text: text.into(), ..QueryOptions::default() };
    let output = Engine::default().instant(&store, &parse(text).unwrap(), 0, &options).unwrap();
    assert_eq!(output.warnings, ["PromQL warning: quantile value should be between 0 and 1, got 2 (2:14)"]);
}

#[test]
fn the_lookback_can_be_changed_for_a_query() {
    let store = store(1, 1);
    let ask = |lookback| {
        let options = QueryOptions { lookback_delta_ms: Some(lookback), ..QueryOptions::default() };
        let expr = parse("m_total").unwrap();
        match Engine::default().instant(&store, &expr, 10 * MINUTE, &options).unwrap().value {
            Value::Vector(samples) => samples.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((ask(5 * MINUTE), ask(10 * MINUTE), ask(11 * MINUTE)), (0, 0, 1));
}

#[test]
fn range_queries_need_steps_and_vectors() {
    let (store, options) = (MemoryStore::default(), QueryOptions::default());
    let ask = |query: &str, end, step| Engine::default().range(&store, &parse(query).unwrap(), 0, end, step, &options);
    assert!(matches!(ask("1", 10, 0), Err(QueryError::BadData(_))));
    let error = ask("x[5m]", 10, 1).unwrap_err().to_string();
    assert_eq!(error, "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector");
    assert!(matches!(ask("1", i64::MAX, 1), Err(QueryError::Limit(_))));
    let Value::Matrix(matrix) = ask("1 + time()", 2000, 1000).unwrap().value else { panic!("no matrix") };
    assert_eq!(matrix[0].floats, [(0, 1.0), (1000, 2.0), (2000, 3.0)]);
}

#[test]
fn extreme_times_and_durations_do_not_overflow() {
    let store = store(1, 2);
    let options = QueryOptions::default();
    for query in [
        "m_total offset -200y",
        "rate(m_total[200y] offset 250y)",
        "m_total @ -9000000000000",
        "sum_over_time(m_total[1d:1h] @ 9000000000000)",
        "max_over_time(m_total[10m:1m] offset -100y)",
        "year(vector(1e300))",
    ] {
        for t in [i64::MIN / 4, 0, i64::MAX / 4] {
            Engine::default().instant(&store, &parse(query).unwrap(), t, &options).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A range query gives at each step what an instant query gives there.
    #[test]
    fn ranges_are_made_of_instants(
        query in prop::sample::select(vec![
            "m_total", "rate(m_total[3m])", "sum by (group) (m_total)", "topk(3, m_total)", "m_total offset 2m",
            "m_total * on (i) m_total", "m_total > 20 or m_total < 5", "max_over_time(m_total[4m])", "time()",
            "quantile_over_time(0.3, m_total[7m])", "sum_over_time(rate(m_total[2m])[5m:30s])", "absent(m_total > 1e9)",
        ]),
        start in -5i64..40, step in 1i64..7,
    ) {
        let store = store(12, 40);
        let (expr, options, engine) = (parse(query).unwrap(), QueryOptions::default(), Engine::default());
        let (start, step) = (start * MINUTE / 3, step * MINUTE / 3);
        let whole = engine.range(&store, &expr, start, start + 20 * step, step, &options).unwrap();
        let Value::Matrix(whole) = whole.value else { panic!("no matrix") };
        for t in (0..=20).map(|i| start + i * step) {
            let mut expected: Vec<(Labels, f64)> = match engine.instant(&store, &expr, t, &options).unwrap().value {
                Value::Scalar(_, v) => vec![(Labels::empty(), v)],
                Value::Vector(samples) => samples
                    .into_iter()
                    .map(|s| match s.value {
                        SampleValue::Float(v) => (s.labels, v),
                        SampleValue::Histogram(_) => panic!("no histograms here"),
                    })
                    .collect(),
                other => panic!("{other:?}"),
            };
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            let found: Vec<(Labels, f64)> = whole
                .iter()
                .filter_map(|s| Some((s.labels.clone(), s.floats.iter().find(|(at, _)| *at == t)?.1)))
                .collect();
            prop_assert_eq!(found, expected, "{} at {}", query, t);
        }
    }
}

#[test]
fn long_and_deep_expressions_end_with_a_value_or_an_error() {
    let store = store(2, 2);
    let mut values = 0;
    for n in [190, 990, 20_000] {
        for query in [
            format!("m_total{}", " + 1".repeat(n)),
            format!("1{}", " + time()".repeat(n)),
            format!("m_total{}", " or m_total".repeat(n)),
            format!("m_total{}", " ^ m_total".repeat(n)),
            format!("m_total{}", " - on (i) m_total".repeat(n)),
            format!("{}m_total{}", "abs(".repeat(n), ")".repeat(n)),
            format!("{}m_total{}", "sum(".repeat(n), ")".repeat(n)),
            format!("{}m_total", "-".repeat(n)),
            format!("m_total{}", "[5m:1m]".repeat(n)),
            format!("{}m_total{}", "max_over_time(".repeat(n), "[1m:1m])".repeat(n)),
        ] {
            let Ok(expr) = parse(&query) else { continue };
            values += usize::from(Engine::default().instant(&store, &expr, 0, &QueryOptions::default()).is_ok());
        }
    }
    assert!(values >= 10, "{values}");
}
