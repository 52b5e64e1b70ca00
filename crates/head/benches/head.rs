//! Measures the speed of appends, selects with decoding and replay, and the memory and log bytes of a sample.
//!
//! `cargo bench -p pharos-head` prints figures that are not times first, then the table of divan.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends at its first failure and prints figures"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, counter::ItemsCount};
use pharos_head::fs::RealFs;
use pharos_head::{Head, HeadConfig};
use pharos_model::{
    Clock, Labels, Matcher, Sample, SelectRequest, SeriesBatch, ShardSet, SystemClock, TenantId, TimeRange, WriteBatch,
    series_hash,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERIES: usize = 50_000;
const BATCH: usize = 5_000;
const SCRAPES: usize = 240;
const START: i64 = 1_700_006_400_000;

fn main() {
    figures();
    divan::main();
}

fn open(dir: &Path) -> Head {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = HeadConfig { max_pending_bytes: 1 << 30, ..HeadConfig::new(dir) };
    Head::open(config, clock, Arc::new(RealFs), &prometheus::Registry::new(), &mut |_| {}).unwrap()
}

fn labels() -> Vec<(Labels, u64)> {
    let tenant = TenantId::default();
    (0..SERIES)
        .map(|i| {
            let metric = i % 500;
            let host = i / 500;
            let labels = Labels::from_pairs([
                ("__name__", format!("node_metric_{metric}_bytes_total")),
                ("instance", format!("host-{host}.example.org:9100")),
                ("job", "node".into()),
                ("device", format!("sd{}", (b'a' + (metric % 20) as u8) as char)),
                ("datacenter", format!("dc-{}", host % 3)),
                ("environment", "production".into()),
            ]);
            let hash = series_hash(&tenant, labels.as_bytes());
            (labels, hash)
        })
        .collect()
}

/// Six in ten series are constant, most others are counters, and some are noisy doubles.
fn value(series: usize, scrape: usize) -> f64 {
    let noise = ((series * 7919 + scrape * 104_729) % 1000) as f64;
    match series % 10 {
        0..=5 => series as f64,
        6..=8 => (series * 1000 + scrape * 1500) as f64 + noise,
        _ => (noise + 1.0).sqrt() / 7.0,
    }
}

fn fill(batch: &mut WriteBatch, labels: &[(Labels, u64)], from: usize, scrape: usize) {
    batch.clear();
    for (i, (labels, hash)) in labels[from..from + BATCH].iter().enumerate() {
        batch.begin_known_series(labels.as_bytes(), *hash);
        batch.samples.push(Sample { t: START + scrape as i64 * 15_000, v: value(from + i, scrape), st: 0 });
    }
    batch.finish_series();
}

fn fill_head(head: &Head, labels: &[(Labels, u64)], scrapes: usize) -> Duration {
    let clock = SystemClock::new();
    let mut spent = Duration::ZERO;
    let mut batch = WriteBatch::default();
    for scrape in 0..scrapes {
        for from in (0..SERIES).step_by(BATCH) {
            fill(&mut batch, labels, from, scrape);
            let begun = clock.monotonic();
            let (outcome, _commit) = head.append(&TenantId::default(), &batch).unwrap();
            spent += clock.monotonic() - begun;
            assert_eq!(outcome.samples as usize, BATCH);
        }
        head.commit().wait().unwrap();
    }
    spent
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn directory_bytes(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum()
}

fn figures() {
    let labels = labels();
    let dir = tempfile::tempdir().unwrap();
    let head = open(dir.path());
    let resident = resident_bytes();
    let cpu = cpu_seconds();
    let spent = fill_head(&head, &labels, SCRAPES);
    let samples = (SERIES * SCRAPES) as f64;
    println!("append: {:.0} ns a sample", spent.as_nanos() as f64 / samples);
    println!("append with log, all threads: {:.2} CPU-s a million samples", (cpu_seconds() - cpu) / samples * 1e6);
    println!("resident: {} bytes a series with {SCRAPES} samples", (resident_bytes() - resident) / SERIES as u64);
    println!("accounted: {} bytes a series", head.memory_bytes() / SERIES as u64);
    println!("log: {:.2} bytes a sample", directory_bytes(dir.path()) as f64 / samples);
    let clock = SystemClock::new();
    let begun = clock.monotonic();
    let cut = head.cut(&TenantId::default(), START, &ShardSet::all(64));
    let mut cut_samples = 0;
    cut.for_each(|s| {
        cut_samples += s.samples.t.len();
        Ok::<_, std::convert::Infallible>(())
    })
    .unwrap();
    let seconds = (clock.monotonic() - begun).as_secs_f64();
    println!("cut: {:.1} M samples/s, {seconds:.2} s", cut_samples as f64 / seconds / 1e6);
    drop(cut);
    drop(head);
    let begun = clock.monotonic();
    let cpu = cpu_seconds();
    let head = open(dir.path());
    let seconds = (clock.monotonic() - begun).as_secs_f64();
    println!(
        "replay: {:.1} M samples/s, {:.2} CPU-s a million",
        samples / seconds / 1e6,
        (cpu_seconds() - cpu) / samples * 1e6
    );
    drop(head);
}

#[divan::bench(sample_count = 20)]
fn append_5000_series(bencher: Bencher) {
    let labels = labels();
    let dir = tempfile::tempdir().unwrap();
    let head = open(dir.path());
    let mut n = 0;
    let mut batch = WriteBatch::default();
    let batches = SERIES / BATCH;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        fill(&mut batch, &labels, n % batches * BATCH, n / batches);
        n += 1;
        head.append(&TenantId::default(), &batch).unwrap().1.wait()
    });
}

#[divan::bench(sample_count = 20)]
fn select_and_decode(bencher: Bencher) {
    let labels = labels();
    let dir = tempfile::tempdir().unwrap();
    let head = open(dir.path());
    fill_head(&head, &labels, 60);
    let mut out = SeriesBatch::default();
    let request = SelectRequest { matchers: vec![Matcher::equal("job", "node")], range: TimeRange::ALL, max_series: 0 };
    let set = head.select(&TenantId::default(), &request, None).unwrap();
    bencher.counter(ItemsCount::new(SERIES * 60)).bench_local(|| {
        for from in (0..SERIES).step_by(500) {
            out.clear();
            set.fetch(from..from + 500, TimeRange::ALL, &mut out).unwrap();
        }
        out.samples()
    });
}

#[divan::bench(sample_count = 20)]
fn select_one_metric(bencher: Bencher) {
    let labels = labels();
    let dir = tempfile::tempdir().unwrap();
    let head = open(dir.path());
    fill_head(&head, &labels, 2);
    let matchers = vec![Matcher::equal("__name__", "node_metric_7_bytes_total"), Matcher::equal("job", "node")];
    let request = SelectRequest { matchers, range: TimeRange::ALL, max_series: 0 };
    bencher.bench_local(|| head.select(&TenantId::default(), &request, None).unwrap().labels().len());
}
