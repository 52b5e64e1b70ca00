//! The health of nodes: how long reads take, and which nodes failed recently.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use parking_lot::Mutex;

/// Reads whose latency is remembered.
const MAX_LATENCIES: usize = 128;
/// Fewer latencies than this do not give a meaningful percentile.
const MIN_LATENCIES: usize = 16;
/// The percentile until there are enough latencies.
const DEFAULT_P95: Duration = Duration::from_millis(200);
/// How long a node is ranked last after a failure.
const QUARANTINE_TIME: Duration = Duration::from_secs(5);

/// The latencies of the most recent reads of one kind.
pub(crate) struct Latencies {
    /// Lower bound of every timeout that is derived from the latencies.
    pub(crate) floor: Duration,
    recent: Mutex<Recent>,
}

/// A ring of latencies.
#[derive(Default)]
struct Recent {
    latencies: Vec<Duration>,
    next: usize,
}

impl Latencies {
    /// No latencies yet.
    pub(crate) fn with_floor(floor: Duration) -> Self {
        Latencies { floor, recent: Mutex::default() }
    }

    /// Records a latency, in place of the oldest one.
    pub(crate) fn add(&self, latency: Duration) {
        let recent = &mut *self.recent.lock();
        if recent.latencies.len() < MAX_LATENCIES {
            recent.latencies.push(latency);
        } else {
            recent.latencies[recent.next] = latency;
        }
        recent.next = (recent.next + 1) % MAX_LATENCIES;
    }

    /// The 95th percentile.
    pub(crate) fn p95(&self) -> Duration {
        let mut latencies = self.recent.lock().latencies.clone();
        if latencies.len() < MIN_LATENCIES {
            return DEFAULT_P95;
        }
        latencies.sort_unstable();
        latencies[latencies.len() * 95 / 100]
    }
}

/// Nodes that failed recently.
#[derive(Default)]
pub(crate) struct Quarantine {
    /// When each node's quarantine ends, on the monotonic clock.
    until: Mutex<HashMap<String, Duration>>,
}

impl Quarantine {
    /// Quarantines a node, or extends its quarantine.
    pub(crate) fn add(&self, node: &str, now: Duration) {
        self.until.lock().insert(node.to_string(), now.saturating_add(QUARANTINE_TIME));
    }

    /// The nodes in quarantine.
    pub(crate) fn nodes(&self, now: Duration) -> BTreeSet<String> {
        let mut until = self.until.lock();
        until.retain(|_, until| *until > now);
        until.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
