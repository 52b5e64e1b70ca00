//! Exponential back-off on the monotonic clock.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);

/// How long to wait after failures in a row: a second, then twice as long each time, at most a minute.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    wait: Duration,
    until: Duration,
}

impl Backoff {
    /// Notes a failure and returns the wait that follows it.
    pub(super) fn failed(&mut self, now: Duration) -> Duration {
        self.wait = (self.wait * 2).clamp(FIRST, LONGEST);
        self.until = now + self.wait;
        self.wait
    }

    /// Whether the wait is over.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_over(Duration::ZERO));
        let now = Duration::from_secs(100);
        let waits: Vec<u64> = (0..8).map(|_| backoff.failed(now).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(!backoff.is_over(now + Duration::from_secs(59)));
        assert!(backoff.is_over(now + Duration::from_secs(60)));
    }
}
