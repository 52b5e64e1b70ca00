//! Which groups this ruler evaluates.
//!
//! Every ruler knows all groups. An evaluation slot of a group belongs to the ruler that consistent hashing gives it in the
//! assignment epoch that contains the slot, so a group moves without a gap and without a double, and without any message
//! between rulers. [`SlotOwner`] makes sure that no decision rests on a stale view.

use std::sync::Arc;

use parking_lot::Mutex;
use pharos_cluster::placement::Timeline;
use pharos_cluster::{Meta, SlotOwner, Slots};

/// Decides which groups belong to this ruler.
pub struct Ownership {
    /// None for a ruler that is alone.
    cluster: Option<InCluster>,
}

struct InCluster {
    owner: SlotOwner,
    /// The timeline of the epoch and the incarnation of a view.
    timeline: Mutex<Option<(u64, u64, Arc<Timeline>)>>,
}

impl Ownership {
    /// The ownership of a ruler that is alone: every group is its own.
    pub fn everything() -> Arc<Self> {
        Arc::new(Ownership { cluster: None })
    }

    /// The ownership that meta's view assigns to the ruler with this identity. Slots and assignments go by the cluster's time,
    /// so the ruler must read [`Meta::cluster_clock`].
    pub fn in_cluster(identity: &str, meta: &Meta) -> Arc<Self> {
        Ownership::of(meta.slot_owner(identity, Slots::Groups))
    }

    pub(crate) fn of(owner: SlotOwner) -> Arc<Self> {
        Arc::new(Ownership { cluster: Some(InCluster { owner, timeline: Mutex::default() }) })
    }

    /// Whether there may be other rulers.
    pub(crate) fn is_shared(&self) -> bool {
        self.cluster.is_some()
    }

    /// Whether this ruler evaluates a group at a slot.
    pub(crate) fn owns(&self, group_hash: u64, slot_ms: i64) -> bool {
        let Some(cluster) = &self.cluster else { return true };
        cluster.timeline().owner_at(group_hash, slot_ms) == Some(cluster.owner.identity())
    }

    /// Waits until the view is fresh enough for an evaluation that is due now; see [`SlotOwner::await_fresh_view`].
    pub(crate) async fn await_fresh_view(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.owner.await_fresh_view().await;
        }
    }

    /// Waits until this ruler, told to drain or having left, owns nothing any more. Returns false when no other ruler can
    /// take over.
    pub(crate) async fn await_release(&self) -> bool {
        match &self.cluster {
            Some(cluster) => cluster.owner.await_release().await,
            None => false,
        }
    }
}

impl InCluster {
    fn timeline(&self) -> Arc<Timeline> {
        let view = self.owner.view();
        let mut known = self.timeline.lock();
        match &*known {
            Some((epoch, incarnation, timeline)) if (*epoch, *incarnation) == (view.ruler_epoch, view.incarnation) => {
                timeline.clone()
            }
            _ => {
                let timeline = Arc::new(Slots::Groups.timeline(&view));
                *known = Some((view.ruler_epoch, view.incarnation, timeline.clone()));
                timeline
            }
        }
    }
}
