//! Many series of a few targets: how few requests a query takes, and that DuckDB finds the same numbers in the files.

use std::collections::BTreeMap;
use std::process::Command;

use object_store::local::LocalFileSystem;
use pharos_model::{Matcher, STALE_NAN, is_stale_nan};
use prometheus::Registry;

use super::*;
use crate::objects::{Counting, StoreMetrics};

/// Constants, counters, decimals, doubles, stale markers and long series.
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

#[test]
fn queries_take_few_requests_and_cached_ones_none() {
    let mut series = targets(60);
    let block = write(options(), &mut series);
    run(async {
        let metrics = StoreMetrics::new(&Registry::new()).unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(Counting::new(InMemory::new(), metrics.clone()));
        upload(store.as_ref(), &block.meta.folder(), &block).await.unwrap();
        let reader = open(store, &block.meta).await;
        let ask = async |matchers: &[Matcher]| {
            let selection = reader.select(matchers, TimeRange::ALL, 0).await.unwrap();
            let (requests, bytes) = (metrics.requests("get"), metrics.bytes("get"));
            let mut batch = SeriesBatch::default();
            selection.fetch(0..selection.len(), TimeRange::ALL, &mut batch).await.unwrap();
            (batch.len(), metrics.requests("get") - requests, metrics.bytes("get") - bytes)
        };
        let one = [("__name__", "decimal"), ("instance", "7"), ("part", "3")].map(|(n, v)| Matcher::equal(n, v));
        let (found, requests, bytes) = ask(&one).await;
        assert!(found == 1 && requests <= 4 && bytes <= 200_000, "{found} series, {requests} requests, {bytes} bytes");
        assert_eq!(ask(&one).await, (1, 0, 0));
        let (found, requests, _) = ask(&[Matcher::equal("instance", "9")]).await;
        assert!(found == 48 && requests <= 10, "{requests} requests");
        assert_eq!(ask(&[Matcher::equal("instance", "nowhere")]).await, (0, 0, 0));
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
    let mut expected: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    for one in &series {
        let entry = expected.entry(one.labels.metric_name().to_string()).or_default();
        for v in one.v.iter().filter(|v| !is_stale_nan(**v)) {
            *entry = (entry.0 + 1, entry.1 + v);
        }
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found = 0;
    for line in text.lines() {
        let [name, count, sum] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (want_count, want_sum) = expected[name];
        assert_eq!(count.parse::<u64>().unwrap(), want_count, "{name}");
        let sum: f64 = sum.parse().unwrap();
        assert!((sum - want_sum).abs() <= 1e-9 * want_sum.abs(), "{name}: {sum} instead of {want_sum}");
        found += 1;
    }
    assert_eq!(found, expected.len());
}
