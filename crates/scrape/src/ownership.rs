//! Which targets this agent scrapes (invariant 15 of the design).
//!
//! [`plan`] decides, purely. [`Ownership`] keeps the plan up to date with the cluster's view, and [`SlotOwner`] makes sure that
//! no decision rests on a stale one.

mod plan;
mod remote;

use std::sync::Arc;

use async_trait::async_trait;
use pharos_cluster::{Meta, SlotOwner, Slots, View};
use pharos_transport::Connect;
use tokio::sync::{Semaphore, watch};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use plan::{Owner, Plan};
pub(crate) use remote::MAX_MESSAGE_BYTES;
pub use remote::RemoteAgents;

use crate::handoff::record::HandoffRecord;

const MAX_CONCURRENT_HANDOFFS: usize = 16;

/// Sends handoff records to other agents.
#[async_trait]
pub(crate) trait Peers: Send + Sync + 'static {
    /// Tells an agent what is known of a target that it scrapes from now on.
    async fn hand_off(&self, to: &str, record: &HandoffRecord) -> Result<(), String>;
}

/// Decides which targets belong to this agent.
pub struct Ownership {
    plan: watch::Receiver<Arc<Plan>>,
    cluster: Option<Cluster>,
    /// Keeps the channel of a plan that never changes open.
    _static_plan: Option<watch::Sender<Arc<Plan>>>,
}

struct Cluster {
    owner: SlotOwner,
    peers: Arc<dyn Peers>,
    handoffs: Semaphore,
}

impl Ownership {
    /// The ownership of an agent that is alone: every target is its own. Its scrape slots follow from `identity`, so that
    /// servers with different identities scrape a target at different moments.
    pub fn everything(identity: &str) -> Arc<Self> {
        let (static_plan, plan) = watch::channel(Arc::new(Plan::everything(xxh3_64(identity.as_bytes()))));
        Arc::new(Ownership { plan, cluster: None, _static_plan: Some(static_plan) })
    }

    /// The ownership that meta's view assigns to the agent with this identity. Slots and assignments go by the cluster's time,
    /// so the agent's loops must read [`Meta::cluster_clock`].
    pub fn in_cluster(identity: &str, meta: &Meta, connect: Arc<dyn Connect>) -> Arc<Self> {
        let peers = Arc::new(RemoteAgents::new(meta.watch(), connect));
        let owner = meta.slot_owner(identity, Slots::Targets);
        Ownership::from_parts(owner, meta.watch(), meta.cluster_clock().steps(), peers)
    }

    /// As [`Ownership::in_cluster`], with the parts of meta's handle.
    pub(crate) fn from_parts(
        owner: SlotOwner,
        views: watch::Receiver<View>,
        steps: watch::Receiver<Option<i64>>,
        peers: Arc<dyn Peers>,
    ) -> Arc<Self> {
        let plan = follow(owner.identity().to_string(), views, steps);
        let cluster = Cluster { owner, peers, handoffs: Semaphore::new(MAX_CONCURRENT_HANDOFFS) };
        Arc::new(Ownership { plan, cluster: Some(cluster), _static_plan: None })
    }

    /// The current plan and its changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Plan>> {
        self.plan.clone()
    }

    /// The current plan.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        self.plan.borrow().clone()
    }

    /// Waits until the view is fresh enough for a scrape that is due now; see [`SlotOwner::await_fresh_view`].
    pub(crate) async fn await_fresh_view(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.owner.await_fresh_view().await;
        }
    }

    /// Sends a record to another agent.
    pub(crate) async fn hand_off(&self, to: &str, record: &HandoffRecord) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Err("there is no other agent".into()) };
        let _permit = cluster.handoffs.acquire().await.map_err(|error| error.to_string())?;
        cluster.peers.hand_off(to, record).await
    }

    /// Waits until this agent, told to drain or having left, owns nothing any more. Returns false when no other agent
    /// can take over.
    pub(crate) async fn await_release(&self) -> bool {
        match &self.cluster {
            Some(cluster) => cluster.owner.await_release().await,
            None => false,
        }
    }
}

/// Publishes the plan of each view until nobody listens, and again whenever the cluster's time steps, so that loops look
/// anew when their next slots are.
fn follow(
    identity: String,
    mut views: watch::Receiver<View>,
    mut steps: watch::Receiver<Option<i64>>,
) -> watch::Receiver<Arc<Plan>> {
    let mut view = views.borrow_and_update().clone();
    let (publish, plan) = watch::channel(Arc::new(Plan::of(&view, &identity)));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = views.changed() => if changed.is_err() {
                    // The last plan stays in force while anybody listens.
                    publish.closed().await;
                    return;
                },
                Ok(()) = steps.changed() => publish.send_modify(|_same| ()),
                () = publish.closed() => return,
            }
            let next = views.borrow_and_update().clone();
            if !has_same_assignment(&view, &next) {
                publish.send_replace(Arc::new(Plan::of(&next, &identity)));
            }
            view = next;
        }
    });
    plan
}

fn has_same_assignment(a: &View, b: &View) -> bool {
    a.assignments == b.assignments && a.ownership_epoch == b.ownership_epoch && a.settings == b.settings
}

#[cfg(test)]
mod tests;
