//! Samples for which another head decides: named rejections, forced values and retractions.

use std::sync::Arc;

use pharos_head::{AppendOutcome, Head, HeadConfig, TenantLimits};
use pharos_model::write::{HistogramSample, RefusedSample, SampleIndex};
use pharos_model::{Histogram, RejectReason, Sample, ShardSet, WriteBatch};

use crate::support::*;

fn force(head: &Head, samples: &[(u32, i64, f64)]) -> AppendOutcome {
    let forced = head.append_copy(&tenant(), &batch(samples), 0).unwrap();
    head.commit().wait().unwrap();
    forced
}

fn retract(head: &Head, samples: &[(u32, i64, f64)]) -> u64 {
    let (retracted, commit) = head.retract(&tenant(), &batch(samples), &all_shards(), None).unwrap();
    commit.wait().unwrap();
    retracted
}

fn held(samples: &[(u32, i64, f64)]) -> Samples {
    samples.iter().map(|(series, t, v)| ((labels(*series), *t), v.to_bits())).collect()
}

fn reopened(fs: &MemFs, head: Head) -> Head {
    drop(head);
    fs.crash(false);
    open(fs)
}

fn flush(head: &Head) {
    let cut = head.cut(&tenant(), 0, &all_shards());
    head.mark_flushed(&cut).wait().unwrap();
}

#[test]
fn a_forced_value_replaces_another_and_survives_a_restart() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 1000, 1.0), (1, 2000, 2.0), (2, 1000, 5.0)]);
    let forced = force(&head, &[(1, 1000, 9.0), (1, 2000, 9.0), (2, 1000, 5.0), (3, 1000, 3.0)]);
    assert_eq!((forced.replaced, forced.counted.samples), (2, 4));
    let expected = held(&[(1, 1000, 9.0), (1, 2000, 9.0), (2, 1000, 5.0), (3, 1000, 3.0)]);
    assert_eq!(read_all(&head), expected);
    let head = reopened(&fs, head);
    assert_eq!(read_all(&head), expected);
    assert_eq!(head.windows(&tenant())[0].unflushed_samples, 4);
}

#[test]
fn the_last_of_several_forced_values_stays() {
    let fs = MemFs::default();
    let head = open(&fs);
    force(&head, &[(1, 1000, 1.0), (1, 1000, 2.0), (1, 1000, 3.0)]);
    append(&head, &[(1, 2000, 4.0)]);
    let expected = held(&[(1, 1000, 3.0), (1, 2000, 4.0)]);
    assert_eq!(read_all(&head), expected);
    let head = reopened(&fs, head);
    assert_eq!(read_all(&head), expected);
    assert_eq!(head.windows(&tenant())[0].unflushed_samples, 2);
}

#[test]
fn a_value_forced_over_a_flushed_one_is_a_late_sample() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 1000, 1.0), (1, 2000, 2.0)]);
    flush(&head);
    force(&head, &[(1, 1000, 9.0)]);
    let check = |head: &Head| {
        let window = &head.windows(&tenant())[0];
        assert_eq!((window.unflushed_samples, window.flushed_samples), (1, 1));
        assert_eq!(read_unflushed(head), held(&[(1, 1000, 9.0)]), "the next block has it");
        assert_eq!(read_all(head), held(&[(1, 1000, 9.0), (1, 2000, 2.0)]));
    };
    check(&head);
    check(&reopened(&fs, head));
}

#[test]
fn only_exactly_the_sample_is_retracted() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 1000, 1.0), (1, 2000, 2.0), (2, 1000, 5.0)]);
    assert_eq!(retract(&head, &[(1, 1000, 1.0), (1, 2000, 9.0), (2, 3000, 5.0), (3, 1000, 1.0)]), 1);
    assert_eq!(retract(&head, &[(1, 1000, 1.0)]), 0, "a repeated retraction finds nothing");
    let expected = held(&[(1, 2000, 2.0), (2, 1000, 5.0)]);
    assert_eq!(read_all(&head), expected);
    assert_eq!(read_all(&reopened(&fs, head)), expected);
}

#[test]
fn a_flushed_sample_is_not_retracted() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0)]);
    flush(&head);
    assert_eq!(retract(&head, &[(1, 1000, 1.0)]), 0);
    assert_eq!(read_all(&head), held(&[(1, 1000, 1.0)]));
}

#[test]
fn a_head_yields_to_the_flushed_values_of_another() {
    let fs = MemFs::default();
    let head = open(&fs);
    let own = [(1, 1000, 9.0), (1, 2000, 2.0), (1, 3000, 9.0), (3, 1000, 9.0)];
    append(&head, &own);
    let flushed = batch(&[(1, 1000, 1.0), (1, 2000, 2.0), (2, 1000, 3.0)]);
    let (removed, commit) = head.yield_to(&tenant(), &flushed, 0).unwrap();
    commit.wait().unwrap();
    assert_eq!(removed, 1);
    assert_eq!(read_all(&head), held(&own[1..]));
    assert_eq!(read_all(&reopened(&fs, head)), held(&own[1..]));
}

#[test]
fn a_head_does_not_yield_what_it_has_flushed() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0)]);
    flush(&head);
    assert_eq!(head.yield_to(&tenant(), &batch(&[(1, 1000, 9.0)]), 0).unwrap().0, 0);
}

#[test]
fn another_value_is_accepted_after_a_retraction() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 1000, 1.0)]);
    retract(&head, &[(1, 1000, 1.0)]);
    assert_eq!(append(&head, &[(1, 1000, 2.0)]).samples, 1);
    assert_eq!(read_all(&head), held(&[(1, 1000, 2.0)]));
    assert_eq!(read_all(&reopened(&fs, head)), held(&[(1, 1000, 2.0)]));
}

#[test]
fn a_series_leaves_with_its_last_retracted_sample() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0)]);
    let before = head.memory_bytes();
    append(&head, &[(2, 1000, 1.0)]);
    retract(&head, &[(2, 1000, 1.0)]);
    assert_eq!(head.series(&tenant(), &[], pharos_model::TimeRange::ALL, None), [labels(1)]);
    assert!(head.memory_bytes() <= before + 200, "{} bytes, before {before}", head.memory_bytes());
}

#[test]
fn samples_of_other_shards_are_not_retracted() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0)]);
    let (retracted, _commit) = head.retract(&tenant(), &batch(&[(1, 1000, 1.0)]), &ShardSet::new(), None).unwrap();
    assert_eq!(retracted, 0);
}

fn histogram(t: i64, sum: f64) -> WriteBatch {
    let mut batch = WriteBatch::default();
    batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(1).as_bytes()));
    let h = Arc::new(Histogram { sum, count: 3.0, zero_count: 3.0, ..Histogram::default() });
    batch.histograms.push(HistogramSample { t, st: 0, h });
    batch.finish_series();
    batch
}

#[test]
fn histograms_are_replaced_and_retracted() {
    let fs = MemFs::default();
    let head = open(&fs);
    head.append(&tenant(), &histogram(1000, 1.0)).unwrap().1.wait().unwrap();
    assert_eq!(head.append_copy(&tenant(), &histogram(1000, 2.0), 0).unwrap().replaced, 1);
    // A float takes the place of a histogram, too.
    append(&head, &[(1, 2000, 1.0)]);
    assert_eq!(head.append_copy(&tenant(), &histogram(2000, 2.0), 0).unwrap().replaced, 1);
    assert_eq!(retract(&head, &[(1, 2000, 1.0)]), 0);
    let head = reopened(&fs, head);
    assert_eq!(head.windows(&tenant())[0].unflushed_samples, 2);
    assert_eq!(head.retract(&tenant(), &histogram(1000, 1.0), &all_shards(), None).unwrap().0, 0);
    assert_eq!(head.retract(&tenant(), &histogram(1000, 2.0), &all_shards(), None).unwrap().0, 1);
    assert_eq!(head.windows(&tenant())[0].unflushed_samples, 1);
}

fn float(at: u32, reason: RejectReason) -> RefusedSample {
    RefusedSample { sample: SampleIndex { is_histogram: false, at }, reason }
}

#[test]
fn rejected_samples_are_named_by_their_positions() {
    let limits = TenantLimits { max_series: 1, ..TenantLimits::default() };
    let config = HeadConfig { limits, max_future_ms: 1000, ..config() };
    let head = try_open_at(&MemFs::default(), config, 10 * HOUR).unwrap();
    append(&head, &[(1, 10 * HOUR, 1.0)]);
    let mut batch = batch(&[(1, 10 * HOUR, 2.0), (1, 0, 1.0), (1, 11 * HOUR, 1.0), (1, 10 * HOUR, 1.0)]);
    batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(2).as_bytes()));
    batch.samples.push(Sample { t: 10 * HOUR, v: 1.0, st: 0 });
    let h = Arc::new(Histogram { count: -1.0, ..Histogram::default() });
    batch.histograms.push(HistogramSample { t: 10 * HOUR, st: 0, h });
    batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(3).as_bytes()));
    batch.samples.push(Sample { t: 0, v: 1.0, st: 0 });
    batch.finish_series();
    let shards = pharos_head::AppendTargets { taken: &all_shards(), counted: &ShardSet::new(), deletions: None };
    let mut refused = head.append_shards(&tenant(), &batch, shards).unwrap().refused;
    refused.sort_unstable();
    let of_histogram =
        RefusedSample { sample: SampleIndex { is_histogram: true, at: 0 }, reason: RejectReason::MaxSeries };
    let expected = [
        float(0, RejectReason::DuplicateTimestamp),
        float(1, RejectReason::TooOld),
        float(2, RejectReason::TooFarInFuture),
        float(4, RejectReason::MaxSeries),
        float(5, RejectReason::TooOld),
        of_histogram,
    ];
    assert_eq!(refused, expected);
}

#[test]
fn samples_are_forced_and_retracted_on_their_side_of_a_deletion_only() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0)]);
    head.delete(&tenant(), &[], pharos_model::TimeRange::EMPTY, 3).unwrap().wait().unwrap();
    let (all, batch) = (all_shards(), batch(&[(1, 1000, 2.0)]));
    for deletions in [2, 4].map(Some) {
        let targets = pharos_head::AppendTargets { taken: &all, counted: &all, deletions };
        assert!(head.force(&tenant(), &batch, targets).is_err());
        assert!(head.retract(&tenant(), &batch, &all, deletions).is_err());
        assert!(head.yield_to(&tenant(), &batch, deletions.unwrap()).is_err());
    }
    assert_eq!(read_all(&head), held(&[(1, 1000, 1.0)]));
    let targets = pharos_head::AppendTargets { taken: &all, counted: &all, deletions: Some(3) };
    assert_eq!(head.force(&tenant(), &batch, targets).unwrap().replaced, 1);
    assert_eq!(head.retract(&tenant(), &batch, &all, Some(3)).unwrap().0, 1);
}
