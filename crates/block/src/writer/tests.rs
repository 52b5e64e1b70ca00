use pharos_model::{SeriesBatch, TimeRange};

use super::*;
use crate::tests::{TestSeries, assert_samples, options, read_all, reader, run, write};

fn one(name: &str, t: Vec<i64>) -> TestSeries {
    let v = vec![1.0; t.len()];
    TestSeries::floats(&[("__name__", name)], t, v)
}

fn push(writer: &mut BlockWriter, one: &TestSeries) -> Result<(), BlockError> {
    writer.push(&one.labels, 1, None, one.view())
}

/// The message with which a writer refuses a series after one named "b".
fn refusal(series: &TestSeries) -> String {
    let mut writer = BlockWriter::new(options()).unwrap();
    push(&mut writer, &one("b", vec![1])).unwrap();
    let error = push(&mut writer, series).unwrap_err();
    assert!(matches!(error, BlockError::Input(_)), "{error}");
    error.to_string()
}

#[test]
fn series_out_of_order_are_refused() {
    assert!(refusal(&one("a", vec![1])).contains("comes after"));
    assert!(refusal(&one("b", vec![1])).contains("comes after"), "a series may be pushed once");
}

#[test]
fn timestamps_that_do_not_ascend_are_refused() {
    assert!(refusal(&one("c", vec![2, 2])).contains("do not ascend"));
    assert!(refusal(&one("c", vec![2, 1])).contains("do not ascend"));
    let histograms = TestSeries { ht: vec![2, 1], h: vec![Default::default(); 2], ..one("c", vec![]) };
    assert!(refusal(&histograms).contains("do not ascend"));
}

#[test]
fn columns_of_different_lengths_are_refused() {
    assert!(refusal(&TestSeries { v: vec![], ..one("c", vec![1]) }).contains("differ in length"));
    assert!(refusal(&TestSeries { st: vec![1, 2], ..one("c", vec![1]) }).contains("differ in length"));
    assert!(refusal(&TestSeries { ht: vec![1], ..one("c", vec![]) }).contains("differ in length"));
}

#[test]
fn a_series_of_more_than_a_million_samples_is_read_back() {
    let n = 1_000_001;
    let long = TestSeries::floats(
        &[("__name__", "c")],
        (0..n).map(|t| t * 7).collect(),
        (0..n).map(|t| (t % 1000) as f64 / 8.0).collect(),
    );
    let mut series = [one("b", vec![1, 2]), long.clone(), TestSeries { labels: one("d", vec![]).labels, ..long }];
    let block = write(options(), &mut series);
    run(async {
        let reader = reader(&block).await;
        let edge = MAX_VECTOR_SAMPLES as i64 * 7;
        for range in [TimeRange::ALL, TimeRange::new(edge - 8, edge + 8), TimeRange::new(edge, i64::MAX)] {
            let (labels, batch) = read_all(&reader, range).await;
            let matched: Vec<TestSeries> = series.iter().filter(|one| labels.contains(&one.labels)).cloned().collect();
            assert_samples(&matched, &batch, range);
            assert!(labels.len() >= 2);
        }
    });
}

#[test]
fn an_empty_window_is_refused() {
    assert!(matches!(BlockWriter::new(WriterOptions { window_end: 0, ..options() }), Err(BlockError::Input(_))));
}

#[test]
fn a_cluster_without_shards_is_refused() {
    assert!(matches!(BlockWriter::new(WriterOptions { shards_total: 0, ..options() }), Err(BlockError::Input(_))));
}

#[test]
fn exemplars_before_the_first_series_are_refused() {
    let mut writer = BlockWriter::new(options()).unwrap();
    let exemplar = Exemplar { labels: Labels::empty(), value: 1.0, t: 1 };
    assert!(writer.push_exemplars(&[exemplar]).is_err());
    assert!(writer.push_exemplars(&[]).is_ok());
}

#[test]
fn files_without_rows_are_omitted() {
    let names = |block: &FinishedBlock| block.files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&write(options(), &mut [one("a", vec![1])])), [TS, SERIES, DATA]);
    let with_histogram = TestSeries { ht: vec![1], h: vec![Default::default()], ..one("a", vec![1]) };
    assert_eq!(names(&write(options(), &mut [with_histogram])), [TS, SERIES, HISTOGRAMS, DATA]);
    let exemplars = vec![Exemplar { labels: Labels::empty(), value: 1.0, t: 1 }];
    let with_exemplar = TestSeries { exemplars, ..one("a", vec![1]) };
    assert_eq!(names(&write(options(), &mut [with_exemplar])), [TS, SERIES, EXEMPLARS, DATA]);
}

#[test]
fn metadata_counts_what_was_pushed() {
    let histograms = TestSeries { ht: vec![7, 9], h: vec![Default::default(); 2], ..one("b", vec![3]) };
    let meta = write(options(), &mut [one("a", vec![5, 6]), histograms]).meta;
    assert_eq!(meta.series, 2);
    assert_eq!(meta.samples, 3);
    assert_eq!(meta.histograms, 2);
    assert_eq!(meta.exemplars, 0);
    assert_eq!(meta.min_t, 3);
    assert_eq!(meta.max_t, 9);
}

#[test]
fn a_block_without_series_has_no_time() {
    let meta = write(options(), &mut []).meta;
    assert_eq!(meta.min_t, i64::MAX);
    assert_eq!(meta.max_t, i64::MIN);
    assert!(meta.time_range().is_empty());
    assert!(meta.shards.is_empty());
}

#[test]
fn the_shards_of_a_block_are_those_given_or_those_of_its_series() {
    let given = WriterOptions { shards: Some(vec![1, 2]), ..options() };
    assert_eq!(write(given, &mut [one("a", vec![1])]).meta.shards, [1, 2]);
    assert_eq!(write(options(), &mut [one("a", vec![1])]).meta.shards.len(), 1);
}

#[test]
fn sizes_in_the_metadata_are_those_of_the_files() {
    let block = write(options(), &mut [one("a", vec![1])]);
    for (name, bytes) in &block.files {
        let file = block.meta.files[name];
        assert_eq!(file.bytes, bytes.len() as u64);
        assert!(file.tail > 8 && file.tail < file.bytes);
        assert_eq!(file.crc, Some(crc32fast::hash(&bytes[bytes.len() - file.tail as usize..])));
    }
}

#[test]
fn the_same_series_make_the_same_bytes() {
    let block = || write(options(), &mut [one("a", vec![1, 2]), one("b", vec![1, 2])]);
    assert_eq!(block().files, block().files);
}

#[test]
fn a_long_series_is_split_into_rows() {
    for samples in [MAX_ROW_SAMPLES - 1, MAX_ROW_SAMPLES, MAX_ROW_SAMPLES + 1, 3 * MAX_ROW_SAMPLES] {
        let t: Vec<i64> = (0..samples as i64).map(|i| i * 1000).collect();
        let v = t.iter().map(|t| (*t as f64).sqrt()).collect();
        let mut series = [TestSeries::floats(&[("__name__", "m")], t, v)];
        let block = write(options(), &mut series);
        run(async {
            let reader = reader(&block).await;
            let range = TimeRange::new(1_919_000, 1_921_000);
            for range in [TimeRange::ALL, range] {
                let selection = reader.select(&[], TimeRange::ALL, 0).await.unwrap();
                let mut batch = SeriesBatch::default();
                selection.fetch(0..1, range, &mut batch).await.unwrap();
                assert_samples(&series, &batch, range);
            }
        });
    }
}

#[test]
fn more_rows_than_a_group_holds_are_read_back() {
    let mut series: Vec<TestSeries> =
        (0..schema::MAX_GROUP_ROWS as i64 + 10).map(|i| one(&format!("m{i:05}"), vec![i, i + 1])).collect();
    let block = write(options(), &mut series);
    run(async {
        let (labels, batch) = read_all(&reader(&block).await, TimeRange::ALL).await;
        assert_eq!(labels.len(), series.len());
        assert_samples(&series, &batch, TimeRange::ALL);
    });
}

#[test]
fn promoted_labels_that_clash_with_columns_are_skipped() {
    let promoted = ["job", "SID", "job", "a.b", "zone"].map(String::from).to_vec();
    let mut series = [TestSeries::floats(&[("__name__", "m"), ("SID", "x"), ("job", "a")], vec![1], vec![2.0])];
    let block = write(WriterOptions { promoted, ..options() }, &mut series);
    run(async {
        let (labels, batch) = read_all(&reader(&block).await, TimeRange::ALL).await;
        assert_eq!(labels, [series[0].labels.clone()]);
        assert_samples(&series, &batch, TimeRange::ALL);
    });
}

#[test]
fn the_size_so_far_grows_with_flushed_row_groups() {
    let mut writer = BlockWriter::new(options()).unwrap();
    let before = writer.bytes();
    for i in 0..schema::MAX_GROUP_ROWS {
        push(&mut writer, &one(&format!("m{i:05}"), vec![i as i64])).unwrap();
    }
    assert!(writer.bytes() > before);
}
