//! Queries over series in memory: 10,000 series of 240 samples, 15 s apart.

#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::Range;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use pharos_model::{Budget, Labels, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, TimeRange};
use pharos_promql::parser::parse;
use pharos_promql::{Engine, EngineOptions, Querier, QueryOptions};

const SERIES: usize = 10_000;
const SAMPLES: usize = 240;
const INTERVAL: i64 = 15_000;

fn main() {
    divan::main();
}

/// Series that share their timestamps.
struct Memory {
    labels: Vec<Labels>,
    t: Vec<i64>,
    v: Vec<f64>,
}

impl SeriesSet for Memory {
    fn labels(&self) -> &[Labels] {
        &self.labels
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let from = self.t.partition_point(|t| *t < range.start);
        let to = self.t.partition_point(|t| *t <= range.end);
        for at in series {
            let v = &self.v[at * SAMPLES + from..at * SAMPLES + to];
            out.push(SeriesView { t: &self.t[from..to], v, ..SeriesView::EMPTY });
        }
        Ok(())
    }
}

/// Metrics by name.
struct Source {
    sets: Vec<(&'static str, Arc<Memory>)>,
}

impl Querier for Source {
    fn select(&self, request: &SelectRequest, _: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let name = &request.matchers.iter().find(|m| m.name == "__name__").unwrap().value;
        let (_, set) = self.sets.iter().find(|(n, _)| n == name).unwrap();
        Ok(set.clone())
    }
}

fn metric(name: &'static str, count: usize, le: bool) -> Memory {
    const BOUNDS: [&str; 10] = ["0.005", "0.01", "0.05", "0.1", "0.5", "1", "2.5", "5", "10", "+Inf"];
    let mut series: Vec<(Labels, usize)> = (0..count)
        .map(|i| {
            let (group, member) = if le { (i / 10, i % 10) } else { (i % 100, i / 100) };
            let mut pairs = vec![
                ("__name__", name.to_string()),
                ("instance", format!("10.0.0.{group}:9100")),
                ("job", "node".to_string()),
            ];
            pairs.push(if le { ("le", BOUNDS[member].to_string()) } else { ("cpu", member.to_string()) });
            (Labels::from_pairs(pairs), member)
        })
        .collect();
    series.sort_by(|a, b| a.0.cmp(&b.0));
    let t = (1..=SAMPLES as i64).map(|i| i * INTERVAL).collect();
    let v = series
        .iter()
        .enumerate()
        .flat_map(|(i, (_, member))| (0..SAMPLES).map(move |s| (s * (10 + member * 7) + (i * 31 + s * 17) % 9) as f64))
        .collect();
    Memory { labels: series.into_iter().map(|(l, _)| l).collect(), t, v }
}

fn source() -> Source {
    let of = |name, count, le| (name, Arc::new(metric(name, count, le)));
    Source {
        sets: vec![of("requests_total", SERIES, false), of("limit", SERIES, false), of("latency_bucket", SERIES, true)],
    }
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
