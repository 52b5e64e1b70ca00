//! What a connection is waiting for: its client, or the server.
//!
//! A connection waits for its client when no request is in progress, when a handler waits for the rest of a body, and when the client does not
//! read its answer. How long it has waited decides which connection makes room when all places are taken, and which one is closed as idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The activity of one connection.
pub(super) struct Activity {
    state: Mutex<State>,
}

struct State {
    /// Requests that have arrived and whose answers are not yet written.
    in_progress: usize,
    /// Those of them that wait for the server.
    served: usize,
    /// When the client or the server last made progress.
    progress: Instant,
    /// Whether a call on this connection was authenticated.
    is_trusted: bool,
}

impl Activity {
    /// The activity of a new connection.
    pub(super) fn new() -> Arc<Self> {
        let state = State { in_progress: 0, served: 0, progress: Instant::now(), is_trusted: false };
        Arc::new(Activity { state: Mutex::new(state) })
    }

    /// How long the connection has waited for its client. `None` while the server has work to do.
    pub(super) fn waited(&self) -> Option<Duration> {
        let state = self.state.lock();
        (state.served == 0).then(|| state.progress.elapsed())
    }

    /// Whether no request is in progress.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().in_progress == 0
    }

    /// Whether a call on this connection was authenticated.
    pub(super) fn is_trusted(&self) -> bool {
        self.state.lock().is_trusted
    }

    /// Records that a call was authenticated.
    pub(super) fn trust(&self) {
        self.state.lock().is_trusted = true;
    }

    /// The client has taken bytes of an answer.
    pub(super) fn progress(&self) {
        self.state.lock().progress = Instant::now();
    }

    /// A request has arrived, and the server works on it.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<Exchange> {
        let mut state = self.state.lock();
        state.in_progress += 1;
        state.served += 1;
        state.progress = Instant::now();
        Arc::new(Exchange { activity: self.clone(), is_served: AtomicBool::new(true) })
    }
}

/// One request and its answer. Ends when both bodies have been dropped.
pub(super) struct Exchange {
    activity: Arc<Activity>,
    /// Whether the next step is the server's. Changes under the lock of the activity.
    is_served: AtomicBool,
}

impl Exchange {
    /// The next step is the client's: to send more of the request, or to read more of the answer.
    pub(super) fn wait_for_client(&self) {
        self.set(false);
    }

    /// The next step is the server's.
    pub(super) fn serve(&self) {
        self.set(true);
    }

    fn set(&self, is_served: bool) {
        let mut state = self.activity.state.lock();
        let was_served = self.is_served.swap(is_served, Ordering::Relaxed);
        state.served -= usize::from(was_served);
        state.served += usize::from(is_served);
        state.progress = Instant::now();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let was_served = *self.is_served.get_mut();
        let mut state = self.activity.state.lock();
        state.in_progress -= 1;
        state.served -= usize::from(was_served);
        state.progress = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_client_lets_a_connection_wait() {
        let activity = Activity::new();
        let pass = || tokio::time::advance(Duration::from_secs(3));
        pass().await;
        assert_eq!((activity.waited(), activity.is_idle()), (Some(Duration::from_secs(3)), true));
        let (first, second) = (activity.begin(), activity.begin());
        pass().await;
        assert_eq!((activity.waited(), activity.is_idle()), (None, false));
        first.wait_for_client();
        first.wait_for_client();
        assert_eq!(activity.waited(), None, "the second request is being served");
        second.wait_for_client();
        pass().await;
        assert_eq!(activity.waited(), Some(Duration::from_secs(3)));
        first.serve();
        assert_eq!(activity.waited(), None);
        drop(first);
        drop(second);
        assert_eq!((activity.waited(), activity.is_idle()), (Some(Duration::ZERO), true));
    }
}
