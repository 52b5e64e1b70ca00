//! Blocks of many series of a few targets: queries take few requests, and DuckDB finds the same samples.

use std::collections::BTreeMap;
use std::process::Command;

use object_store::local::LocalFileSystem;
use pharos_model::{Matcher, STALE_NAN, is_stale_nan};
use prometheus::Registry;

use super::*;
use crate::objects::{Counting, StoreMetrics};

/// The series of some targets: constants, counters, decimals, doubles, stale markers and long series.
fn targets(count: i64) -> Vec<TestSeries> {
    let mut series = Vec::new();
    for target in 0..count {
        let steps = if target == 0 { 4000 } else { 480 };
        let t: Vec<i64> = (0..steps).map(|i| i * 15_000 + target).collect();
        for (kind, name) in ["constant", "counter", "decimal", "double", "nothing", "infinite"].iter().enumerate() {
            for part in 0..8i64 {
                let value = |i: i64| match kind {
                    0 => 4096.5 * part as f64,
                    1 => (i * i * (part + 1) + target) as f64,
                    2 => (i * 7 + part) as f64 / 100.0,
                    3 => ((i + part) as f64).sqrt(),
                    4 => 1.0 / 3.0,
                    _ => {
                        if i == 7 {
                            1e300
                        } else {
                            i as f64
                        }
                    }
                };
                let mut v: Vec<f64> = (0..steps).map(value).collect();
                if target % 3 == 1 && kind != 4 {
                    v[100] = STALE_NAN;
                }
                let labels = [("__name__", *name), ("instance", &target.to_string()), ("part", &part.to_string())];
                series.push(TestSeries::floats(&labels, t.clone(), v));
            }
        }
    }
    series
}

/// The cost of a fetch.
#[derive(Debug, PartialEq)]
struct Cost {
    series: usize,
    requests: u64,
    bytes: u64,
}

/// A block of sixty targets in a store that counts requests.
struct Fleet {
    reader: BlockReader,
    metrics: StoreMetrics,
}

impl Fleet {
    async fn open() -> Self {
        let block = write(options(), &mut targets(60));
        let metrics = StoreMetrics::new(&Registry::new()).unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(Counting::new(InMemory::new(), metrics.clone()));
        upload(store.as_ref(), &block.meta.folder(), &block).await.unwrap();
        Fleet { reader: open(store, &block.meta).await, metrics }
    }

    /// Fetches what matchers select, and counts what happens after the selection.
    async fn fetch(&self, matchers: &[Matcher]) -> Cost {
        let selection = self.reader.select(matchers, TimeRange::ALL, 0).await.unwrap();
        let requests = self.metrics.requests("get");
        let bytes = self.metrics.bytes("get");
        let mut batch = SeriesBatch::default();
        selection.fetch(0..selection.len(), TimeRange::ALL, &mut batch).await.unwrap();
        Cost {
            series: batch.len(),
            requests: self.metrics.requests("get") - requests,
            bytes: self.metrics.bytes("get") - bytes,
        }
    }
}

fn one_series() -> [Matcher; 3] {
    [("__name__", "decimal"), ("instance", "7"), ("part", "3")].map(|(name, value)| Matcher::equal(name, value))
}

#[test]
fn a_series_takes_few_requests_and_bytes() {
    run(async {
        let cost = Fleet::open().await.fetch(&one_series()).await;
        assert_eq!(cost.series, 1);
        assert!(cost.requests <= 4 && cost.bytes <= 200_000, "{cost:?}");
    });
}

#[test]
fn a_cached_series_takes_no_request() {
    run(async {
        let fleet = Fleet::open().await;
        fleet.fetch(&one_series()).await;
        assert_eq!(fleet.fetch(&one_series()).await, Cost { series: 1, requests: 0, bytes: 0 });
    });
}

#[test]
fn the_series_of_a_target_take_few_requests() {
    run(async {
        let cost = Fleet::open().await.fetch(&[Matcher::equal("instance", "9")]).await;
        assert_eq!(cost.series, 48);
        assert!(cost.requests <= 10, "{cost:?}");
    });
}

#[test]
fn an_empty_selection_takes_no_request() {
    run(async {
        let cost = Fleet::open().await.fetch(&[Matcher::equal("instance", "nowhere")]).await;
        assert_eq!(cost, Cost { series: 0, requests: 0, bytes: 0 });
    });
}

#[test]
fn reads_are_charged_to_the_budget_of_the_query() {
    run(async {
        let fleet = Fleet::open().await;
        let budget = Arc::new(pharos_model::Budget::unlimited());
        let cost = crate::accounted(budget.clone(), fleet.fetch(&one_series())).await;
        let (bytes, _) = budget.reads();
        assert!(cost.bytes > 0);
        assert!(bytes >= cost.bytes, "{bytes} bytes charged");
    });
}

#[test]
fn duckdb_finds_the_same_counts_and_sums() {
    let mut series = targets(5);
    let block = write(options(), &mut series);
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        upload(&store, &object_store::path::Path::from("block"), &block).await.unwrap();
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/sql_check.py");
    let output = match Command::new("python3").arg(script).arg(folder.path().join("block")).output() {
        Ok(output) if output.status.code() != Some(3) => output,
        _ => return eprintln!("skipped: python3 with duckdb is not installed"),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for one in &series {
        let values: Vec<f64> = one.v.iter().copied().filter(|v| !is_stale_nan(*v)).collect();
        *counts.entry(one.labels.metric_name().to_string()).or_default() += values.len() as u64;
        *sums.entry(one.labels.metric_name().to_string()).or_default() += values.iter().sum::<f64>();
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found = 0;
    for line in text.lines() {
        let [name, count, sum] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert_eq!(count.parse::<u64>().unwrap(), counts[name], "{name}");
        let sum: f64 = sum.parse().unwrap();
        let expected = sums[name];
        assert!((sum - expected).abs() <= 1e-9 * expected.abs(), "{name}: {sum} instead of {expected}");
        found += 1;
    }
    assert_eq!(found, counts.len());
}
