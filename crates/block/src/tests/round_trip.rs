//! What is read equals what was written, to the bit.

use pharos_model::{Labels, SeriesBatch, TimeRange};
use proptest::prelude::*;

use super::*;
use crate::BlockError;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_block_comes_back(mut series in model::series(12), a in -8_000_000i64..8_000_000, b in -8_000_000i64..8_000_000) {
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
                // A part at a time gives the same.
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
                    assert_eq!((at, &got.labels, got.t, got.value.to_bits()), (want_at, &want.labels, want.t, want.value.to_bits()));
                }
            }
        });
    }
}

#[test]
fn an_empty_block_is_a_block() {
    let block = write(options(), &mut []);
    run(async {
        let (labels, batch) = read_all(&reader(&block).await, TimeRange::ALL).await;
        assert!(labels.is_empty() && batch.is_empty());
    });
}

#[test]
fn the_metadata_is_rebuilt_from_the_footers() {
    let mut series = [TestSeries::floats(&[("__name__", "up"), ("job", "a")], vec![1, 2], vec![1.0, 0.5])];
    let block = write(options(), &mut series);
    run(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        upload(store.as_ref(), &block.meta.folder(), &block).await.unwrap();
        let rebuilt = BlockMeta::read_from_bucket(store.as_ref(), &block.meta.folder()).await.unwrap();
        assert_eq!(rebuilt, block.meta);
        assert_eq!(BlockMeta::from_bytes(&rebuilt.to_bytes()).unwrap(), block.meta);
        assert_eq!((rebuilt.series, rebuilt.samples, rebuilt.min_t, rebuilt.max_t), (1, 2, 1, 2));
        assert_eq!(rebuilt.shards.len(), 1);
        assert_eq!(rebuilt.folder().as_ref(), format!("anonymous/blocks/{}", Ulid(42)));
    });
}

#[test]
fn a_hundred_labels_and_names_that_clash_with_columns() {
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
fn series_of_one_scrape_share_their_timestamps() {
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

#[test]
fn input_that_no_block_can_hold_is_refused() {
    let mut writer = BlockWriter::new(options()).unwrap();
    let one = |name: &str, t: Vec<i64>| TestSeries::floats(&[("__name__", name)], t.clone(), vec![1.0; t.len()]);
    let mut push = |one: &TestSeries| writer.push(&one.labels, 1, None, one.view());
    push(&one("b", vec![1])).unwrap();
    assert!(push(&one("a", vec![1])).unwrap_err().to_string().contains("comes after"));
    assert!(push(&one("b", vec![1])).is_err());
    assert!(push(&one("c", vec![2, 2])).unwrap_err().to_string().contains("do not ascend"));
    let uneven = TestSeries { v: vec![], ..one("d", vec![1]) };
    assert!(push(&uneven).unwrap_err().to_string().contains("differ in length"));
    let empty = WriterOptions { window_end: 0, ..options() };
    assert!(matches!(BlockWriter::new(empty), Err(BlockError::Input(_))));
    let mut writer = BlockWriter::new(options()).unwrap();
    let exemplar = Exemplar { labels: Labels::empty(), value: 1.0, t: 1 };
    assert!(writer.push_exemplars(&[exemplar]).is_err());
}
