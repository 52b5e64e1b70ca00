//! Whatever is written is read back, to the bit.

use pharos_model::{SeriesBatch, TimeRange};
use proptest::prelude::*;

use super::*;
use crate::BlockError;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_block_round_trips(mut series in model::series(12), a in -8_000_000i64..8_000_000, b in -8_000_000i64..8_000_000) {
        let block = write(options(), &mut series);
        run(async {
            let reader = reader(&block).await;
            for range in [TimeRange::ALL, TimeRange::new(a.min(b), a.max(b))] {
                let selection = reader.select(&[], range, 0).await.unwrap();
                let matched: Vec<TestSeries> = series.iter().filter(|one| {
                    let times = || one.t.iter().chain(&one.ht);
                    times().min().zip(times().max()).is_some_and(|(min, max)| TimeRange::new(*min, *max).overlaps(&range))
                }).cloned().collect();
                assert_eq!(selection.labels(), matched.iter().map(|one| one.labels.clone()).collect::<Vec<_>>());
                let mut batch = SeriesBatch::default();
                selection.fetch(0..selection.len(), range, &mut batch).await.unwrap();
                assert_samples(&matched, &batch, range);
                // Fetched one by one, the series are the same.
                batch.clear();
                for (at, one) in matched.iter().enumerate() {
                    selection.fetch(at..at + 1, range, &mut batch).await.unwrap();
                    assert_eq!(selection.metadata(at), one.metadata);
                }
                assert_samples(&matched, &batch, range);
                let exemplars = selection.exemplars(0..selection.len(), range).await.unwrap();
                let expected: Vec<(usize, Exemplar)> = matched.iter().enumerate()
                    .flat_map(|(at, one)| one.exemplars.iter().filter(|e| range.contains(e.t)).map(move |e| (at, e.clone())))
                    .collect();
                assert_eq!(exemplars.len(), expected.len());
                for ((at, got), (want_at, want)) in exemplars.iter().zip(&expected) {
                    assert_eq!(at, want_at);
                    assert_eq!(got.labels, want.labels);
                    assert_eq!(got.t, want.t);
                    assert_eq!(got.value.to_bits(), want.value.to_bits());
                }
            }
        });
    }
}

#[test]
fn a_block_without_series_can_be_read() {
    let block = write(options(), &mut []);
    run(async {
        let (labels, batch) = read_all(&reader(&block).await, TimeRange::ALL).await;
        assert!(labels.is_empty() && batch.is_empty());
    });
}

#[test]
fn metadata_is_rebuilt_from_the_footers() {
    let series = TestSeries::floats(&[("__name__", "up"), ("job", "a")], vec![1, 2], vec![1.0, 0.5]);
    let histogram = TestSeries {
        ht: vec![1],
        h: vec![Default::default()],
        ..TestSeries::floats(&[("__name__", "v")], vec![], vec![])
    };
    for mut series in [vec![series.clone()], vec![series, histogram], vec![]] {
        let block = write(options(), &mut series);
        run(async {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            upload(store.as_ref(), &block.meta.folder(), &block).await.unwrap();
            let rebuilt = BlockMeta::read_from_bucket(store.as_ref(), &block.meta.folder()).await.unwrap();
            assert_eq!(rebuilt, block.meta);
        });
    }
}

#[test]
fn metadata_cannot_be_rebuilt_without_the_data_file() {
    let mut block = write(options(), &mut []);
    block.files.retain(|(name, _)| name != "data.parquet");
    run(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        upload(store.as_ref(), &block.meta.folder(), &block).await.unwrap();
        let error = BlockMeta::read_from_bucket(store.as_ref(), &block.meta.folder()).await.unwrap_err();
        assert!(matches!(error, BlockError::Store(object_store::Error::NotFound { .. })), "{error}");
    });
}

#[test]
fn stale_markers_are_restored_wherever_they_are() {
    let values = |stale: &[usize]| -> Vec<f64> {
        (0..10).map(|i| if stale.contains(&i) { pharos_model::STALE_NAN } else { i as f64 }).collect()
    };
    let mut series: Vec<TestSeries> = [&[0][..], &[9], &[0, 1, 2], &[4, 9], &[0, 2, 4, 6, 8]]
        .iter()
        .enumerate()
        .map(|(i, stale)| TestSeries::floats(&[("i", &i.to_string())], (0..10).collect(), values(stale)))
        .collect();
    let block = write(options(), &mut series);
    run(async {
        let reader = reader(&block).await;
        for range in [TimeRange::ALL, TimeRange::new(2, 8), TimeRange::new(9, 9)] {
            let (_, batch) = read_all(&reader, range).await;
            assert_samples(&series, &batch, range);
        }
    });
}

#[test]
fn start_timestamps_are_restored_once_for_all_or_one_by_one() {
    let with_start = |name: &str, st: Vec<i64>| TestSeries {
        st,
        ..TestSeries::floats(&[("__name__", name)], (0..5).collect(), vec![1.0; 5])
    };
    let mut series = [
        with_start("all", vec![7; 5]),
        with_start("each", vec![1, 2, 3, 4, 5]),
        with_start("none", vec![]),
        with_start("zero", vec![0; 5]),
    ];
    let block = write(options(), &mut series);
    run(async {
        let reader = reader(&block).await;
        for range in [TimeRange::ALL, TimeRange::new(1, 3)] {
            let (_, batch) = read_all(&reader, range).await;
            assert_samples(&series, &batch, range);
        }
    });
}

#[test]
fn a_fetch_appends_to_the_batch() {
    let mut series = [
        TestSeries::floats(&[("__name__", "a")], vec![1], vec![1.0]),
        TestSeries::floats(&[("__name__", "b")], vec![1], vec![2.0]),
    ];
    let block = write(options(), &mut series);
    run(async {
        let selection = reader(&block).await.select(&[], TimeRange::ALL, 0).await.unwrap();
        let mut batch = SeriesBatch::default();
        for at in [1, 0, 1] {
            selection.fetch(at..at + 1, TimeRange::ALL, &mut batch).await.unwrap();
        }
        assert_eq!([0, 1, 2].map(|at| batch.view(at).v[0]), [2.0, 1.0, 2.0]);
    });
}

#[test]
fn a_fetch_outside_of_the_samples_appends_empty_series() {
    let mut series = [TestSeries::floats(&[("__name__", "a")], vec![1, 5], vec![1.0, 2.0])];
    let block = write(options(), &mut series);
    run(async {
        let selection = reader(&block).await.select(&[], TimeRange::ALL, 0).await.unwrap();
        let mut batch = SeriesBatch::default();
        for range in [TimeRange::new(2, 4), TimeRange::new(6, 9)] {
            selection.fetch(0..1, range, &mut batch).await.unwrap();
        }
        assert_eq!(batch.len(), 2);
        assert!(batch.view(0).t.is_empty() && batch.view(1).t.is_empty());
    });
}

#[test]
fn labels_beyond_the_columns_and_names_that_clash_with_columns_round_trip() {
    let names: Vec<String> = (0..100).map(|i| format!("label_{i}")).collect();
    let mut pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    pairs.extend([("__name__", "m"), ("N", "1"), ("Job", "a"), ("job", "b"), ("hash", "h"), ("π", "τ")]);
    let mut series = [TestSeries::floats(&pairs, vec![5], vec![f64::NAN])];
    let block = write(options(), &mut series);
    run(async {
        let (labels, batch) = read_all(&reader(&block).await, TimeRange::ALL).await;
        assert_eq!(labels, [series[0].labels.clone()]);
        assert_samples(&series, &batch, TimeRange::ALL);
    });
}

#[test]
fn series_of_one_target_share_their_timestamps() {
    let t: Vec<i64> = (0..480).map(|i| i * 15_000 + i % 7).collect();
    let mut series: Vec<TestSeries> = (0..10_000)
        .map(|i| {
            let from = if i % 100 == 7 { 200 } else { 0 };
            let v = (from..480).map(|s| if i % 3 == 0 { 1.0 } else { (s * i) as f64 / 10.0 }).collect();
            TestSeries::floats(&[("__name__", "m"), ("i", &i.to_string())], t[from..].to_vec(), v)
        })
        .collect();
    let block = write(options(), &mut series);
    assert!(block.meta.files["ts.parquet"].bytes < 4096, "{:?}", block.meta.files);
    run(async {
        let (_, batch) = read_all(&reader(&block).await, TimeRange::ALL).await;
        assert_samples(&series, &batch, TimeRange::ALL);
        assert_eq!(batch.t.len(), 480 + 280);
    });
}
