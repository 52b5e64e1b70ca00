//! What is sent to nodes, and that what comes back together is what one process gives.

use proptest::prelude::*;

use super::*;
use crate::promqltest::MemoryStore;
use crate::syntax::parse;
use crate::{Engine, MatrixSeries, QueryOptions, Value};
use pharos_model::{Histogram, Labels};
use std::sync::Arc;

const MINUTE: i64 = 60_000;

#[test]
fn the_largest_local_parts_are_found() {
    let parts = |query: &str| -> Vec<Vec<String>> {
        let found = decompose(&parse(query).unwrap());
        found.iter().map(|p| p.partials.iter().map(|e| e.to_string()).collect()).collect()
    };
    assert_eq!(parts("sum by (a) (rate(x[5m]))"), [["sum by (a) (rate(x[5m]))", "count by (a) (rate(x[5m]))"]]);
    assert_eq!(parts("max(x) / count(abs(y) * 2)"), [["max(x)"], ["count(abs(y) * 2)"]]);
    assert_eq!(parts("stdvar(x)"), [["count(x)", "avg(x)", "stdvar(x)"]]);
    assert_eq!(parts("histogram_quantile(0.9, sum by (le) (rate(x[5m])))").len(), 1);
    assert_eq!(parts("topk(3, rate(x[5m]))"), [["topk(4, rate(x[5m]))"]]);
    assert_eq!(parts("quantile(0.5, rate(x[5m]))"), [["rate(x[5m])"]]);
    assert_eq!(parts("rate(x[5m]) + on (a) rate(y[5m])"), [["rate(x[5m])"], ["rate(y[5m])"]]);
    for query in [
        "x",
        "absent(x)",
        "sum(sum_over_time(x[5m:1m]))",
        "sum by (__name__) (x)",
        "topk(scalar(y), x)",
        "absent_over_time(x[5m])",
    ] {
        assert_eq!(parts(query), [[""; 0]; 0], "{query}");
    }
}

fn stores(values: &[f64], nodes: usize, histograms: bool) -> (MemoryStore, Vec<MemoryStore>) {
    let (mut all, mut parts) = (MemoryStore::default(), vec![MemoryStore::default(); nodes]);
    for (i, value) in values.iter().enumerate() {
        // No two are equal, so that there is one choice of the largest.
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

fn distributed(query: &str, parts: &[MemoryStore]) -> Option<Vec<MatrixSeries>> {
    let mut found = decompose(&parse(query).unwrap());
    assert_eq!(found.len(), 1, "{query}");
    let Decomposition { partials, combine, .. } = found.remove(0);
    combine.apply(parts.iter().map(|node| partials.iter().map(|p| ask(node, p)).collect()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Exact operations are exact, the others within the stated bounds.
    #[test]
    fn combined_answers_are_those_of_one_process(
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
            let found = distributed(query, &parts).unwrap();
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

#[test]
fn sums_of_histograms_are_combined_and_mixes_are_not() {
    let (all, parts) = stores(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 3, true);
    let query = "sum by (group) (x_total)";
    let (found, whole) = (distributed(query, &parts).unwrap(), ask(&all, &parse(query).unwrap()));
    let shown = |series: Vec<MatrixSeries>| -> Vec<_> {
        let points = |s: &MatrixSeries| s.histograms.iter().map(|(t, h)| (*t, h.count, h.sum)).collect::<Vec<_>>();
        series.iter().map(|s| (s.labels.clone(), points(s))).collect()
    };
    assert_eq!(shown(found), shown(whole));
    assert_eq!(distributed("avg(x_total)", &parts), None);
    let (_, floats) = stores(&[1.0, 2.0, 3.0, 4.0], 2, false);
    let mixed: Vec<MemoryStore> = parts.into_iter().chain(floats).collect();
    assert_eq!(distributed("sum(x_total)", &mixed), None);
    let twice: Vec<MemoryStore> = vec![mixed[3].clone(), mixed[3].clone()];
    assert_eq!(distributed("deriv(x_total[5m])", &twice), None);
}
