//! Queries over series in memory: 10,000 series of 240 samples, 15 s apart.

#![allow(clippy::unwrap_used, missing_docs)]

use divan::Bencher;
use divan::counter::ItemsCount;
use pharos_model::Labels;
use pharos_promql::promqltest::{GridSeries, GridStore};
use pharos_promql::syntax::parse;
use pharos_promql::{Engine, EngineOptions, QueryOptions};

const SERIES: usize = 10_000;
const SAMPLES: usize = 240;
const INTERVAL: i64 = 15_000;

fn main() {
    divan::main();
}

/// `count` series in groups, each of ten buckets, or of a counter for each CPU.
fn metric(name: &str, count: usize, buckets: bool) -> GridSeries {
    const BOUNDS: [&str; 10] = ["0.005", "0.01", "0.05", "0.1", "0.5", "1", "2.5", "5", "10", "+Inf"];
    let place = |i: usize| if buckets { (i / 10, i % 10) } else { (i % 100, i / 100) };
    let labels = |i: usize| {
        let (group, member) = place(i);
        let member = if buckets { ("le", BOUNDS[member].to_string()) } else { ("cpu", member.to_string()) };
        let instance = format!("10.0.0.{group}:9100");
        Labels::from_pairs([
            ("__name__", name.to_string()),
            ("instance", instance),
            ("job", "node".to_string()),
            member,
        ])
    };
    let value = |i: usize, s: usize| (s * (10 + place(i).1 * 7) + (i * 31 + s * 17) % 9) as f64;
    let times = (1..=SAMPLES as i64).map(|i| i * INTERVAL).collect();
    GridSeries::new((0..count).map(labels).collect(), times, value)
}

fn source() -> GridStore {
    GridStore::default()
        .with_metric("requests_total", metric("requests_total", SERIES, false))
        .with_metric("limit", metric("limit", SERIES, false))
        .with_metric("latency_bucket", metric("latency_bucket", SERIES, true))
}

fn run(bencher: Bencher<'_, '_>, query: &str, step: i64, threads: usize) {
    let source = source();
    let engine = Engine::new(EngineOptions { threads, ..EngineOptions::default() });
    let expr = parse(query).unwrap();
    let end = SAMPLES as i64 * INTERVAL;
    let options = QueryOptions::default();
    bencher.counter(ItemsCount::new(SERIES * SAMPLES)).bench(|| {
        if step == 0 {
            engine.instant(&source, &expr, end, &options).unwrap()
        } else {
            engine.range(&source, &expr, INTERVAL, end, step, &options).unwrap()
        }
    });
}

#[divan::bench(args = [60_000, 15_000])]
fn rate(bencher: Bencher<'_, '_>, step: i64) {
    run(bencher, "rate(requests_total[5m])", step, 1);
}

#[divan::bench(args = [1, 2])]
fn sum_by_rate(bencher: Bencher<'_, '_>, threads: usize) {
    run(bencher, "sum by (instance) (rate(requests_total[5m]))", 60_000, threads);
}

#[divan::bench]
fn sum_selector(bencher: Bencher<'_, '_>) {
    run(bencher, "sum by (instance) (requests_total)", 60_000, 1);
}

#[divan::bench]
fn topk(bencher: Bencher<'_, '_>) {
    run(bencher, "topk(5, requests_total)", 60_000, 1);
}

#[divan::bench]
fn quantile_over_time(bencher: Bencher<'_, '_>) {
    run(bencher, "quantile_over_time(0.9, requests_total[15m])", 60_000, 1);
}

#[divan::bench]
fn max_over_time(bencher: Bencher<'_, '_>) {
    run(bencher, "max by (instance) (max_over_time(requests_total[10m]))", 60_000, 1);
}

#[divan::bench]
fn avg_over_time(bencher: Bencher<'_, '_>) {
    run(bencher, "avg by (instance) (avg_over_time(requests_total[5m]))", 60_000, 1);
}

#[divan::bench]
fn join(bencher: Bencher<'_, '_>) {
    run(bencher, "sum(requests_total / on (instance, cpu, job) limit)", 60_000, 1);
}

#[divan::bench]
fn histogram_quantile(bencher: Bencher<'_, '_>) {
    run(bencher, "histogram_quantile(0.95, rate(latency_bucket[5m]))", 60_000, 1);
}

#[divan::bench]
fn instant_sum_rate(bencher: Bencher<'_, '_>) {
    run(bencher, "sum by (instance) (rate(requests_total[5m]))", 0, 1);
}

#[divan::bench]
fn instant_count(bencher: Bencher<'_, '_>) {
    run(bencher, "count(requests_total)", 0, 1);
}
