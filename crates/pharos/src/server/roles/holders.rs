//! The roles that hold samples: the ingester, with its head, and the store.

use std::sync::Arc;

use object_store::ObjectStore;
use pharos_head::{Head, HeadConfig};
use pharos_ingester::{Ingester, IngesterConfig};
use pharos_model::{Clock, MemoryAccount};
use pharos_querier::{ClusterParts, DispatchMetrics, Fanout, StaleReads};
use pharos_store::{Store, StoreConfig};
use pharos_transport::SeriesSource;
use pharos_transport::query::{QueryServices, ReadLimits};
use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::service::RoutesBuilder;

use super::writes::WritePath;
use super::{Parts, text};
use crate::cli;
use crate::config::Loaded;
use crate::server::membership::Membership;
use crate::server::{memory, storage};

/// The roles that hold samples, and the way to write to those of the cluster. Each role is none if this node does not have it.
pub(super) struct Holders {
    pub(super) ingester: Option<Arc<Ingester>>,
    store: Option<Arc<Store>>,
    pub(super) writes: WritePath,
}

impl Holders {
    pub(super) fn create(
        parts: &Parts<'_>,
        membership: &Membership,
        head: Option<Arc<Head>>,
        objects: &Arc<dyn ObjectStore>,
        window_ms: i64,
    ) -> Result<Holders, String> {
        let args = parts.args;
        let meta = &membership.meta;
        let clock = &parts.clock;
        let ingester = |head| {
            let config = IngesterConfig::new(membership.identity.clone(), window_ms);
            let config = IngesterConfig {
                shards_total: membership.shards(),
                catchup_bytes_per_second: args.cluster.catch_up_rate.0,
                ..config
            };
            let (meta, objects, connect) = (meta.clone(), objects.clone(), membership.connect());
            Ingester::create(config, head, meta, objects, clock.clone(), connect, &parts.registry)
        };
        let ingester = head.map(ingester).transpose().map_err(text)?;
        let has_store = args.roles.has(cli::Role::Store);
        let runtime = Handle::current();
        let config = StoreConfig { cache_bytes: memory::cache_bytes() };
        let store = has_store.then(|| Store::create(config, meta.clone(), objects.clone(), runtime, &parts.registry));
        let writes = WritePath::create(membership, ingester.as_ref());
        Ok(Holders { ingester, store: store.transpose().map_err(text)?, writes })
    }

    /// The sources of queries: the roles of this process, recent samples first, or all nodes of the cluster.
    pub(super) fn sources(
        &self,
        membership: &Membership,
        stale_reads: StaleReads,
        clock: &Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Fanout, prometheus::Error> {
        let ingester = self.ingester.clone().map(|ingester| ingester as Arc<dyn SeriesSource>);
        let store = self.store.clone().map(|store| store as Arc<dyn SeriesSource>);
        if !membership.is_open() {
            return Ok(Fanout::new(ingester.into_iter().chain(store).collect()));
        }
        Ok(Fanout::of_cluster(ClusterParts {
            views: membership.meta.watch(),
            proofs: membership.meta.clone(),
            stale_reads,
            connect: membership.connect(),
            identity: membership.identity.clone(),
            ingester,
            store,
            clock: clock.clone(),
            runtime: Handle::current(),
            metrics: DispatchMetrics::register(registry)?,
        }))
    }

    /// Adds the gRPC services of these roles.
    pub(super) fn add_services(
        &self,
        clock: &Arc<dyn Clock>,
        memory: &Arc<MemoryAccount>,
        limits: ReadLimits,
        routes: &mut RoutesBuilder,
        stopped: &watch::Receiver<bool>,
    ) {
        if let Some(ingester) = &self.ingester {
            ingester.add_services(routes, stopped.clone());
        }
        let ingester = self.ingester.clone().map(|ingester| ingester as Arc<dyn SeriesSource>);
        let store = self.store.clone().map(|store| store as Arc<dyn SeriesSource>);
        QueryServices { ingester, store, clock: clock.clone(), memory: memory.clone(), limits }.add_to(routes);
    }
}

/// Opens the head, which replays the write-ahead log. `has_replicas` says whether other nodes have its samples, too.
pub(super) async fn head(
    parts: &Parts<'_>,
    loaded: &Loaded,
    shards: u32,
    has_replicas: bool,
    window_ms: i64,
) -> Result<Arc<Head>, String> {
    let config = storage::head_config(parts.folders.wal(), window_ms, &loaded.config.limits);
    let config = HeadConfig { shards, has_replicas, ..config };
    let (clock, registry) = (parts.clock.clone(), parts.registry.clone());
    let opened = tokio::task::spawn_blocking(move || storage::open_head(config, clock, &registry));
    opened.await.map_err(text)?.map(Arc::new)
}
