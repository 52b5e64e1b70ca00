//! A query's budget: memory, time and cancellation, shared by all that works for the query; and what was read for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::series_set::SelectError;

/// Counts what a query uses and says when it must end. Cheap enough to be asked for every batch of series.
pub struct Budget {
    limits: Arc<Limits>,
    reads: Reads,
    /// The budget that this one is a part of; what is read counts for both.
    whole: Option<Arc<Budget>>,
}

/// The limits of a query, shared by the parts of its budget.
struct Limits {
    clock: Arc<dyn Clock>,
    deadline: Duration,
    timeout: Duration,
    max_bytes: u64,
    used_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    cancelled: AtomicBool,
}

/// What sources have read.
#[derive(Default)]
struct Reads {
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl Budget {
    /// A budget of `max_bytes` of memory and `timeout` of time from now.
    pub fn new(clock: Arc<dyn Clock>, timeout: Duration, max_bytes: u64) -> Self {
        let deadline = clock.monotonic().saturating_add(timeout);
        let limits = Limits {
            clock,
            deadline,
            timeout,
            max_bytes,
            used_bytes: 0.into(),
            peak_bytes: 0.into(),
            cancelled: false.into(),
        };
        Budget { limits: Arc::new(limits), reads: Reads::default(), whole: None }
    }

    /// A part of this budget: the same limits, with an account of its own of what is read.
    pub fn part(self: &Arc<Self>) -> Arc<Self> {
        Arc::new(Budget { limits: self.limits.clone(), reads: Reads::default(), whole: Some(self.clone()) })
    }

    /// A budget without limits, for tests and tools.
    pub fn unlimited() -> Self {
        Self::new(Arc::new(crate::clock::SystemClock::new()), Duration::MAX, u64::MAX)
    }

    /// Ends the query at its next check.
    pub fn cancel(&self) {
        self.limits.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the query may go on.
    pub fn check(&self) -> Result<(), SelectError> {
        if self.limits.cancelled.load(Ordering::Relaxed) {
            return Err(SelectError::Cancelled);
        }
        if self.limits.deadline < Duration::MAX && self.limits.clock.monotonic() > self.limits.deadline {
            return Err(SelectError::Timeout(self.limits.timeout));
        }
        Ok(())
    }

    /// How much of its time is left.
    pub fn remaining(&self) -> Duration {
        match self.limits.deadline {
            Duration::MAX => Duration::MAX,
            deadline => deadline.saturating_sub(self.limits.clock.monotonic()),
        }
    }

    /// Takes memory from the budget. What is taken is given back with [`Budget::give_back`].
    pub fn take(&self, bytes: u64) -> Result<(), SelectError> {
        let used = self.limits.used_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.limits.peak_bytes.fetch_max(used, Ordering::Relaxed);
        if used > self.limits.max_bytes {
            self.give_back(bytes);
            return Err(SelectError::Memory { limit: self.limits.max_bytes });
        }
        Ok(())
    }

    /// Gives memory back.
    pub fn give_back(&self, bytes: u64) {
        self.limits.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The most bytes that were taken at a time.
    pub fn peak_bytes(&self) -> u64 {
        self.limits.peak_bytes.load(Ordering::Relaxed)
    }

    /// The bytes that are taken now.
    pub fn used_bytes(&self) -> u64 {
        self.limits.used_bytes.load(Ordering::Relaxed)
    }

    /// The most bytes that may be taken.
    pub fn max_bytes(&self) -> u64 {
        self.limits.max_bytes
    }

    /// Counts what a source has read from files, objects or other nodes for the query: called by sources once a request.
    pub fn count_read(&self, bytes: u64) {
        self.count_reads(bytes, 1);
    }

    /// Counts what was read in several requests.
    pub fn count_reads(&self, bytes: u64, requests: u64) {
        let mut budget = Some(self);
        while let Some(at) = budget {
            at.reads.bytes.fetch_add(bytes, Ordering::Relaxed);
            at.reads.requests.fetch_add(requests, Ordering::Relaxed);
            budget = at.whole.as_deref();
        }
    }

    /// The bytes that were read, and in how many requests, as far as sources say.
    pub fn reads(&self) -> (u64, u64) {
        (self.reads.bytes.load(Ordering::Relaxed), self.reads.requests.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn reads_count_for_a_part_and_for_the_whole() {
        let whole = Arc::new(Budget::unlimited());
        let (a, b) = (whole.part(), whole.part());
        a.count_read(10);
        a.count_read(5);
        b.count_read(1);
        assert_eq!((a.reads(), b.reads(), whole.reads()), ((15, 2), (1, 1), (16, 3)));
        whole.cancel();
        assert!(a.check().is_err());
    }

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
