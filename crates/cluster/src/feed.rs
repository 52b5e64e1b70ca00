//! The newest view of this node, watched in this process, and the recent commands, from which other nodes update theirs.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use pharos_transport::ClusterIdentity;
use tokio::sync::watch;

use crate::state::ClusterState;
use crate::view::View;

/// Bytes of commands that are kept for watchers. A watcher that is further behind receives the whole state.
const MAX_BYTES: usize = 16 << 20;
/// Number of commands that are kept.
const MAX_COMMANDS: usize = 16 << 10;

/// The newest view and the commands that led to it.
pub(crate) struct Feed {
    view: watch::Sender<View>,
    recent: Mutex<Recent>,
    /// Follows the view, so that calls carry the identity of the cluster.
    identity: ClusterIdentity,
}

#[derive(Default)]
struct Recent {
    /// Each with the version that it led to, without gaps.
    commands: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

/// How a watcher gets from its version to the newest.
pub(crate) enum Backlog {
    /// By commands, in order; and the version after the last of them.
    Commands(Vec<Bytes>, u64),
    /// By the whole state.
    State,
}

impl Feed {
    /// Begins with a state. `identity` follows the view.
    pub(crate) fn new(state: ClusterState, identity: ClusterIdentity) -> Self {
        let feed = Feed { view: watch::Sender::new(View::default()), recent: Mutex::default(), identity };
        feed.publish(Arc::new(state));
        feed
    }

    /// The identity of the cluster of this node; empty if it has none.
    pub(crate) fn cluster(&self) -> String {
        self.identity.get().cluster
    }

    pub(crate) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// Waits until the view has at least this version.
    pub(crate) async fn reach(&self, version: u64) -> View {
        let mut watch = self.view.subscribe();
        match watch.wait_for(|view| view.version >= version).await {
            Ok(view) => view.clone(),
            Err(_) => self.view(),
        }
    }

    /// Publishes a state and the commands that led to it, each with the version after it.
    pub(crate) fn advance(&self, state: Arc<ClusterState>, commands: Vec<(u64, Bytes)>) {
        let mut recent = self.recent.lock();
        for (version, command) in commands {
            recent.push(version, command);
        }
        self.publish(state);
    }

    /// Publishes a state that did not come by commands.
    pub(crate) fn replace(&self, state: Arc<ClusterState>) {
        let mut recent = self.recent.lock();
        *recent = Recent::default();
        self.publish(state);
    }

    fn publish(&self, state: Arc<ClusterState>) {
        if let Some(known) = state.known_cluster() {
            self.identity.set(known);
        }
        self.view.send_replace(View::new(state));
    }

    /// How to get from a version to the newest, in at most `most` commands at a time.
    pub(crate) fn since(&self, incarnation: u64, version: u64, most: usize) -> Backlog {
        let recent = self.recent.lock();
        let view = self.view.borrow().clone();
        if (incarnation, version) >= (view.incarnation, view.version) {
            return Backlog::Commands(Vec::new(), version); // The watcher is ahead of this node.
        }
        if incarnation != view.incarnation {
            return Backlog::State;
        }
        let missing = (view.version - version) as usize;
        let Some(from) = recent.commands.len().checked_sub(missing) else { return Backlog::State };
        let commands: Vec<Bytes> =
            recent.commands.range(from..).take(most).map(|(_, command)| command.clone()).collect();
        let reached = version + commands.len() as u64;
        Backlog::Commands(commands, reached)
    }
}

impl Recent {
    fn push(&mut self, version: u64, command: Bytes) {
        if self.commands.back().is_some_and(|(last, _)| last + 1 != version) {
            *self = Recent::default();
        }
        self.bytes += command.len();
        self.commands.push_back((version, command));
        while self.bytes > MAX_BYTES || self.commands.len() > MAX_COMMANDS {
            let Some((_, dropped)) = self.commands.pop_front() else { return };
            self.bytes -= dropped.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advance(feed: &Feed, version: u64, bytes: usize) {
        let state = ClusterState { version, ..ClusterState::default() };
        feed.advance(Arc::new(state), vec![(version, vec![0; bytes].into())]);
    }

    fn commands(feed: &Feed, version: u64) -> Option<usize> {
        match feed.since(0, version, 10) {
            Backlog::Commands(commands, reached) => {
                assert_eq!(reached, version + commands.len() as u64);
                Some(commands.len())
            }
            Backlog::State => None,
        }
    }

    /// A feed that began at version 4 and has the commands up to version 30.
    fn at_30() -> Feed {
        let feed = Feed::new(ClusterState { version: 4, ..ClusterState::default() }, ClusterIdentity::default());
        (5..=30).for_each(|version| advance(&feed, version, 1));
        feed
    }

    #[test]
    fn a_current_watcher_needs_nothing() {
        assert_eq!(commands(&at_30(), 30), Some(0));
    }

    #[test]
    fn a_watcher_that_is_behind_gets_the_missing_commands() {
        assert_eq!(commands(&at_30(), 28), Some(2));
        assert_eq!(commands(&at_30(), 4), Some(10), "no more than were asked for");
    }

    #[test]
    fn a_watcher_from_before_the_first_command_gets_the_state() {
        assert_eq!(commands(&at_30(), 3), None);
    }

    #[test]
    fn a_watcher_that_is_ahead_waits() {
        assert_eq!(commands(&at_30(), 31), Some(0));
        assert!(matches!(at_30().since(1, 3, 10), Backlog::Commands(missing, 3) if missing.is_empty()));
    }

    #[test]
    fn large_commands_push_out_older_ones() {
        let feed = at_30();
        advance(&feed, 31, MAX_BYTES);
        assert_eq!(commands(&feed, 30), Some(1));
        assert_eq!(commands(&feed, 29), None);
    }

    #[test]
    fn a_command_above_the_limit_is_not_kept() {
        let feed = at_30();
        advance(&feed, 31, MAX_BYTES + 1);
        assert_eq!(commands(&feed, 30), None);
        assert_eq!(commands(&feed, 31), Some(0));
    }

    #[test]
    fn a_replaced_state_invalidates_the_commands() {
        let feed = at_30();
        feed.replace(Arc::new(ClusterState { version: 50, ..ClusterState::default() }));
        assert_eq!(commands(&feed, 49), None);
        assert_eq!(commands(&feed, 50), Some(0));
    }

    #[test]
    fn a_gap_between_commands_starts_over() {
        let feed = at_30();
        advance(&feed, 33, 1);
        assert_eq!(commands(&feed, 30), None);
        assert_eq!(commands(&feed, 32), Some(1));
    }

    #[tokio::test]
    async fn a_version_that_is_reached_is_returned_at_once() {
        assert_eq!(at_30().reach(30).await.version, 30);
    }
}
