//! Appends, reads, limits and settings.

use std::collections::HashMap;
use std::sync::Arc;

use pharos_head::{AppendTargets, HeadConfig, HeadError, SettingsByTenant, TenantLimits, TenantSettings};
use pharos_model::hash::shard_of;
use pharos_model::write::HistogramSample;
use pharos_model::{
    Exemplar, Histogram, Labels, MatchOp, Matcher, Metadata, MetricType, RejectReason, STALE_NAN, Sample,
    SelectRequest, SeriesBatch, ShardSet, TenantId, TimeRange, WriteBatch, WriteError, WriteOutcome, series_hash,
};

use crate::support::*;

fn count(outcome: &WriteOutcome, reason: RejectReason) -> u64 {
    outcome.rejected.get(&reason).map_or(0, |rejected| rejected.count)
}

fn reasons(outcome: &WriteOutcome) -> Vec<&'static str> {
    outcome.rejected.keys().map(|reason| reason.as_str()).collect()
}

#[test]
fn samples_come_back_after_a_restart() {
    let fs = MemFs::default();
    let head = open(&fs);
    for i in 0..500 {
        append(&head, &[(1, i * 15_000, i as f64), (2, i * 15_000, 0.5), (3, i * 15_000, (i as f64).sqrt())]);
    }
    let before = read_all(&head);
    assert_eq!(before.len(), 1500);
    assert!(fs.files().len() > 3, "the log has several segments");
    drop(head);
    fs.crash(false);
    assert_eq!(read_all(&open(&fs)), before);
}

#[test]
fn any_number_of_replay_threads_restores_the_same_samples() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &(0..100).map(|series| (series, 1000, f64::from(series))).collect::<Vec<_>>());
    let before = read_all(&head);
    drop(head);
    for replay_threads in [0, 1, 3, 8] {
        let head = try_open(&fs, HeadConfig { replay_threads, ..config() }).unwrap();
        assert_eq!(read_all(&head), before, "{replay_threads} threads");
    }
}

#[test]
fn a_restart_accounts_for_the_same_memory() {
    let fs = MemFs::default();
    let head = open(&fs);
    for i in 0..50 {
        append(&head, &(0..20).map(|series| (series, i * 15_000, i as f64)).collect::<Vec<_>>());
    }
    let before = head.memory_bytes();
    drop(head);
    assert_eq!(open(&fs).memory_bytes(), before);
}

#[test]
fn a_repeated_sample_is_accepted() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0), (1, 2000, f64::NAN)]);
    let again = append(&head, &[(1, 1000, 1.0), (1, 2000, f64::NAN)]);
    assert_eq!(again.samples, 2);
    assert!(again.rejected.is_empty());
    assert_eq!(read_all(&head).len(), 2);
}

#[test]
fn a_second_value_for_a_timestamp_is_rejected() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0), (1, 2000, f64::NAN)]);
    let conflict = append(&head, &[(1, 1000, 1.5), (1, 2000, 2.0), (2, 5, 5.0)]);
    assert_eq!(conflict.samples, 1);
    let rejected = &conflict.rejected[&RejectReason::DuplicateTimestamp];
    assert_eq!(rejected.count, 2);
    assert_eq!(
        rejected.first,
        r#"duplicate sample for timestamp 1000; overrides not allowed, series {__name__="m", instance="1", job="job-1"}"#
    );
    assert_eq!(read_all(&head).len(), 3);
}

#[test]
fn a_stale_marker_behind_newer_samples_is_rejected_on_request() {
    let head = open(&MemFs::default());
    let markers = |stale_in_order: bool, samples: &[(u32, i64, f64)]| {
        let mut markers = batch(samples);
        markers.stale_in_order = stale_in_order;
        let (outcome, commit) = head.append(&tenant(), &markers).unwrap();
        commit.wait().unwrap();
        outcome
    };
    append(&head, &[(1, 1000, 1.0), (1, 2000, 2.0), (2, 1000, 1.0)]);
    let outcome = markers(true, &[(1, 1500, STALE_NAN), (1, 2000, STALE_NAN), (2, 1500, STALE_NAN), (3, 5, STALE_NAN)]);
    assert_eq!((outcome.samples, count(&outcome, RejectReason::OutOfOrder)), (2, 2));
    assert_eq!(
        outcome.rejected[&RejectReason::OutOfOrder].first,
        r#"stale marker at timestamp 1500 behind newer samples, series {__name__="m", instance="1", job="job-1"}"#
    );
    append(&head, &[(2, 2000, 3.0)]);
    let again = markers(true, &[(2, 1500, STALE_NAN), (2, 1700, 1.0)]);
    assert_eq!((again.samples, again.rejected.len()), (2, 0), "a resend, and a sample that is not stale");
    assert_eq!(markers(false, &[(1, 1500, STALE_NAN)]).samples, 1, "a backlog may have markers between samples");
    assert_eq!(read_all(&head).len(), 8);
}

#[test]
fn zero_and_negative_zero_are_different_values() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 0.0)]);
    let conflict = append(&head, &[(1, 1000, -0.0)]);
    assert_eq!(count(&conflict, RejectReason::DuplicateTimestamp), 1);
}

#[test]
fn late_samples_are_taken_within_the_out_of_order_window() {
    let head = try_open_at(&MemFs::default(), config(), 10 * HOUR).unwrap();
    append(&head, &[(1, 10 * HOUR, 2.0)]);
    let late: Vec<_> = (0..200).map(|i| (1, 8 * HOUR + (i * 37 % 200) * 1000, i as f64)).collect();
    assert_eq!(append(&head, &late).samples, 200);
    assert_eq!(append(&head, &late).samples, 200, "sent again");
    assert_eq!(read_all(&head).len(), 201);
    assert_eq!(read(&head, TimeRange::new(8 * HOUR, 8 * HOUR + 9_000), None).len(), 10);
}

#[test]
fn samples_older_than_the_out_of_order_window_are_rejected() {
    let head = try_open_at(&MemFs::default(), config(), 10 * HOUR).unwrap();
    append(&head, &[(1, 10 * HOUR, 2.0)]);
    let outcome = append(&head, &[(1, 8 * HOUR - 1, 0.0), (2, 7 * HOUR, 0.0)]);
    assert_eq!(outcome.samples, 0);
    assert_eq!(outcome.new_series, 0, "no series is created for samples that are rejected");
    assert_eq!(count(&outcome, RejectReason::TooOld), 2);
}

#[test]
fn a_backlog_in_order_is_taken_whatever_the_out_of_order_window() {
    const MINUTE: i64 = 60_000;
    let config = HeadConfig { out_of_order_window_ms: 10 * MINUTE, ..config() };
    let head = try_open_at(&MemFs::default(), config, 10 * HOUR).unwrap();
    append(&head, &[(1, 10 * HOUR - 41 * MINUTE, 0.0), (2, 10 * HOUR, 0.0)]);
    let backlog: Vec<_> = (0..41).map(|i| (1, 10 * HOUR - 40 * MINUTE + i * MINUTE, 1.0)).collect();
    assert_eq!(append(&head, &backlog).samples, 41);
    let of_a_new_series = append(&head, &[(3, 10 * HOUR - 40 * MINUTE, 1.0), (4, 9 * HOUR - 1, 1.0)]);
    assert_eq!(of_a_new_series.samples, 1);
    assert_eq!(count(&of_a_new_series, RejectReason::TooOld), 1);
    let out_of_order = append(&head, &[(1, 10 * HOUR - 30 * MINUTE + 1, 1.0), (1, 10 * HOUR - MINUTE + 1, 1.0)]);
    assert_eq!(out_of_order.samples, 1);
    assert_eq!(count(&out_of_order, RejectReason::TooOld), 1);
}

#[test]
fn an_old_sample_may_be_repeated() {
    let head = try_open_at(&MemFs::default(), config(), 10 * HOUR).unwrap();
    append(&head, &[(1, -5_000, 1.0)]);
    append(&head, &[(1, 10 * HOUR, 2.0)]);
    assert_eq!(append(&head, &[(1, -5_000, 1.0)]).samples, 1);
    assert_eq!(count(&append(&head, &[(1, -5_000, 9.0)]), RejectReason::TooOld), 1);
}

#[test]
fn history_may_be_loaded_in_any_order() {
    let head = try_open_at(&MemFs::default(), config(), 1000 * HOUR).unwrap();
    for t in [500 * HOUR, 10 * HOUR, 300 * HOUR] {
        assert_eq!(append(&head, &[(1, t, 1.0)]).samples, 1);
    }
}

#[test]
fn a_sample_from_the_future_does_not_shut_out_others() {
    let head = try_open_at(&MemFs::default(), config(), 10 * HOUR).unwrap();
    append(&head, &[(1, 10 * HOUR, 1.0), (2, 33 * HOUR, 1.0)]);
    let outcome = append(&head, &[(1, 10 * HOUR + 15_000, 2.0), (2, 8 * HOUR, 2.0), (3, 8 * HOUR - 1, 2.0)]);
    assert_eq!(outcome.samples, 2);
    assert_eq!(count(&outcome, RejectReason::TooOld), 1);
}

#[test]
fn samples_too_far_in_the_future_are_rejected() {
    let head = try_open(&MemFs::default(), HeadConfig { max_future_ms: 1000, ..config() }).unwrap();
    let outcome = append(&head, &[(1, 253_402_300_799_000, 1.0), (1, 1000, 1.0), (1, i64::MAX, 1.0)]);
    assert_eq!(outcome.samples, 1);
    assert_eq!(count(&outcome, RejectReason::TooFarInFuture), 2);
}

#[test]
fn the_ends_of_time_can_be_stored() {
    let head = open(&MemFs::default());
    let outcome = append(&head, &[(1, i64::MIN, 1.0), (1, i64::MAX, 1.0), (1, i64::MAX - 5, 1.0), (2, -1, 1.0)]);
    assert_eq!(outcome.samples, 4);
    assert_eq!(read_all(&head).len(), 4);
}

fn shard(series: u32) -> u32 {
    shard_of(series_hash(&tenant(), labels(series).as_bytes()), 64)
}

#[test]
fn shards_that_do_not_count_have_an_outcome_of_their_own() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0), (2, 1000, 1.0)]);
    assert_ne!(shard(1), shard(2));
    let counted = ShardSet::from_iter([shard(1)]);
    let targets = AppendTargets { taken: &all_shards(), counted: &counted, deletions: None };
    let batch = batch(&[(1, 1000, 1.0), (2, 1000, 2.0), (2, 2000, 2.0)]);
    let outcome = head.append_shards(&tenant(), &batch, targets).unwrap();
    outcome.commit.wait().unwrap();
    assert_eq!(outcome.counted.samples, 1);
    assert!(outcome.counted.rejected.is_empty());
    assert_eq!(outcome.uncounted.samples, 1);
    assert_eq!(count(&outcome.uncounted, RejectReason::DuplicateTimestamp), 1);
}

#[test]
fn shards_that_are_not_taken_are_skipped() {
    let head = open(&MemFs::default());
    let taken = ShardSet::from_iter([shard(2)]);
    let targets = AppendTargets { taken: &taken, counted: &all_shards(), deletions: None };
    let outcome = head.append_shards(&tenant(), &batch(&[(1, 1000, 1.0), (2, 1000, 2.0)]), targets).unwrap();
    outcome.commit.wait().unwrap();
    assert_eq!(outcome.counted.samples, 1);
    assert_eq!(read_all(&head), Samples::from([((labels(2), 1000), 2.0f64.to_bits())]));
}

/// A batch with two floats, three histograms, an exemplar and metadata, all of one series.
fn mixed_batch() -> WriteBatch {
    let mut batch = WriteBatch::default();
    batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(1).as_bytes()));
    batch.samples.push(Sample { t: 1000, v: 1.0, st: 500 });
    batch.samples.push(Sample { t: 3000, v: 2.0, st: 500 });
    for t in [2000, 4000, 1500] {
        let h = Arc::new(Histogram { sum: t as f64, ..Histogram::default() });
        batch.histograms.push(HistogramSample { t, st: t - 1, h });
    }
    batch.exemplars.push(exemplar());
    batch.finish_series();
    batch.metadata.push(("m".into(), metadata()));
    batch
}

fn exemplar() -> Exemplar {
    Exemplar { labels: Labels::from_pairs([("trace_id", "abc")]), value: 3.0, t: 1000 }
}

fn metadata() -> Metadata {
    Metadata { kind: MetricType::Counter, unit: "bytes".into(), help: "All bytes.".into() }
}

/// A head that has replayed [`mixed_batch`].
fn head_with_mixed_batch() -> pharos_head::Head {
    let fs = MemFs::default();
    let head = open(&fs);
    head.append(&tenant(), &mixed_batch()).unwrap().1.wait().unwrap();
    drop(head);
    open(&fs)
}

#[test]
fn an_outcome_counts_samples_histograms_and_exemplars() {
    let head = open(&MemFs::default());
    let (outcome, commit) = head.append(&tenant(), &mixed_batch()).unwrap();
    commit.wait().unwrap();
    assert_eq!(outcome.samples, 2);
    assert_eq!(outcome.histograms, 3);
    assert_eq!(outcome.exemplars, 1);
}

#[test]
fn metadata_and_exemplars_survive_a_restart() {
    let head = head_with_mixed_batch();
    assert_eq!(head.metadata(&tenant())["m"], metadata());
    let found = head.exemplars(&tenant(), &[vec![Matcher::equal("job", "job-1")]], TimeRange::ALL, None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].exemplars, [exemplar()]);
}

#[test]
fn exemplars_can_be_restricted_to_shards() {
    let head = head_with_mixed_batch();
    let selectors = [vec![]];
    let of = |shards: ShardSet| head.exemplars(&tenant(), &selectors, TimeRange::ALL, Some(&shards)).len();
    assert_eq!(of(ShardSet::from_iter([shard(1)])), 1);
    assert_eq!(of(ShardSet::from_iter([shard(2)])), 0);
}

#[test]
fn floats_and_histograms_of_one_series_keep_their_start_timestamps() {
    let head = head_with_mixed_batch();
    let request = SelectRequest { matchers: vec![], range: TimeRange::ALL, max_series: 0 };
    let set = head.select(&tenant(), &request, None).unwrap();
    let mut out = SeriesBatch::default();
    set.fetch(0..1, TimeRange::ALL, &mut out).unwrap();
    let view = out.view(0);
    assert_eq!(view.t, [1000, 3000]);
    assert_eq!(view.v, [1.0, 2.0]);
    assert_eq!(view.st, [500, 500]);
    assert_eq!(view.ht, [1500, 2000, 4000]);
    assert_eq!(view.hst, [1499, 1999, 3999]);
    assert_eq!(view.h.iter().map(|h| h.sum).collect::<Vec<_>>(), [1500.0, 2000.0, 4000.0]);
}

#[test]
fn a_float_at_the_timestamp_of_a_histogram_is_rejected() {
    let head = head_with_mixed_batch();
    assert_eq!(count(&append(&head, &[(1, 2000, 1.0)]), RejectReason::DuplicateTimestamp), 1);
}

#[test]
fn an_invalid_histogram_is_rejected_and_the_rest_of_the_batch_is_taken() {
    let head = open(&MemFs::default());
    let mut batch = WriteBatch::default();
    batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(1).as_bytes()));
    batch.samples.push(Sample { t: 1, v: 1.0, st: 0 });
    let h = Histogram { positive_buckets: vec![1.0], ..Histogram::default() };
    batch.histograms.push(HistogramSample { t: 2, st: 0, h: Arc::new(h) });
    batch.finish_series();
    let (outcome, commit) = head.append(&tenant(), &batch).unwrap();
    commit.wait().unwrap();
    assert_eq!(outcome.samples, 1);
    assert_eq!(outcome.histograms, 0);
    assert_eq!(count(&outcome, RejectReason::InvalidHistogram), 1);
}

#[test]
fn an_exemplar_of_a_series_without_samples_is_rejected() {
    let head = open(&MemFs::default());
    let mut batch = WriteBatch::default();
    batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(1).as_bytes()));
    batch.exemplars.push(exemplar());
    batch.finish_series();
    let (outcome, _commit) = head.append(&tenant(), &batch).unwrap();
    assert_eq!(count(&outcome, RejectReason::InvalidExemplar), 1);
    assert!(outcome.rejected[&RejectReason::InvalidExemplar].first.contains("unknown series"));
}

#[test]
fn metadata_beyond_the_limit_is_ignored() {
    let head = try_open(&MemFs::default(), HeadConfig { max_metadata: 2, ..config() }).unwrap();
    let mut batch = WriteBatch::default();
    batch.metadata.extend(["a", "b", "c"].map(|family| (family.to_string(), metadata())));
    head.append(&tenant(), &batch).unwrap().1.wait().unwrap();
    assert_eq!(head.metadata(&tenant()).into_keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn newer_metadata_replaces_older() {
    let fs = MemFs::default();
    let head = open(&fs);
    for help in ["first", "second"] {
        let mut batch = WriteBatch::default();
        batch.metadata.push(("m".into(), Metadata { help: help.into(), ..metadata() }));
        head.append(&tenant(), &batch).unwrap().1.wait().unwrap();
    }
    assert_eq!(head.metadata(&tenant())["m"].help, "second");
    drop(head);
    assert_eq!(open(&fs).metadata(&tenant())["m"].help, "second");
}

fn head_with_thirty_series() -> pharos_head::Head {
    let head = open(&MemFs::default());
    append(&head, &(0..30).map(|i| (i, 1000, 1.0)).collect::<Vec<_>>());
    head
}

#[test]
fn matchers_select_series_in_label_order() {
    let head = head_with_thirty_series();
    let regex = Matcher::new(MatchOp::Regex, "instance", "1.").unwrap();
    let matchers = [Matcher::equal("job", "job-1"), regex];
    let found = head.series(&tenant(), &matchers, TimeRange::ALL, None);
    assert_eq!(found, [labels(10), labels(13), labels(16), labels(19)]);
}

#[test]
fn series_without_samples_in_the_range_are_not_selected() {
    let head = head_with_thirty_series();
    assert!(head.series(&tenant(), &[], TimeRange::new(1001, 2000), None).is_empty());
    assert_eq!(head.series(&tenant(), &[], TimeRange::new(1000, 1000), None).len(), 30);
}

#[test]
fn a_selection_can_be_restricted_to_shards() {
    let head = head_with_thirty_series();
    let shards = ShardSet::from_iter([shard(4)]);
    let found = head.series(&tenant(), &[], TimeRange::ALL, Some(&shards));
    let expected = (0..30).filter(|series| shard(*series) == shard(4)).count();
    assert_eq!(found.len(), expected);
    assert!(found.contains(&labels(4)));
}

#[test]
fn label_names_and_values_are_sorted_and_distinct() {
    let head = head_with_thirty_series();
    assert_eq!(head.label_names(&tenant(), &[], TimeRange::ALL, None), ["__name__", "instance", "job"]);
    assert_eq!(head.label_values(&tenant(), "job", &[], TimeRange::ALL, None), ["job-0", "job-1", "job-2"]);
    assert!(head.label_values(&tenant(), "nothing", &[], TimeRange::ALL, None).is_empty());
}

#[test]
fn queries_of_an_unknown_tenant_find_nothing() {
    let head = head_with_thirty_series();
    let other = TenantId::new("other").unwrap();
    assert!(head.series(&other, &[], TimeRange::ALL, None).is_empty());
    assert!(head.label_names(&other, &[], TimeRange::ALL, None).is_empty());
    assert!(head.exemplars(&other, &[vec![]], TimeRange::ALL, None).is_empty());
    assert!(head.metadata(&other).is_empty());
    assert!(head.windows(&other).is_empty());
    assert_eq!(head.stats(&other, 10).series, 0);
    assert_eq!(head.last_deletion(&other), 0);
    assert!(!head.tenants().contains(&other), "and do not create it");
}

#[test]
fn a_selection_of_too_many_series_is_an_error() {
    let head = head_with_thirty_series();
    let select = |max_series| {
        head.select(&tenant(), &SelectRequest { matchers: vec![], range: TimeRange::ALL, max_series }, None)
    };
    assert!(select(29).is_err());
    assert!(select(30).is_ok());
}

#[test]
fn statistics_count_series_samples_and_values() {
    let stats = head_with_thirty_series().stats(&tenant(), 2);
    assert_eq!(stats.series, 30);
    assert_eq!(stats.samples, 30);
    assert_eq!(stats.label_pairs, 30 + 3 + 1);
    assert_eq!(stats.min_t, Some(1000));
    assert_eq!(stats.max_t, Some(1000));
}

#[test]
fn statistics_list_the_greatest_first_up_to_a_limit() {
    let stats = head_with_thirty_series().stats(&tenant(), 2);
    assert_eq!(stats.values_by_label[0].name, "instance");
    assert_eq!(stats.values_by_label[0].value, 30);
    assert_eq!(stats.series_by_metric[0].value, 30);
    assert_eq!(stats.series_by_pair.len(), 2);
}

#[test]
fn series_beyond_the_limit_of_the_tenant_are_rejected() {
    let limits = TenantLimits { max_series: 2, ..TenantLimits::default() };
    let head = try_open(&MemFs::default(), HeadConfig { limits, ..config() }).unwrap();
    let outcome = append(&head, &[(1, 0, 0.0), (2, 0, 0.0), (3, 0, 0.0), (1, 1, 0.0)]);
    assert_eq!(outcome.samples, 3);
    assert_eq!(outcome.new_series, 2);
    assert!(outcome.rejected[&RejectReason::MaxSeries].first.contains("max_series"), "{outcome:?}");
}

#[test]
fn label_sets_beyond_the_limits_of_the_tenant_are_rejected() {
    let limits = TenantLimits { max_series: 2, max_labels: 3, max_label_name_length: 8, max_label_value_length: 5 };
    let head = try_open(&MemFs::default(), HeadConfig { limits, ..config() }).unwrap();
    let mut batch = WriteBatch::default();
    for pairs in [
        vec![("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")],
        vec![("a_long_name", "1")],
        vec![("a", "longer")],
        vec![],
    ] {
        batch.begin_series(&tenant(), |out| out.extend_from_slice(Labels::from_pairs(pairs).as_bytes()));
        batch.samples.push(Sample { t: 0, v: 0.0, st: 0 });
    }
    batch.finish_series();
    let (outcome, _commit) = head.append(&tenant(), &batch).unwrap();
    assert_eq!(reasons(&outcome), ["invalid_labels", "max_labels", "max_label_name_length", "max_label_value_length"]);
}

#[test]
fn copied_samples_ignore_limits_and_age() {
    let limits = TenantLimits { max_series: 1, ..TenantLimits::default() };
    let head = try_open_at(&MemFs::default(), HeadConfig { limits, ..config() }, 10 * HOUR).unwrap();
    append(&head, &[(1, 10 * HOUR, 1.0)]);
    let outcome = head.append_copy(&tenant(), &batch(&[(2, 0, 1.0), (3, 0, 1.0)]), 0).unwrap();
    outcome.commit.wait().unwrap();
    assert_eq!(outcome.counted.samples, 2);
    assert!(outcome.counted.rejected.is_empty());
}

const NOW: i64 = 100_000;

fn own_settings(max_series: usize, out_of_order_window_ms: i64) -> HashMap<TenantId, TenantSettings> {
    let limits = TenantLimits { max_series, ..TenantLimits::default() };
    HashMap::from([(tenant(), TenantSettings { limits, out_of_order_window_ms, max_exemplars: 1 })])
}

fn rejections(head: &pharos_head::Head, tenant: &TenantId, samples: &[(u32, i64, f64)]) -> Vec<&'static str> {
    let (outcome, _commit) = head.append(tenant, &batch(samples)).unwrap();
    reasons(&outcome)
}

#[test]
fn settings_of_one_tenant_do_not_apply_to_others() {
    let config = HeadConfig { own_settings: own_settings(1, 0), ..config() };
    let head = try_open_at(&MemFs::default(), config, NOW).unwrap();
    assert_eq!(rejections(&head, &tenant(), &[(1, NOW, 0.0), (2, NOW, 0.0)]), ["max_series"]);
    assert_eq!(rejections(&head, &tenant(), &[(1, NOW - 1000, 0.0)]), ["too_old"]);
    let other = TenantId::new("other").unwrap();
    assert!(rejections(&head, &other, &[(1, NOW, 0.0), (2, NOW, 0.0), (1, NOW - 1000, 0.0)]).is_empty());
}

#[test]
fn new_settings_apply_to_existing_tenants() {
    let config = HeadConfig { own_settings: own_settings(1, 0), ..config() };
    let settings = config.by_tenant();
    let head = try_open_at(&MemFs::default(), config, NOW).unwrap();
    assert!(rejections(&head, &tenant(), &[(1, NOW, 0.0)]).is_empty());
    head.set_settings(SettingsByTenant { own: own_settings(2, 60_000), ..settings });
    assert!(rejections(&head, &tenant(), &[(2, NOW, 0.0), (1, NOW - 2000, 0.0)]).is_empty());
    assert_eq!(rejections(&head, &tenant(), &[(3, NOW, 0.0)]), ["max_series"]);
}

#[test]
fn writes_are_refused_while_memory_is_over_its_limit() {
    let head = try_open(&MemFs::default(), HeadConfig { max_memory_bytes: 20_000, ..config() }).unwrap();
    let refused = (0..1000).find_map(|i| head.append(&tenant(), &batch(&[(i, 0, 0.0)])).err()).unwrap();
    assert!(matches!(&refused, WriteError::Overloaded(m) if m.contains("max_head_memory")), "{refused}");
}

#[test]
fn settings_out_of_range_do_not_open() {
    let refused = |config: HeadConfig| matches!(try_open(&MemFs::default(), config), Err(HeadError::Config(_)));
    assert!(refused(HeadConfig { window_ms: 0, ..config() }));
    assert!(refused(HeadConfig { out_of_order_window_ms: -1, ..config() }));
    assert!(refused(HeadConfig { shards: 0, ..config() }));
    assert!(refused(HeadConfig { shards: pharos_model::shards::MAX_SHARDS + 1, ..config() }));
}

#[test]
fn a_log_of_another_number_of_shards_does_not_open() {
    let fs = MemFs::default();
    append(&open(&fs), &[(1, 1000, 1.0)]);
    let error = try_open(&fs, HeadConfig { shards: 32, ..config() }).err().unwrap();
    assert!(error.to_string().contains("a different number of shards"), "{error}");
}

#[test]
fn a_directory_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let clock = Arc::new(pharos_model::SystemClock::new());
        let fs = Arc::new(pharos_head::fs::RealFs);
        pharos_head::Head::open(HeadConfig::new(dir.path()), clock, fs, &prometheus::Registry::new(), &mut |_| {})
    };
    let head = open().unwrap();
    append(&head, &[(1, 1000, 1.0)]);
    assert!(matches!(open(), Err(HeadError::Locked { .. })));
    drop(head);
    assert_eq!(read_all(&open().unwrap()).len(), 1);
}

#[test]
fn a_replay_reports_its_progress_up_to_the_end() {
    let fs = MemFs::default();
    let head = open(&fs);
    for i in 0..500 {
        append(&head, &[(1, i * 15_000, i as f64)]);
    }
    drop(head);
    let clock = Arc::new(pharos_model::clock::ManualClock::at(0));
    let mut reports = Vec::new();
    let registry = prometheus::Registry::new();
    let opened = pharos_head::Head::open(config(), clock, Arc::new(fs.clone()), &registry, &mut |p| reports.push(p));
    drop(opened.unwrap());
    let first = reports[0];
    let last = reports[reports.len() - 1];
    assert_eq!(first.segments, 0);
    assert_eq!(first.bytes, 0);
    assert_eq!(last.segments, last.total_segments);
    assert_eq!(last.bytes, last.total_bytes);
    assert!(reports.is_sorted_by_key(|p| p.bytes));
}

#[test]
fn a_head_takes_its_share_of_the_series_of_a_tenant() {
    let config = HeadConfig { own_settings: own_settings(32, 1000 * HOUR), ..config() };
    let head = try_open(&MemFs::default(), config).unwrap();
    head.set_held_shards(16);
    let samples: Vec<_> = (0..40).map(|series| (series, 1000, 1.0)).collect();
    let outcome = append(&head, &samples);
    assert_eq!(outcome.new_series, 8, "16 of 64 shards hold a quarter of the series");
    let message = &outcome.rejected[&RejectReason::MaxSeries].first;
    assert!(message.contains("8 series on this node, its share of the limit max_series of 32"), "{message}");
    head.set_held_shards(64);
    assert_eq!(append(&head, &samples).new_series, 24);
}
