//! The durable position of the log, and commits that wait for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::{Condvar, Mutex};
use pharos_model::WriteError;

/// How far the log is durable, measured in bytes pushed since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    position: AtomicU64,
    waiters: Mutex<Waiters>,
    advanced: Condvar,
}

#[derive(Debug, Default)]
struct Waiters {
    closed: bool,
    /// Why the log cannot be written at present.
    failing: Option<String>,
    next_id: u64,
    wakers: Vec<(u64, Waker)>,
}

impl Waiters {
    fn refusal(&self) -> Option<WriteError> {
        if self.closed {
            return Some(WriteError::Unavailable("the write-ahead log is closed".into()));
        }
        let message = |cause| format!("the write-ahead log cannot be written: {cause}");
        self.failing.as_ref().map(|cause| WriteError::Unavailable(message(cause)))
    }
}

impl Durable {
    /// Records that everything up to `position` is durable.
    pub(crate) fn advance(&self, position: u64) {
        let mut waiters = self.waiters.lock();
        self.position.store(position, Ordering::Release);
        waiters.failing = None;
        self.wake(&mut waiters);
    }

    /// Records that writing fails at present. Waiting commits fail, while their records stay queued.
    pub(crate) fn fail(&self, cause: &str) {
        let mut waiters = self.waiters.lock();
        waiters.failing = Some(cause.to_string());
        self.wake(&mut waiters);
    }

    /// Why writes cannot be acknowledged at present; `None` when they can.
    pub(crate) fn refusal(&self) -> Option<WriteError> {
        self.waiters.lock().refusal()
    }

    /// Records that nothing more will become durable.
    pub(crate) fn close(&self) {
        let mut waiters = self.waiters.lock();
        waiters.closed = true;
        self.wake(&mut waiters);
    }

    fn wake(&self, waiters: &mut Waiters) {
        waiters.wakers.drain(..).for_each(|(_, waker)| waker.wake());
        self.advanced.notify_all();
    }

    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }
}

/// Resolves once everything that the log held when the commit was created is fsynced.
///
/// It fails while the log cannot be written. The samples may still become durable later, and sending them again is safe. Use
/// `.await` on any executor, or [`Commit::wait`]. Dropping a commit cancels the wait, not the write.
#[derive(Debug)]
#[must_use = "a write is acknowledged only when its commit has resolved"]
pub struct Commit {
    durable: Arc<Durable>,
    position: u64,
    waiter: Option<u64>,
}

impl Commit {
    pub(crate) fn new(durable: Arc<Durable>, position: u64) -> Self {
        Commit { durable, position, waiter: None }
    }

    /// Blocks until the commit resolves. Fails while the log cannot be written and when it closes first.
    pub fn wait(self) -> Result<(), WriteError> {
        if self.is_durable() {
            return Ok(());
        }
        let mut waiters = self.durable.waiters.lock();
        while !self.is_durable() {
            if let Some(refusal) = waiters.refusal() {
                return Err(refusal);
            }
            self.durable.advanced.wait(&mut waiters);
        }
        Ok(())
    }

    /// Whether the records are durable.
    pub fn is_durable(&self) -> bool {
        self.durable.position() >= self.position
    }
}

impl Future for Commit {
    type Output = Result<(), WriteError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_durable() {
            return Poll::Ready(Ok(()));
        }
        let durable = self.durable.clone();
        let mut waiters = durable.waiters.lock();
        if self.is_durable() {
            return Poll::Ready(Ok(()));
        }
        if let Some(refusal) = waiters.refusal() {
            return Poll::Ready(Err(refusal));
        }
        match self.waiter.and_then(|id| waiters.wakers.iter_mut().find(|(waiter, _)| *waiter == id)) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => {
                let id = waiters.next_id;
                waiters.next_id += 1;
                waiters.wakers.push((id, context.waker().clone()));
                self.waiter = Some(id);
            }
        }
        Poll::Pending
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if let Some(id) = self.waiter {
            self.durable.waiters.lock().wakers.retain(|(waiter, _)| *waiter != id);
        }
    }
}
