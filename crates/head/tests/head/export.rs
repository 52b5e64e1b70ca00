//! Copies of shards and the digests by which two heads find out what one of them lacks.

use pharos_head::Head;
use pharos_model::hash::shard_of;
use pharos_model::{Exemplar, Labels, Metadata, Sample, ShardSet, TenantId, TimeRange, WriteBatch, series_hash};

use crate::support::*;

fn filled(series: u32, samples: i64) -> Head {
    let head = open(&MemFs::default());
    for i in 0..samples {
        append(&head, &(0..series).map(|s| (s, i * 15_000, i as f64)).collect::<Vec<_>>());
    }
    head
}

fn copy(from: &Head, to: &Head, shards: &ShardSet, max_bytes: usize) {
    for batch in from.export(&tenant(), shards, None, max_bytes) {
        to.append_copy(&tenant(), &batch, 0).unwrap().commit.wait().unwrap();
    }
}

fn shard(series: u32) -> u32 {
    shard_of(series_hash(&tenant(), labels(series).as_bytes()), 64)
}

#[test]
fn a_copy_holds_the_same_samples_whatever_the_size_of_batches() {
    let from = filled(10, 20);
    for max_bytes in [0, 1, 100, 1000, usize::MAX] {
        let to = open(&MemFs::default());
        copy(&from, &to, &all_shards(), max_bytes);
        assert_eq!(read_all(&to), read_all(&from), "batches of {max_bytes} bytes");
    }
}

#[test]
fn a_copy_may_be_repeated() {
    let from = filled(10, 20);
    let to = open(&MemFs::default());
    copy(&from, &to, &all_shards(), 1000);
    copy(&from, &to, &all_shards(), 1000);
    assert_eq!(read_all(&to), read_all(&from));
}

#[test]
fn an_export_of_some_shards_holds_no_others() {
    let from = filled(10, 2);
    let to = open(&MemFs::default());
    copy(&from, &to, &ShardSet::from_iter([shard(3)]), 1000);
    let series = to.series(&tenant(), &[], TimeRange::ALL, None);
    assert!(series.contains(&labels(3)));
    assert!((0..10).filter(|s| shard(*s) != shard(3)).all(|s| !series.contains(&labels(s))));
}

#[test]
fn an_export_of_an_unknown_tenant_is_empty() {
    let other = TenantId::new("other").unwrap();
    assert_eq!(filled(3, 1).export(&other, &all_shards(), None, 1000).count(), 0);
}

#[test]
fn flushed_samples_are_not_exported() {
    let from = filled(4, 10);
    let cut = from.cut(&tenant(), 0, &all_shards());
    from.mark_flushed(&cut).wait().unwrap();
    append(&from, &[(1, 777, 7.0)]);
    assert_eq!(read_unflushed(&from), Samples::from([((labels(1), 777), 7.0f64.to_bits())]));
}

#[test]
fn series_are_exported_by_ascending_hash_and_resumed_after_one() {
    let from = filled(20, 1);
    let mut export = from.export(&tenant(), &all_shards(), None, 1);
    let hashes: Vec<u64> =
        export.by_ref().flat_map(|b| b.series().iter().map(|s| s.hash).collect::<Vec<_>>()).collect();
    assert_eq!(hashes.len(), 20);
    assert!(hashes.is_sorted());
    assert_eq!(export.position(), hashes.last().copied());
    let rest: Vec<u64> = from
        .export(&tenant(), &all_shards(), Some(hashes[7]), 1)
        .flat_map(|b| b.series().iter().map(|s| s.hash).collect::<Vec<_>>())
        .collect();
    assert_eq!(rest, hashes[8..]);
}

#[test]
fn the_position_does_not_pass_a_series_that_is_not_complete() {
    let from = filled(1, 50);
    let mut export = from.export(&tenant(), &all_shards(), None, 100);
    export.next().unwrap();
    assert_eq!(export.position(), None);
    assert!(export.by_ref().count() > 0);
    assert_eq!(export.position(), Some(series_hash(&tenant(), labels(0).as_bytes())));
}

#[test]
fn metadata_and_exemplars_are_copied() {
    let from = open(&MemFs::default());
    let mut batch = WriteBatch::default();
    batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(1).as_bytes()));
    batch.samples.push(Sample { t: 1000, v: 1.0, st: 0 });
    let exemplar = Exemplar { labels: Labels::from_pairs([("trace_id", "abc")]), value: 3.0, t: 1000 };
    batch.exemplars.push(exemplar.clone());
    batch.finish_series();
    let metadata = Metadata { help: "A help.".into(), ..Metadata::default() };
    batch.metadata.push(("m".into(), metadata.clone()));
    from.append(&tenant(), &batch).unwrap().1.wait().unwrap();
    let to = open(&MemFs::default());
    copy(&from, &to, &all_shards(), 1);
    assert_eq!(to.metadata(&tenant())["m"], metadata);
    assert_eq!(to.exemplars(&tenant(), &[vec![]], TimeRange::ALL, None)[0].exemplars, [exemplar]);
}

#[test]
fn a_resumed_export_does_not_repeat_metadata() {
    let from = filled(2, 1);
    let mut batch = WriteBatch::default();
    batch.metadata.push(("m".into(), Metadata::default()));
    from.append(&tenant(), &batch).unwrap().1.wait().unwrap();
    assert!(from.export(&tenant(), &all_shards(), None, 1000).any(|batch| !batch.metadata.is_empty()));
    assert!(from.export(&tenant(), &all_shards(), Some(0), 1000).all(|batch| batch.metadata.is_empty()));
}

const INTERVAL: i64 = 60_000;

#[test]
fn heads_with_the_same_samples_match_in_every_interval() {
    let ours = filled(10, 20);
    let theirs = filled(10, 20);
    let digests = |head: &Head| head.time_digests(&tenant(), &all_shards(), INTERVAL);
    assert_eq!(digests(&ours), digests(&theirs));
    let matching = digests(&ours).matching(&digests(&theirs));
    assert_eq!(ours.export(&tenant(), &all_shards(), None, 1000).excluding(matching).count(), 0);
}

#[test]
fn only_intervals_that_differ_are_exported() {
    let ours = filled(1, 20);
    let theirs = filled(1, 20);
    append(&ours, &[(0, 5 * INTERVAL + 1, 7.0)]);
    let digests = |head: &Head| head.time_digests(&tenant(), &all_shards(), INTERVAL);
    let matching = digests(&theirs).matching(&digests(&ours));
    let exported: Vec<i64> = ours
        .export(&tenant(), &all_shards(), None, 1000)
        .excluding(matching)
        .flat_map(|batch| batch.samples.iter().map(|s| s.t).collect::<Vec<_>>())
        .collect();
    assert!(!exported.is_empty());
    assert!(exported.iter().all(|t| t.div_euclid(INTERVAL) == 5), "{exported:?}");
}

#[test]
fn flushed_samples_are_digested_and_exported_if_that_is_asked_for() {
    let head = filled(3, 5);
    let digests = || head.time_digests(&tenant(), &all_shards(), INTERVAL);
    let before = digests();
    let cut = head.cut(&tenant(), 0, &all_shards());
    head.mark_flushed(&cut).wait().unwrap();
    assert_eq!(digests(), before);
    let export = || head.export(&tenant(), &all_shards(), None, 1000);
    assert_eq!(export().count(), 0);
    assert_eq!(export().with_flushed().map(|batch| batch.samples.len()).sum::<usize>(), 15);
}

#[test]
fn the_digest_of_an_interval_does_not_depend_on_the_order_of_appends() {
    let ours = filled(1, 40);
    let theirs = open(&MemFs::default());
    for i in (0..40).rev() {
        append(&theirs, &[(0, i * 15_000, i as f64)]);
    }
    let digests = |head: &Head| head.time_digests(&tenant(), &all_shards(), INTERVAL);
    assert_eq!(digests(&ours), digests(&theirs));
}
