//! Creates the roles, hands them to each other and starts them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use object_store::ObjectStore;
use pharos_agent::receive::{ReceiveConfig, Receiver};
use pharos_agent::{Agent, AgentConfig, Ownership};
use pharos_block::objects::{ObjectStoreConfig, StoreMetrics};
use pharos_compactor::{Compactor, CompactorConfig};
use pharos_frontend::queries::log::QueryLog;
use pharos_frontend::{Fanout, Frontend, FrontendConfig};
use pharos_head::Head;
use pharos_ingester::{Ingester, IngesterConfig};
use pharos_meta::{Member, MemberState, Meta, Role, USUAL_WEIGHT};
use pharos_model::Clock;
use pharos_promql::engine::{Engine, EngineOptions};
use pharos_rpc::{Ingest, SeriesSource};
use pharos_store::{Store, StoreConfig};
use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::owner::{Claim, ClaimError};
use super::services::{NodeServices, retention_text};
use super::snapshot::Snapshots;
use super::storage::{self, Folders};
use crate::cli::ServerArgs;
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
    pub(super) stop: watch::Sender<bool>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// The running roles.
pub(super) struct Roles {
    pub(super) frontend: Arc<Frontend>,
    pub(super) receiver: Arc<Receiver>,
    pub(super) services: Arc<NodeServices>,
    tasks: Vec<JoinHandle<()>>,
    meta: Arc<Meta>,
}

impl Roles {
    /// Waits until every role has ended.
    pub(super) async fn finish(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a role ended unexpectedly");
            }
        }
        // Last: the others ask it until they end.
        self.meta.shutdown().await;
    }
}

/// Opens the storage, then creates and starts every role.
pub(super) async fn start(parts: Parts<'_>) -> Result<Roles, String> {
    let (args, registry, clock) = (parts.args, &parts.registry, &parts.clock);
    let loaded = parts.config.current();
    warn_of_what_has_no_effect(args);
    let objects = object_store(&parts, &loaded)?;
    // The head first: its lock says best that another process has the folder.
    let head = head(&parts, &loaded).await?;
    let claim = Claim {
        objects: objects.clone(),
        identity: parts.folders.identity(&**clock)?,
        clock: clock.clone(),
        take_over: args.storage.take_over_bucket,
    };
    let is_claimed = claim.at_start().await?;
    let meta = storage::open_meta(&parts.folders.meta(), &claim.identity, &*objects, &**clock).await?;
    meta.enter(member(&claim.identity, args)).await.map_err(text)?;
    let ingester_config = IngesterConfig::new(claim.identity.clone(), window_ms(args));
    let ingester = Ingester::create(ingester_config, head, meta.clone(), objects.clone(), clock.clone(), registry)
        .map_err(text)?;
    let store = Store::create(StoreConfig::default(), meta.clone(), objects.clone(), Handle::current(), registry)
        .map_err(text)?;
    let receiver =
        Receiver::new(receive_config(args, &loaded), ingester.clone(), clock.clone(), registry).map_err(text)?;
    receiver.set_otlp(loaded.otlp.clone());
    let ingest: Arc<dyn Ingest> = ingester.clone();
    let agent = Agent::create(
        AgentConfig { scrape: loaded.scrape.clone(), ..AgentConfig::default() },
        ingest,
        Ownership::everything(),
        clock.clone(),
        registry,
    )
    .map_err(text)?;
    let (retention, max_bytes) = (retention(args, &loaded), max_block_bytes(args, &loaded));
    let compactor_config = CompactorConfig { retention, max_bytes, ..CompactorConfig::default() };
    let compactor =
        Compactor::create(compactor_config, meta.clone(), objects.clone(), clock.clone(), registry).map_err(text)?;
    let snapshots = Snapshots {
        folder: parts.folders.snapshots(),
        ingester: ingester.clone(),
        meta: meta.clone(),
        objects,
        clock: clock.clone(),
        runtime: Handle::current(),
    };
    let frontend_config = frontend_config(args, &loaded)?;
    let services = Arc::new(NodeServices {
        config: parts.config.clone(),
        flags: args.flags().clone(),
        ingester: ingester.clone(),
        agent: agent.clone(),
        receiver: receiver.clone(),
        snapshots,
        registry: registry.clone(),
        clock: clock.clone(),
        log: parts.log.clone(),
        stop: parts.stop.clone(),
        started_ms: clock.now_ms(),
        retention: retention_text(retention, max_bytes),
        query_args: args.query.clone(),
        query_limits: frontend_config.limits.clone(),
        query_log: frontend_config.query_log.clone(),
    });
    let sources: Vec<Arc<dyn SeriesSource>> = vec![ingester.clone(), store];
    let frontend = Frontend::create(
        frontend_config,
        engine(args, &loaded, clock),
        Fanout::new(sources),
        services.clone(),
        clock.clone(),
        registry,
    )
    .map_err(text)?;
    let tasks = vec![
        tokio::spawn(agent.run(parts.stopped.clone())),
        tokio::spawn(ingester.run(parts.stopped.clone())),
        tokio::spawn(collect_what_is_ours(claim, is_claimed, compactor, parts.stop.clone(), parts.stopped.clone())),
    ];
    Ok(Roles { frontend, receiver, services, tasks, meta })
}

/// This node as a member of its cluster: it does everything, and nobody else reaches it.
fn member(identity: &str, args: &ServerArgs) -> Member {
    Member {
        id: identity.to_string(),
        address: String::new(),
        http_address: args.web.listen_address.first().map(ToString::to_string).unwrap_or_default(),
        zone: String::new(),
        roles: Role::ALL.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        weight: USUAL_WEIGHT,
        state: MemberState::Active,
        draining: false,
        since_ms: 0,
    }
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

fn object_store(parts: &Parts<'_>, loaded: &Loaded) -> Result<Arc<dyn ObjectStore>, String> {
    let local = || ObjectStoreConfig::filesystem(parts.folders.bucket());
    let config = loaded.config.object_store.clone().unwrap_or_else(local);
    config.build(StoreMetrics::new(&parts.registry).map_err(text)?).map_err(text)
}

async fn head(parts: &Parts<'_>, loaded: &Loaded) -> Result<Arc<Head>, String> {
    let config = storage::head_config(parts.folders.wal(), window_ms(parts.args), &loaded.config.limits);
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

fn frontend_config(args: &ServerArgs, loaded: &Loaded) -> Result<FrontendConfig, String> {
    let external = &loaded.config.global.external_labels;
    let query_log = Arc::new(QueryLog::default());
    query_log.set(loaded.config.global.query_log_file.as_deref())?;
    let limits = super::limits::query_limits(&args.query, &loaded.config.limits);
    Ok(FrontendConfig {
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
