//! Which groups this ruler evaluates.
//!
//! Every ruler knows all groups. An evaluation slot of a group belongs to the ruler that consistent hashing gives it in the
//! assignment epoch that contains the slot, so a group moves without a gap and without a double, and without any message
//! between rulers. [`Ownership::await_fresh_view`] makes sure that no decision rests on a stale view. A ruler that loses
//! contact with meta keeps its last view, because it is more likely that meta is down than that this ruler alone is cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::placement::Timeline;
use pharos_cluster::{HANDOFF_MS, Meta, View};
use pharos_model::Clock;
use pharos_model::clock::timeout;
use tokio::sync::watch;

use crate::schedule::sleep_until;

/// How old a view may be for a decision. The other half of the margin covers clock skew and the time that a change takes
/// to commit.
const MAX_VIEW_AGE: Duration = Duration::from_millis(HANDOFF_MS as u64 / 2);
/// How long an evaluation waits for a fresh view.
const VIEW_TIMEOUT: Duration = Duration::from_millis(500);

/// Decides which groups belong to this ruler.
pub struct Ownership {
    /// None for a ruler that is alone.
    cluster: Option<InCluster>,
}

struct InCluster {
    identity: String,
    views: watch::Receiver<View>,
    contact: watch::Receiver<Option<Duration>>,
    clock: Arc<dyn Clock>,
    /// The timeline of the epoch and the incarnation of a view.
    timeline: Mutex<Option<(u64, u64, Arc<Timeline>)>>,
    /// Whether the last wait for a fresh view timed out.
    is_detached: AtomicBool,
}

impl Ownership {
    /// The ownership of a ruler that is alone: every group is its own.
    pub fn everything() -> Arc<Self> {
        Arc::new(Ownership { cluster: None })
    }

    /// The ownership that meta's view assigns to the ruler with this identity.
    pub fn in_cluster(identity: &str, meta: &Meta) -> Arc<Self> {
        Ownership::from_parts(identity, meta.watch(), meta.contact(), meta.clock().clone())
    }

    pub(crate) fn from_parts(
        identity: &str,
        views: watch::Receiver<View>,
        contact: watch::Receiver<Option<Duration>>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let identity = identity.to_string();
        let (timeline, is_detached) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Ownership { cluster: Some(InCluster { identity, views, contact, clock, timeline, is_detached }) })
    }

    /// Whether this ruler evaluates a group at a slot.
    pub(crate) fn owns(&self, group_hash: u64, slot_ms: i64) -> bool {
        let Some(cluster) = &self.cluster else { return true };
        cluster.timeline().owner_at(group_hash, slot_ms) == Some(cluster.identity.as_str())
    }

    /// Whether the ruler that evaluated a group before this one took it over, by this slot, is dead or has left.
    pub(crate) fn predecessor_is_gone(&self, group_hash: u64, slot_ms: i64) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        let timeline = cluster.timeline();
        let Some(previous) = timeline.previous_owner(group_hash, slot_ms) else { return false };
        cluster.views.borrow().member(previous).is_none_or(|member| !member.state.is_live())
    }

    /// Waits until the view is fresh enough for an evaluation that is due now, or until the wait times out. After a timeout
    /// it does not wait again until contact is back.
    pub(crate) async fn await_fresh_view(&self) {
        let Some(cluster) = &self.cluster else { return };
        let oldest = cluster.clock.monotonic().saturating_sub(MAX_VIEW_AGE);
        let is_fresh = |contact: &Option<Duration>| contact.is_some_and(|contact| contact >= oldest);
        if is_fresh(&cluster.contact.borrow()) {
            cluster.is_detached.store(false, Ordering::Relaxed);
            return;
        }
        if cluster.is_detached.load(Ordering::Relaxed) {
            return;
        }
        let mut contact = cluster.contact.clone();
        let found = timeout(&*cluster.clock, VIEW_TIMEOUT, contact.wait_for(is_fresh)).await;
        if !matches!(found, Ok(Ok(_))) && !cluster.is_detached.swap(true, Ordering::Relaxed) {
            tracing::warn!("lost contact with meta; keeping the last known assignment of rule groups");
        }
    }

    /// Waits until this ruler, told to drain or having left, owns nothing any more. Returns false when no other ruler can
    /// take over.
    pub(crate) async fn await_release(&self) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        let mut views = cluster.views.clone();
        loop {
            let view = views.borrow_and_update().clone();
            let timeline = Timeline::of_rulers(&view);
            let owns = timeline.last().is_some_and(|(_, owners)| owners.has(&cluster.identity));
            if owns && view.owning_rulers().is_empty() {
                return false;
            }
            let changed = async { views.changed().await.is_ok() };
            let is_open = match timeline.last().filter(|_| !owns) {
                None => changed.await,
                Some((from_ms, _)) => tokio::select! {
                    biased;
                    is_open = changed => is_open,
                    // An evaluation of the previous epoch may be as late as the wait for a fresh view.
                    () = sleep_until(&*cluster.clock, from_ms.saturating_add(VIEW_TIMEOUT.as_millis() as i64)) => return true,
                },
            };
            if !is_open {
                return !owns;
            }
        }
    }
}

impl InCluster {
    fn timeline(&self) -> Arc<Timeline> {
        let view = self.views.borrow().clone();
        let mut known = self.timeline.lock();
        match &*known {
            Some((epoch, incarnation, timeline)) if (*epoch, *incarnation) == (view.ruler_epoch, view.incarnation) => {
                timeline.clone()
            }
            _ => {
                let timeline = Arc::new(Timeline::of_rulers(&view));
                *known = Some((view.ruler_epoch, view.incarnation, timeline.clone()));
                timeline
            }
        }
    }
}
