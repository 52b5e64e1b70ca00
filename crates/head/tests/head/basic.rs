//! What appends, reads and limits do, one behaviour a test.

use std::collections::HashMap;
use std::sync::Arc;

use pharos_head::{HeadConfig, HeadError, HeadFilter, Only, SettingsByTenant, TenantLimits, TenantSettings};
use pharos_model::hash::shard_of;
use pharos_model::write::HistogramSample;
use pharos_model::{
    Exemplar, Histogram, Labels, MatchOp, Matcher, Metadata, MetricType, RejectReason, SelectRequest, SeriesBatch,
    ShardSet, TenantId, TimeRange, WriteBatch, WriteError, series_hash,
};

use crate::support::*;

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
fn duplicates_are_silent_and_conflicts_are_not() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0), (1, 2000, f64::NAN)]);
    let again = append(&head, &[(1, 1000, 1.0), (1, 2000, f64::NAN)]);
    assert_eq!((again.samples, again.rejected.len()), (2, 0));
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
fn late_samples_are_taken_within_the_window_of_the_tenant() {
    let head = try_open_at(&MemFs::default(), config(), 10 * HOUR).unwrap();
    append(&head, &[(1, -5_000, 1.0)]);
    append(&head, &[(1, 10 * HOUR, 2.0)]);
    let late: Vec<_> = (0..200).map(|i| (1, 8 * HOUR + (i * 37 % 200) * 1000, i as f64)).collect();
    assert_eq!(append(&head, &late).samples, 200);
    assert_eq!(append(&head, &late).samples, 200, "sent again");
    let refused = append(&head, &[(1, 8 * HOUR - 1, 0.0), (2, 7 * HOUR, 0.0), (1, -5_000, 1.0)]);
    assert_eq!((refused.samples, refused.rejected[&RejectReason::TooOld].count, refused.new_series), (1, 2, 0));
    assert_eq!(read_all(&head).len(), 202);
    let hour = read(&head, TimeRange::new(8 * HOUR, 8 * HOUR + 9_000), HeadFilter::ALL);
    assert_eq!(hour.len(), 10);
}

#[test]
fn a_sample_of_the_future_shuts_nobody_out() {
    let head = try_open_at(&MemFs::default(), config(), 10 * HOUR).unwrap();
    append(&head, &[(1, 10 * HOUR, 1.0), (2, 33 * HOUR, 1.0)]);
    let outcome = append(&head, &[(1, 10 * HOUR + 15_000, 2.0), (2, 8 * HOUR, 2.0), (3, 8 * HOUR - 1, 2.0)]);
    assert_eq!((outcome.samples, outcome.rejected[&RejectReason::TooOld].count), (2, 1));
}

#[test]
fn what_is_not_counted_has_an_outcome_of_its_own() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 1000, 1.0), (2, 1000, 1.0)]);
    let shard = |series: u32| shard_of(series_hash(&tenant(), labels(series).as_bytes()), 64);
    assert_ne!(shard(1), shard(2));
    let (counted, taken): (ShardSet, ShardSet) = ([shard(1)].into_iter().collect(), all_shards());
    let again = batch(&[(1, 1000, 1.0), (2, 1000, 2.0), (2, 2000, 2.0)]);
    let only = Only { taken: &taken, counted: &counted };
    let (outcome, uncounted, commit) = head.append_shards(&tenant(), &again, only).unwrap();
    commit.wait().unwrap();
    assert_eq!((outcome.samples, outcome.rejected.len()), (1, 0));
    assert_eq!((uncounted.samples, uncounted.rejected[&RejectReason::DuplicateTimestamp].count), (1, 1));
}

#[test]
fn the_future_and_the_ends_of_time() {
    let fs = MemFs::default();
    let head = try_open(&fs, HeadConfig { max_future_ms: 1000, ..config() }).unwrap();
    let refused = append(&head, &[(1, 253_402_300_799_000, 1.0), (1, 1000, 1.0), (1, i64::MAX, 1.0)]);
    assert_eq!((refused.samples, refused.rejected[&RejectReason::TooFarInFuture].count), (1, 2));
    drop(head);
    let head = open(&MemFs::default());
    let taken = append(&head, &[(1, i64::MIN, 1.0), (1, i64::MAX, 1.0), (1, i64::MAX - 5, 1.0), (2, -1, 1.0)]);
    assert_eq!((taken.samples, read_all(&head).len()), (4, 4));
}

#[test]
fn floats_histograms_exemplars_metadata_and_start_times() {
    let fs = MemFs::default();
    let head = open(&fs);
    let mut b = WriteBatch::default();
    b.begin_series(&tenant(), |out| out.extend_from_slice(labels(1).as_bytes()));
    b.samples.push(pharos_model::Sample { t: 1000, v: 1.0, st: 500 });
    b.samples.push(pharos_model::Sample { t: 3000, v: 2.0, st: 500 });
    for t in [2000, 4000, 1500] {
        b.histograms.push(HistogramSample {
            t,
            st: t - 1,
            h: Arc::new(Histogram { sum: t as f64, ..Histogram::default() }),
        });
    }
    let exemplar = Exemplar { labels: Labels::from_pairs([("trace_id", "abc")]), value: 3.0, t: 1000 };
    b.exemplars.push(exemplar.clone());
    b.finish_series();
    let metadata = Metadata { kind: MetricType::Counter, unit: "bytes".into(), help: "All bytes.".into() };
    b.metadata.push(("m".into(), metadata.clone()));
    let (outcome, commit) = head.append(&tenant(), &b).unwrap();
    assert_eq!((outcome.samples, outcome.histograms, outcome.exemplars), (2, 3, 1));
    drop(commit);
    drop(head);
    let head = open(&fs);
    assert_eq!(head.metadata(&tenant())["m"], metadata);
    let found = head.exemplars(&tenant(), &[vec![Matcher::equal("job", "job-1")]], TimeRange::ALL, None);
    assert_eq!((found.len(), &found[0].exemplars[0]), (1, &exemplar));
    let request = SelectRequest { matchers: vec![], range: TimeRange::ALL, max_series: 0 };
    let set = head.select(&tenant(), &request, HeadFilter::ALL).unwrap();
    let mut out = SeriesBatch::default();
    set.fetch(0..1, TimeRange::ALL, &mut out).unwrap();
    let view = out.view(0);
    assert_eq!((view.t, view.v, view.st), (&[1000, 3000][..], &[1.0, 2.0][..], &[500, 500][..]));
    assert_eq!((view.ht, view.hst), (&[1500, 2000, 4000][..], &[1499, 1999, 3999][..]));
    assert_eq!(view.h.iter().map(|h| h.sum).collect::<Vec<_>>(), [1500.0, 2000.0, 4000.0]);
    let conflict = append(&head, &[(1, 2000, 1.0)]);
    assert_eq!(conflict.rejected[&RejectReason::DuplicateTimestamp].count, 1);
}

#[test]
fn selectors_names_values_and_statistics() {
    let head = open(&MemFs::default());
    append(&head, &(0..30).map(|i| (i, 1000, 1.0)).collect::<Vec<_>>());
    let regex = Matcher::new(MatchOp::Regex, "instance", "1.").unwrap();
    let matchers = [Matcher::equal("job", "job-1"), regex];
    let all = TimeRange::ALL;
    assert_eq!(
        head.series(&tenant(), &matchers, all, HeadFilter::ALL),
        [labels(10), labels(13), labels(16), labels(19)]
    );
    assert_eq!(head.label_names(&tenant(), &matchers, all, HeadFilter::ALL), ["__name__", "instance", "job"]);
    assert_eq!(head.label_values(&tenant(), "job", &[], all, HeadFilter::ALL), ["job-0", "job-1", "job-2"]);
    assert!(head.series(&tenant(), &[], TimeRange::new(1001, 2000), HeadFilter::ALL).is_empty());
    let stats = head.stats(&tenant(), 2);
    assert_eq!((stats.series, stats.samples, stats.min_t, stats.max_t), (30, 30, Some(1000), Some(1000)));
    assert_eq!((stats.values_by_label[0].name.as_str(), stats.values_by_label[0].value), ("instance", 30));
    assert_eq!((stats.series_by_pair.len(), stats.series_by_metric[0].value), (2, 30));
    let limited = SelectRequest { matchers: vec![], range: all, max_series: 29 };
    assert!(head.select(&tenant(), &limited, HeadFilter::ALL).is_err());
}

#[test]
fn limits_are_named() {
    let limits = TenantLimits { max_series: 2, max_labels: 3, max_label_name_length: 8, max_label_value_length: 5 };
    let head = try_open(&MemFs::default(), HeadConfig { limits, ..config() }).unwrap();
    let outcome = append(&head, &[(1, 0, 0.0), (2, 0, 0.0), (3, 0, 0.0), (1, 1, 0.0)]);
    assert_eq!((outcome.samples, outcome.new_series), (3, 2));
    assert!(outcome.rejected[&RejectReason::MaxSeries].first.contains("max_series"), "{outcome:?}");
    let mut b = WriteBatch::default();
    for pairs in [
        vec![("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")],
        vec![("a_long_name", "1")],
        vec![("a", "longer")],
        vec![],
    ] {
        b.begin_series(&tenant(), |out| out.extend_from_slice(Labels::from_pairs(pairs).as_bytes()));
        b.samples.push(pharos_model::Sample { t: 0, v: 0.0, st: 0 });
    }
    b.finish_series();
    let (outcome, _commit) = head.append(&tenant(), &b).unwrap();
    let reasons: Vec<_> = outcome.rejected.keys().map(|r| r.as_str()).collect();
    assert_eq!(reasons, ["invalid_labels", "max_labels", "max_label_name_length", "max_label_value_length"]);
}

#[test]
fn tenants_have_settings_of_their_own_and_a_reload_replaces_them() {
    const NOW: i64 = 100_000;
    let own = |max_series, out_of_order_window_ms| {
        let limits = TenantLimits { max_series, ..TenantLimits::default() };
        TenantSettings { limits, out_of_order_window_ms, max_exemplars: 1 }
    };
    let base = HeadConfig { own_settings: HashMap::from([(tenant(), own(1, 0))]), ..config() };
    let settings = base.by_tenant();
    let head = try_open_at(&MemFs::default(), base, NOW).unwrap();
    let other = TenantId::new("other").unwrap();
    let refused = |tenant: &TenantId, series: &[(u32, i64, f64)]| -> Vec<&'static str> {
        let (outcome, _commit) = head.append(tenant, &batch(series)).unwrap();
        outcome.rejected.keys().map(|reason| reason.as_str()).collect()
    };
    assert_eq!(refused(&tenant(), &[(1, NOW, 0.0), (2, NOW, 0.0)]), ["max_series"]);
    assert_eq!(refused(&tenant(), &[(1, NOW - 1000, 0.0)]), ["too_old"]);
    assert!(refused(&other, &[(1, NOW, 0.0), (2, NOW, 0.0), (1, NOW - 1000, 0.0)]).is_empty());
    head.set_settings(SettingsByTenant { own: HashMap::from([(tenant(), own(2, 60_000))]), ..settings });
    assert!(refused(&tenant(), &[(2, NOW, 0.0), (1, NOW - 2000, 0.0)]).is_empty());
    assert_eq!(refused(&tenant(), &[(3, NOW, 0.0)]), ["max_series"]);
}

#[test]
fn memory_over_the_limit_refuses_writes() {
    let head = try_open(&MemFs::default(), HeadConfig { max_memory_bytes: 20_000, ..config() }).unwrap();
    let refused = (0..1000).find_map(|i| head.append(&tenant(), &batch(&[(i, 0, 0.0)])).err()).unwrap();
    assert!(matches!(&refused, WriteError::Overloaded(m) if m.contains("max_head_memory")), "{refused}");
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
