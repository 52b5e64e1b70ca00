//! Time as a component: whoever needs the time, or waits for it, takes a [`Clock`].
//!
//! A process has one [`SystemClock`]. Tests and simulations pass a [`ManualClock`] and decide when time passes, which
//! only works as long as nothing waits on any other timer.

mod manual;
mod system;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

pub use manual::ManualClock;
pub use system::SystemClock;

/// Completes when a clock has reached some time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time, milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// Time since an arbitrary fixed moment. Never goes back.
    fn monotonic(&self) -> Duration;

    /// Waits until [`Clock::monotonic`] is at least `deadline`; completes at once if it already is.
    fn sleep_until(&self, deadline: Duration) -> Sleep;

    /// Waits for `duration` from now. `Duration::MAX` waits forever.
    fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.monotonic().saturating_add(duration))
    }
}

/// Work that did not complete within its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out after {0:?}")]
pub struct Elapsed(pub Duration);

/// Runs `work` for at most `limit` of the clock's time from now, then drops it.
///
/// Work that is ready at the deadline wins over the deadline.
///
/// # Errors
/// The work did not complete in time.
pub fn timeout<F: Future>(
    clock: &dyn Clock,
    limit: Duration,
    work: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> + use<F> {
    let mut deadline = clock.sleep(limit);
    async move {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => deadline.as_mut().poll(cx).map(|()| Err(Elapsed(limit))),
        })
        .await
    }
}

/// Waits for as long as it should take until the wall clock shows `deadline_ms`. A clock that is set back meanwhile does not
/// make the wait longer, so it may end early.
pub async fn sleep_towards_ms(clock: &dyn Clock, deadline_ms: i64) {
    let left = deadline_ms.saturating_sub(clock.now_ms());
    if left > 0 {
        clock.sleep(Duration::from_millis(left as u64)).await;
    }
}

/// Waits until the wall clock shows `deadline_ms`.
pub async fn sleep_until_ms(clock: &dyn Clock, deadline_ms: i64) {
    while clock.now_ms() < deadline_ms {
        sleep_towards_ms(clock, deadline_ms).await;
    }
}

#[cfg(test)]
mod tests;
