//! What plans look like, and what their operators say of themselves.

use super::*;
use crate::promqltest::MemoryStore;
use crate::syntax::parse;
use crate::{Engine, EngineOptions, QueryOptions, QueryOutput};
use pharos_model::Labels;

const MINUTE: i64 = 60_000;

fn store() -> MemoryStore {
    let mut store = MemoryStore::default();
    for i in 0..300i64 {
        let labels = Labels::from_pairs([
            ("__name__", "m_total".to_string()),
            ("i", i.to_string()),
            ("group", (i % 3).to_string()),
        ]);
        store.add_floats(&labels, (0..=80).map(|s| (s * MINUTE / 4, (s * i) as f64, 0)));
    }
    store
}

fn run(query: &str, (start, end, step): (i64, i64, i64), threads: usize, analyze: bool) -> QueryOutput {
    let engine = Engine::new(EngineOptions { threads, ..EngineOptions::default() });
    let options = QueryOptions { text: query.into(), analyze, samples_per_step: true, ..QueryOptions::default() };
    let expr = parse(query).unwrap();
    let output = match step {
        0 => engine.instant(&store(), &expr, start, &options),
        _ => engine.range(&store(), &expr, start, end, step, &options),
    };
    output.unwrap()
}

/// The tree as text, an operator a line.
fn outline(node: &PlanNode, depth: usize, out: &mut String) {
    out.push_str(&format!("{}{}", "  ".repeat(depth), node.operator));
    for (name, value) in node.details.iter().chain(&node.pushed) {
        out.push_str(&format!(" {name}={value}"));
    }
    out.push('\n');
    node.children.iter().for_each(|child| outline(child, depth + 1, out));
}

#[test]
fn slices_are_shown() {
    let engine = Engine::new(EngineOptions { max_steps_per_range: 100, ..EngineOptions::default() });
    let shown = |query: &str| {
        let physical = engine.explain(&parse(query).unwrap(), (0, 200 * MINUTE, MINUTE)).unwrap().physical;
        physical.details.into_iter().find(|(name, _)| *name == "slices").map(|(_, text)| text)
    };
    assert_eq!(shown("sum(x)").as_deref(), Some("3 of about 67 steps"));
    assert_eq!(shown("x"), None);
    let options = QueryOptions { analyze: true, ..QueryOptions::default() };
    let expr = parse("sum(m_total)").unwrap();
    let plan = engine.range(&store(), &expr, 0, 200 * MINUTE, MINUTE, &options).unwrap().plan.unwrap();
    assert!(plan.details.iter().any(|(name, _)| *name == "slices"), "{plan:?}");
}

#[test]
fn plans_are_shown_without_reading() {
    let engine = Engine::new(EngineOptions { threads: 2, ..EngineOptions::default() });
    let query = "sum by (group) (rate(m_total{i=~\"1.*\"}[5m] offset 1m)) / on (group) group_left (x) (y @ 10) > 1 + 1";
    let explained = engine.explain(&parse(query).unwrap(), (0, 10 * MINUTE, MINUTE)).unwrap();
    let mut text = String::new();
    outline(&explained.physical, 0, &mut text);
    let expected = "\
arithmetic operation=>
  join operation=/ matching=many-to-one on (group), with (x) of the one side
    aggregate operation=sum by=group threads=up to 2
      range function function=rate
        selector series={i=~\"1.*\", __name__=\"m_total\"} range=5m offset=1m
    invariant evaluated=at the first step, repeated for the others
      selector series={__name__=\"y\"} at=10
  number value=2
";
    assert_eq!(text, expected);
    let mut text = String::new();
    outline(&explained.logical, 0, &mut text);
    assert!(!text.contains("invariant") && !text.contains("threads"), "{text}");
}

#[test]
fn operators_say_what_they_did() {
    for threads in [1, 2] {
        let output = run("sum by (group) (rate(m_total[5m]))", (5 * MINUTE, 20 * MINUTE, 5000), threads, true);
        let plan = output.plan.unwrap();
        let (sum, rate) = (plan.actual.as_ref().unwrap(), plan.children[0].actual.as_ref().unwrap());
        let selector = plan.children[0].children[0].actual.as_ref().unwrap();
        assert_eq!((sum.series, sum.samples), (3, 3 * 181));
        assert_eq!((rate.series, rate.samples), (300, 300 * 181));
        assert_eq!((selector.series, selector.samples_read), (300, 300 * 80));
        assert!(sum.peak_bytes > 0 && selector.peak_bytes > 0 && sum.samples_read == 0);
        assert!(rate.wall >= selector.wall, "{rate:?} {selector:?}");
    }
    assert!(run("m_total", (MINUTE, MINUTE, 0), 1, false).plan.is_none());
}

#[test]
fn samples_are_counted_as_prometheus_counts_them() {
    let at = |query: &str| run(query, (10 * MINUTE, 10 * MINUTE, 0), 1, false).stats.queryable_samples;
    assert_eq!(at("m_total"), 300);
    assert_eq!(at("m_total{i=\"7\"}"), 1);
    assert_eq!(at("rate(m_total{i=\"7\"}[5m])"), 20);
    assert_eq!(at("m_total{i=\"7\"}[5m]"), 20);
    assert_eq!(at("max_over_time(rate(m_total{i=\"7\"}[5m])[4m:1m])"), 4);
    assert_eq!(at("m_total{i=\"7\"}[4m:1m]"), 4);
    assert_eq!(at("timestamp(m_total{i=\"7\"}) + 1"), 1);
    assert_eq!(at("time()"), 0);
    let range = |query: &str| run(query, (10 * MINUTE, 14 * MINUTE, 2 * MINUTE), 1, false).stats;
    let stats = range("rate(m_total{i=\"7\"}[5m]) + sum(m_total @ 60)");
    assert_eq!(stats.queryable_samples, 3 * (20 + 300));
    assert_eq!(stats.queryable_samples_per_step, [(600_000, 320), (720_000, 320), (840_000, 320)]);
    assert_eq!(range("m_total @ 60").queryable_samples_per_step[2], (840_000, 300));
    assert!(stats.timings.eval_total >= stats.timings.inner_eval);
}
