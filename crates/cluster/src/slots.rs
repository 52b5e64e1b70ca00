//! What the owners of slots share: agents scrape targets in slots, and rulers evaluate groups of rules in slots.
//!
//! A slot belongs to the owner that the assignment epoch in which it lies gives it ([`Timeline`]), so owners that know the same
//! epochs divide the slots without talking to each other. [`SlotOwner::await_fresh_view`] makes sure that no decision rests on
//! a stale view: it waits until the view contains every change that has taken effect by then. An owner that loses contact with
//! meta keeps its last view, because it is more likely that meta is down than that this node alone is cut off. If it is cut off,
//! others take its slots, too, until it catches up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pharos_model::Clock;
use pharos_model::clock::{sleep_until_ms, timeout};
use tokio::sync::watch;

use crate::placement::Timeline;
use crate::state::{ClusterState, HANDOFF_MS};
use crate::view::View;

/// How old a view may be for a decision. The other half of the handoff margin covers clock skew and the time that a
/// change takes to commit.
const MAX_VIEW_AGE: Duration = Duration::from_millis(HANDOFF_MS as u64 / 2);
/// How long a decision waits for a fresh view.
pub const VIEW_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the first decision waits. Until it has heard from meta a node does not know the cluster's time either.
const FIRST_VIEW_TIMEOUT: Duration = Duration::from_secs(5);

/// What slots are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    /// Scrapes of targets, by agents.
    Targets,
    /// Evaluations of groups of rules, by rulers.
    Groups,
}

impl Slots {
    /// The owners over time, as a state has them.
    pub fn timeline(self, state: &ClusterState) -> Timeline {
        match self {
            Slots::Targets => Timeline::new(state),
            Slots::Groups => Timeline::of_rulers(state),
        }
    }

    fn is_without_owners(self, state: &ClusterState) -> bool {
        match self {
            Slots::Targets => state.owning_agents().is_empty(),
            Slots::Groups => state.owning_rulers().is_empty(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Slots::Targets => "targets",
            Slots::Groups => "rule groups",
        }
    }
}

/// A node that owns slots.
pub struct SlotOwner {
    identity: String,
    slots: Slots,
    views: watch::Receiver<View>,
    contact: watch::Receiver<Option<Duration>>,
    clock: Arc<dyn Clock>,
    /// Whether the last wait for a fresh view timed out.
    is_detached: AtomicBool,
}

impl SlotOwner {
    /// The node with this identity, with the parts of [`crate::Meta`]: its views, its contact, and a clock that shows the
    /// cluster's time.
    pub fn new(
        identity: &str,
        slots: Slots,
        views: watch::Receiver<View>,
        contact: watch::Receiver<Option<Duration>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        SlotOwner { identity: identity.to_string(), slots, views, contact, clock, is_detached: AtomicBool::new(false) }
    }

    /// Who this is.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The newest view.
    pub fn view(&self) -> View {
        self.views.borrow().clone()
    }

    /// Waits until the view is fresh enough to decide about a slot that is due now, or until the wait times out. After a
    /// timeout it does not wait again until contact is back. The clock may step meanwhile.
    pub async fn await_fresh_view(&self) {
        let oldest = self.clock.monotonic().saturating_sub(MAX_VIEW_AGE);
        let is_fresh = |contact: &Option<Duration>| contact.is_some_and(|contact| contact >= oldest);
        if is_fresh(&self.contact.borrow()) {
            self.is_detached.store(false, Ordering::Relaxed);
            return;
        }
        if self.is_detached.load(Ordering::Relaxed) {
            return;
        }
        let mut contact = self.contact.clone();
        let is_first = contact.borrow().is_none();
        let limit = if is_first { FIRST_VIEW_TIMEOUT } else { VIEW_TIMEOUT };
        let found = timeout(&*self.clock, limit, contact.wait_for(is_fresh)).await;
        if !matches!(found, Ok(Ok(_))) && !self.is_detached.swap(true, Ordering::Relaxed) {
            let slots = self.slots.name();
            tracing::warn!("lost contact with meta; keeping the last known assignment of {slots}");
        }
    }

    /// Waits until this node, told to drain or having left, owns nothing any more. Returns false when no other one can take
    /// over.
    pub async fn await_release(&self) -> bool {
        let mut views = self.views.clone();
        loop {
            let view = views.borrow_and_update().clone();
            let timeline = self.slots.timeline(&view);
            let owns = timeline.last().is_some_and(|(_, owners)| owners.has(&self.identity));
            if owns && self.slots.is_without_owners(&view) {
                return false;
            }
            let changed = async { views.changed().await.is_ok() };
            let is_open = match timeline.last().filter(|_| !owns) {
                None => changed.await,
                // A slot of the previous epoch may be as late as the wait for a fresh view.
                Some((from_ms, _)) => tokio::select! {
                    biased;
                    is_open = changed => is_open,
                    () = sleep_until_ms(&*self.clock, from_ms.saturating_add(VIEW_TIMEOUT.as_millis() as i64)) => return true,
                },
            };
            if !is_open {
                return !owns;
            }
        }
    }
}
