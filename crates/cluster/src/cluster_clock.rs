//! The cluster's time on one node.
//!
//! Each heartbeat measures how far the leader's monotonic clock is from this node's, as NTP does: from the times at which it
//! was sent, received, answered and its answer arrived. Nothing else is known of the leader's clock than that it was read
//! between these, so the error is half of the round trip at most. The answer says how far the cluster's time is from that
//! clock ([`crate::clocks`]).
//!
//! From then on this node's cluster time follows its monotonic clock, and only a difference that exceeds the error moves it.
//! A step of the node's wall clock therefore goes unnoticed here; it shows as the node's offset.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::Clock;
use pharos_model::clock::Sleep;
use pharos_transport::meta_v1::HeartbeatAnswer;
use tokio::sync::watch;

/// A difference that moves nothing, milliseconds: clocks that NTP keeps are closer.
const TOLERANCE_MS: i64 = 100;

/// The cluster's time as a clock: wall-clock time is the cluster's, monotonic time and timers are those of the node.
///
/// Until the leader has told the cluster's time it is the node's wall clock.
pub struct ClusterClock {
    local: Arc<dyn Clock>,
    /// The cluster's time minus the monotonic clock, milliseconds.
    base_ms: watch::Sender<Option<i64>>,
}

/// This node's clocks in terms of a leader's, measured by a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Identifies the leader's monotonic clock.
    pub(crate) clock: u64,
    /// This node's wall clock minus the leader's monotonic clock, milliseconds.
    pub(crate) wall_ms: i64,
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl ClusterClock {
    /// A clock that shows the time of `local`.
    pub(crate) fn new(local: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(ClusterClock { local, base_ms: watch::Sender::new(None) })
    }

    /// Sees every step of this clock.
    pub fn steps(&self) -> watch::Receiver<Option<i64>> {
        self.base_ms.subscribe()
    }

    /// How far the node's wall clock is ahead of the cluster's time, milliseconds; none while the cluster's time is unknown.
    pub fn offset_ms(&self) -> Option<i64> {
        let base = (*self.base_ms.borrow())?;
        Some(self.local.now_ms().saturating_sub(millis(self.local.monotonic()).saturating_add(base)))
    }

    /// The present cluster time minus the monotonic clock, milliseconds.
    pub(crate) fn base_ms(&self) -> i64 {
        self.now_ms().saturating_sub(millis(self.local.monotonic()))
    }

    /// Learns from the answer to a heartbeat that was sent at a time of the monotonic clock and has just been answered. Returns
    /// what the leader wants to know in the next heartbeat; none if it is too old to want anything.
    pub(crate) fn learn(&self, sent: Duration, answer: &HeartbeatAnswer) -> Option<Report> {
        if answer.clock == 0 {
            return None;
        }
        let (sent, arrived) = (millis(sent), millis(self.local.monotonic()));
        let received = i64::try_from(answer.received_ms).ok()?;
        let answered = i64::try_from(answer.answered_ms).ok()?;
        // The leader's monotonic clock minus this node's.
        let ahead = (received.saturating_sub(sent)).midpoint(answered.saturating_sub(arrived));
        let on_the_way = arrived.saturating_sub(sent).saturating_sub(answered.saturating_sub(received));
        if let Some(time) = answer.time_ms {
            self.correct(ahead.saturating_add(time), on_the_way.max(0) / 2);
        }
        let wall = self.local.now_ms().saturating_sub(arrived);
        Some(Report { clock: answer.clock, wall_ms: wall.saturating_sub(ahead) })
    }

    /// Steps to a measured base unless the present one may be right.
    fn correct(&self, measured: i64, error: i64) {
        let present = self.base_ms();
        if measured.abs_diff(present) <= error.saturating_add(TOLERANCE_MS) as u64 {
            if self.base_ms.borrow().is_none() {
                self.base_ms.send_replace(Some(present));
            }
            return;
        }
        let by_ms = measured.saturating_sub(present);
        tracing::warn!(by_ms, "correcting this node's time to the cluster's; targets are scraped by it");
        self.base_ms.send_replace(Some(measured));
    }
}

impl Clock for ClusterClock {
    fn now_ms(&self) -> i64 {
        match *self.base_ms.borrow() {
            Some(base) => millis(self.local.monotonic()).saturating_add(base),
            None => self.local.now_ms(),
        }
    }

    fn monotonic(&self) -> Duration {
        self.local.monotonic()
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        self.local.sleep_until(deadline)
    }
}

#[cfg(test)]
mod tests;
