//! A query's budget: memory, time and cancellation, shared by all that works for the query.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::series_set::SelectError;

/// Counts what a query uses and says when it must end. Cheap enough to be asked for every batch of series.
pub struct Budget {
    clock: std::sync::Arc<dyn Clock>,
    deadline: Duration,
    timeout: Duration,
    max_bytes: u64,
    used_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    cancelled: AtomicBool,
}

impl Budget {
    /// A budget of `max_bytes` of memory and `timeout` of time from now.
    pub fn new(clock: std::sync::Arc<dyn Clock>, timeout: Duration, max_bytes: u64) -> Self {
        let deadline = clock.monotonic().saturating_add(timeout);
        Budget {
            clock,
            deadline,
            timeout,
            max_bytes,
            used_bytes: 0.into(),
            peak_bytes: 0.into(),
            cancelled: false.into(),
        }
    }

    /// A budget without limits, for tests and tools.
    pub fn unlimited() -> Self {
        Self::new(std::sync::Arc::new(crate::clock::SystemClock::new()), Duration::MAX, u64::MAX)
    }

    /// Ends the query at its next check.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the query may go on.
    pub fn check(&self) -> Result<(), SelectError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(SelectError::Cancelled);
        }
        if self.deadline < Duration::MAX && self.clock.monotonic() > self.deadline {
            return Err(SelectError::Timeout(self.timeout));
        }
        Ok(())
    }

    /// How much of its time is left.
    pub fn remaining(&self) -> Duration {
        match self.deadline {
            Duration::MAX => Duration::MAX,
            deadline => deadline.saturating_sub(self.clock.monotonic()),
        }
    }

    /// Takes memory from the budget. What is taken is given back with [`Budget::give_back`].
    pub fn take(&self, bytes: u64) -> Result<(), SelectError> {
        let used = self.used_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.peak_bytes.fetch_max(used, Ordering::Relaxed);
        if used > self.max_bytes {
            self.give_back(bytes);
            return Err(SelectError::Memory { limit: self.max_bytes });
        }
        Ok(())
    }

    /// Gives memory back.
    pub fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The most bytes that were taken at a time.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use std::sync::Arc;

    #[test]
    fn memory_time_and_cancellation_end_a_query() {
        let clock = Arc::new(ManualClock::at(0));
        let budget = Budget::new(clock.clone(), Duration::from_secs(1), 100);
        assert!(budget.take(60).is_ok());
        assert!(matches!(budget.take(60), Err(SelectError::Memory { limit: 100 })));
        budget.give_back(60);
        assert!(budget.take(100).is_ok() && budget.check().is_ok());
        assert_eq!(budget.peak_bytes(), 120);
        clock.set(400);
        assert_eq!(budget.remaining(), Duration::from_millis(600));
        clock.set(1001);
        assert_eq!((budget.remaining(), Budget::unlimited().remaining()), (Duration::ZERO, Duration::MAX));
        assert!(matches!(budget.check(), Err(SelectError::Timeout(_))));
        budget.cancel();
        assert!(matches!(budget.check(), Err(SelectError::Cancelled)));
    }
}
