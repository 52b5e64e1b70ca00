//! One process and a cluster give the same answers, to the bit, wherever the series lie.
//!
//! The values show a sum that was rounded halfway: cancelling, huge, infinite, NaN, zeros of both signs, and many equal ones.

use pharos_model::Labels;
use pharos_promql::syntax;
use pharos_testkit::{Rng, blocking};

use super::tests::{begin, evaluate, options, shown};
use super::*;
use crate::cluster::fakes::*;

const MINUTE: i64 = 60_000;
const KINDS: u64 = 6;

fn value(rng: &mut Rng, kind: u64) -> f64 {
    let unit = |rng: &mut Rng| rng.below(1 << 53) as f64 / (1u64 << 53) as f64;
    let pick = |rng: &mut Rng, of: &[f64]| rng.pick(of).copied().unwrap_or(0.0);
    match kind {
        0 => unit(rng) - 0.5,
        1 => pick(rng, &[1e16, -1e16, 1.0, 3.3, -2.5, 1e100, -1e100]),
        2 => unit(rng) * 1e6,
        3 => pick(rng, &[f64::INFINITY, 1.0, 2.0, f64::NAN, -0.0, 0.0]),
        4 => pick(rng, &[1.7e308, -1.7e308, 1e308]),
        _ => rng.below(5) as f64,
    }
}

/// Ten minutes of a sample every 30 s: gauges of each kind of value, and counters with resets.
fn series(seed: u64) -> Vec<Series> {
    let mut rng = Rng::new(seed);
    let times = || (0..=20i64).map(|k| k * 30_000);
    let mut all = Vec::new();
    for i in 0..15 * KINDS {
        let name = format!("m{}", i % KINDS);
        let labels = [("__name__", name), ("i", i.to_string()), ("g", (i % 7).to_string()), ("h", (i % 4).to_string())];
        let samples = times().map(|t| (t, Value::Float(value(&mut rng, i % KINDS)))).collect();
        all.push((Labels::from_pairs(labels), samples));
    }
    for i in 0..20u64 {
        let le = if i % 5 == 0 { "+Inf".to_string() } else { (i % 5).to_string() };
        let labels =
            [("__name__", "c_total".to_string()), ("i", i.to_string()), ("g", (i % 7).to_string()), ("le", le)];
        let mut total = 0.0;
        let counter = times().map(|t| {
            total = if rng.below(20) == 0 { 0.0 } else { total + rng.below(1000) as f64 / 7.0 };
            (t, Value::Float(total))
        });
        let samples = counter.collect();
        all.push((Labels::from_pairs(labels), samples));
    }
    all
}

fn queries() -> Vec<String> {
    let mut all = Vec::new();
    for m in (0..KINDS).map(|kind| format!("m{kind}")) {
        for op in ["sum", "avg", "min", "max", "stddev", "stdvar"] {
            all.push(format!("{op}({m})"));
            all.push(format!("{op} by (g) ({m} * 3.3 + 1)"));
        }
        for text in ["count without (i) (M)", "sum(sum_over_time(M[5m]))", "avg by (h) (avg_over_time(M[5m]))"] {
            all.push(text.replace('M', &m));
        }
        for text in
            ["quantile by (g) (0.3, M)", "topk by (h) (2, M)", "bottomk(3, M)", "count_values by (g) (\"v\", M)"]
        {
            all.push(text.replace('M', &m));
        }
        for text in
            ["limitk(5, M)", "sum(topk(4, M))", "avg(avg by (g) (M))", "topk(1, sum by (g) (M))", "sort(M)", "M"]
        {
            all.push(text.replace('M', &m));
        }
    }
    let more = [
        "sum by (g) (rate(c_total[5m]))",
        "avg(increase(c_total[3m]))",
        "histogram_quantile(0.9, sum by (le) (rate(c_total[5m])))",
        "sum(c_total) / count(c_total)",
        "sum by (g) (m0) / on (g) sum by (g) (m2)",
        "stddev by (g) (predict_linear(m2[5m], 60))",
        "avg(-m4)",
        "sum(m1) - sum(m1)",
    ];
    all.extend(more.map(String::from));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_answers_as_one_process_whatever_its_placement() {
    let series = series(5);
    let in_memory = (-10 * MINUTE, 1);
    let partly_in_blocks = (6 * MINUTE, 8 * MINUTE);
    for (replicas, identity, (complete_from, flushed_to)) in
        [(1, "f1", in_memory), (3, "i2", in_memory), (2, "f1", partly_in_blocks)]
    {
        let cluster = Arc::new(FakeCluster::new(&series, replicas, complete_from, flushed_to));
        let (fanout, all) = (cluster.frontend(identity), cluster.all.clone());
        blocking(move || {
            for text in queries() {
                let instant = Steps { start: 10 * MINUTE, end: 10 * MINUTE, step: 0 };
                for times in [instant, Steps { start: 3 * MINUTE, end: 10 * MINUTE, step: MINUTE }] {
                    let expr = syntax::parse(&text).unwrap();
                    let alone = Engine::default().evaluate_with(&all, &expr, times, &options(&text), &[]);
                    let found = evaluate(&begin(&fanout), &text, times, true);
                    assert_eq!(shown(found), shown(alone), "{replicas} replicas: {text} {times:?}");
                }
            }
        })
        .await;
        let fragments: usize = cluster.sources.values().map(|source| *source.fragments.lock()).sum();
        assert!(fragments > 100, "{fragments}");
    }
}
