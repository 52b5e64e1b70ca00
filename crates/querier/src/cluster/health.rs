//! How nodes do: how long answers take, and who gave none lately.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use parking_lot::Mutex;

/// Answers that are remembered.
const REMEMBERED: usize = 128;
/// Fewer say nothing.
const ENOUGH: usize = 16;
/// Until enough is known.
const AT_FIRST: Duration = Duration::from_millis(200);
/// For how long a node that gave no answer comes last.
const AVOIDED: Duration = Duration::from_secs(5);

/// How long the last answers of a kind took.
pub(crate) struct Latencies {
    /// No answer is given less time.
    pub(crate) least: Duration,
    recent: Mutex<(Vec<Duration>, usize)>,
}

impl Latencies {
    /// Answers of which each is given at least this time.
    pub(crate) fn at_least(least: Duration) -> Self {
        Latencies { least, recent: Mutex::default() }
    }

    /// Adds an answer.
    pub(crate) fn add(&self, took: Duration) {
        let (recent, next) = &mut *self.recent.lock();
        if recent.len() < REMEMBERED {
            recent.push(took);
        } else {
            recent[*next] = took;
        }
        *next = (*next + 1) % REMEMBERED;
    }

    /// Longer than this take 5 of 100 answers.
    pub(crate) fn p95(&self) -> Duration {
        let mut recent = self.recent.lock().0.clone();
        if recent.len() < ENOUGH {
            return AT_FIRST;
        }
        recent.sort_unstable();
        recent[recent.len() * 95 / 100]
    }
}

/// Nodes that gave no answer lately.
#[derive(Default)]
pub(crate) struct Unwell {
    until: Mutex<HashMap<String, Duration>>,
}

impl Unwell {
    /// A node gave no answer.
    pub(crate) fn add(&self, node: &str, now: Duration) {
        self.until.lock().insert(node.to_string(), now.saturating_add(AVOIDED));
    }

    /// Who they are.
    pub(crate) fn now(&self, now: Duration) -> BTreeSet<String> {
        let mut until = self.until.lock();
        until.retain(|_, until| *until > now);
        until.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_twenty_is_found() {
        let latencies = Latencies::at_least(Duration::ZERO);
        assert_eq!(latencies.p95(), AT_FIRST);
        (0..1000).for_each(|i| latencies.add(Duration::from_millis(if i % 20 == 0 { 900 } else { 10 + i % 3 })));
        let p95 = latencies.p95();
        assert!(p95 == Duration::from_millis(12) || p95 == Duration::from_millis(900), "{p95:?}");
        (0..200).for_each(|_| latencies.add(Duration::from_millis(5)));
        assert_eq!(latencies.p95(), Duration::from_millis(5));
    }

    #[test]
    fn nodes_get_well_again() {
        let unwell = Unwell::default();
        unwell.add("a", Duration::from_secs(1));
        assert_eq!(unwell.now(Duration::from_secs(2)).len(), 1);
        assert!(unwell.now(Duration::from_secs(6)).is_empty());
    }
}
