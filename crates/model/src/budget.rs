//! The budget of a query: its memory, its deadline and its cancellation, shared by everything that works for the query,
//! and an account of what was read for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::memory::Hold;
use crate::series_set::SelectError;

/// Counts what a query uses and says when it must end. Cheap enough to check for every batch of series.
pub struct Budget {
    limits: Arc<Limits>,
    reads: Reads,
    /// The budget that this one is a part of. Reads count for both.
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
    /// Where memory is drawn from besides.
    hold: Option<Hold>,
}

/// An account of what sources have read.
#[derive(Default)]
struct Reads {
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl Budget {
    /// A budget of `max_bytes` of memory that expires `timeout` from now.
    pub fn new(clock: Arc<dyn Clock>, timeout: Duration, max_bytes: u64) -> Self {
        Self::create(clock, timeout, max_bytes, None)
    }

    /// As [`Budget::new`], for a request whose memory is drawn from an account.
    pub fn drawn(clock: Arc<dyn Clock>, timeout: Duration, max_bytes: u64, hold: Hold) -> Self {
        Self::create(clock, timeout, max_bytes, Some(hold))
    }

    fn create(clock: Arc<dyn Clock>, timeout: Duration, max_bytes: u64, hold: Option<Hold>) -> Self {
        let deadline = clock.monotonic().saturating_add(timeout);
        let limits = Limits {
            clock,
            deadline,
            timeout,
            max_bytes,
            used_bytes: 0.into(),
            peak_bytes: 0.into(),
            cancelled: false.into(),
            hold,
        };
        Budget { limits: Arc::new(limits), reads: Reads::default(), whole: None }
    }

    /// A part of this budget: it shares the limits but has an account of reads of its own.
    pub fn part(self: &Arc<Self>) -> Arc<Self> {
        Arc::new(Budget { limits: self.limits.clone(), reads: Reads::default(), whole: Some(self.clone()) })
    }

    /// A budget without limits, for tests and tools.
    pub fn unlimited() -> Self {
        Self::new(Arc::new(crate::clock::SystemClock::new()), Duration::MAX, u64::MAX)
    }

    /// Makes the query fail at its next check.
    pub fn cancel(&self) {
        self.limits.cancelled.store(true, Ordering::Relaxed);
    }

    /// Cancels the query when the guard is dropped, because nobody waits for it any more.
    pub fn cancel_on_drop(self: &Arc<Self>) -> CancelOnDrop {
        CancelOnDrop(Some(self.clone()))
    }

    /// Fails if the query must end.
    ///
    /// # Errors
    /// The query was cancelled or its time is up.
    pub fn check(&self) -> Result<(), SelectError> {
        if self.limits.cancelled.load(Ordering::Relaxed) {
            return Err(SelectError::Cancelled);
        }
        if self.limits.deadline < Duration::MAX && self.limits.clock.monotonic() > self.limits.deadline {
            return Err(SelectError::Timeout(self.limits.timeout));
        }
        Ok(())
    }

    /// The time left until the deadline.
    pub fn remaining(&self) -> Duration {
        match self.limits.deadline {
            Duration::MAX => Duration::MAX,
            deadline => deadline.saturating_sub(self.limits.clock.monotonic()),
        }
    }

    /// Takes memory from the budget. The caller returns it with [`Budget::give_back`]; what it does not return, the end of the
    /// budget does.
    ///
    /// # Errors
    /// The budget, or the account that it draws from, does not have that much left. Nothing is taken then.
    pub fn take(&self, bytes: u64) -> Result<(), SelectError> {
        let used = self.limits.used_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.limits.peak_bytes.fetch_max(used, Ordering::Relaxed);
        let taken = match &self.limits.hold {
            _ if used > self.limits.max_bytes => Err(SelectError::Memory { limit: self.limits.max_bytes }),
            Some(hold) => hold.draw(bytes).map_err(SelectError::Full),
            None => Ok(()),
        };
        if taken.is_err() {
            self.limits.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        taken
    }

    /// Returns memory that was taken.
    pub fn give_back(&self, bytes: u64) {
        self.limits.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(hold) = &self.limits.hold {
            hold.give_back(bytes);
        }
    }

    /// The most bytes that were taken at any time.
    pub fn peak_bytes(&self) -> u64 {
        self.limits.peak_bytes.load(Ordering::Relaxed)
    }

    /// The bytes that are taken at the moment.
    pub fn used_bytes(&self) -> u64 {
        self.limits.used_bytes.load(Ordering::Relaxed)
    }

    /// The most bytes that may be taken at a time.
    pub fn max_bytes(&self) -> u64 {
        self.limits.max_bytes
    }

    /// Counts one request of a source to a file, an object or another node.
    pub fn count_read(&self, bytes: u64) {
        self.count_reads(bytes, 1);
    }

    /// Counts several requests of a source.
    pub fn count_reads(&self, bytes: u64, requests: u64) {
        let mut budget = Some(self);
        while let Some(at) = budget {
            at.reads.bytes.fetch_add(bytes, Ordering::Relaxed);
            at.reads.requests.fetch_add(requests, Ordering::Relaxed);
            budget = at.whole.as_deref();
        }
    }

    /// The bytes that sources have read, and the number of their requests.
    pub fn reads(&self) -> (u64, u64) {
        (self.reads.bytes.load(Ordering::Relaxed), self.reads.requests.load(Ordering::Relaxed))
    }
}

/// Cancels a budget when it is dropped.
#[must_use]
pub struct CancelOnDrop(Option<Arc<Budget>>);

impl CancelOnDrop {
    /// Keeps the budget: the query has ended, and there is nothing left to cancel.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(|budget| budget.cancel());
    }
}

#[cfg(test)]
mod tests;
