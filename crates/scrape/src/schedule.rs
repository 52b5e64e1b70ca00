//! When targets are scraped. The hash of a target picks its slot within each interval, so the slots survive restarts and
//! spread the load.

use std::time::Duration;

use pharos_model::Clock;

/// How late a scrape may start and still get its slot's timestamp, milliseconds; at most 1 % of the interval.
const TOLERANCE_MS: i64 = 2;

/// The first slot at or after `now_ms`.
pub(crate) fn first_slot(now_ms: i64, interval_ms: i64, hash: u64) -> i64 {
    let interval_ms = interval_ms.max(1);
    let offset = (hash % interval_ms as u64) as i64;
    let this_interval = now_ms - now_ms.rem_euclid(interval_ms) + offset;
    if this_interval < now_ms { this_interval + interval_ms } else { this_interval }
}

/// A scrape that starts: its timestamp, and the slot of the next one. Both in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScrapeTime {
    pub(crate) timestamp: i64,
    pub(crate) next_slot: i64,
}

/// The timestamp of the scrape that was planned for `planned_ms` and starts at `now_ms`. Slots that passed are skipped.
pub(crate) fn scrape_time(planned_ms: i64, now_ms: i64, interval_ms: i64) -> ScrapeTime {
    let interval_ms = interval_ms.max(1);
    let skipped = (now_ms - planned_ms).max(0) / interval_ms;
    let slot = planned_ms + skipped * interval_ms;
    let tolerance = TOLERANCE_MS.min(interval_ms / 100);
    let timestamp = if now_ms - slot <= tolerance { slot } else { now_ms };
    ScrapeTime { timestamp, next_slot: slot + interval_ms }
}

/// A difference between wall clock and monotonic clock that counts as a step, milliseconds. Smaller ones are corrections by NTP.
const STEP_MS: u64 = 100;

/// Notices steps of a wall clock by comparing it with the monotonic clock.
pub(crate) struct StepDetector {
    /// Wall-clock time minus monotonic time when it was last looked at, milliseconds.
    base_ms: i64,
}

impl StepDetector {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        StepDetector { base_ms: base_ms(clock) }
    }

    /// Whether the clock has stepped since the last look.
    pub(crate) fn has_stepped(&mut self, clock: &dyn Clock) -> bool {
        let before = std::mem::replace(&mut self.base_ms, base_ms(clock));
        before.abs_diff(self.base_ms) > STEP_MS
    }
}

fn base_ms(clock: &dyn Clock) -> i64 {
    let monotonic = i64::try_from(clock.monotonic().as_millis()).unwrap_or(i64::MAX);
    clock.now_ms().saturating_sub(monotonic)
}

/// Where a loop continues after the clock was set back, so that its next slot no longer is within an interval: half an
/// interval after its last scrape, which began `since` ago. The slots stay where they are in each interval.
pub(crate) fn after_step_back(now_ms: i64, interval_ms: i64, since: Duration) -> i64 {
    let since_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    now_ms.max(now_ms.saturating_add(interval_ms / 2).saturating_sub(since_ms))
}

#[cfg(test)]
mod tests;
