use super::*;
use crate::Labels;

fn up() -> Labels {
    Labels::from_pairs([("__name__", "up")])
}

/// Writes the labels of `up`.
fn write_up(out: &mut Vec<u8>) -> Result<(), &'static str> {
    out.extend_from_slice(up().as_bytes());
    Ok(())
}

fn sample(t: i64) -> Sample {
    Sample { t, v: t as f64, st: 0 }
}

#[test]
fn samples_belong_to_the_series_that_was_begun_last() {
    let tenant = TenantId::default();
    let mut batch = WriteBatch::default();
    batch.begin_series(&tenant, |out| out.extend_from_slice(up().as_bytes()));
    batch.samples.extend([sample(1), sample(2)]);
    batch.begin_series(&tenant, |_| {});
    batch.samples.push(sample(3));
    batch.histograms.push(HistogramSample { t: 4, st: 0, h: Arc::default() });
    batch.finish_series();
    let [first, second] = batch.series() else { panic!("two series were begun") };
    assert_eq!(batch.samples_of(first), [sample(1), sample(2)]);
    assert!(batch.histograms_of(first).is_empty());
    assert_eq!(batch.samples_of(second), [sample(3)]);
    assert_eq!(batch.histograms_of(second).len(), 1);
    assert!(batch.exemplars_of(second).is_empty());
}

#[test]
fn series_have_their_labels_and_hash() {
    let tenant = TenantId::default();
    let mut batch = WriteBatch::default();
    batch.begin_series(&tenant, |out| out.extend_from_slice(up().as_bytes()));
    batch.begin_known_series(up().as_bytes(), 7);
    let hashes: Vec<_> = batch.series().iter().map(|series| series.hash).collect();
    assert_eq!(hashes, [series_hash(&tenant, up().as_bytes()), 7]);
    for series in batch.series() {
        assert_eq!(batch.labels_of(series), up().as_bytes());
        assert_eq!(batch.display_labels(series).to_string(), r#"{__name__="up"}"#);
    }
}

#[test]
fn a_series_with_invalid_labels_leaves_no_trace() {
    let tenant = TenantId::default();
    let mut batch = WriteBatch::default();
    assert_eq!(batch.try_begin_series(&tenant, write_up), Ok(()));
    batch.samples.push(sample(1));
    let fail = |out: &mut Vec<u8>| {
        out.push(9);
        Err("invalid")
    };
    assert_eq!(batch.try_begin_series(&tenant, fail), Err("invalid"));
    assert_eq!(batch.try_begin_series(&tenant, write_up), Ok(()));
    batch.samples.push(sample(2));
    batch.finish_series();
    assert_eq!(batch.series().len(), 2);
    for series in batch.series() {
        assert_eq!(batch.labels_of(series), up().as_bytes());
        assert_eq!(batch.samples_of(series).len(), 1);
        assert_eq!(series.hash, series_hash(&tenant, up().as_bytes()));
    }
}

#[test]
fn a_batch_of_metadata_is_not_empty() {
    let mut batch = WriteBatch::default();
    assert!(batch.is_empty());
    batch.metadata.push(("up".into(), Metadata::default()));
    assert!(!batch.is_empty());
}

#[test]
fn a_batch_that_was_cleared_is_empty() {
    let mut batch = WriteBatch::default();
    batch.begin_known_series(up().as_bytes(), 7);
    batch.samples.push(sample(1));
    batch.finish_series();
    assert!(batch.bytes() > up().as_bytes().len() + size_of::<Sample>());
    batch.clear();
    assert!(batch.is_empty());
    assert_eq!(batch.bytes(), 0);
}

const REASONS: [(RejectReason, &str); 10] = [
    (RejectReason::TooOld, "too_old"),
    (RejectReason::TooFarInFuture, "too_far_in_future"),
    (RejectReason::DuplicateTimestamp, "duplicate_timestamp"),
    (RejectReason::InvalidLabels, "invalid_labels"),
    (RejectReason::InvalidHistogram, "invalid_histogram"),
    (RejectReason::InvalidExemplar, "invalid_exemplar"),
    (RejectReason::MaxSeries, "max_series"),
    (RejectReason::MaxLabels, "max_labels"),
    (RejectReason::MaxLabelNameLength, "max_label_name_length"),
    (RejectReason::MaxLabelValueLength, "max_label_value_length"),
];

#[test]
fn reasons_have_names() {
    for (reason, name) in REASONS {
        assert_eq!(reason.as_str(), name);
        assert_eq!(RejectReason::parse(name), Some(reason));
    }
    assert_eq!(RejectReason::parse("unknown"), None);
}

fn rejected(reason: RejectReason, count: u64) -> WriteOutcome {
    let mut outcome = WriteOutcome::default();
    (0..count).for_each(|n| outcome.reject(reason, || format!("sample {n}")));
    outcome
}

#[test]
fn the_first_message_of_a_reason_is_kept() {
    let outcome = rejected(RejectReason::TooOld, 3);
    let expected = Rejected { count: 3, first: "sample 0".into() };
    assert_eq!(outcome.rejected[&RejectReason::TooOld], expected);
}

#[test]
fn what_several_replicas_reject_counts_once() {
    let mut outcome = rejected(RejectReason::TooOld, 3);
    outcome.merge_rejections_of_replica(rejected(RejectReason::TooOld, 3).rejected);
    outcome.merge_rejections_of_replica(rejected(RejectReason::TooOld, 5).rejected);
    assert_eq!(outcome.rejected[&RejectReason::TooOld].count, 5);
}

#[test]
fn what_another_replica_rejects_is_rejected() {
    let mut outcome = rejected(RejectReason::TooOld, 1);
    outcome.merge_rejections_of_replica(rejected(RejectReason::MaxSeries, 2).rejected);
    assert_eq!(outcome.rejected.len(), 2);
    assert_eq!(outcome.rejected[&RejectReason::MaxSeries].count, 2);
}

#[test]
fn outcomes_of_parts_add_up() {
    let mut outcome = WriteOutcome { samples: 1, new_series: 1, ..rejected(RejectReason::TooOld, 1) };
    outcome.absorb(WriteOutcome { samples: 2, histograms: 3, exemplars: 4, ..rejected(RejectReason::TooOld, 2) });
    assert_eq!(outcome.samples, 3);
    assert_eq!(outcome.histograms, 3);
    assert_eq!(outcome.exemplars, 4);
    assert_eq!(outcome.new_series, 1);
    assert_eq!(outcome.rejected[&RejectReason::TooOld].count, 3);
}
