//! Decides which windows are flushed and which flushed samples leave memory. Pure: times and windows go in, decisions come
//! out.
//!
//! A window is flushed once it has ended and settled, that is, nothing was appended for a while; at the latest half a window
//! after its end. Late samples follow the same rule, counted from the window's last block. Flushed samples leave memory when
//! the grace period since this node first saw their block has passed. If no block of theirs is listed, they stay, unless the
//! block was removed on purpose (INV-DROP).
//!
//! Whether a window has ended is a question to the wall clock, because samples are dated by it. Everything else is measured on
//! the monotonic clock: neither a clock step nor a block that another node dated wrongly keeps samples in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_head::WindowInfo;
use pharos_model::ShardSet;

/// The time of a decision on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the epoch.
    pub wall_ms: i64,
    /// Time since an arbitrary fixed moment.
    pub monotonic: Duration,
}

/// What the catalogue says about the flushed samples of a shard of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardBlocks {
    /// When this node first saw the newest listed block, on the monotonic clock; `None` if no block is listed.
    pub newest_seen: Option<Duration>,
    /// Whether a block that had these samples is not listed any more, or never was, and nobody removed it on purpose.
    pub is_missing: bool,
}

/// By start of the window and shard.
pub type Blocks = BTreeMap<(i64, u32), ShardBlocks>;

/// Since when each window has had unflushed samples, on the monotonic clock, by start of the window.
pub type Waiting = BTreeMap<i64, Duration>;

/// Adds windows with unflushed samples and removes those without.
pub fn note_waiting(waiting: &mut Waiting, now: Duration, windows: &[WindowInfo]) {
    waiting.retain(|start, _| windows.iter().any(|w| w.start == *start && w.unflushed_samples > 0));
    for window in windows.iter().filter(|w| w.unflushed_samples > 0) {
        waiting.entry(window.start).or_insert(now);
    }
}

/// The times after which windows are flushed and dropped.
#[derive(Clone, Copy, Debug)]
pub struct FlushPolicy {
    /// Time that flushed samples stay in memory after their block was seen.
    grace: Duration,
}

impl FlushPolicy {
    /// The policy that keeps flushed samples for `grace`.
    pub fn new(grace: Duration) -> Self {
        FlushPolicy { grace }
    }

    /// The windows whose flushed samples leave memory, with their shards, oldest first.
    pub fn drops(&self, now: Duration, windows: &[WindowInfo], blocks: &Blocks) -> Vec<(i64, ShardSet)> {
        let of_window = |window: &WindowInfo| {
            let goes = |shard: &u32| match blocks.get(&(window.start, *shard)) {
                Some(ShardBlocks { is_missing: false, newest_seen }) => {
                    newest_seen.is_none_or(|seen| now >= seen.saturating_add(self.grace))
                }
                _ => false,
            };
            (window.start, window.evictable().iter().filter(goes).collect::<ShardSet>())
        };
        windows.iter().map(of_window).filter(|(_, shards)| !shards.is_empty()).collect()
    }

    /// The windows whose unflushed samples are due, oldest first. `led` are the shards that this node leads.
    pub fn flushes(
        &self,
        now: Now,
        windows: &[WindowInfo],
        led: &ShardSet,
        blocks: &Blocks,
        waiting: &Waiting,
    ) -> Vec<i64> {
        let is_due = |window: &&WindowInfo| {
            let unflushed = window.unflushed().intersection(led);
            let seen = |shard: u32| blocks.get(&(window.start, shard)).and_then(|known| known.newest_seen);
            let newest_block = unflushed.iter().filter_map(seen).max();
            !unflushed.is_empty() && is_flush_due(now, window, newest_block, waiting.get(&window.start).copied())
        };
        windows.iter().filter(is_due).map(|window| window.start).collect()
    }
}

/// Whether the unflushed samples of a window are due: it has ended and settled, or waited long enough. `block_seen` is when
/// its newest block was first seen, `waits_since` when it was first seen with unflushed samples.
fn is_flush_due(now: Now, window: &WindowInfo, block_seen: Option<Duration>, waits_since: Option<Duration>) -> bool {
    let width = window.end.saturating_sub(window.start);
    let settle = (width / 24).clamp(2_000, 300_000);
    let at_the_latest = (width / 2).max(2_000);
    let has_settled = now.wall_ms.saturating_sub(window.newest_append_ms) >= settle;
    let is_past = |since: Option<Duration>| {
        since.is_some_and(|since| now.monotonic.saturating_sub(since) >= millis(at_the_latest))
    };
    let is_overdue = now.wall_ms.saturating_sub(window.end) >= at_the_latest
        && is_past(waits_since)
        && (block_seen.is_none() || is_past(block_seen));
    window.end <= now.wall_ms && (has_settled || is_overdue)
}

/// Whether a replica compares the unflushed samples of a shard that another node leads with blocks: after `wait`, by which
/// every write of them has succeeded or failed, and a window's length, by which the leader has shipped late samples if it has
/// them. Without a main block the leader gets two.
pub fn is_comparison_due(since: Duration, wait: Duration, width_ms: i64, has_main: bool, now: Duration) -> bool {
    let patience = millis(width_ms.saturating_mul(if has_main { 1 } else { 2 }));
    now >= since.saturating_add(wait).saturating_add(patience)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests;
