//! Which targets this agent scrapes, and its words with the other agents about that (invariant 15 of the design).
//!
//! [`plan`] decides. This part keeps the plan that of meta's view, and sees to it that no decision is made by a view that
//! is too old: before a scrape [`Ownership::settle`] makes sure that the view lacks nothing that takes effect by then. An
//! agent that hears nothing of meta for a while goes on with the last view: more likely meta is down than this agent is
//! cut off from it alone. If it is, others scrape its targets too, until it hears of them.

mod plan;
mod remote;
mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pharos_cluster::placement::Timeline;
use pharos_cluster::{HANDOFF_MS, Meta, View};
use pharos_model::Clock;
use pharos_transport::Connect;
use tokio::sync::{Semaphore, watch};

pub(crate) use plan::{Owner, Plan};
pub use remote::RemoteAgents;
pub(crate) use service::{AgentService, parts};

use crate::handed::Handed;
use crate::target_loop::sleep_until;

/// How old the view may be for a decision. The other half of the margin is for clocks that differ and for the time that a
/// change takes to be agreed on.
const MAX_AGE: Duration = Duration::from_millis(HANDOFF_MS as u64 / 2);
/// How long a scrape waits for a newer view.
const HOLD: Duration = Duration::from_millis(500);
/// Targets that are handed over at the same time.
const HANDOVERS: usize = 16;

/// The other agents.
#[async_trait]
pub(crate) trait Peers: Send + Sync + 'static {
    /// Tells one of them what is known of a target that it scrapes from now on.
    async fn hand_over(&self, to: &str, handed: &Handed) -> Result<(), String>;
}

/// Which targets are this agent's.
pub struct Ownership {
    plan: watch::Receiver<Arc<Plan>>,
    cluster: Option<Cluster>,
    /// Keeps the channel of a plan that never changes.
    _never: Option<watch::Sender<Arc<Plan>>>,
}

struct Cluster {
    identity: String,
    views: watch::Receiver<View>,
    contact: watch::Receiver<Option<Duration>>,
    clock: Arc<dyn Clock>,
    peers: Arc<dyn Peers>,
    handovers: Semaphore,
    /// Whether waiting for a newer view was in vain.
    detached: AtomicBool,
}

impl Ownership {
    /// All of them: there is no other agent.
    pub fn everything() -> Arc<Self> {
        let (never, plan) = watch::channel(Arc::new(Plan::everything()));
        Arc::new(Ownership { plan, cluster: None, _never: Some(never) })
    }

    /// Those that meta's view gives to the agent with this identity.
    pub fn in_cluster(identity: &str, meta: &Meta, connect: Arc<dyn Connect>) -> Arc<Self> {
        let peers = Arc::new(RemoteAgents::new(meta.watch(), connect));
        Ownership::over(identity, meta.watch(), meta.contact(), meta.clock().clone(), peers)
    }

    /// Those that a view gives to an agent, from its parts.
    pub(crate) fn over(
        identity: &str,
        views: watch::Receiver<View>,
        contact: watch::Receiver<Option<Duration>>,
        clock: Arc<dyn Clock>,
        peers: Arc<dyn Peers>,
    ) -> Arc<Self> {
        let plan = follow(identity.to_string(), views.clone());
        let handovers = Semaphore::new(HANDOVERS);
        let (identity, detached) = (identity.to_string(), AtomicBool::new(false));
        let cluster = Cluster { identity, views, contact, clock, peers, handovers, detached };
        Arc::new(Ownership { plan, cluster: Some(cluster), _never: None })
    }

    /// The plan, and its changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Plan>> {
        self.plan.clone()
    }

    /// The plan of now.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        self.plan.borrow().clone()
    }

    /// Waits until the view is new enough for what is due now, or until it is plain that there is no newer one.
    pub(crate) async fn settle(&self) {
        let Some(cluster) = &self.cluster else { return };
        let needed = cluster.clock.monotonic().saturating_sub(MAX_AGE);
        let is_new = |contact: &Option<Duration>| contact.is_some_and(|contact| contact >= needed);
        if is_new(&cluster.contact.borrow()) {
            cluster.detached.store(false, Ordering::Relaxed);
            return;
        }
        if cluster.detached.load(Ordering::Relaxed) {
            return;
        }
        let mut contact = cluster.contact.clone();
        let found = tokio::time::timeout(HOLD, contact.wait_for(is_new)).await;
        if !matches!(found, Ok(Ok(_))) && !cluster.detached.swap(true, Ordering::Relaxed) {
            tracing::warn!("nothing is heard of meta: scraping goes on with the targets that were this agent's");
        }
    }

    /// Hands what is known of a target to another agent.
    pub(crate) async fn hand_over(&self, to: &str, handed: &Handed) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Err("there is no other agent".into()) };
        let _permit = cluster.handovers.acquire().await.map_err(|error| error.to_string())?;
        cluster.peers.hand_over(to, handed).await
    }

    /// Waits until this agent owns nothing any more, once it was told to drain or has left. False when there is nobody else
    /// to own it.
    pub(crate) async fn released(&self) -> bool {
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
            let goes_on = match timeline.last().filter(|_| !owns) {
                None => changed.await,
                Some((from_ms, _)) => tokio::select! {
                    biased;
                    goes_on = changed => goes_on,
                    // A scrape of before may be as late as a newer view was waited for.
                    () = sleep_until(&*cluster.clock, from_ms.saturating_add(HOLD.as_millis() as i64)) => return true,
                },
            };
            if !goes_on {
                return !owns;
            }
        }
    }
}

/// Keeps a plan that of the views, until nobody wants it any more.
fn follow(identity: String, mut views: watch::Receiver<View>) -> watch::Receiver<Arc<Plan>> {
    let mut view = views.borrow_and_update().clone();
    let (publish, plan) = watch::channel(Arc::new(Plan::of(&view, &identity)));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = views.changed() => if changed.is_err() {
                    // The last plan holds for as long as it is wanted.
                    publish.closed().await;
                    return;
                },
                () = publish.closed() => return,
            }
            let next = views.borrow_and_update().clone();
            let same = |a: &View, b: &View| {
                a.assignments == b.assignments && a.ownership_epoch == b.ownership_epoch && a.settings == b.settings
            };
            if !same(&view, &next) {
                publish.send_replace(Arc::new(Plan::of(&next, &identity)));
            }
            view = next;
        }
    });
    plan
}
