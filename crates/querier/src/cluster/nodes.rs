//! The nodes of a cluster that hold samples, as one of its nodes reads from them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::{ClusterState, Member, ProveView, Role, View};
use pharos_model::{Clock, TenantId};
use pharos_transport::query::{NewerView, ReadView, SourceRole};
use pharos_transport::{Connect, RemoteSource, SeriesSource};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::health::{Latencies, Quarantine};
use super::node::{LocalNode, Node};
use super::route::Assignment;
use super::small::SmallQueries;
use crate::metrics::DispatchMetrics;
use crate::stale::StaleReads;

/// The components with which a node reads from its cluster.
pub struct ClusterParts {
    /// The current view of the cluster.
    pub views: watch::Receiver<View>,
    /// Proves that the view is current.
    pub proofs: Arc<dyn ProveView>,
    /// What happens to queries while there is no proof.
    pub stale_reads: StaleReads,
    /// Connects to other nodes.
    pub connect: Arc<dyn Connect>,
    /// The member id of this node.
    pub identity: String,
    /// The ingester of this process, if it has one.
    pub ingester: Option<Arc<dyn SeriesSource>>,
    /// The store of this process, if it has one.
    pub store: Option<Arc<dyn SeriesSource>>,
    /// Times reads, and ends quarantines.
    pub clock: Arc<dyn Clock>,
    /// Runs the reads.
    pub runtime: Handle,
    /// Counts the reads.
    pub metrics: DispatchMetrics,
}

/// The nodes of a cluster that hold samples, and what is known of their health.
pub(crate) struct Cluster {
    pub(crate) parts: ClusterParts,
    /// Latencies of selections and other small responses.
    pub(super) selections: Latencies,
    /// Latencies of fetching samples.
    pub(super) fetches: Latencies,
    /// Latencies of evaluating fragments.
    pub(super) fragments: Latencies,
    pub(super) quarantine: Quarantine,
    /// The time from which ingesters recently had all samples of a tenant.
    pub(super) complete_from: ByTenant<i64>,
    /// Where all shards of a tenant go as of a version of the view, if no node is excluded or avoided.
    pub(super) routes: ByTenant<(ViewVersion, Arc<[Assignment]>)>,
    /// Queries that recently read little.
    pub(super) small: SmallQueries,
}

/// The incarnation and the version of a view.
pub(super) type ViewVersion = (u64, u64);

/// Maximum number of tenants that are remembered.
const MAX_TENANTS: usize = 1024;

/// What is remembered about tenants. An entry may be forgotten at any time.
pub(super) struct ByTenant<T>(Mutex<HashMap<TenantId, T>>);

impl<T: Clone> ByTenant<T> {
    fn new() -> Self {
        ByTenant(Mutex::default())
    }

    pub(super) fn get(&self, tenant: &TenantId) -> Option<T> {
        self.0.lock().get(tenant).cloned()
    }

    pub(super) fn insert(&self, tenant: &TenantId, value: T) {
        let mut known = self.0.lock();
        if known.len() >= MAX_TENANTS && !known.contains_key(tenant) {
            known.clear();
        }
        known.insert(tenant.clone(), value);
    }

    pub(super) fn remove(&self, tenant: &TenantId) {
        self.0.lock().remove(tenant);
    }
}

/// A view as sources see it, with the epochs of these shards.
pub(crate) fn read_view(view: &View, tenant: &TenantId, shards: impl Iterator<Item = u32>) -> ReadView {
    ReadView {
        incarnation: view.incarnation,
        version: view.version,
        epochs: shards.map(|shard| (shard, view.epoch(shard))).collect(),
        deletions: view.catalogue.newest_deletion(tenant.as_str()),
    }
}

impl Cluster {
    pub(crate) fn new(parts: ClusterParts) -> Self {
        // Selections are small. The latency of the others depends on how much they read, so they get a higher floor.
        Cluster {
            parts,
            selections: Latencies::with_floor(Duration::from_millis(20)),
            fetches: Latencies::with_floor(Duration::from_millis(500)),
            fragments: Latencies::with_floor(Duration::from_millis(250)),
            quarantine: Quarantine::default(),
            complete_from: ByTenant::new(),
            routes: ByTenant::new(),
            small: SmallQueries::default(),
        }
    }

    pub(crate) fn view(&self) -> View {
        self.parts.views.borrow().clone()
    }

    /// The roles of this process, recent samples first, if no other node holds samples. The view must be proved to be current.
    pub(crate) fn alone(&self, view: &ClusterState) -> Option<[Arc<dyn SeriesSource>; 2]> {
        let identity = &self.parts.identity;
        let ingester = self.parts.ingester.as_ref()?;
        let store = self.parts.store.as_ref()?;
        let only_here = |role: Role| view.live(role).all(|member| member.id == *identity);
        let holds_all = view.shards.iter().all(|shard| shard.replicas.is_empty() || shard.is_in_sync(identity));
        (only_here(Role::Ingester) && only_here(Role::Store) && holds_all).then(|| [ingester.clone(), store.clone()])
    }

    /// A role of a member, for reads under a view. If the node names a newer view, `newer` records it.
    pub(super) fn node(&self, member: &Member, role: SourceRole, view: ReadView, newer: NewerView) -> Node {
        let local = match role {
            SourceRole::Ingester => &self.parts.ingester,
            SourceRole::Store => &self.parts.store,
        };
        match local {
            Some(source) if member.id == self.parts.identity => {
                Node::Local(LocalNode { source: source.clone(), view, newer })
            }
            _ => {
                let connect = self.parts.connect.clone();
                let runtime = self.parts.runtime.clone();
                let source = RemoteSource::new(connect, &member.address, role, view, runtime);
                Node::Remote(source.reporting_to(newer))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_tenants_is_bounded() {
        let known = ByTenant::new();
        let tenant = |number: usize| TenantId::new(&format!("t{number}")).unwrap();
        (0..=MAX_TENANTS).for_each(|number| known.insert(&tenant(number), number));
        assert!(known.0.lock().len() <= MAX_TENANTS);
        assert_eq!(known.get(&tenant(MAX_TENANTS)), Some(MAX_TENANTS));
        known.remove(&tenant(MAX_TENANTS));
        assert_eq!(known.get(&tenant(MAX_TENANTS)), None);
    }
}
