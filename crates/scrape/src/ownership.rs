//! Which targets this agent scrapes (invariant 15 of the design).
//!
//! [`plan`] decides, purely. [`Ownership`] keeps the plan up to date with the cluster's view and makes sure that no
//! decision rests on a stale view: [`Ownership::await_fresh_view`] waits before a scrape until the view contains every
//! change that has taken effect by then. An agent that loses contact with meta keeps its last view, because it is more
//! likely that meta is down than that this agent alone is cut off. If it is cut off, other agents scrape its targets too
//! until it catches up.

mod plan;
mod remote;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pharos_cluster::placement::Timeline;
use pharos_cluster::{HANDOFF_MS, Meta, View};
use pharos_model::Clock;
use pharos_model::clock::timeout;
use pharos_transport::Connect;
use tokio::sync::{Semaphore, watch};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use plan::{Owner, Plan};
pub(crate) use remote::MAX_MESSAGE_BYTES;
pub use remote::RemoteAgents;

use crate::handoff::record::HandoffRecord;
use crate::schedule::sleep_until;

/// How old a view may be for a decision. The other half of the handoff margin covers clock skew and the time that a
/// change takes to commit.
const MAX_VIEW_AGE: Duration = Duration::from_millis(HANDOFF_MS as u64 / 2);
/// How long a scrape waits for a fresh view.
const VIEW_TIMEOUT: Duration = Duration::from_millis(500);
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
    identity: String,
    views: watch::Receiver<View>,
    contact: watch::Receiver<Option<Duration>>,
    clock: Arc<dyn Clock>,
    peers: Arc<dyn Peers>,
    handoffs: Semaphore,
    /// Whether the last wait for a fresh view timed out.
    is_detached: AtomicBool,
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
        let (clock, steps) = (meta.cluster_clock().clone(), meta.cluster_clock().steps());
        Ownership::from_parts(identity, meta.watch(), meta.contact(), clock, steps, peers)
    }

    /// As [`Ownership::in_cluster`], with the parts of meta's handle.
    pub(crate) fn from_parts(
        identity: &str,
        views: watch::Receiver<View>,
        contact: watch::Receiver<Option<Duration>>,
        clock: Arc<dyn Clock>,
        steps: watch::Receiver<Option<i64>>,
        peers: Arc<dyn Peers>,
    ) -> Arc<Self> {
        let plan = follow(identity.to_string(), views.clone(), steps);
        let cluster = Cluster {
            identity: identity.to_string(),
            views,
            contact,
            clock,
            peers,
            handoffs: Semaphore::new(MAX_CONCURRENT_HANDOFFS),
            is_detached: AtomicBool::new(false),
        };
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

    /// Waits until the view is fresh enough for a scrape that is due now, or until the wait times out. After a timeout it
    /// does not wait again until contact is back.
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
            tracing::warn!("lost contact with meta; keeping the last known target assignment");
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
        let Some(cluster) = &self.cluster else { return false };
        let mut views = cluster.views.clone();
        loop {
            let view = views.borrow_and_update().clone();
            let timeline = Timeline::new(&view);
            let owns = timeline.last().is_some_and(|(_, owners)| owners.has(&cluster.identity));
            if owns && view.owning_agents().is_empty() {
                return false;
            }
            let changed = async { views.changed().await.is_ok() };
            let is_open = match timeline.last().filter(|_| !owns) {
                None => changed.await,
                Some((from_ms, _)) => tokio::select! {
                    biased;
                    is_open = changed => is_open,
                    // A scrape of the previous epoch may be as late as the wait for a fresh view.
                    () = sleep_until(&*cluster.clock, from_ms.saturating_add(VIEW_TIMEOUT.as_millis() as i64)) => return true,
                },
            };
            if !is_open {
                return !owns;
            }
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
