//! Decides which windows are flushed and which flushed samples leave memory. Pure: times and windows go in, actions come out.
//!
//! A window is flushed once it has ended and settled, that is, nothing was appended for a while; at the latest half a window
//! after its end. Late samples follow the same rule, counted from the window's last block. Flushed samples leave memory when
//! the grace period after their block has passed.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_head::WindowInfo;
use pharos_model::ShardSet;

/// Creation time of the newest block, milliseconds since the epoch, by start of the window and shard.
pub type Committed = BTreeMap<(i64, u32), i64>;

/// Since when each window has had unflushed samples, milliseconds since the epoch, by start of the window.
pub type Waiting = BTreeMap<i64, i64>;

/// Adds windows with unflushed samples and removes those without.
pub fn note_waiting(waiting: &mut Waiting, now: i64, windows: &[WindowInfo]) {
    waiting.retain(|start, _| windows.iter().any(|w| w.start == *start && w.unflushed_samples > 0));
    for window in windows.iter().filter(|w| w.unflushed_samples > 0) {
        waiting.entry(window.start).or_insert(now);
    }
}

/// An action that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Flush the unflushed samples of a window in the shards that this node leads.
    Flush {
        /// Start of the window.
        window: i64,
    },
    /// Drop the flushed samples of some shards of a window from memory.
    Drop {
        /// Start of the window.
        window: i64,
        /// The shards to drop.
        shards: ShardSet,
    },
}

/// The times after which windows are flushed and dropped, all in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct FlushPolicy {
    /// Time without an append after which a window has settled.
    settle: i64,
    /// A window that never settles is flushed this long after its end, its last block and its first wait.
    at_the_latest: i64,
    /// Time that flushed samples stay in memory.
    grace: i64,
}

impl FlushPolicy {
    /// The policy for windows of `window_ms` milliseconds, which keeps flushed samples for `grace`.
    pub fn new(window_ms: i64, grace: Duration) -> Self {
        FlushPolicy {
            settle: (window_ms / 24).clamp(2_000, 300_000),
            at_the_latest: (window_ms / 2).max(2_000),
            grace: i64::try_from(grace.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// What is due at `now` for the windows of one tenant, oldest first. `led` are the shards that this node leads.
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
            // Dropping precedes flushing, because samples that are flushed now have a grace period of their own. The block
            // of a flushed shard may be missing: retention removed it, or there was nothing left to flush.
            let grace_is_over = |shard: &u32| made(*shard).is_none_or(|made| now >= made.saturating_add(self.grace));
            let shards: ShardSet = window.evictable().iter().filter(grace_is_over).collect();
            if !shards.is_empty() {
                due.push(Action::Drop { window: window.start, shards });
            }
            let unflushed = window.unflushed().intersection(led);
            let newest_block = unflushed.iter().filter_map(made).max();
            if !unflushed.is_empty()
                && self.is_flush_due(now, window, newest_block, waiting.get(&window.start).copied())
            {
                due.push(Action::Flush { window: window.start });
            }
        }
        due
    }

    /// Whether the unflushed samples of a window are due: it has ended and settled, or waited long enough. `block_made` is the
    /// creation time of its newest block, `waits_since` the time when it was first seen with unflushed samples.
    pub fn is_flush_due(
        &self,
        now: i64,
        window: &WindowInfo,
        block_made: Option<i64>,
        waits_since: Option<i64>,
    ) -> bool {
        let has_settled = now.saturating_sub(window.newest_append_ms) >= self.settle;
        let since = window.end.max(block_made.unwrap_or(i64::MIN)).max(waits_since.unwrap_or(now));
        let overdue = now.saturating_sub(since) >= self.at_the_latest;
        window.end <= now && (has_settled || overdue)
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
    fn a_backfill_waits_for_its_half_window_too() {
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
    fn a_window_is_flushed_once_it_has_ended_and_settled() {
        let w = [window(0, 1, 0, WINDOW)];
        let none = Committed::new();
        assert_eq!(due(WINDOW - 1, &w, &none), []);
        assert_eq!(due(WINDOW + 299_999, &w, &none), []);
        assert_eq!(due(WINDOW + 300_000, &w, &none), [Action::Flush { window: 0 }]);
    }

    #[test]
    fn a_window_that_never_settles_is_flushed_half_a_window_after_its_end() {
        let now = WINDOW + WINDOW / 2;
        assert_eq!(due(now - 1, &[window(0, 1, 0, now - 1)], &Committed::new()), []);
        assert_eq!(due(now, &[window(0, 1, 0, now)], &Committed::new()), [Action::Flush { window: 0 }]);
    }

    #[test]
    fn late_samples_are_flushed_half_a_window_after_the_last_block() {
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
    fn only_led_shards_are_flushed_and_each_is_dropped_in_its_time() {
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
    fn dropping_comes_before_flushing_late_samples() {
        let committed = Committed::from([((0, 7), 5 * WINDOW)]);
        let due = due(7 * WINDOW, &[window(0, 3, 9, 5 * WINDOW)], &committed);
        assert_eq!(due, [Action::Drop { window: 0, shards: ShardSet::of(7) }, Action::Flush { window: 0 }]);
    }

    proptest! {
        #[test]
        fn open_windows_are_never_flushed_and_old_ones_always(
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
