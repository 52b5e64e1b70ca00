//! Creates the roles, hands them to each other and starts them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use object_store::ObjectStore;
use pharos_api::query_log::QueryLog;
use pharos_api::{Api, ApiConfig};
use pharos_block::objects::{ObjectStoreConfig, StoreMetrics};
use pharos_cluster::state::DEFAULT_SHARDS;
use pharos_compactor::{Compactor, CompactorConfig};
use pharos_distributor::{DistributeConfig, Distributor, Replicas};
use pharos_head::{Head, HeadConfig};
use pharos_ingester::{Ingester, IngesterConfig};
use pharos_model::Clock;
use pharos_promql::{Engine, EngineOptions};
use pharos_querier::{AskMetrics, ClusterParts, Fanout};
use pharos_receive::{ReceiveConfig, Receiver};
use pharos_scrape::{Agent, AgentConfig, Ownership, RemoteAgents};
use pharos_store::{Store, StoreConfig};
use pharos_transport::append::{IngestClient, Openings, Replica};
use pharos_transport::query::{AskLimits, QueryServices};
use pharos_transport::{Ingest, SeriesSource};
use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::RoutesBuilder;

use super::departure;
use super::http::HttpConfig;
use super::membership::Membership;
use super::owner::{Claim, ClaimError};
use super::services::{NodeServices, retention_text};
use super::snapshot::Snapshots;
use super::storage::{self, Folders};
use super::targets::AllTargets;
use crate::cli::{self, ServerArgs};
use crate::cluster::progress::Copies;
use crate::cluster::{Access, ClusterApi};
use crate::config::Loaded;
use crate::logging::LogHandle;
use crate::reload::ConfigHandle;

/// How long samples are kept in the local folder when nothing else is said, as in Prometheus.
const LOCAL_RETENTION: Duration = Duration::from_secs(15 * 86_400);

/// Pause between two tries to claim a bucket that was away at the start.
const CLAIM_PAUSE: Duration = Duration::from_secs(10);

/// What the roles are made of.
pub(super) struct Parts<'a> {
    pub(super) args: &'a ServerArgs,
    pub(super) config: Arc<ConfigHandle>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) registry: Registry,
    pub(super) log: LogHandle,
    pub(super) folders: Folders,
    pub(super) http: HttpConfig,
    pub(super) stop: watch::Sender<bool>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// The running roles.
pub(super) struct Roles {
    pub(super) api: Arc<Api>,
    pub(super) receiver: Option<Arc<Receiver>>,
    pub(super) services: Arc<NodeServices>,
    pub(super) cluster: Arc<ClusterApi>,
    tasks: Vec<JoinHandle<()>>,
    membership: Membership,
}

impl Roles {
    /// Tells the cluster that this node is about to stop, and hands its targets over. The roles still run meanwhile.
    pub(super) async fn depart(&self) {
        if self.membership.is_open() {
            departure::depart(&self.membership, self.services.agent.as_deref()).await;
        }
    }

    /// Waits for what no role can go on after, and says what it was.
    pub(super) async fn failed(&self) -> String {
        self.membership.failed().await
    }

    /// Waits until every role has ended.
    pub(super) async fn finish(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a role ended unexpectedly");
            }
        }
        self.membership.finish().await;
    }
}

/// Opens the storage, finds the cluster, then creates and starts every role that this node has.
pub(super) async fn start(parts: Parts<'_>) -> Result<Roles, String> {
    let (args, registry, clock) = (parts.args, &parts.registry, &parts.clock);
    let loaded = parts.config.current();
    warn_of_what_has_no_effect(args);
    let objects = object_store(&parts, &loaded)?;
    let is_ingester = args.roles.has(cli::Role::Ingester);
    // Alone, the head comes first: its lock says best that another process has the folder.
    let first_head = if args.is_alone() { Some(head(&parts, &loaded, DEFAULT_SHARDS).await?) } else { None };
    let (http, stopped) = (parts.http.clone(), parts.stopped.clone());
    let membership = Membership::begin(args, &parts.folders, &objects, clock, http, stopped).await?;
    let head = match first_head {
        None if is_ingester => Some(head(&parts, &loaded, membership.shards()).await?),
        first => first,
    };
    membership.prefetch().await?;
    let claim = Claim {
        objects: objects.clone(),
        identity: membership.bucket_owner(),
        clock: clock.clone(),
        take_over: args.storage.take_over_bucket,
    };
    let is_claimed = claim.at_start().await?;
    let holders = Holders::create(&parts, &membership, head, &objects)?;
    let intake = Intake::create(&parts, &loaded, &membership, holders.ingester.as_ref())?;
    let api_config = api_config(args, &loaded)?;
    let services = services(&parts, &loaded, &membership, &holders, intake.as_ref(), &objects, &api_config);
    let cluster = Arc::new(cluster_api(args, &membership, &objects, clock, holders.ingester.as_ref()));
    let (engine, sources) =
        (engine(args, &loaded, clock), holders.sources(&membership, clock, registry).map_err(text)?);
    let api = Api::create(api_config, engine, sources, services.clone(), clock.clone(), registry).map_err(text)?;
    let asked = AskLimits { max_bytes: loaded.config.limits.max_query_memory.0, ..AskLimits::default() };
    if let Some(ingester) = &holders.ingester {
        ingester.admit_loss().await;
    }
    membership.serve(|routes| {
        holders.add_services(clock, asked, routes, &parts.stopped);
        intake.iter().for_each(|intake| intake.agent.add_services(routes));
    });
    let mut tasks = Vec::new();
    if let Some(intake) = &intake {
        tasks.push(tokio::spawn(intake.agent.clone().run(parts.stopped.clone())));
        departure::discover(&intake.agent).await;
    }
    membership.enter().await?;
    if let Some(ingester) = &holders.ingester {
        tasks.push(tokio::spawn(ingester.clone().run(parts.stopped.clone())));
    }
    if args.roles.has(cli::Role::Compactor) {
        let compactor = compactor(&parts, &loaded, &membership, objects)?;
        let (stop, stopped) = (parts.stop.clone(), parts.stopped.clone());
        tasks.push(tokio::spawn(collect_what_is_ours(claim, is_claimed, compactor, stop, stopped)));
    }
    Ok(Roles { api, receiver: intake.map(|intake| intake.receiver), services, cluster, tasks, membership })
}

/// What the HTTP API shows of this node and may ask of it.
fn services(
    parts: &Parts<'_>,
    loaded: &Loaded,
    membership: &Membership,
    holders: &Holders,
    intake: Option<&Intake>,
    objects: &Arc<dyn ObjectStore>,
    api: &ApiConfig,
) -> Arc<NodeServices> {
    let (args, meta, clock) = (parts.args, &membership.meta, &parts.clock);
    let agent = intake.map(|intake| intake.agent.clone());
    Arc::new(NodeServices {
        config: parts.config.clone(),
        flags: args.flags().clone(),
        meta: meta.clone(),
        ingester: holders.ingester.clone(),
        agent: agent.clone(),
        receiver: intake.map(|intake| intake.receiver.clone()),
        targets: AllTargets {
            node: membership.identity.clone(),
            local: agent,
            others: membership.is_open().then(|| RemoteAgents::new(meta.watch(), membership.connect())),
        },
        snapshots: Snapshots {
            folder: parts.folders.snapshots(),
            ingester: holders.ingester.clone(),
            meta: meta.clone(),
            objects: objects.clone(),
            clock: clock.clone(),
            runtime: Handle::current(),
        },
        registry: parts.registry.clone(),
        clock: clock.clone(),
        log: parts.log.clone(),
        stop: parts.stop.clone(),
        started_ms: clock.now_ms(),
        retention: retention_text(retention(args, loaded), max_block_bytes(args, loaded)),
        query_args: args.query.clone(),
        query_limits: api.limits.clone(),
        query_log: api.query_log.clone(),
    })
}

fn compactor(
    parts: &Parts<'_>,
    loaded: &Loaded,
    membership: &Membership,
    objects: Arc<dyn ObjectStore>,
) -> Result<Compactor, String> {
    let config = CompactorConfig {
        node: membership.identity.clone(),
        retention: retention(parts.args, loaded),
        max_bytes: max_block_bytes(parts.args, loaded),
        ..CompactorConfig::default()
    };
    Compactor::create(config, membership.meta.clone(), objects, parts.clock.clone(), &parts.registry).map_err(text)
}

/// The cluster as operators see it.
fn cluster_api(
    args: &ServerArgs,
    membership: &Membership,
    objects: &Arc<dyn ObjectStore>,
    clock: &Arc<dyn Clock>,
    ingester: Option<&Arc<Ingester>>,
) -> ClusterApi {
    ClusterApi {
        meta: membership.meta.clone(),
        node: membership.identity.clone(),
        objects: objects.clone(),
        clock: clock.clone(),
        access: Access { everyone: args.web.enable_admin_api, token: membership.token() },
        copies: Copies { ingester: ingester.cloned(), connect: membership.connect() },
    }
}

/// The roles that hold samples, as far as this node has them.
struct Holders {
    ingester: Option<Arc<Ingester>>,
    store: Option<Arc<Store>>,
}

impl Holders {
    fn create(
        parts: &Parts<'_>,
        membership: &Membership,
        head: Option<Arc<Head>>,
        objects: &Arc<dyn ObjectStore>,
    ) -> Result<Holders, String> {
        let (args, meta, clock) = (parts.args, &membership.meta, &parts.clock);
        let ingester = |head| {
            let config = IngesterConfig::new(membership.identity.clone(), window_ms(args));
            let config = IngesterConfig {
                shards_total: membership.shards(),
                learn_bytes_per_second: args.cluster.catch_up_rate.0,
                ..config
            };
            let (meta, objects, connect) = (meta.clone(), objects.clone(), membership.connect());
            Ingester::create(config, head, meta, objects, clock.clone(), connect, &parts.registry)
        };
        let ingester = head.map(ingester).transpose().map_err(text)?;
        let has_store = args.roles.has(cli::Role::Store);
        let runtime = Handle::current();
        let store = has_store
            .then(|| Store::create(StoreConfig::default(), meta.clone(), objects.clone(), runtime, &parts.registry));
        Ok(Holders { ingester, store: store.transpose().map_err(text)? })
    }

    /// What queries ask: the roles of this process, recent samples first, or all nodes that hold samples.
    fn sources(
        &self,
        membership: &Membership,
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
            connect: membership.connect(),
            identity: membership.identity.clone(),
            ingester,
            store,
            clock: clock.clone(),
            runtime: Handle::current(),
            metrics: AskMetrics::register(registry)?,
        }))
    }

    /// What other nodes ask of this one.
    fn add_services(
        &self,
        clock: &Arc<dyn Clock>,
        limits: AskLimits,
        routes: &mut RoutesBuilder,
        stopped: &watch::Receiver<bool>,
    ) {
        if let Some(ingester) = &self.ingester {
            ingester.add_services(routes, stopped.clone());
        }
        let ingester = self.ingester.clone().map(|ingester| ingester as Arc<dyn SeriesSource>);
        let store = self.store.clone().map(|store| store as Arc<dyn SeriesSource>);
        QueryServices { ingester, store, clock: clock.clone(), limits }.add_to(routes);
    }
}

/// The roles that take samples in.
struct Intake {
    agent: Arc<Agent>,
    receiver: Arc<Receiver>,
}

impl Intake {
    /// Nothing if this node has not the role.
    fn create(
        parts: &Parts<'_>,
        loaded: &Loaded,
        membership: &Membership,
        ingester: Option<&Arc<Ingester>>,
    ) -> Result<Option<Intake>, String> {
        let (args, registry, clock) = (parts.args, &parts.registry, &parts.clock);
        if !args.roles.has(cli::Role::Agent) {
            return Ok(None);
        }
        let ingest: Arc<dyn Ingest> = match ingester {
            Some(ingester) if !membership.is_open() => ingester.clone(),
            local => Arc::new(distributor(membership, local)),
        };
        let receive = receive_config(args, loaded);
        let receiver = Receiver::new(receive, ingest.clone(), clock.clone(), registry).map_err(text)?;
        receiver.set_otlp(loaded.otlp.clone());
        let config = AgentConfig { scrape: loaded.scrape.clone(), ..AgentConfig::default() };
        let ownership = match membership.is_open() {
            true => Ownership::in_cluster(&membership.identity, &membership.meta, membership.connect()),
            false => Ownership::everything(),
        };
        let agent = Agent::create(config, ingest, ownership, clock.clone(), registry).map_err(text)?;
        Ok(Some(Intake { agent, receiver }))
    }
}

/// Brings samples to all replicas of their shards, of which one may be in this process.
fn distributor(membership: &Membership, local: Option<&Arc<Ingester>>) -> Distributor {
    let local = local.map(|ingester| (membership.identity.clone(), ingester.clone() as Arc<dyn Replica>));
    let (connect, openings) = (membership.connect(), Openings::default());
    let opened = openings.clone();
    let replica = move |address: &str| -> Result<Arc<dyn Replica>, String> {
        let connection = connect.connect(address).map_err(|status| status.message().to_string())?;
        Ok(Arc::new(IngestClient::of_sender(connection, opened.clone())))
    };
    let config = DistributeConfig::new(membership.identity.clone());
    Distributor::new(config, membership.meta.clone(), Replicas::new(local, Box::new(replica)), openings)
}

/// Runs the compactor, which deletes, once the bucket is known to be this server's; ends the process when it is another's.
async fn collect_what_is_ours(
    claim: Claim,
    mut is_claimed: bool,
    compactor: Compactor,
    stop: watch::Sender<bool>,
    mut stopped: watch::Receiver<bool>,
) {
    while !is_claimed {
        tokio::select! {
            () = tokio::time::sleep(CLAIM_PAUSE) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        match claim.now().await {
            Ok(()) => is_claimed = true,
            Err(ClaimError::Store(error)) => tracing::warn!(%error, "the object store still cannot be claimed"),
            Err(error) => {
                tracing::error!(%error, "stopping");
                stop.send_replace(true);
                return;
            }
        }
    }
    compactor.run(stopped).await;
}

/// Says which settings are understood and not served yet, so that nobody relies on them.
fn warn_of_what_has_no_effect(args: &ServerArgs) {
    if args.storage.max_block_duration.is_some() {
        let setting = "--storage.tsdb.max-block-duration";
        tracing::warn!(setting, "this setting has no effect yet: blocks are not merged");
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Where blocks are. Nodes that others count on need one that all of them reach.
fn object_store(parts: &Parts<'_>, loaded: &Loaded) -> Result<Arc<dyn ObjectStore>, String> {
    let config = match loaded.config.object_store.clone() {
        Some(config) => config,
        None if !parts.args.cluster.join.is_empty() => {
            let section = "the section object_store of --config.file says where, for example an S3 bucket";
            return Err(format!("a cluster needs an object store that all of its nodes reach: {section}"));
        }
        None => ObjectStoreConfig::filesystem(parts.folders.bucket()),
    };
    config.build(StoreMetrics::new(&parts.registry).map_err(text)?).map_err(text)
}

async fn head(parts: &Parts<'_>, loaded: &Loaded, shards: u32) -> Result<Arc<Head>, String> {
    let config = storage::head_config(parts.folders.wal(), window_ms(parts.args), &loaded.config.limits);
    let config = HeadConfig { shards, ..config };
    let (clock, registry) = (parts.clock.clone(), parts.registry.clone());
    let opened = tokio::task::spawn_blocking(move || storage::open_head(config, clock, &registry));
    opened.await.map_err(text)?.map(Arc::new)
}

fn window_ms(args: &ServerArgs) -> i64 {
    args.storage.min_block_duration.as_millis() as i64
}

fn receive_config(args: &ServerArgs, loaded: &Loaded) -> ReceiveConfig {
    let limits = &loaded.config.limits;
    ReceiveConfig {
        remote_write: args.web.enable_remote_write_receiver,
        otlp: args.web.enable_otlp_receiver,
        max_body_bytes: limits.max_request_size.0 as usize,
        max_decompressed_bytes: limits.max_decompressed_request_size.0 as usize,
        max_inflight_bytes: limits.max_inflight_requests_size.0 as usize,
        ..ReceiveConfig::default()
    }
}

fn api_config(args: &ServerArgs, loaded: &Loaded) -> Result<ApiConfig, String> {
    let external = &loaded.config.global.external_labels;
    let query_log = Arc::new(QueryLog::default());
    query_log.set(loaded.config.global.query_log_file.as_deref())?;
    let limits = super::limits::query_limits(&args.query, &loaded.config.limits);
    Ok(ApiConfig {
        limits: Arc::new(ArcSwap::from_pointee(limits)),
        query_log,
        slow_log_threshold: Some(args.query.slow_log_threshold).filter(|threshold| !threshold.is_zero()),
        max_concurrency: args.query.max_concurrency as usize,
        lookback_delta_ms: args.query.lookback_delta.as_millis() as i64,
        enable_lifecycle: args.web.enable_lifecycle,
        enable_admin_api: args.web.enable_admin_api,
        external_labels: external.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        remote_read_sample_limit: args.storage.read_sample_limit as usize,
        remote_read_concurrency: args.storage.read_concurrent_limit as usize,
        remote_read_frame_bytes: args.storage.read_max_bytes_in_frame as usize,
    })
}

fn engine(args: &ServerArgs, loaded: &Loaded, clock: &Arc<dyn Clock>) -> Engine {
    Engine::new(EngineOptions {
        lookback_delta_ms: args.query.lookback_delta.as_millis() as i64,
        max_samples: args.query.max_samples as usize,
        default_subquery_step_ms: loaded.config.global.evaluation_interval.as_millis() as i64,
        timeout: args.query.timeout,
        max_memory_bytes: loaded.config.limits.max_query_memory.0,
        threads: std::thread::available_parallelism().map_or(2, |n| n.get()),
        clock: clock.clone(),
        type_and_unit_labels: args.features().has("type-and-unit-labels"),
        ..EngineOptions::default()
    })
}

/// The retention in force: the configuration goes before the flag; without both, the local folder keeps 15 days and a
/// bucket keeps everything.
fn retention(args: &ServerArgs, loaded: &Loaded) -> Option<Duration> {
    let configured = loaded.config.storage.tsdb.retention.time.map(|time| time.as_duration());
    let default = || if loaded.config.object_store.is_none() { LOCAL_RETENTION } else { Duration::ZERO };
    let retention = configured.or(args.storage.retention_time).unwrap_or_else(default);
    (retention > Duration::ZERO).then_some(retention)
}

/// The most bytes of blocks: the configuration goes before the flag; 0 is no limit.
fn max_block_bytes(args: &ServerArgs, loaded: &Loaded) -> Option<u64> {
    let configured = loaded.config.storage.tsdb.retention.size.or(args.storage.retention_size);
    configured.map(|size| size.0).filter(|bytes| *bytes > 0)
}
