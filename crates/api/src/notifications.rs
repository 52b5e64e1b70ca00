//! What an operator should know now, such as a failed reload: the current notifications, and a stream of their changes.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::Stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Something that an operator should know, in the shape of Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// What is the matter.
    pub text: String,
    /// When it was last noticed, RFC 3339.
    pub date: String,
    /// Whether it still is.
    pub active: bool,
}

/// The current notifications, and who follows them.
pub struct Notifications {
    state: watch::Sender<State>,
    subscribers: Arc<Semaphore>,
}

#[derive(Clone, Default)]
struct State {
    active: Vec<Notification>,
    is_closed: bool,
}

impl Notifications {
    /// None yet, for at most this many subscribers at a time.
    pub fn new(max_subscribers: usize) -> Self {
        let subscribers = Arc::new(Semaphore::new(max_subscribers.min(Semaphore::MAX_PERMITS)));
        Notifications { state: watch::Sender::default(), subscribers }
    }

    /// Adds a notification, or notes that it was noticed again. `at_ms` is milliseconds since the epoch.
    pub fn raise(&self, text: &str, at_ms: i64) {
        let date = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default().to_string();
        let raised = Notification { text: text.into(), date, active: true };
        self.state.send_modify(|state| match state.active.iter_mut().find(|known| known.text == text) {
            Some(known) => *known = raised,
            None => state.active.push(raised),
        });
    }

    /// Removes a notification if it is there.
    pub fn withdraw(&self, text: &str) {
        self.state.send_if_modified(|state| {
            let before = state.active.len();
            state.active.retain(|known| known.text != text);
            state.active.len() < before
        });
    }

    /// Ends the streams of all subscribers once they have everything.
    pub fn close(&self) {
        self.state.send_modify(|state| state.is_closed = true);
    }

    /// The current notifications.
    pub fn current(&self) -> Vec<Notification> {
        self.state.borrow().active.clone()
    }

    /// The current notifications and all changes: one that is withdrawn comes once more and is not active then. `None` if there are
    /// too many subscribers.
    pub fn subscribe(&self) -> Option<impl Stream<Item = Notification> + Send + use<>> {
        let permit = self.subscribers.clone().try_acquire_owned().ok()?;
        let mut changes = self.state.subscribe();
        changes.mark_changed();
        let follower = Follower { changes, known: Vec::new(), pending: VecDeque::new(), _permit: permit };
        Some(futures::stream::unfold(follower, async |mut follower| Some((follower.next().await?, follower))))
    }
}

/// A subscriber.
struct Follower {
    changes: watch::Receiver<State>,
    /// What the subscriber believes.
    known: Vec<Notification>,
    pending: VecDeque<Notification>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Option<Notification> {
        loop {
            if let Some(notification) = self.pending.pop_front() {
                return Some(notification);
            }
            if self.changes.borrow().is_closed && !self.changes.has_changed().unwrap_or(false) {
                return None;
            }
            self.changes.changed().await.ok()?;
            let active = self.changes.borrow_and_update().active.clone();
            let is_gone = |known: &&Notification| active.iter().all(|notification| notification.text != known.text);
            let gone = self.known.iter().filter(is_gone);
            self.pending.extend(gone.map(|known| Notification { active: false, ..known.clone() }));
            self.pending.extend(active.iter().filter(|notification| !self.known.contains(notification)).cloned());
            self.known = active;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    fn shown(notification: &Notification) -> (&str, &str, bool) {
        (&notification.text, &notification.date, notification.active)
    }

    #[test]
    fn a_subscriber_gets_what_is_current_and_every_change() {
        let notifications = Notifications::new(1);
        notifications.raise("a", 1000);
        let mut stream = Box::pin(notifications.subscribe().unwrap());
        let mut next = || stream.next().now_or_never().flatten();
        assert_eq!(shown(&next().unwrap()), ("a", "1970-01-01T00:00:01Z", true));
        assert_eq!(next(), None, "it waits");
        notifications.raise("b", 2000);
        notifications.raise("a", 3000);
        notifications.withdraw("c");
        assert_eq!(shown(&next().unwrap()), ("a", "1970-01-01T00:00:03Z", true));
        assert_eq!(shown(&next().unwrap()), ("b", "1970-01-01T00:00:02Z", true));
        notifications.withdraw("a");
        assert_eq!(shown(&next().unwrap()), ("a", "1970-01-01T00:00:03Z", false));
        assert_eq!(notifications.current().iter().map(|n| n.text.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_closed_stream_ends_after_everything_was_sent() {
        let notifications = Notifications::new(1);
        let mut stream = Box::pin(notifications.subscribe().unwrap());
        notifications.raise("stopping", 0);
        notifications.close();
        let all: Vec<Notification> = stream.by_ref().collect().now_or_never().expect("it ends");
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn subscribers_are_bounded() {
        let notifications = Notifications::new(1);
        let first = notifications.subscribe();
        assert!(first.is_some() && notifications.subscribe().is_none());
        drop(first);
        assert!(notifications.subscribe().is_some());
    }
}
