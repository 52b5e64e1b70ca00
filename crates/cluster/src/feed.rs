//! The view of this node and how it changes: what watchers in the process see, and the last commands, from which other
//! nodes bring theirs up to date.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::state::ClusterState;
use crate::view::View;

/// Most bytes of commands that are kept for watchers; who is further behind gets the whole state.
const MOST_BYTES: usize = 16 << 20;
/// Most commands.
const MOST_COMMANDS: usize = 16 << 10;

/// The newest view, and the way to it.
pub(crate) struct Feed {
    view: watch::Sender<View>,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    /// Each with the version after it; without gaps.
    commands: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

/// What a watcher lacks.
pub(crate) enum Lacking {
    /// Commands one after the other, and the version after the last.
    Commands(Vec<Bytes>, u64),
    /// Everything.
    State,
}

impl Feed {
    pub(crate) fn new(state: ClusterState) -> Self {
        Feed { view: watch::Sender::new(View::new(Arc::new(state))), recent: Mutex::default() }
    }

    pub(crate) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// Waits until the view has a version.
    pub(crate) async fn reach(&self, version: u64) -> View {
        let mut watch = self.view.subscribe();
        match watch.wait_for(|view| view.version >= version).await {
            Ok(view) => view.clone(),
            Err(_) => self.view(),
        }
    }

    /// Publishes a state that commands led to, each with the version after it.
    pub(crate) fn advance(&self, state: Arc<ClusterState>, commands: Vec<(u64, Bytes)>) {
        let mut recent = self.recent.lock();
        for (version, command) in commands {
            recent.push(version, command);
        }
        self.view.send_replace(View::new(state));
    }

    /// Publishes a state that came whole.
    pub(crate) fn replace(&self, state: Arc<ClusterState>) {
        let mut recent = self.recent.lock();
        *recent = Recent::default();
        self.view.send_replace(View::new(state));
    }

    /// What leads from a version to the newest; at most `most` commands of it.
    pub(crate) fn since(&self, incarnation: u64, version: u64, most: usize) -> Lacking {
        let recent = self.recent.lock();
        let view = self.view.borrow().clone();
        if (incarnation, version) >= (view.incarnation, view.version) {
            return Lacking::Commands(Vec::new(), version); // This node is the one that lacks.
        }
        if incarnation != view.incarnation {
            return Lacking::State;
        }
        let lacking = (view.version - version) as usize;
        let Some(from) = recent.commands.len().checked_sub(lacking) else { return Lacking::State };
        let commands: Vec<Bytes> =
            recent.commands.range(from..).take(most).map(|(_, command)| command.clone()).collect();
        let reached = version + commands.len() as u64;
        Lacking::Commands(commands, reached)
    }
}

impl Recent {
    fn push(&mut self, version: u64, command: Bytes) {
        if self.commands.back().is_some_and(|(last, _)| last + 1 != version) {
            *self = Recent::default();
        }
        self.bytes += command.len();
        self.commands.push_back((version, command));
        while self.bytes > MOST_BYTES || self.commands.len() > MOST_COMMANDS {
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
            Lacking::Commands(commands, reached) => {
                assert_eq!(reached, version + commands.len() as u64);
                Some(commands.len())
            }
            Lacking::State => None,
        }
    }

    #[test]
    fn watchers_get_what_they_lack_or_everything() {
        let feed = Feed::new(ClusterState { version: 4, ..ClusterState::default() });
        (5..=30).for_each(|version| advance(&feed, version, 1));
        assert_eq!((commands(&feed, 30), commands(&feed, 28), commands(&feed, 4)), (Some(0), Some(2), Some(10)));
        assert_eq!((commands(&feed, 3), commands(&feed, 31)), (None, Some(0)));
        assert!(
            matches!(feed.since(1, 3, 10), Lacking::Commands(lacking, 3) if lacking.is_empty()),
            "of a later state"
        );
        advance(&feed, 31, MOST_BYTES);
        assert_eq!((commands(&feed, 30), commands(&feed, 29)), (Some(1), None));
        advance(&feed, 32, MOST_BYTES + 1);
        assert_eq!((commands(&feed, 31), commands(&feed, 32)), (None, Some(0)));
        feed.replace(Arc::new(ClusterState { version: 50, ..ClusterState::default() }));
        assert_eq!((commands(&feed, 49), commands(&feed, 50)), (None, Some(0)));
    }
}
