//! How cost grows: each kind of work at 100, 10,000 and 1,000,000 samples per step, and with series, steps and window.

#![allow(clippy::unwrap_used, missing_docs)]

use divan::Bencher;
use divan::counter::ItemsCount;
use pharos_model::Labels;
use pharos_promql::promqltest::{GridSeries, GridStore};
use pharos_promql::syntax::parse;
use pharos_promql::{Engine, EngineOptions, QueryOptions};

const INTERVAL: i64 = 15_000;

fn main() {
    divan::main();
}

/// `series` counters in groups, told apart by `pod`, or by `le` for buckets.
fn metric(name: &str, series: usize, samples: usize, buckets: bool) -> GridSeries {
    let labels = |i: usize| {
        let (group, member) = if buckets { (i / 10, i % 10) } else { (i % 100, i / 100) };
        let member = match (buckets, member) {
            (true, 9) => ("le", "+Inf".to_string()),
            (true, m) => ("le", m.to_string()),
            (false, m) => ("pod", m.to_string()),
        };
        Labels::from_pairs([("__name__", name.to_string()), ("group", group.to_string()), member])
    };
    let times = (1..=samples as i64).map(|i| i * INTERVAL).collect();
    GridSeries::new((0..series).map(labels).collect(), times, |i, s| (s * (7 + i % 11) + i % 5) as f64)
}

fn source(series: usize, samples: usize) -> GridStore {
    let counters = metric("m_total", series, samples, false);
    GridStore::default()
        .with_metric("m_total", counters.clone())
        .with_metric("m_other_total", counters)
        .with_metric("m_bucket", metric("m_bucket", series, samples, true))
}

fn run(bencher: Bencher<'_, '_>, query: &str, (series, samples, steps): (usize, usize, usize), threads: usize) {
    let source = source(series, samples);
    let options =
        EngineOptions { threads, max_samples: usize::MAX >> 1, max_memory_bytes: 8 << 30, ..EngineOptions::default() };
    let engine = Engine::new(options);
    let expr = parse(query).unwrap();
    let options = QueryOptions::default();
    let end = samples as i64 * INTERVAL;
    bencher.counter(ItemsCount::new(series * steps)).bench(|| match steps {
        1 => engine.instant(&source, &expr, end, &options).unwrap(),
        steps => {
            let step = (end / steps as i64).max(1);
            engine.range(&source, &expr, end - (steps as i64 - 1) * step, end, step, &options).unwrap()
        }
    });
}

const SIZES: [usize; 3] = [100, 10_000, 1_000_000];
/// Samples of each series in benchmarks by samples per step: four, one minute.
const FOUR: usize = 4;

#[divan::bench(args = SIZES)]
fn decode(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher, "count(m_total)", (size, FOUR, 1), 1);
}

#[divan::bench(args = SIZES)]
fn range_function(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher, "count(rate(m_total[5m]))", (size, FOUR, 1), 1);
}

#[divan::bench(args = SIZES)]
fn aggregation(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher, "sum by (group) (m_total)", (size, FOUR, 1), 1);
}

#[divan::bench(args = SIZES)]
fn quantile(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher, "quantile by (group) (0.9, m_total)", (size, FOUR, 1), 1);
}

#[divan::bench(args = SIZES)]
fn topk(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher, "topk(10, m_total)", (size, FOUR, 1), 1);
}

#[divan::bench(args = SIZES)]
fn join(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher, "count(m_total / m_other_total)", (size, FOUR, 1), 1);
}

#[divan::bench(args = SIZES)]
fn histogram_quantile(bencher: Bencher<'_, '_>, size: usize) {
    run(bencher, "count(histogram_quantile(0.9, m_bucket))", (size, FOUR, 1), 1);
}

#[divan::bench(args = [10, 100, 1000, 10_000])]
fn by_series(bencher: Bencher<'_, '_>, series: usize) {
    run(bencher, "sum(rate(m_total[5m]))", (series, 240, 60), 1);
}

#[divan::bench(args = [10, 100, 1000, 10_000])]
fn by_steps(bencher: Bencher<'_, '_>, steps: usize) {
    run(bencher, "sum(rate(m_total[5m]))", (100, 5760, steps), 1);
}

/// A range function that slides costs the same for every window size; the cost of the others grows with the window.
#[divan::bench(args = ["rate", "max_over_time", "quantile_over_time(0.9", "sum_over_time", "stddev_over_time"], consts = [1, 10, 100])]
fn by_window<const MINUTES: usize>(bencher: Bencher<'_, '_>, function: &str) {
    let call = if function.contains('(') { format!("{function}, ") } else { format!("{function}(") };
    run(bencher, &format!("sum({call}m_total[{MINUTES}m]))"), (100, 960, 480), 1);
}

#[divan::bench(args = ["topk(5, rate(m_total[5m]))", "quantile(0.9, rate(m_total[5m]))", "sum(rate(m_total[5m]) / rate(m_other_total[5m]))", "histogram_quantile(0.9, rate(m_bucket[5m]))"], consts = [1, 2])]
fn threads<const THREADS: usize>(bencher: Bencher<'_, '_>, query: &str) {
    run(bencher, query, (5000, 240, 60), THREADS);
}
