//! Reads in a cluster: each shard's recent samples from one in-sync replica, blocks from one store node a slice of time.
//!
//! [`route`] decides who is asked, purely, from a view; [`ask`] asks, and asks others when a node gives no answer, or takes
//! longer than most answers do; [`query`] puts the answers of a query together. A query has one view from its beginning; nodes
//! answer under it or refuse.
//!
//! A frontend on the only node that holds samples asks the roles of its process directly, without any of this.

mod ask;
mod failover;
mod fragments;
mod health;
mod node;
mod query;
mod route;

#[cfg(test)]
mod fakes;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use pharos_cluster::{ClusterState, Member, Role, View};
use pharos_model::{Clock, TenantId};
use pharos_transport::query::{AskedView, SourceRole};
use pharos_transport::{Connect, RemoteSource, SeriesSource};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::metrics::AskMetrics;
pub(crate) use fragments::Evaluation;
use health::{Latencies, Unwell};
use node::Node;
pub(crate) use query::{ClusterQuery, USUAL_TIME};

/// What a frontend of a cluster is made of.
pub struct ClusterParts {
    /// What this node knows of the cluster.
    pub views: watch::Receiver<View>,
    /// How other nodes are reached.
    pub connect: Arc<dyn Connect>,
    /// Who this node is.
    pub identity: String,
    /// The ingester of this process, if it has one.
    pub ingester: Option<Arc<dyn SeriesSource>>,
    /// The store of this process, if it has one.
    pub store: Option<Arc<dyn SeriesSource>>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What asking runs on.
    pub runtime: Handle,
    /// Counts what is asked.
    pub metrics: AskMetrics,
}

/// The nodes that hold samples, as a frontend asks them.
pub(crate) struct Cluster {
    parts: ClusterParts,
    /// How long it takes until a selection, or another small answer, comes.
    answers: Latencies,
    /// How long it takes until fetched samples come.
    fetches: Latencies,
    /// How long it takes until fragments are evaluated.
    fragments: Latencies,
    unwell: Unwell,
}

impl Cluster {
    pub(crate) fn new(parts: ClusterParts) -> Self {
        // Selections are small; how long the others take depends on what they read.
        let [answers, fetches, fragments] = [20, 500, 250].map(|ms| Latencies::at_least(Duration::from_millis(ms)));
        Cluster { parts, answers, fetches, fragments, unwell: Unwell::default() }
    }

    pub(crate) fn view(&self) -> View {
        self.parts.views.borrow().clone()
    }

    /// The roles of this process, if nobody else holds samples.
    pub(crate) fn alone(&self, view: &ClusterState) -> Option<[Arc<dyn SeriesSource>; 2]> {
        let identity = &self.parts.identity;
        let (Some(ingester), Some(store)) = (&self.parts.ingester, &self.parts.store) else { return None };
        let only_here = |role: Role| view.live(role).all(|member| member.id == *identity);
        let holds_all = view.shards.iter().all(|shard| shard.replicas.is_empty() || shard.is_in_sync(identity));
        (only_here(Role::Ingester) && only_here(Role::Store) && holds_all).then(|| [ingester.clone(), store.clone()])
    }

    /// A role of a member, asked under a view.
    fn node(&self, member: &Member, role: SourceRole, view: AskedView) -> Node {
        let local = match role {
            SourceRole::Ingester => &self.parts.ingester,
            SourceRole::Store => &self.parts.store,
        };
        match local {
            Some(source) if member.id == self.parts.identity => Node::Local(source.clone()),
            _ => {
                let (connect, runtime) = (self.parts.connect.clone(), self.parts.runtime.clone());
                Node::Remote(RemoteSource::new(connect, &member.address, role, view, runtime))
            }
        }
    }

    pub(crate) fn query(self: &Arc<Self>, tenant: TenantId, view: View) -> ClusterQuery {
        ClusterQuery::new(self.clone(), tenant, view)
    }
}
