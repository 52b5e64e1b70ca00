//! Windows: cuts are stable, late samples go into later cuts, marks survive restarts, eviction frees memory and log.

use std::convert::Infallible;
use std::sync::Arc;

use pharos_head::{Head, HeadConfig, WindowCut};
use pharos_model::clock::ManualClock;
use pharos_model::hash::shard_of;
use pharos_model::{Labels, Matcher, ShardSet, TimeRange, series_hash};

use crate::support::*;

const W: i64 = 2 * HOUR;

pub(crate) fn contents(cut: &WindowCut) -> Samples {
    let mut all = Samples::new();
    let mut previous: Option<Labels> = None;
    cut.for_each(|series| {
        assert!(previous.as_ref() < Some(series.labels), "labels ascend");
        previous = Some(series.labels.clone());
        all.extend(
            series.samples.t.iter().zip(series.samples.v).map(|(t, v)| ((series.labels.clone(), *t), v.to_bits())),
        );
        Ok::<_, Infallible>(())
    })
    .unwrap();
    all
}

fn sample(series: u32, t: i64, v: f64) -> ((Labels, i64), u64) {
    ((labels(series), t), v.to_bits())
}

fn shard(series: u32) -> u32 {
    shard_of(series_hash(&tenant(), labels(series).as_bytes()), 64)
}

fn head_with_two_windows(fs: &MemFs) -> Head {
    let head = open(fs);
    append(&head, &[(1, 100, 1.0), (2, 100, 2.0)]);
    append(&head, &[(1, 200, 3.0), (3, W + 100, 4.0)]);
    head
}

fn flush(head: &Head, window: i64) -> WindowCut {
    let cut = head.cut(&tenant(), window, &all_shards());
    head.mark_flushed(&cut).wait().unwrap();
    cut
}

fn evict(head: &Head, window: i64) -> u64 {
    head.evict_flushed(&tenant(), window, &all_shards()).unwrap()
}

#[test]
fn a_cut_below_an_earlier_number_leaves_out_what_came_since() {
    let head = head_with_two_windows(&MemFs::default());
    let number = head.end_generation(&tenant(), 0);
    append(&head, &[(1, 300, 5.0), (9, 300, 6.0)]);
    let cut = head.cut_below(&tenant(), 500, &all_shards(), number);
    assert_eq!(cut.number(), number);
    let before = Samples::from([sample(1, 100, 1.0), sample(2, 100, 2.0), sample(1, 200, 3.0)]);
    assert_eq!(contents(&cut), before);
    assert_eq!(cut.series(), 2);
    head.mark_flushed(&cut).wait().unwrap();
    assert_eq!(contents(&head.cut_below(&tenant(), 0, &all_shards(), number)), Samples::new());
    assert_eq!(contents(&head.cut_all_below(&tenant(), 0, &all_shards(), number)), before, "they are still in memory");
    assert_eq!(
        contents(&head.cut(&tenant(), 0, &all_shards())),
        Samples::from([sample(1, 300, 5.0), sample(9, 300, 6.0)])
    );
}

#[test]
fn a_cut_is_read_in_parts() {
    let head = head_with_two_windows(&MemFs::default());
    let cut = head.cut(&tenant(), 0, &all_shards());
    let mut parts = Vec::new();
    for at in 0..cut.series() {
        cut.for_each_in(at..at + 1, |series| {
            parts.push(series.labels.clone());
            Ok::<_, Infallible>(())
        })
        .unwrap();
    }
    assert_eq!(parts, [labels(1), labels(2)]);
}

#[test]
fn a_cut_holds_the_samples_of_its_window() {
    let head = head_with_two_windows(&MemFs::default());
    let cut = head.cut(&tenant(), 500, &all_shards());
    assert_eq!(cut.window().start, 0);
    assert_eq!(contents(&cut), Samples::from([sample(1, 100, 1.0), sample(2, 100, 2.0), sample(1, 200, 3.0)]));
}

#[test]
fn a_cut_does_not_see_later_samples() {
    let head = head_with_two_windows(&MemFs::default());
    let cut = head.cut(&tenant(), 0, &all_shards());
    let before = contents(&cut);
    append(&head, &[(1, 300, 5.0), (1, 150, 6.0), (4, 100, 7.0)]);
    assert_eq!(contents(&cut), before);
}

#[test]
fn a_cut_holds_only_the_shards_that_were_asked_for() {
    let head = head_with_two_windows(&MemFs::default());
    assert_ne!(shard(1), shard(2));
    let cut = head.cut(&tenant(), 0, &ShardSet::from_iter([shard(2)]));
    assert_eq!(contents(&cut), Samples::from([sample(2, 100, 2.0)]));
}

#[test]
fn a_cut_of_an_unknown_window_is_empty_and_has_a_number() {
    let head = open(&MemFs::default());
    let cut = head.cut(&tenant(), 7 * W, &all_shards());
    assert!(contents(&cut).is_empty());
    assert!(cut.number() > 0);
    assert_eq!(cut.window().start, 7 * W);
}

#[test]
fn cut_numbers_ascend_within_a_window() {
    let head = head_with_two_windows(&MemFs::default());
    let first = head.cut(&tenant(), 0, &all_shards()).number();
    let second = head.cut(&tenant(), 0, &all_shards()).number();
    let third = head.end_generation(&tenant(), 0);
    assert!(first < second && second < third);
    assert_eq!(head.windows(&tenant())[0].newest_cut, third);
}

#[test]
fn cut_numbers_ascend_across_restarts() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    let before = head.cut(&tenant(), 0, &all_shards()).number();
    drop(head);
    assert!(open(&fs).cut(&tenant(), 0, &all_shards()).number() > before);
}

#[test]
fn cut_numbers_ascend_when_the_clock_is_set_back_after_the_window_was_forgotten() {
    let fs = MemFs::default();
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let open = || {
        let config = HeadConfig { out_of_order_window_ms: 0, ..config() };
        Head::open(config, clock.clone(), Arc::new(fs.clone()), &prometheus::Registry::new(), &mut |_| {}).unwrap()
    };
    let mut head = open();
    append(&head, &[(1, 100, 1.0)]);
    let before = flush(&head, 0).number();
    evict(&head, 0);
    // The window and the segments that mention it go.
    for round in 9..12 {
        (0..200).for_each(|i| drop(append(&head, &[(1, round * W + i, 0.1 * i as f64)])));
        flush(&head, round * W);
        evict(&head, round * W);
    }
    for now in [1_600_000_000_000, 5_000] {
        assert!(head.windows(&tenant()).iter().all(|w| w.start > 0), "{:?}", head.windows(&tenant()));
        clock.set(now);
        append(&head, &[(2, 100, now as f64)]);
        let window = head.windows(&tenant()).remove(0);
        assert_eq!((window.start, window.unflushed_samples), (0, 1));
        assert!(
            window.newest_cut >= before,
            "the block of cut {before} has no sample of generation {}",
            window.newest_cut
        );
        assert!(head.cut(&tenant(), 0, &all_shards()).number() > before);
        // Next, across a restart of which the log knows nothing of the window.
        fs.files().iter().for_each(|(path, _)| fs.remove_file(path));
        drop(head);
        fs.files().iter().for_each(|(path, _)| fs.remove_file(path));
        head = open();
        head.number_cuts_above(before);
    }
}

#[test]
fn a_window_knows_the_cuts_since_its_shard_was_empty() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 100, 1.0)]);
    let shard = head.windows(&tenant())[0].shards[0].shard;
    let has = |number| head.windows(&tenant())[0].has_cut(shard, number);
    let first = head.cut(&tenant(), 0, &all_shards()).number();
    assert!(has(first) && !has(first - 1) && !has(first + 1));
    head.forget_shards(None, &all_shards()).unwrap().wait().unwrap();
    append(&head, &[(1, 200, 1.0)]);
    assert!(!has(first), "its samples are gone");
    assert!(has(head.cut(&tenant(), 0, &all_shards()).number()));
}

#[test]
fn cuts_of_a_head_that_lost_its_log_are_numbered_above_those_that_others_remember() {
    let head = open(&MemFs::default());
    head.number_cuts_above(1000);
    append(&head, &[(1, 100, 1.0)]);
    assert!(head.windows(&tenant())[0].newest_cut >= 1000);
    assert!(head.cut(&tenant(), 0, &all_shards()).number() > 1000);
}

#[test]
fn a_window_that_is_left_of_a_damaged_log_is_numbered_above_what_others_remember() {
    let fs = MemFs::default();
    let mut head = open(&fs);
    assert!(head.is_incomplete());
    append(&head, &[(1, 100, 1.0)]);
    let lost = head.windows(&tenant())[0].newest_cut + 7;
    head.number_cuts_above(lost);
    append(&head, &[(2, 100, 2.0)]);
    for _ in 0..2 {
        let window = head.windows(&tenant()).remove(0);
        assert!(window.newest_cut >= lost);
        assert!(window.shards.iter().all(|held| !window.has_cut(held.shard, lost)));
        head.commit().wait().unwrap();
        drop(head);
        head = open(&fs);
        head.number_cuts_above(lost);
    }
    let cut = head.cut(&tenant(), 0, &all_shards());
    assert!(cut.number() > lost);
    assert_eq!(contents(&cut).len(), 2);
}

#[test]
fn the_digest_of_every_series_in_a_cut_adds_up_to_the_digest_of_its_shard() {
    let head = head_with_two_windows(&MemFs::default());
    let mut by_shard = std::collections::BTreeMap::<u32, pharos_model::ShardDigest>::new();
    let cut = head.cut(&tenant(), 0, &all_shards());
    cut.for_each(|series| {
        by_shard.entry(series.shard).or_default().absorb(series.digest());
        Ok::<_, Infallible>(())
    })
    .unwrap();
    let digest = head.digest(&tenant(), 0, &all_shards());
    assert_eq!(
        digest.shards.iter().map(|(shard, held)| (*shard, held.unflushed)).collect::<Vec<_>>(),
        Vec::from_iter(by_shard)
    );
}

#[test]
fn visiting_a_cut_stops_at_the_first_error() {
    let head = head_with_two_windows(&MemFs::default());
    let cut = head.cut(&tenant(), 0, &all_shards());
    let mut visited = 0;
    let stopped = cut.for_each(|_| {
        visited += 1;
        Err("full")
    });
    assert_eq!(stopped, Err("full"));
    assert_eq!(visited, 1);
}

#[test]
fn marking_a_cut_counts_its_samples_as_flushed() {
    let head = head_with_two_windows(&MemFs::default());
    let cut = head.cut(&tenant(), 0, &all_shards());
    append(&head, &[(1, 300, 5.0), (1, 150, 6.0), (4, 100, 7.0)]);
    head.mark_flushed(&cut).wait().unwrap();
    let info = head.windows(&tenant()).remove(0);
    assert_eq!(info.start, 0);
    assert_eq!(info.unflushed_samples, 3);
    assert_eq!(info.flushed_samples, 3);
    assert!((0..64).all(|shard| info.flushed_cut(shard) == cut.number()));
}

#[test]
fn marking_some_shards_leaves_the_others_unflushed() {
    let head = head_with_two_windows(&MemFs::default());
    let cut = head.cut(&tenant(), 0, &ShardSet::from_iter([shard(1)]));
    head.mark_flushed(&cut).wait().unwrap();
    let info = head.windows(&tenant()).remove(0);
    assert_eq!(info.unflushed(), ShardSet::from_iter([shard(2)]));
    assert_eq!(info.evictable(), ShardSet::from_iter([shard(1)]));
    assert_eq!(info.flushed_cut(shard(2)), 0);
}

#[test]
fn late_samples_are_the_next_cut() {
    let head = head_with_two_windows(&MemFs::default());
    flush(&head, 0);
    append(&head, &[(1, 300, 5.0), (1, 150, 6.0), (4, 100, 7.0)]);
    let late = head.cut(&tenant(), 0, &all_shards());
    assert_eq!(contents(&late), Samples::from([sample(1, 300, 5.0), sample(1, 150, 6.0), sample(4, 100, 7.0)]));
}

#[test]
fn a_cut_before_the_previous_one_is_marked_holds_the_samples_of_both() {
    let head = head_with_two_windows(&MemFs::default());
    let first = contents(&head.cut(&tenant(), 0, &all_shards()));
    append(&head, &[(4, 100, 7.0)]);
    let second = contents(&head.cut(&tenant(), 0, &all_shards()));
    assert_eq!(second.len(), first.len() + 1);
    assert!(first.iter().all(|(key, bits)| second.get(key) == Some(bits)));
}

#[test]
fn marking_an_older_cut_does_not_take_back_a_newer_mark() {
    let head = head_with_two_windows(&MemFs::default());
    let older = head.cut(&tenant(), 0, &all_shards());
    append(&head, &[(4, 100, 7.0)]);
    let newer = flush(&head, 0);
    head.mark_flushed(&older).wait().unwrap();
    assert_eq!(head.windows(&tenant())[0].flushed_cut(0), newer.number());
    assert_eq!(head.windows(&tenant())[0].unflushed_samples, 0);
}

#[test]
fn flushed_samples_are_served_until_they_are_evicted() {
    let head = head_with_two_windows(&MemFs::default());
    flush(&head, 0);
    assert_eq!(read_all(&head).len(), 4);
    assert_eq!(read_unflushed(&head), Samples::from([sample(3, W + 100, 4.0)]));
    assert!(evict(&head, 0) > 0);
    assert_eq!(read_all(&head), Samples::from([sample(3, W + 100, 4.0)]));
}

#[test]
fn late_samples_are_served_after_the_eviction_of_the_cut_before_them() {
    let head = head_with_two_windows(&MemFs::default());
    flush(&head, 0);
    append(&head, &[(1, 300, 5.0), (1, 150, 6.0)]);
    evict(&head, 0);
    assert_eq!(read_all(&head), Samples::from([sample(1, 300, 5.0), sample(1, 150, 6.0), sample(3, W + 100, 4.0)]));
}

#[test]
fn evicting_a_window_without_flushed_cuts_frees_nothing() {
    let head = head_with_two_windows(&MemFs::default());
    assert_eq!(evict(&head, 0), 0);
    assert_eq!(evict(&head, 99 * W), 0);
    assert_eq!(read_all(&head).len(), 4);
}

#[test]
fn evicting_some_shards_leaves_the_samples_of_the_others() {
    let head = head_with_two_windows(&MemFs::default());
    flush(&head, 0);
    head.evict_flushed(&tenant(), 0, &ShardSet::from_iter([shard(1)])).unwrap();
    assert_eq!(read_all(&head), Samples::from([sample(2, 100, 2.0), sample(3, W + 100, 4.0)]));
}

#[test]
fn eviction_removes_series_without_samples() {
    let head = head_with_two_windows(&MemFs::default());
    flush(&head, 0);
    evict(&head, 0);
    assert_eq!(head.stats(&tenant(), 1).series, 1);
    append(&head, &[(1, W + 200, 9.0)]);
    assert_eq!(read_all(&head).len(), 2, "a series comes back as a new one");
}

#[test]
fn eviction_gives_back_the_memory_that_the_samples_took() {
    let head = open(&MemFs::default());
    let before = head.memory_bytes();
    append(&head, &(0..200).map(|series| (series, 100, 1.0)).collect::<Vec<_>>());
    assert!(head.memory_bytes() > before);
    flush(&head, 0);
    evict(&head, 0);
    assert_eq!(head.memory_bytes(), before);
}

#[test]
fn a_mark_survives_a_restart() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    flush(&head, 0);
    append(&head, &[(1, 250, 8.0)]);
    drop(head);
    fs.crash(false);
    let head = open(&fs);
    assert_eq!(contents(&head.cut(&tenant(), 0, &all_shards())), Samples::from([sample(1, 250, 8.0)]));
}

#[test]
fn a_cut_can_be_marked_by_its_number_after_a_restart() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    let cut = head.cut(&tenant(), 0, &all_shards());
    head.commit().wait().unwrap();
    append(&head, &[(1, 250, 8.0)]);
    drop(head);
    fs.crash(false);

    let head = open(&fs);
    assert_eq!(head.windows(&tenant())[0].newest_cut, cut.number());
    head.mark_flushed_cut(&tenant(), 0, cut.number(), cut.shards()).wait().unwrap();
    drop(head);
    fs.crash(false);

    let head = open(&fs);
    assert_eq!(contents(&head.cut(&tenant(), 0, &all_shards())), Samples::from([sample(1, 250, 8.0)]));
}

#[test]
fn an_eviction_survives_a_restart() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    flush(&head, 0);
    append(&head, &[(1, 250, 8.0)]);
    evict(&head, 0);
    let left = read_all(&head);
    assert_eq!(left, Samples::from([sample(1, 250, 8.0), sample(3, W + 100, 4.0)]));
    drop(head);
    assert_eq!(read_all(&open(&fs)), left);
}

#[test]
fn a_sample_repeated_with_another_value_after_the_eviction_survives_a_restart() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    flush(&head, 0);
    evict(&head, 0);
    append(&head, &[(1, 100, 99.0)]);
    drop(head);
    let head = open(&fs);
    assert_eq!(contents(&head.cut(&tenant(), 0, &all_shards())), Samples::from([sample(1, 100, 99.0)]));
}

#[test]
fn evicted_windows_leave_neither_segments_nor_state_behind() {
    let fs = MemFs::default();
    let head = try_open(&fs, HeadConfig { out_of_order_window_ms: 0, ..config() }).unwrap();
    let mut most_segments = 0;
    for window in 0..30 {
        for i in 0..100 {
            append(&head, &[(1, window * W + i * 60_000, i as f64), (2, window * W + i * 60_000, 0.1)]);
        }
        flush(&head, window * W);
        evict(&head, window * W);
        most_segments = most_segments.max(fs.files().len());
    }
    assert!(most_segments < 8, "{most_segments} segments");
    assert!(head.windows(&tenant()).len() < 4);
    let left = read_all(&head);
    drop(head);
    assert_eq!(read_all(&open(&fs)), left);
}

fn delete(head: &Head, instance: &str, range: TimeRange) {
    head.delete(&tenant(), &[Matcher::equal("instance", instance)], range, 0).unwrap().wait().unwrap();
}

#[test]
fn a_deletion_removes_the_samples_in_its_range() {
    let head = head_with_two_windows(&MemFs::default());
    append(&head, &[(1, 50, 1.0)]);
    delete(&head, "1", TimeRange::new(0, 150));
    assert_eq!(read_all(&head), Samples::from([sample(1, 200, 3.0), sample(2, 100, 2.0), sample(3, W + 100, 4.0)]));
    assert_eq!(head.windows(&tenant())[0].unflushed_samples, 2);
}

#[test]
fn a_deletion_of_all_samples_removes_the_series() {
    let head = head_with_two_windows(&MemFs::default());
    delete(&head, "2", TimeRange::ALL);
    assert_eq!(head.stats(&tenant(), 1).series, 2);
}

#[test]
fn deletions_survive_a_restart() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    delete(&head, "1", TimeRange::new(0, 150));
    delete(&head, "2", TimeRange::ALL);
    append(&head, &[(2, 300, 1.0)]);
    drop(head);
    let head = open(&fs);
    assert_eq!(read_all(&head), Samples::from([sample(1, 200, 3.0), sample(2, 300, 1.0), sample(3, W + 100, 4.0)]));
    assert_eq!(head.windows(&tenant())[0].unflushed_samples, 2);
}

#[test]
fn the_number_of_the_last_deletion_survives_a_restart_and_never_goes_down() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    assert_eq!(head.last_deletion(&tenant()), 0);
    for number in [7, 3] {
        head.delete(&tenant(), &[Matcher::equal("instance", "9")], TimeRange::ALL, number).unwrap().wait().unwrap();
    }
    assert_eq!(head.last_deletion(&tenant()), 7);
    drop(head);
    assert_eq!(open(&fs).last_deletion(&tenant()), 7);
}

#[test]
fn a_forgotten_shard_is_empty_and_stays_so_after_a_restart() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    let forgotten = ShardSet::from_iter([shard(1)]);
    head.forget_shards(Some(&tenant()), &forgotten).unwrap().wait().unwrap();
    let left = Samples::from([sample(2, 100, 2.0), sample(3, W + 100, 4.0)]);
    assert_eq!(read_all(&head), left);
    drop(head);
    assert_eq!(read_all(&open(&fs)), left);
}

#[test]
fn a_forgotten_shard_takes_samples_again() {
    let head = head_with_two_windows(&MemFs::default());
    head.forget_shards(None, &all_shards()).unwrap().wait().unwrap();
    assert!(read_all(&head).is_empty());
    append(&head, &[(1, 100, 5.0)]);
    assert_eq!(read_all(&head), Samples::from([sample(1, 100, 5.0)]));
}
