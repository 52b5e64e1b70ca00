use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use super::*;

/// Polls a future once, without a runtime.
fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_manual_clock_stands_still_until_it_is_moved() {
    let clock = ManualClock::at(5_000);
    assert_eq!(clock.now_ms(), 5_000);
    assert_eq!(clock.monotonic(), 5 * SECOND);
    clock.advance(SECOND);
    assert_eq!(clock.now_ms(), 6_000);
    clock.set(10_000);
    assert_eq!(clock.monotonic(), 10 * SECOND);
}

#[test]
fn monotonic_time_does_not_precede_the_epoch() {
    assert_eq!(ManualClock::at(-1).monotonic(), Duration::ZERO);
}

#[test]
fn a_sleep_ends_when_the_clock_reaches_its_deadline() {
    let clock = ManualClock::at(0);
    let mut sleep = clock.sleep(SECOND);
    assert_eq!(poll(&mut sleep), Poll::Pending);
    clock.advance(Duration::from_millis(999));
    assert_eq!(poll(&mut sleep), Poll::Pending);
    clock.advance(Duration::from_millis(1));
    assert_eq!(poll(&mut sleep), Poll::Ready(()));
}

#[test]
fn a_deadline_in_the_past_does_not_sleep() {
    let clock = ManualClock::at(2_000);
    assert_eq!(poll(&mut clock.sleep_until(SECOND)), Poll::Ready(()));
    assert_eq!(poll(&mut clock.sleep(Duration::ZERO)), Poll::Ready(()));
    assert_eq!(clock.sleeping(), 0);
}

#[test]
fn a_sleep_of_the_longest_duration_never_ends() {
    let clock = ManualClock::at(2_000);
    let mut sleep = clock.sleep(Duration::MAX);
    assert_eq!(poll(&mut sleep), Poll::Pending);
    clock.set(i64::MAX);
    assert_eq!(poll(&mut sleep), Poll::Pending);
}

#[test]
fn the_clock_knows_the_next_deadline() {
    let clock = ManualClock::at(0);
    assert_eq!(clock.next_deadline(), None);
    let mut late = clock.sleep(3 * SECOND);
    let mut early = clock.sleep(2 * SECOND);
    assert!(poll(&mut late).is_pending() && poll(&mut early).is_pending());
    assert_eq!(clock.next_deadline(), Some(2 * SECOND));
    clock.advance(2 * SECOND);
    assert_eq!(clock.next_deadline(), Some(3 * SECOND));
}

#[test]
fn a_dropped_sleep_is_forgotten() {
    let clock = ManualClock::at(0);
    let mut sleep = clock.sleep(SECOND);
    assert!(poll(&mut sleep).is_pending());
    assert_eq!(clock.sleeping(), 1);
    drop(sleep);
    assert_eq!(clock.sleeping(), 0);
}

#[test]
fn polling_again_does_not_add_a_sleeper() {
    let clock = ManualClock::at(0);
    let mut sleep = clock.sleep(SECOND);
    assert!(poll(&mut sleep).is_pending());
    assert!(poll(&mut sleep).is_pending());
    assert_eq!(clock.sleeping(), 1);
}

/// Remembers whether it was woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Woken {
    fn get(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn moving_the_clock_wakes_only_sleepers_that_are_due() {
    let clock = ManualClock::at(0);
    let early = Arc::new(Woken::default());
    let late = Arc::new(Woken::default());
    let mut sleeps = [(clock.sleep(SECOND), &early), (clock.sleep(2 * SECOND), &late)];
    for (sleep, woken) in &mut sleeps {
        let waker = Waker::from((*woken).clone());
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    clock.advance(SECOND);
    assert!(early.get());
    assert!(!late.get());
    clock.advance(SECOND);
    assert!(late.get());
}

#[test]
fn only_the_last_waker_of_a_sleep_is_woken() {
    let clock = ManualClock::at(0);
    let first = Arc::new(Woken::default());
    let second = Arc::new(Woken::default());
    let mut sleep = clock.sleep(SECOND);
    for woken in [&first, &second] {
        let waker = Waker::from(woken.clone());
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    clock.advance(SECOND);
    assert!(!first.get());
    assert!(second.get());
}

#[test]
fn work_that_is_ready_is_not_timed_out() {
    let clock = ManualClock::at(0);
    let mut work = pin!(timeout(&clock, Duration::ZERO, std::future::ready(7)));
    assert_eq!(poll(&mut work), Poll::Ready(Ok(7)));
}

#[test]
fn work_that_takes_too_long_is_timed_out() {
    let clock = ManualClock::at(0);
    let mut work = pin!(timeout(&clock, SECOND, std::future::pending::<()>()));
    assert_eq!(poll(&mut work), Poll::Pending);
    clock.advance(SECOND);
    assert_eq!(poll(&mut work), Poll::Ready(Err(Elapsed(SECOND))));
}

#[test]
fn time_that_passes_before_the_first_poll_counts() {
    let clock = ManualClock::at(0);
    let mut work = pin!(timeout(&clock, SECOND, std::future::pending::<()>()));
    clock.advance(SECOND);
    assert_eq!(poll(&mut work), Poll::Ready(Err(Elapsed(SECOND))));
}

#[test]
fn a_timeout_names_its_duration() {
    assert_eq!(Elapsed(Duration::from_millis(1500)).to_string(), "timed out after 1.5s");
}

#[tokio::test]
async fn a_task_that_sleeps_resumes_when_the_clock_is_advanced() {
    let clock = Arc::new(ManualClock::at(0));
    let sleeping = clock.clone();
    let task = tokio::spawn(async move {
        sleeping.sleep(SECOND).await;
        sleeping.now_ms()
    });
    while clock.sleeping() == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(SECOND);
    assert_eq!(task.await.unwrap(), 1_000);
}

#[tokio::test]
async fn the_system_clock_sleeps_at_least_as_long_as_asked() {
    let clock = SystemClock::new();
    let deadline = clock.monotonic() + Duration::from_millis(2);
    clock.sleep_until(deadline).await;
    assert!(clock.monotonic() >= deadline);
}

#[tokio::test]
async fn the_system_clock_does_not_sleep_for_a_past_deadline() {
    let clock = SystemClock::new();
    clock.sleep_until(Duration::ZERO).await;
    assert_eq!(timeout(&clock, Duration::from_secs(3600), async { 1 }).await, Ok(1));
}
