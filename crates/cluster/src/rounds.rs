//! Lets concurrent callers of an operation share its rounds.
//!
//! A caller gets the outcome of a round that begins after the call, so the outcome is no older than the call. Rounds run one
//! after the other, however many callers there are.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

type Round<T> = Shared<BoxFuture<'static, T>>;

/// The rounds of one operation.
pub(crate) struct Rounds<T: Clone> {
    /// The round that begins next, if a caller waits for it.
    next: Arc<Mutex<Option<Round<T>>>>,
    /// Held by the round that runs.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl<T: Clone> Default for Rounds<T> {
    fn default() -> Self {
        Rounds { next: Arc::default(), turn: Arc::default() }
    }
}

impl<T: Clone + Send + Sync + 'static> Rounds<T> {
    /// Returns the next round, which the first of its callers defines by `work`. It runs while one of its callers polls it.
    pub(crate) fn join<F>(&self, work: impl FnOnce() -> F) -> Round<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut next = self.next.lock();
        if let Some(round) = &*next {
            return round.clone();
        }
        let (work, turn, this) = (work(), self.turn.clone(), Arc::downgrade(&self.next));
        let round = async move {
            let _turn = turn.lock_owned().await;
            // Callers from now on need a round that begins later.
            if let Some(next) = this.upgrade() {
                *next.lock() = None;
            }
            work.await
        };
        let round = round.boxed().shared();
        *next = Some(round.clone());
        round
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// An operation that waits for a permit and returns the number of its round.
    #[derive(Default)]
    struct Counted {
        rounds: Rounds<usize>,
        begun: Arc<AtomicUsize>,
        permits: Arc<Gate>,
    }

    struct Gate(Semaphore);

    impl Default for Gate {
        fn default() -> Self {
            Gate(Semaphore::new(0))
        }
    }

    impl Counted {
        fn call(&self) -> Round<usize> {
            let (begun, permits) = (self.begun.clone(), self.permits.clone());
            self.rounds.join(|| async move {
                let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                permits.0.acquire().await.unwrap().forget();
                number
            })
        }

        fn finish(&self, rounds: usize) {
            self.permits.0.add_permits(rounds);
        }
    }

    /// Polls a round once.
    fn poll(round: &mut Round<usize>) -> Option<usize> {
        round.now_or_never()
    }

    #[tokio::test]
    async fn callers_that_wait_share_a_round() {
        let counted = Counted::default();
        let calls = [counted.call(), counted.call(), counted.call()];
        counted.finish(1);
        assert_eq!(futures::future::join_all(calls).await, [1, 1, 1]);
    }

    #[tokio::test]
    async fn a_caller_does_not_share_a_round_that_runs_already() {
        let counted = Counted::default();
        let mut first = counted.call();
        assert_eq!(poll(&mut first), None);
        let (second, third) = (counted.call(), counted.call());
        counted.finish(2);
        assert_eq!(futures::future::join3(first, second, third).await, (1, 2, 2));
    }

    #[tokio::test]
    async fn rounds_run_one_after_the_other() {
        let counted = Counted::default();
        let mut first = counted.call();
        assert_eq!(poll(&mut first), None);
        let mut second = counted.call();
        assert_eq!(poll(&mut second), None);
        assert_eq!(counted.begun.load(Ordering::SeqCst), 1, "the second one waits");
        counted.finish(2);
        assert_eq!(first.await, 1);
        assert_eq!(second.await, 2);
    }

    #[tokio::test]
    async fn callers_that_leave_hold_up_nobody() {
        let counted = Counted::default();
        let mut first = counted.call();
        assert_eq!(poll(&mut first), None);
        let mut second = counted.call();
        assert_eq!(poll(&mut second), None);
        drop((first, second));
        counted.finish(1);
        assert!(counted.call().await <= 2);
    }
}
