use pharos_head::ShardWindow;
use proptest::prelude::*;

use super::*;

const WINDOW: i64 = 7_200_000;
const GRACE: Duration = Duration::from_secs(3600);

fn window(start: i64, unflushed: u64, flushed: u64, newest_append_ms: i64) -> WindowInfo {
    let shards = vec![ShardWindow {
        shard: 7,
        unflushed_samples: unflushed,
        flushed_samples: flushed,
        flushed_cut: 0,
        first_generation: 0,
    }];
    WindowInfo {
        start,
        end: start + WINDOW,
        unflushed_samples: unflushed,
        flushed_samples: flushed,
        bytes: 0,
        newest_append_ms,
        newest_cut: 0,
        shards,
    }
}

/// Both clocks show the same.
fn at(ms: i64) -> Now {
    Now { wall_ms: ms, monotonic: millis(ms) }
}

/// The newest block of a shard of the first window was seen at this time.
fn seen(shard: u32, ms: i64) -> ((i64, u32), ShardBlocks) {
    ((0, shard), ShardBlocks { newest_seen: Some(millis(ms)), is_missing: false })
}

/// The windows that are flushed at a time when all have waited since the epoch.
fn flushed_at(now: Now, windows: &[WindowInfo], blocks: &Blocks) -> Vec<i64> {
    let waiting = windows.iter().map(|w| (w.start, Duration::ZERO)).collect();
    FlushPolicy::new(GRACE).flushes(now, windows, &ShardSet::all(64), blocks, &waiting)
}

fn dropped_at(ms: i64, windows: &[WindowInfo], blocks: &Blocks) -> Vec<(i64, ShardSet)> {
    FlushPolicy::new(GRACE).drops(millis(ms), windows, blocks)
}

#[test]
fn a_backfill_waits_for_its_half_window_too() {
    let now = 100 * WINDOW;
    let mut waiting = Waiting::new();
    note_waiting(&mut waiting, millis(now), &[window(0, 5, 0, now)]);
    let flushed = |now: i64| {
        let busy = [window(0, 5, 0, now)];
        FlushPolicy::new(GRACE).flushes(at(now), &busy, &ShardSet::all(64), &Blocks::new(), &waiting)
    };
    assert_eq!(flushed(now + WINDOW / 2 - 1), [0; 0]);
    assert_eq!(flushed(now + WINDOW / 2), [0]);
    note_waiting(&mut waiting, millis(now), &[window(0, 0, 5, now)]);
    assert!(waiting.is_empty());
}

#[test]
fn a_window_is_flushed_once_it_has_ended_and_settled() {
    let w = [window(0, 1, 0, WINDOW)];
    assert_eq!(flushed_at(at(WINDOW - 1), &w, &Blocks::new()), [0; 0]);
    assert_eq!(flushed_at(at(WINDOW + 299_999), &w, &Blocks::new()), [0; 0]);
    assert_eq!(flushed_at(at(WINDOW + 300_000), &w, &Blocks::new()), [0]);
}

#[test]
fn a_window_that_never_settles_is_flushed_half_a_window_after_its_end() {
    let now = WINDOW + WINDOW / 2;
    assert_eq!(flushed_at(at(now - 1), &[window(0, 1, 0, now - 1)], &Blocks::new()), [0; 0]);
    assert_eq!(flushed_at(at(now), &[window(0, 1, 0, now)], &Blocks::new()), [0]);
}

#[test]
fn late_samples_are_flushed_half_a_window_after_the_last_block() {
    let seen_at = 10 * WINDOW;
    let blocks = Blocks::from([seen(7, seen_at)]);
    let busy = |now| window(0, 5, 0, now);
    assert_eq!(flushed_at(at(seen_at + 1000), &[busy(seen_at + 1000)], &blocks), [0; 0]);
    let now = seen_at + WINDOW / 2;
    assert_eq!(flushed_at(at(now), &[busy(now)], &blocks), [0]);
}

#[test]
fn flushed_samples_leave_memory_a_grace_period_after_their_block_was_seen() {
    let blocks = Blocks::from([seen(7, 5 * WINDOW)]);
    let w = [window(0, 0, 9, 0)];
    assert_eq!(dropped_at(5 * WINDOW + 3_599_999, &w, &blocks), []);
    assert_eq!(dropped_at(5 * WINDOW + 3_600_000, &w, &blocks), [(0, ShardSet::of(7))]);
}

#[test]
fn flushed_samples_without_a_listed_block_stay_unless_it_was_removed_on_purpose() {
    let w = [window(0, 0, 9, 0)];
    assert_eq!(dropped_at(100 * WINDOW, &w, &Blocks::new()), [], "nothing is known of it");
    let removed = Blocks::from([((0, 7), ShardBlocks { newest_seen: None, is_missing: false })]);
    assert_eq!(dropped_at(0, &w, &removed), [(0, ShardSet::of(7))]);
    // Another block of the shard is listed, but not the one with these samples.
    let missing = ShardBlocks { newest_seen: Some(Duration::ZERO), is_missing: true };
    assert_eq!(dropped_at(100 * WINDOW, &w, &Blocks::from([((0, 7), missing)])), []);
}

#[test]
fn only_led_shards_are_flushed_and_each_is_dropped_in_its_time() {
    let mut w = window(0, 0, 0, 0);
    let shard = |shard, unflushed_samples, flushed_samples| ShardWindow {
        shard,
        unflushed_samples,
        flushed_samples,
        flushed_cut: 0,
        first_generation: 0,
    };
    w.shards = vec![shard(1, 5, 5), shard(2, 0, 5), shard(3, 0, 5)];
    let blocks = Blocks::from([seen(1, 0), seen(2, 0), seen(3, 5 * WINDOW)]);
    let windows = std::slice::from_ref(&w);
    assert_eq!(dropped_at(5 * WINDOW, windows, &blocks), [(0, ShardSet::from_iter([1, 2]))]);
    let flushed = |led: &ShardSet| {
        let waiting = Waiting::from([(0, Duration::ZERO)]);
        FlushPolicy::new(GRACE).flushes(at(5 * WINDOW), windows, led, &blocks, &waiting)
    };
    assert_eq!(flushed(&ShardSet::from_iter([2, 3])), [0; 0]);
    assert_eq!(flushed(&ShardSet::of(1)), [0]);
}

#[test]
fn a_clock_that_was_set_back_delays_no_flush_of_a_window_that_has_ended() {
    // Samples were appended an hour ago, by a clock that was a day ahead.
    let w = [window(0, 5, 0, 13 * WINDOW)];
    let now = |monotonic: i64| Now { wall_ms: 2 * WINDOW, monotonic: millis(monotonic) };
    assert_eq!(flushed_at(now(WINDOW / 2 - 1), &w, &Blocks::new()), [0; 0]);
    assert_eq!(flushed_at(now(WINDOW / 2), &w, &Blocks::new()), [0]);
}

#[test]
fn the_leader_of_an_unshipped_shard_gets_more_time_before_a_replica_compares() {
    let wait = Duration::from_secs(60);
    let due = |has_main, now: i64| is_comparison_due(millis(1000), wait, WINDOW, has_main, millis(now));
    assert!(!due(true, 60_999 + WINDOW) && due(true, 61_000 + WINDOW));
    assert!(!due(false, 60_999 + 2 * WINDOW) && due(false, 61_000 + 2 * WINDOW));
}

proptest! {
    #[test]
    fn open_windows_are_never_flushed_and_old_ones_always(
        now in 0i64..100_000_000, starts in proptest::collection::vec((0i64..20, 0u64..3, 0i64..100_000_000), 0..10)
    ) {
        let windows: Vec<_> = starts.iter().map(|&(n, samples, t)| window(n * WINDOW, samples, 0, t.min(now))).collect();
        let flushed = flushed_at(at(now), &windows, &Blocks::new());
        for w in &windows {
            let flushes = flushed.contains(&w.start);
            prop_assert!(!flushes || w.end <= now);
            let must = w.unflushed_samples > 0 && now >= w.end + WINDOW / 2;
            prop_assert!(flushes || !must);
        }
    }
}
