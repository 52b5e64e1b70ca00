//! Measures the speed of encoding and decoding, the size of a block of a fleet, and the requests that queries of it take.
//!
//! Run `cargo bench -p pharos-block`. `HOSTS` sets the size of the fleet in the report; the default is 200.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod fleet;

use std::sync::Arc;

use divan::counter::ItemsCount;
use fleet::{Load, Series};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use pharos_block::objects::{Counting, StoreMetrics};
use pharos_block::{BlockCache, BlockReader, BlockSelection, BlockWriter, FinishedBlock, WriterOptions, upload};
use pharos_model::{Matcher, SeriesBatch, SeriesView, TenantId, TimeRange};
use prometheus::Registry;
use tokio::runtime::Runtime;
use ulid::Ulid;

fn write(series: &[Series]) -> FinishedBlock {
    let options = WriterOptions::new(Ulid(1), TenantId::default(), 0, 7_200_000);
    let mut writer = BlockWriter::new(options).unwrap();
    for one in series {
        let view = SeriesView { t: &one.t, v: &one.v, ..SeriesView::EMPTY };
        writer.push(&one.labels, one.hash, None, view).unwrap();
    }
    writer.finish().unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn open(block: &FinishedBlock) -> (BlockReader, StoreMetrics) {
    let metrics = StoreMetrics::new(&Registry::new()).unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(Counting::new(InMemory::new(), metrics.clone()));
    upload(store.as_ref(), &block.meta.folder(), block).await.unwrap();
    let cache = Arc::new(BlockCache::new(256 << 20));
    let reader = BlockReader::open(store, block.meta.folder(), Arc::new(block.meta.clone()), cache).await.unwrap();
    (reader, metrics)
}

fn main() {
    let hosts = std::env::var("HOSTS").ok().and_then(|hosts| hosts.parse().ok()).unwrap_or(200);
    for load in [Load::Typical, Load::Noisy] {
        report(hosts, load);
        speed(20, load);
    }
    divan::main();
}

/// Prints sizes, and the requests of some queries.
fn report(hosts: u64, load: Load) {
    let series = fleet::fleet(hosts, load);
    let samples: usize = series.iter().map(|one| one.t.len()).sum();
    let constant = series.iter().filter(|one| one.v.windows(2).all(|pair| pair[0] == pair[1])).count();
    let block = write(&series);
    println!(
        "{load:?}: {} series, {:.0} % constant, {samples} samples",
        series.len(),
        100.0 * constant as f64 / series.len() as f64
    );
    for (name, file) in &block.meta.files {
        println!(
            "  {name:16} {:>12} bytes  {:.4} B/sample  index {}",
            file.bytes,
            file.bytes as f64 / samples as f64,
            file.tail
        );
    }
    println!(
        "  whole block      {:>12} bytes  {:.4} B/sample",
        block.meta.bytes(),
        block.meta.bytes() as f64 / samples as f64
    );
    println!("  catalogue entry  {:>12} bytes", block.meta.to_bytes().len());
    let name = Matcher::equal("__name__", "http_requests_total");
    let instance = Matcher::equal("instance", "10.0.0.7:9100");
    let one = vec![
        name.clone(),
        instance.clone(),
        Matcher::equal("handler", "/orders"),
        Matcher::equal("method", "GET"),
        Matcher::equal("code", "200"),
    ];
    let few = vec![
        name.clone(),
        Matcher::equal("handler", "/orders"),
        Matcher::equal("method", "GET"),
        Matcher::equal("code", "200"),
    ];
    for (what, matchers) in [("one series", one), ("one metric x hosts", few), ("one instance", vec![instance])] {
        runtime().block_on(async {
            let (reader, metrics) = open(&block).await;
            let selection = reader.select(&matchers, TimeRange::ALL, 0).await.unwrap();
            let before = (metrics.requests("get"), metrics.bytes("get"));
            let mut batch = SeriesBatch::default();
            let clock = pharos_model::SystemClock::new();
            let start = pharos_model::Clock::monotonic(&clock);
            selection.fetch(0..selection.len(), TimeRange::ALL, &mut batch).await.unwrap();
            let took = pharos_model::Clock::monotonic(&clock) - start;
            println!(
                "  {what}: {} series, {} GETs, {} bytes, {took:?}",
                batch.len(),
                metrics.requests("get") - before.0,
                metrics.bytes("get") - before.1
            );
        });
    }
}

/// CPU time of this thread in seconds, which other load on the machine does not affect. Zero without `/proc`.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Prints samples per second of CPU time, the best of seven rounds.
fn speed(hosts: u64, load: Load) {
    let series = fleet::fleet(hosts, load);
    let samples: usize = series.iter().map(|one| one.t.len()).sum();
    let (runtime, selection, _) = prepared(load);
    let best = |what: &str, run: &mut dyn FnMut()| {
        let took = (0..7).map(|_| {
            let start = cpu_seconds();
            run();
            cpu_seconds() - start
        });
        let took = took.fold(f64::INFINITY, f64::min);
        println!("  {what}: {:.0} M samples a CPU second", samples as f64 / took / 1e6);
    };
    best("encode", &mut || {
        divan::black_box(write(&series));
    });
    best("decode", &mut || {
        walk(&runtime, &selection, |batch| {
            divan::black_box(batch.v.len());
        });
    });
    best("decode and rate", &mut || {
        divan::black_box(rates(&runtime, &selection));
    });
}

#[divan::bench(args = [Load::Typical, Load::Noisy], sample_count = 5, sample_size = 1)]
fn encode(bencher: divan::Bencher<'_, '_>, load: Load) {
    let series = fleet::fleet(20, load);
    let samples: usize = series.iter().map(|one| one.t.len()).sum();
    bencher.counter(ItemsCount::new(samples)).bench_local(|| write(&series));
}

fn prepared(load: Load) -> (Runtime, BlockSelection, usize) {
    let series = fleet::fleet(20, load);
    let samples = series.iter().map(|one| one.t.len()).sum();
    let runtime = runtime();
    let selection = runtime.block_on(async {
        let (reader, _) = open(&write(&series)).await;
        reader.select(&[], TimeRange::ALL, 0).await.unwrap()
    });
    (runtime, selection, samples)
}

/// Calls `each` for batches of all series.
fn walk(runtime: &Runtime, selection: &BlockSelection, mut each: impl FnMut(&SeriesBatch)) {
    let mut batch = SeriesBatch::default();
    for from in (0..selection.len()).step_by(1024) {
        batch.clear();
        let part = from..selection.len().min(from + 1024);
        runtime.block_on(selection.fetch(part, TimeRange::ALL, &mut batch)).unwrap();
        each(&batch);
    }
}

#[divan::bench(args = [Load::Typical, Load::Noisy], sample_count = 10, sample_size = 1)]
fn decode(bencher: divan::Bencher<'_, '_>, load: Load) {
    let (runtime, selection, samples) = prepared(load);
    bencher.counter(ItemsCount::new(samples)).bench_local(|| {
        walk(&runtime, &selection, |batch| {
            divan::black_box(batch.v.len());
        });
    });
}

#[divan::bench(args = [Load::Typical, Load::Noisy], sample_count = 10, sample_size = 1)]
fn decode_and_sum(bencher: divan::Bencher<'_, '_>, load: Load) {
    let (runtime, selection, samples) = prepared(load);
    bencher.counter(ItemsCount::new(samples)).bench_local(|| {
        let mut sum = 0.0;
        walk(&runtime, &selection, |batch| {
            sum += (0..batch.len()).map(|at| batch.view(at).v.iter().sum::<f64>()).sum::<f64>()
        });
        sum
    });
}

#[divan::bench(args = [Load::Typical, Load::Noisy], sample_count = 10, sample_size = 1)]
fn decode_and_rate(bencher: divan::Bencher<'_, '_>, load: Load) {
    let (runtime, selection, samples) = prepared(load);
    bencher.counter(ItemsCount::new(samples)).bench_local(|| rates(&runtime, &selection));
}

/// The sum over all series of `rate` over five minutes, at every minute.
fn rates(runtime: &Runtime, selection: &BlockSelection) -> f64 {
    let mut total = 0.0;
    let mut increases: Vec<f64> = Vec::new();
    walk(runtime, selection, |batch| {
        for at in 0..batch.len() {
            let view = batch.view(at);
            increases.clear();
            let mut sum = 0.0;
            let mut before = view.v.first().copied().unwrap_or(0.0);
            increases.extend(view.v.iter().map(|v| {
                sum += if *v < before { *v } else { v - before };
                before = *v;
                sum
            }));
            let mut from = 0;
            let mut to = 0;
            for end in (300_000..=7_200_000i64).step_by(60_000) {
                while to < view.t.len() && view.t[to] <= end {
                    to += 1;
                }
                while from < to && view.t[from] <= end - 300_000 {
                    from += 1;
                }
                if to > from + 1 {
                    total += (increases[to - 1] - increases[from]) / (view.t[to - 1] - view.t[from]) as f64;
                }
            }
        }
    });
    total
}
