//! No record of the log is longer than replay reads, whatever was appended, and everything appended is there after a restart.

use std::sync::Arc;

use pharos_head::{Head, HeadConfig};
use pharos_model::write::HistogramSample;
use pharos_model::{
    CounterReset, Exemplar, Histogram, Labels, Metadata, MetricType, Sample, SelectRequest, SeriesBatch, Span,
    TimeRange, WriteBatch,
};
use proptest::prelude::*;

use crate::support::*;

/// Records are closed at 1 MiB, and what is in one entry is bounded.
const LONG: usize = 4 << 20;

/// The lengths of all records in the log.
fn record_lengths(fs: &MemFs) -> Vec<usize> {
    let mut lengths = Vec::new();
    for (path, bytes) in fs.files() {
        let mut at = 20;
        while at < bytes.len() {
            let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            assert!(len > 0, "{path:?} at {at}");
            lengths.push(len);
            at += 8 + len;
        }
        assert_eq!(at, bytes.len());
    }
    lengths
}

fn big_config() -> HeadConfig {
    HeadConfig { segment_bytes: 8 << 20, max_pending_bytes: 1 << 30, ..config() }
}

fn append_batch(head: &Head, batch: &WriteBatch) {
    let (outcome, commit) = head.append(&tenant(), batch).unwrap();
    assert!(outcome.rejected.is_empty(), "{outcome:?}");
    commit.wait().unwrap();
}

fn metadata(help: String) -> Metadata {
    Metadata { kind: MetricType::Gauge, unit: "bytes".into(), help }
}

/// A histogram with this many buckets, each of which takes many bytes in the log.
fn histogram(buckets: usize, value: f64) -> Histogram {
    Histogram {
        counter_reset: CounterReset::Unknown,
        count: value * buckets as f64,
        sum: 1.5,
        positive_spans: vec![Span { offset: 0, length: buckets as u32 }],
        positive_buckets: vec![value; buckets],
        integer: true,
        ..Histogram::default()
    }
}

/// What a head has of one series.
#[derive(Debug, PartialEq)]
struct Held {
    labels: Labels,
    floats: Vec<(i64, u64)>,
    /// Times and numbers of buckets.
    histograms: Vec<(i64, usize)>,
}

fn held(head: &Head) -> Vec<Held> {
    let request = SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series: 0 };
    let set = head.select(&tenant(), &request, None).unwrap();
    let mut batch = SeriesBatch::default();
    set.fetch(0..set.labels().len(), TimeRange::ALL, &mut batch).unwrap();
    let held = |(i, labels): (usize, &Labels)| {
        let view = batch.view(i);
        let floats = view.t.iter().copied().zip(view.v.iter().map(|v| v.to_bits())).collect();
        let histograms = view.ht.iter().copied().zip(view.h.iter().map(|h| h.positive_buckets.len())).collect();
        Held { labels: labels.clone(), floats, histograms }
    };
    set.labels().iter().enumerate().map(held).collect()
}

#[test]
fn long_help_texts_of_many_families_survive_a_restart() {
    let fs = MemFs::default();
    let head = try_open(&fs, big_config()).unwrap();
    let mut batch = batch(&[(1, 1000, 1.0)]);
    batch.metadata.extend((0..1100).map(|i| (format!("family_{i}"), metadata("x".repeat(65_000)))));
    append_batch(&head, &batch);
    append(&head, &[(2, 1000, 2.0)]);
    let before = (head.metadata(&tenant()), read_all(&head));
    assert_eq!(before.0.len(), 1100);
    assert!(before.0.values().all(|m| m.help.len() == 4096));
    drop(head);
    assert!(record_lengths(&fs).into_iter().all(|len| len < LONG));
    let head = try_open(&fs, big_config()).unwrap();
    assert_eq!((head.metadata(&tenant()), read_all(&head)), before);
}

#[test]
fn metadata_is_in_every_segment_and_only_a_few_times() {
    let fs = MemFs::default();
    let head = try_open(&fs, HeadConfig { segment_bytes: 16 << 10, ..config() }).unwrap();
    for round in 0..200i64 {
        let samples: Vec<_> = (0..200).map(|series| (series, round * 1000, round as f64 * 0.3)).collect();
        let mut batch = batch(&samples);
        // Two targets that disagree about the help text.
        batch.metadata.push(("m".into(), metadata(format!("MARKER {}", round % 2))));
        append_batch(&head, &batch);
    }
    drop(head);
    assert!(fs.files().len() > 2);
    for (path, bytes) in fs.files() {
        let records = bytes.windows(6).filter(|text| text == b"MARKER").count();
        assert!((1..=3).contains(&records), "{records} in {path:?}");
    }
}

#[test]
fn memory_counts_metadata() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 0, 0.0)]);
    let before = head.memory_bytes();
    let mut batch = WriteBatch::default();
    batch.metadata.push(("m".into(), metadata("x".repeat(3000))));
    assert!(batch.bytes() > 3000, "and so do limits on requests in flight");
    append_batch(&head, &batch);
    assert!(head.memory_bytes() > before + 3000);
    let counted = head.memory_bytes();
    drop(head);
    assert_eq!(open(&fs).memory_bytes(), counted);
}

#[test]
fn large_histograms_of_one_series_survive_a_restart() {
    let fs = MemFs::default();
    let head = try_open(&fs, big_config()).unwrap();
    let large = Arc::new(histogram(60_000, f64::from(1 << 30)));
    let mut batch = WriteBatch::default();
    batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(1).as_bytes()));
    batch.histograms.extend((0..230).map(|t| HistogramSample { t, st: 0, h: large.clone() }));
    batch.finish_series();
    append_batch(&head, &batch);
    drop(head);
    let lengths = record_lengths(&fs);
    assert!(lengths.iter().sum::<usize>() > 64 << 20, "one record would be longer than replay read");
    assert!(lengths.into_iter().all(|len| len < LONG));
    let found = held(&try_open(&fs, big_config()).unwrap()).remove(0);
    assert_eq!(found.histograms, (0..230).map(|t| (t, 60_000)).collect::<Vec<_>>());
}

#[test]
fn a_histogram_of_too_many_empty_spans_is_rejected() {
    let head = open(&MemFs::default());
    let mut spans = histogram(1, 1.0);
    spans.positive_spans.extend(vec![Span { offset: 0, length: 0 }; 1 << 16]);
    let mut batch = WriteBatch::default();
    batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(1).as_bytes()));
    batch.histograms.push(HistogramSample { t: 0, st: 0, h: spans.into() });
    batch.finish_series();
    assert_eq!(head.append(&tenant(), &batch).unwrap().0.rejected.len(), 1);
}

#[derive(Clone, Debug)]
struct HostileSeries {
    label_bytes: usize,
    floats: usize,
    histograms: usize,
    buckets: usize,
    exemplars: usize,
}

fn hostile_series() -> impl Strategy<Value = HostileSeries> {
    let sizes =
        (prop_oneof![3 => Just(3usize), 1 => 1usize..1_000_000], prop_oneof![4 => 0usize..10, 1 => Just(20_000)]);
    let lists = (0usize..12, prop_oneof![4 => 1usize..20, 1 => Just(30_000)], 0usize..5);
    (sizes, lists).prop_map(|((label_bytes, floats), (histograms, buckets, exemplars))| HostileSeries {
        label_bytes,
        floats,
        histograms,
        buckets,
        exemplars,
    })
}

fn hostile_batch(number: usize, series: &[HostileSeries], helps: &[usize]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (i, s) in series.iter().enumerate() {
        let (name, x) = (format!("m_{number}_{i}"), "x".repeat(s.label_bytes));
        let labels = Labels::from_pairs([("__name__", name.as_str()), ("x", &x)]);
        batch.begin_series(&tenant(), |out| out.extend_from_slice(labels.as_bytes()));
        batch.samples.extend((0..s.floats as i64).map(|t| Sample { t: t * 7, v: t as f64 / 3.0, st: t * t }));
        let large = Arc::new(histogram(s.buckets, 1_000_003.0));
        let histograms = (0..s.histograms as i64).map(|t| HistogramSample { t: t * 7 + 1, st: -t, h: large.clone() });
        batch.histograms.extend(histograms);
        if s.floats + s.histograms > 0 {
            let trace = Labels::from_pairs([("trace", "x".repeat(120))]);
            batch.exemplars.extend((0..s.exemplars as i64).map(|t| Exemplar { labels: trace.clone(), value: 0.3, t }));
        }
    }
    batch.finish_series();
    let named = helps.iter().enumerate().map(|(i, len)| (format!("family_{i}"), metadata("é".repeat(*len))));
    batch.metadata.extend(named);
    batch
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn no_record_is_too_long_and_everything_appended_is_there_after_a_restart(
        batches in proptest::collection::vec(
            (proptest::collection::vec(hostile_series(), 0..5), proptest::collection::vec(0usize..20_000, 0..30)), 1..3,
        ),
    ) {
        let fs = MemFs::default();
        let head = try_open(&fs, big_config()).unwrap();
        for (number, (series, helps)) in batches.iter().enumerate() {
            append_batch(&head, &hostile_batch(number, series, helps));
        }
        let all = |head: &Head| {
            let exemplars = head.exemplars(&tenant(), &[vec![]], TimeRange::ALL, None);
            (held(head), exemplars, head.metadata(&tenant()))
        };
        let before = all(&head);
        drop(head);
        prop_assert!(record_lengths(&fs).into_iter().all(|len| len < LONG));
        prop_assert!(all(&try_open(&fs, big_config()).unwrap()) == before);
    }
}
