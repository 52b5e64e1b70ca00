//! Tests of decomposition: which fragments a query has, and that combined answers equal those of one process.

use proptest::prelude::*;

use super::*;
use crate::promqltest::MemoryStore;
use crate::syntax::parse;
use crate::{Engine, MatrixSeries, QueryOptions, Value};
use pharos_model::{Histogram, Labels};
use std::sync::Arc;

const MINUTE: i64 = 60_000;

/// The partials of each fragment of a query.
fn partials(query: &str) -> Vec<Vec<String>> {
    let found = decompose(&parse(query).unwrap());
    found.iter().map(|fragment| fragment.partials.iter().map(|e| e.to_string()).collect()).collect()
}

#[test]
fn aggregations_decompose_into_partials() {
    assert_eq!(partials("sum by (a) (rate(x[5m]))"), [["sum by (a) (rate(x[5m]))", "count by (a) (rate(x[5m]))"]]);
    assert_eq!(partials("avg(x)"), [["sum(x)", "count(x)"]]);
    assert_eq!(partials("stdvar(x)"), [["count(x)", "avg(x)", "stdvar(x)"]]);
    assert_eq!(partials("group(x)"), [["group(x)"]]);
}

#[test]
fn selections_ask_each_node_for_one_series_more() {
    assert_eq!(partials("topk(3, rate(x[5m]))"), [["topk(4, rate(x[5m]))"]]);
    assert_eq!(partials("bottomk(2.7, x)"), [["bottomk(3, x)"]]);
}

#[test]
fn a_query_may_have_several_fragments() {
    assert_eq!(partials("max(x) / count(abs(y) * 2)"), [["max(x)"], ["count(abs(y) * 2)"]]);
    assert_eq!(partials("rate(x[5m]) + on (a) rate(y[5m])"), [["rate(x[5m])"], ["rate(y[5m])"]]);
}

#[test]
fn fragments_are_found_below_what_does_not_decompose() {
    assert_eq!(partials("histogram_quantile(0.9, sum by (le) (rate(x[5m])))").len(), 1);
    assert_eq!(partials("quantile(0.5, rate(x[5m]))"), [["rate(x[5m])"]]);
    assert_eq!(partials("absent(max(x))"), [["max(x)"]]);
}

#[test]
fn some_queries_have_no_fragments() {
    for query in [
        "x",
        "absent(x)",
        "sum(sum_over_time(x[5m:1m]))",
        "sum by (__name__) (x)",
        "topk(scalar(y), x)",
        "absent_over_time(x[5m])",
        "1 + time()",
    ] {
        assert_eq!(partials(query), [[""; 0]; 0], "{query}");
    }
}

#[test]
fn parentheses_belong_to_the_fragment() {
    let fragments = decompose(&parse("2 * (sum(x))").unwrap());
    assert_eq!(fragments[0].whole.to_string(), "(sum(x))");
    assert_eq!(fragments[0].pos.start, 4);
}

fn stores(values: &[f64], nodes: usize, histograms: bool) -> (MemoryStore, Vec<MemoryStore>) {
    let mut all = MemoryStore::default();
    let mut parts = vec![MemoryStore::default(); nodes];
    for (i, value) in values.iter().enumerate() {
        // No two values are equal, so that the largest ones are unambiguous.
        let value = value + i as f64 / 1024.0;
        let labels = Labels::from_pairs([
            ("__name__", "x_total".to_string()),
            ("i", format!("{i:03}")),
            ("group", (i % 3).to_string()),
        ]);
        let part = &mut parts[(i * 7 + 3) % nodes];
        for store in [&mut all, part] {
            if histograms {
                let h = Arc::new(Histogram {
                    count: value.abs(),
                    sum: value,
                    zero_count: value.abs(),
                    ..Histogram::default()
                });
                store.add_histograms(&labels, (0..20).map(|s| (s * MINUTE / 2, h.clone(), 0)));
            } else {
                store.add_floats(&labels, (0..20).map(|s| (s * MINUTE / 2, value * (s + 1) as f64, 0)));
            }
        }
    }
    (all, parts)
}

fn ask(store: &MemoryStore, expr: &Expr) -> Vec<MatrixSeries> {
    let options = QueryOptions::default();
    match Engine::default().range(store, expr, MINUTE, 9 * MINUTE, 2 * MINUTE, &options).unwrap().value {
        Value::Matrix(series) => series,
        other => panic!("{other:?}"),
    }
}

fn combined(query: &str, parts: &[MemoryStore]) -> Option<Vec<MatrixSeries>> {
    let mut found = decompose(&parse(query).unwrap());
    assert_eq!(found.len(), 1, "{query}");
    let Decomposition { partials, combine, .. } = found.remove(0);
    combine.apply(parts.iter().map(|node| partials.iter().map(|p| ask(node, p)).collect()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Exact operations are equal, the others within their stated bounds.
    #[test]
    fn combined_answers_equal_those_of_one_process(
        values in prop::collection::vec(prop_oneof![-1e6..1e6f64, 1e9..1e15f64, Just(0.25), Just(-7.0)], 0..40),
        nodes in 1usize..5,
    ) {
        let (all, parts) = stores(&values, nodes, false);
        for query in [
            "count(x_total)", "max by (group) (x_total)", "min(-x_total)", "group by (group) (x_total)", "topk by (group) (2, x_total)",
            "bottomk(3, x_total)", "count_values by (group) (\"v\", x_total)", "deriv(x_total[3m])",
            "sum by (group) (x_total)", "sum(deriv(x_total[5m]))", "avg without (i) (x_total)", "stddev(x_total)", "stdvar by (group) (x_total)",
        ] {
            let whole = ask(&all, &parse(query).unwrap());
            let found = combined(query, &parts).unwrap();
            let near = ["sum", "avg", "std"].iter().any(|name| query.starts_with(name));
            let scale = values.iter().map(|v| v.abs() * 20.0).sum::<f64>();
            prop_assert_eq!(whole.len(), found.len(), "{}", query);
            for (a, b) in whole.iter().zip(&found) {
                prop_assert_eq!(&a.labels, &b.labels, "{}", query);
                prop_assert_eq!(a.floats.len(), b.floats.len(), "{}", query);
                for (x, y) in a.floats.iter().zip(&b.floats) {
                    let unit = f64::EPSILON / 2.0;
                    let allowed = match query {
                        _ if !near => 0.0,
                        q if q.starts_with("stddev") => 1e-6 * scale.max(1.0),
                        q if q.starts_with("stdvar") => 1e-12 * (scale * scale).max(1.0),
                        _ => 4.0 * unit * scale,
                    };
                    prop_assert!(x.0 == y.0 && (x.1 - y.1).abs() <= allowed, "{}: {:?} {:?}", query, x, y);
                }
            }
        }
    }
}

/// Time, count and sum of a histogram.
type Point = (i64, f64, f64);

/// The labels of series, with their histograms.
fn histograms(series: Vec<MatrixSeries>) -> Vec<(Labels, Vec<Point>)> {
    let points = |s: &MatrixSeries| s.histograms.iter().map(|(t, h)| (*t, h.count, h.sum)).collect();
    series.iter().map(|s| (s.labels.clone(), points(s))).collect()
}

#[test]
fn sums_of_histograms_equal_those_of_one_process() {
    let (all, parts) = stores(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 3, true);
    let query = "sum by (group) (x_total)";
    assert_eq!(histograms(combined(query, &parts).unwrap()), histograms(ask(&all, &parse(query).unwrap())));
}

#[test]
fn averages_of_histograms_are_not_combined() {
    let (_, parts) = stores(&[1.0, 2.0, 3.0], 3, true);
    assert_eq!(combined("avg(x_total)", &parts), None);
}

#[test]
fn nodes_with_floats_and_nodes_with_histograms_are_not_combined() {
    let (_, histograms) = stores(&[1.0, 2.0, 3.0, 4.0], 2, true);
    let (_, floats) = stores(&[1.0, 2.0, 3.0, 4.0], 2, false);
    let mixed: Vec<MemoryStore> = histograms.into_iter().chain(floats).collect();
    assert_eq!(combined("sum(x_total)", &mixed), None);
}

#[test]
fn a_series_that_two_nodes_hold_is_not_combined() {
    let (_, mut nodes) = stores(&[1.0, 2.0, 3.0, 4.0], 2, false);
    nodes[1] = nodes[0].clone();
    assert_eq!(combined("deriv(x_total[5m])", &nodes), None);
}
