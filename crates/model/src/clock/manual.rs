//! A clock that moves only when it is told to.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Clock, Sleep};

/// A clock that moves only when it is told to, for tests and simulations. Moving it wakes the sleepers that are due.
///
/// Its monotonic time is its wall-clock time, so it must not be moved back while something sleeps.
#[derive(Debug, Default)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    now_ms: AtomicI64,
    sleepers: Mutex<Sleepers>,
}

/// Sleepers that were polled and are not due yet, by deadline, then in the order in which they went to sleep.
#[derive(Debug, Default)]
struct Sleepers {
    waiting: BTreeMap<SleeperKey, Waker>,
    last_number: u64,
}

type SleeperKey = (Duration, u64);

impl ManualClock {
    /// A clock that stands at `now_ms`.
    pub fn at(now_ms: i64) -> Self {
        let shared = Shared { now_ms: now_ms.into(), ..Shared::default() };
        ManualClock { shared: Arc::new(shared) }
    }

    /// Moves the clock to `now_ms`.
    pub fn set(&self, now_ms: i64) {
        self.shared.now_ms.store(now_ms, Ordering::SeqCst);
        self.shared.wake_due();
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.shared.now_ms.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
        self.shared.wake_due();
    }

    /// The earliest deadline that something sleeps for, as monotonic time. A simulation in which every task waits jumps
    /// there.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.shared.sleepers().waiting.keys().next().map(|(deadline, _)| *deadline)
    }

    /// How many sleeping futures wait for the clock. A future counts from its first poll on.
    pub fn sleeping(&self) -> usize {
        self.shared.sleepers().waiting.len()
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.shared.now_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        self.shared.monotonic()
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        Box::pin(ManualSleep { shared: self.shared.clone(), deadline, key: None })
    }
}

impl Shared {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::SeqCst).max(0) as u64)
    }

    fn sleepers(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_due(&self) {
        let mut sleepers = self.sleepers();
        let first_waiting = (self.monotonic() + Duration::from_nanos(1), 0);
        let waiting = sleepers.waiting.split_off(&first_waiting);
        let due = std::mem::replace(&mut sleepers.waiting, waiting);
        // A waker may poll at once, which takes the lock.
        drop(sleepers);
        due.into_values().for_each(Waker::wake);
    }
}

/// A future that is done when the clock has reached its deadline.
struct ManualSleep {
    shared: Arc<Shared>,
    deadline: Duration,
    /// Its entry among the sleepers, once it was polled.
    key: Option<SleeperKey>,
}

impl Future for ManualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared.clone();
        let mut sleepers = shared.sleepers();
        // The clock is moved before the lock is taken to wake: either this sees the new time, or it is woken.
        if shared.monotonic() >= self.deadline {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| {
            sleepers.last_number += 1;
            (self.deadline, sleepers.last_number)
        });
        sleepers.waiting.insert(key, cx.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.sleepers().waiting.remove(&key);
        }
    }
}
