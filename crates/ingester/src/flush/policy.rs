//! Decides which windows are flushed and which flushed ones leave memory. Pure: times and facts in, actions out.
//!
//! A window is flushed when it has ended and nothing was appended to it for a while, or at the latest when it has waited for
//! half a window since its end; late samples follow the same rule, counted from the window's last block. Flushed samples leave memory when the
//! grace period after their block has passed.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_head::WindowInfo;
use pharos_model::ShardSet;

/// When the newest block of a shard of a window was made, milliseconds since the epoch, by the window's start and the shard.
pub type Committed = BTreeMap<(i64, u32), i64>;

/// Since when each window was seen with unflushed samples, milliseconds since the epoch, by the window's start.
pub type Waiting = BTreeMap<i64, i64>;

/// Notes windows that begin to wait and forgets those that do so no longer.
pub fn note_waiting(waiting: &mut Waiting, now: i64, windows: &[WindowInfo]) {
    waiting.retain(|start, _| windows.iter().any(|w| w.start == *start && w.unflushed_samples > 0));
    for window in windows.iter().filter(|w| w.unflushed_samples > 0) {
        waiting.entry(window.start).or_insert(now);
    }
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Cut and ship the unflushed samples of the window in the shards that are led here.
    Flush {
        /// Its start.
        window: i64,
    },
    /// Free the flushed samples of some shards of the window.
    Drop {
        /// Its start.
        window: i64,
        /// Of these shards.
        shards: ShardSet,
    },
}

/// The times by which windows are flushed and dropped, all in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct FlushPolicy {
    /// A window rests for so long before it is flushed.
    settle: i64,
    /// A window that never rests is flushed so long after its end, its last block and its first wait.
    at_the_latest: i64,
    /// Flushed samples stay in memory for so long.
    grace: i64,
}

impl FlushPolicy {
    /// The policy for windows of `window_ms` milliseconds.
    pub fn new(window_ms: i64, grace: Duration) -> Self {
        FlushPolicy {
            settle: (window_ms / 24).clamp(2_000, 300_000),
            at_the_latest: (window_ms / 2).max(2_000),
            grace: i64::try_from(grace.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// What is due at `now` for the windows of one tenant, oldest first. `led` are the shards that are shipped here.
    pub fn decide(
        &self,
        now: i64,
        windows: &[WindowInfo],
        led: &ShardSet,
        committed: &Committed,
        waiting: &Waiting,
    ) -> Vec<Action> {
        let mut due = Vec::new();
        for window in windows {
            let made = |shard: u32| committed.get(&(window.start, shard)).copied();
            // Dropped before it is flushed again: what is flushed now has a grace period of its own.
            // A flushed shard without a block was removed by retention, or had nothing left to ship.
            let grace_is_over = |shard: &u32| made(*shard).is_none_or(|made| now >= made.saturating_add(self.grace));
            let shards: ShardSet = window.evictable().iter().filter(grace_is_over).collect();
            if !shards.is_empty() {
                due.push(Action::Drop { window: window.start, shards });
            }
            let ripe = window.unflushed().intersection(led);
            let newest_block = ripe.iter().filter_map(made).max();
            if !ripe.is_empty() && self.is_flush_due(now, window, newest_block, waiting.get(&window.start).copied()) {
                due.push(Action::Flush { window: window.start });
            }
        }
        due
    }

    /// Whether what is not flushed of a window is due to be: it has ended and rests, or has waited for long enough. `block_made`
    /// is the newest block of its shards, `waits_since` when it was first seen to wait.
    pub fn is_flush_due(
        &self,
        now: i64,
        window: &WindowInfo,
        block_made: Option<i64>,
        waits_since: Option<i64>,
    ) -> bool {
        let rests = now.saturating_sub(window.newest_append_ms) >= self.settle;
        let since = window.end.max(block_made.unwrap_or(i64::MIN)).max(waits_since.unwrap_or(now));
        let overdue = now.saturating_sub(since) >= self.at_the_latest;
        window.end <= now && (rests || overdue)
    }
}

#[cfg(test)]
mod tests {
    use pharos_head::ShardWindow;
    use proptest::prelude::*;

    use super::*;

    const WINDOW: i64 = 7_200_000;

    fn window(start: i64, unflushed: u64, flushed: u64, newest_append_ms: i64) -> WindowInfo {
        let shards =
            vec![ShardWindow { shard: 7, unflushed_samples: unflushed, flushed_samples: flushed, flushed_cut: 0 }];
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

    /// What is due when all windows have waited since the epoch.
    fn due(now: i64, windows: &[WindowInfo], committed: &Committed) -> Vec<Action> {
        let waiting = windows.iter().map(|w| (w.start, 0)).collect();
        FlushPolicy::new(WINDOW, Duration::from_secs(3600)).decide(
            now,
            windows,
            &ShardSet::all(64),
            committed,
            &waiting,
        )
    }

    #[test]
    fn history_that_is_being_loaded_waits_too() {
        let now = 100 * WINDOW;
        let (busy, mut waiting) = ([window(0, 5, 0, now)], Waiting::new());
        note_waiting(&mut waiting, now, &busy);
        let decide = |now| {
            let busy = [window(0, 5, 0, now)];
            FlushPolicy::new(WINDOW, Duration::ZERO).decide(now, &busy, &ShardSet::all(64), &Committed::new(), &waiting)
        };
        assert_eq!(decide(now + WINDOW / 2 - 1), []);
        assert_eq!(decide(now + WINDOW / 2), [Action::Flush { window: 0 }]);
        note_waiting(&mut waiting, now, &[window(0, 0, 5, now)]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_window_is_flushed_when_it_has_ended_and_rests() {
        let w = [window(0, 1, 0, WINDOW)];
        let none = Committed::new();
        assert_eq!(due(WINDOW - 1, &w, &none), []);
        assert_eq!(due(WINDOW + 299_999, &w, &none), []);
        assert_eq!(due(WINDOW + 300_000, &w, &none), [Action::Flush { window: 0 }]);
    }

    #[test]
    fn a_window_that_never_rests_is_flushed_at_the_latest_after_half_a_window() {
        let now = WINDOW + WINDOW / 2;
        assert_eq!(due(now - 1, &[window(0, 1, 0, now - 1)], &Committed::new()), []);
        assert_eq!(due(now, &[window(0, 1, 0, now)], &Committed::new()), [Action::Flush { window: 0 }]);
    }

    #[test]
    fn late_samples_wait_for_rest_or_half_a_window_after_the_last_block() {
        let made = 10 * WINDOW;
        let committed = Committed::from([((0, 7), made)]);
        let busy = |now| window(0, 5, 0, now);
        assert_eq!(due(made + 1000, &[busy(made + 1000)], &committed), []);
        let now = made + WINDOW / 2;
        assert_eq!(due(now, &[busy(now)], &committed), [Action::Flush { window: 0 }]);
    }

    #[test]
    fn flushed_samples_leave_memory_after_the_grace_period() {
        let committed = Committed::from([((0, 7), 5 * WINDOW)]);
        let w = [window(0, 0, 9, 0)];
        assert_eq!(due(5 * WINDOW + 3_599_999, &w, &committed), []);
        assert_eq!(due(5 * WINDOW + 3_600_000, &w, &committed), [Action::Drop { window: 0, shards: ShardSet::of(7) }]);
        assert_eq!(due(0, &w, &Committed::new()), [Action::Drop { window: 0, shards: ShardSet::of(7) }]);
    }

    #[test]
    fn shards_are_shipped_where_they_are_led_and_dropped_each_in_its_time() {
        let mut w = window(0, 0, 0, 0);
        let shard = |shard, unflushed_samples, flushed_samples| ShardWindow {
            shard,
            unflushed_samples,
            flushed_samples,
            flushed_cut: 0,
        };
        w.shards = vec![shard(1, 5, 5), shard(2, 0, 5), shard(3, 0, 5)];
        let committed = Committed::from([((0, 1), 0), ((0, 2), 0), ((0, 3), 5 * WINDOW)]);
        let decide = |led: &ShardSet| {
            let waiting = Waiting::from([(0, 0)]);
            let policy = FlushPolicy::new(WINDOW, Duration::from_secs(3600));
            policy.decide(5 * WINDOW, std::slice::from_ref(&w), led, &committed, &waiting)
        };
        let drop = Action::Drop { window: 0, shards: ShardSet::from_iter([1, 2]) };
        assert_eq!(decide(&ShardSet::from_iter([2, 3])), std::slice::from_ref(&drop));
        assert_eq!(decide(&ShardSet::of(1)), [drop, Action::Flush { window: 0 }]);
    }

    #[test]
    fn late_samples_that_are_flushed_now_do_not_leave_with_those_before() {
        let committed = Committed::from([((0, 7), 5 * WINDOW)]);
        let due = due(7 * WINDOW, &[window(0, 3, 9, 5 * WINDOW)], &committed);
        assert_eq!(due, [Action::Drop { window: 0, shards: ShardSet::of(7) }, Action::Flush { window: 0 }]);
    }

    proptest! {
        #[test]
        fn nothing_open_is_flushed_and_everything_old_is(
            now in 0i64..100_000_000, starts in proptest::collection::vec((0i64..20, 0u64..3, 0i64..100_000_000), 0..10)
        ) {
            let windows: Vec<_> = starts.iter().map(|&(n, samples, t)| window(n * WINDOW, samples, 0, t.min(now))).collect();
            let due = due(now, &windows, &Committed::new());
            for w in &windows {
                let flushes = due.contains(&Action::Flush { window: w.start });
                prop_assert!(!flushes || w.end <= now);
                let must = w.unflushed_samples > 0 && now >= w.end + WINDOW / 2;
                prop_assert!(flushes || !must);
            }
        }
    }
}
