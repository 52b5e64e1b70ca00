//! Creates the roles of this node, connects them to each other and starts them.

mod compaction;
mod holders;
mod intake;
mod queries;
mod ruling;
mod writes;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use object_store::ObjectStore;
use pharos_api::notifications::Notifications;
use pharos_api::{Api, ApiConfig};
use pharos_block::objects::{ObjectStoreConfig, StoreMetrics};
use pharos_cluster::state::DEFAULT_SHARDS;
use pharos_head::Head;
use pharos_ingester::Ingester;
use pharos_model::{Clock, MemoryAccount};
use pharos_receive::Receiver;
use pharos_ruler::{RemoteRulers, StoredRules};
use pharos_scrape::RemoteAgents;
use pharos_transport::query::ReadLimits;
use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::clock_metric;
use super::deletions::SeriesDeletions;
use super::departure;
use super::http::HttpConfig;
use super::membership::Membership;
use super::owner::Claim;
use super::rules::AllRules;
use super::services::{NodeServices, retention_text};
use super::snapshot::Snapshots;
use super::statistics::Statistics;
use super::storage::Folders;
use super::targets::{AllTargets, ExternalUrl};
use super::window;
use crate::alertmanager::{AlertmanagerHandle, BuiltIn, Neighbours, Prepared, Surroundings};
use crate::cli::{self, ServerArgs};
use crate::cluster::progress::Copies;
use crate::cluster::{Access, ClusterApi};
use crate::config::Loaded;
use crate::logging::LogHandle;
use crate::reload::ConfigHandle;
use compaction::{max_block_bytes, retention};
use holders::Holders;
use intake::Intake;

/// How long shutdown waits for the disk of the write-ahead log.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// What the roles are created from.
pub(super) struct Parts<'a> {
    pub(super) args: &'a ServerArgs,
    pub(super) config: Arc<ConfigHandle>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) registry: Registry,
    /// What requests hold.
    pub(super) memory: Arc<MemoryAccount>,
    pub(super) log: LogHandle,
    pub(super) folders: Folders,
    pub(super) http: HttpConfig,
    /// The Alertmanager that this node is to run.
    pub(super) alertmanager: Option<Prepared>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// The running roles, and what the router serves.
pub(super) struct Roles {
    pub(super) api: Arc<Api>,
    pub(super) receiver: Option<Arc<Receiver>>,
    pub(super) services: Arc<NodeServices>,
    pub(super) cluster: Arc<ClusterApi>,
    /// The Alertmanager of this node, which is reloaded with the server and gets the alerts of rules.
    pub(super) alertmanager: Option<BuiltIn>,
    tasks: Vec<JoinHandle<()>>,
    membership: Membership,
}

impl Roles {
    /// Announces that this node is stopping, and hands its targets over. The roles keep running meanwhile.
    pub(super) async fn depart(&self) {
        if self.membership.is_open() {
            let ruler = self.services.rules.local.get().map(|role| &role.ruler);
            departure::depart(&self.membership, self.services.agent.as_deref(), ruler).await;
        }
    }

    /// Waits for a failure after which no role can continue, and returns its description.
    pub(super) async fn failed(&self) -> String {
        self.membership.failed().await
    }

    /// Waits for all roles to end and for the log to be durable.
    pub(super) async fn finish(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "role ended unexpectedly");
            }
        }
        if let Some(alertmanager) = self.alertmanager {
            alertmanager.finish().await;
        }
        self.membership.finish().await;
        if let Some(ingester) = &self.services.ingester {
            match tokio::time::timeout(LOG_TIMEOUT, ingester.head().commit()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "stopping with records that are not in the log; none was acknowledged")
                }
                Err(_) => {
                    tracing::warn!(waited = ?LOG_TIMEOUT, "stopping with records that are not in the log; none was acknowledged")
                }
            }
        }
    }
}

/// Opens the storage, finds the cluster, then creates and starts all roles of this node.
pub(super) async fn start(mut parts: Parts<'_>) -> Result<Roles, String> {
    let prepared = parts.alertmanager.take();
    let parts = &parts;
    let args = parts.args;
    let registry = &parts.registry;
    let clock = &parts.clock;
    let loaded = parts.config.current();
    warn_of_inert_settings(args);
    let objects = object_store(parts, &loaded)?;
    let (membership, head, window_ms) = open(parts, &loaded, &objects).await?;
    if membership.is_open() {
        clock_metric::register(registry, membership.meta.cluster_clock().clone()).map_err(text)?;
    }
    membership.announce().await?;
    let claim = Claim {
        objects: objects.clone(),
        identity: membership.bucket_owner(),
        clock: clock.clone(),
        take_over: args.storage.take_over_bucket,
    };
    let is_claimed = claim.at_start().await?;
    let alertmanager = prepared.map(|prepared| prepared.start(surroundings(parts, &membership))).transpose()?;
    let holders = Holders::create(parts, &membership, head, &objects, window_ms)?;
    let intake = Intake::create(parts, &loaded, &membership, &holders.writes)?;
    let api_config = queries::api_config(args, &loaded)?;
    let handle = alertmanager.as_ref().map(BuiltIn::handle);
    let services = services(parts, &membership, &holders, intake.as_ref(), &objects, &api_config, handle.clone());
    let cluster = Arc::new(cluster_api(args, &membership, &objects, clock, holders.ingester.as_ref()));
    let engine = queries::engine(args, &loaded, clock);
    let sources = holders.sources(&membership, queries::stale_reads(args), clock, registry).map_err(text)?;
    let api = Api::create(api_config, engine, sources, services.clone(), parts.memory.clone(), clock.clone(), registry)
        .map_err(text)?;
    let ruler = ruling::ruler(
        parts,
        &loaded,
        &membership,
        &api,
        &holders.writes.ingest,
        handle,
        services.rules.stored.clone(),
    )?;
    if let Some(ruler) = &ruler {
        // Nobody else sets it.
        let _first = services.rules.local.set(ruler.clone());
    }
    let asked = ReadLimits { max_bytes: loaded.config.limits.max_query_memory.0, ..ReadLimits::default() };
    if let Some(ingester) = &holders.ingester {
        ingester.report_lost_shards().await;
    }
    membership.serve(|routes| {
        holders.add_services(clock, &parts.memory, asked, routes, &parts.stopped);
        intake.iter().for_each(|intake| intake.agent.add_services(routes));
        ruler.iter().for_each(|role| role.ruler.add_services(routes));
        alertmanager.iter().for_each(|alertmanager| alertmanager.add_services(routes));
    });
    let mut tasks = Vec::new();
    if let Some(intake) = &intake {
        tasks.push(tokio::spawn(intake.agent.clone().run(parts.stopped.clone())));
        if membership.is_open() {
            departure::discover(&intake.agent).await;
        }
    }
    membership.enter().await?;
    if let Some(ingester) = &holders.ingester {
        tasks.push(tokio::spawn(ingester.clone().run(parts.stopped.clone())));
    }
    if args.roles.has(cli::Role::Compactor) {
        let compactor = compaction::compactor(parts, &loaded, &membership, objects, holders.writes.barrier)?;
        let stop = parts.stop.clone();
        let running = compaction::run_once_claimed(claim, is_claimed, compactor, stop, parts.stopped.clone());
        tasks.push(tokio::spawn(running));
    }
    if let Some(ruler) = ruler {
        tasks.push(tokio::spawn(ruler.run(parts.stopped.clone())));
    }
    let receiver = intake.map(|intake| intake.receiver);
    Ok(Roles { api, receiver, services, cluster, alertmanager, tasks, membership })
}

/// Opens the head and finds the cluster. Returns the head if this node is an ingester, and the width of its windows.
async fn open(
    parts: &Parts<'_>,
    loaded: &Loaded,
    objects: &Arc<dyn ObjectStore>,
) -> Result<(Membership, Option<Arc<Head>>, i64), String> {
    let (args, clock) = (parts.args, &parts.clock);
    let is_ingester = args.roles.has(cli::Role::Ingester);
    // A cluster of one opens the head first: its lock gives the best error when another process uses the folder.
    let first_head = match args.is_alone() {
        true => {
            let window_ms = args.storage.min_block_duration.as_millis() as i64;
            Some(holders::head(parts, loaded, DEFAULT_SHARDS, false, window_ms).await?)
        }
        false => None,
    };
    let membership =
        Membership::begin(args, &parts.folders, objects, clock, parts.http.clone(), parts.stopped.clone()).await?;
    let window_ms = if is_ingester { window::width_ms(args, &membership).await? } else { 0 };
    let head = match first_head {
        None if is_ingester => {
            let has_replicas = membership.has_replicas();
            Some(holders::head(parts, loaded, membership.shards(), has_replicas, window_ms).await?)
        }
        first => first,
    };
    Ok((membership, head, window_ms))
}

/// What the Alertmanager of this node takes from it.
fn surroundings<'s>(parts: &'s Parts<'_>, membership: &Membership) -> Surroundings<'s> {
    let neighbours = |address: &str| Neighbours {
        node: membership.identity.clone(),
        address: address.to_string(),
        views: membership.meta.watch(),
        connect: membership.connect(),
    };
    Surroundings {
        folder: &parts.args.storage.path,
        external_url: parts.args.web.external_url(),
        clock: parts.clock.clone(),
        registry: &parts.registry,
        cluster: membership.address().map(neighbours),
        stopped: parts.stopped.clone(),
    }
}

/// This node as the HTTP API sees it.
fn services(
    parts: &Parts<'_>,
    membership: &Membership,
    holders: &Holders,
    intake: Option<&Intake>,
    objects: &Arc<dyn ObjectStore>,
    api: &ApiConfig,
    alertmanager: Option<AlertmanagerHandle>,
) -> Arc<NodeServices> {
    let args = parts.args;
    let loaded = parts.config.current();
    let meta = &membership.meta;
    let clock = &parts.clock;
    let agent = intake.map(|intake| intake.agent.clone());
    Arc::new(NodeServices {
        config: parts.config.clone(),
        config_at_start: loaded.clone(),
        flags: args.flags_in_force(retention(args, &loaded), max_block_bytes(args, &loaded)),
        deletions: SeriesDeletions {
            meta: meta.clone(),
            barrier: holders.writes.barrier.clone(),
            clock: clock.clone(),
            runtime: Handle::current(),
        },
        ingester: holders.ingester.clone(),
        statistics: membership.is_open().then(|| Statistics {
            meta: meta.clone(),
            node: membership.identity.clone(),
            ingester: holders.ingester.clone(),
            connect: membership.connect(),
        }),
        agent: agent.clone(),
        receiver: intake.map(|intake| intake.receiver.clone()),
        targets: AllTargets {
            node: membership.identity.clone(),
            local: agent,
            others: membership.is_open().then(|| RemoteAgents::new(meta.watch(), membership.connect())),
        },
        rules: AllRules {
            node: membership.identity.clone(),
            local: OnceLock::new(),
            others: membership.is_open().then(|| RemoteRulers::new(meta.watch(), membership.connect())),
            stored: StoredRules::new(objects.clone()),
        },
        has_rule_api: api.enable_rule_api,
        external_url: ExternalUrl {
            url: args.web.external_url(),
            own_port: args.web.listen_address.first().map_or(9090, |address| address.port),
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
        memory: parts.memory.clone(),
        clock: clock.clone(),
        log: parts.log.clone(),
        alertmanager,
        stop: parts.stop.clone(),
        started_ms: clock.now_ms(),
        retention: retention_text(retention(args, &loaded), max_block_bytes(args, &loaded)),
        query_args: args.query.clone(),
        query_limits: api.limits.clone(),
        query_log: api.query_log.clone(),
        notifications: notifications(parts),
    })
}

/// What an operator should know. Those who follow it learn that the server stops.
fn notifications(parts: &Parts<'_>) -> Arc<Notifications> {
    let notifications = Arc::new(Notifications::new(parts.args.web.max_notifications_subscribers));
    let (stopping, mut stopped, clock) = (notifications.clone(), parts.stopped.clone(), parts.clock.clone());
    tokio::spawn(async move {
        // Without a sender the server is gone, too.
        let _stopped = stopped.wait_for(|stopped| *stopped).await;
        stopping.raise("Pharos is shutting down and gracefully stopping all operations.", clock.now_ms());
        stopping.close();
    });
    notifications
}

/// The cluster administration API.
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
        access: Access {
            everyone: args.web.enable_admin_api,
            token: membership.token(),
            tenant_details: args.web.tenant_details.into(),
        },
        copies: Copies { ingester: ingester.cloned(), connect: membership.connect() },
    }
}

/// Warns of settings that have no effect yet.
fn warn_of_inert_settings(args: &ServerArgs) {
    if args.storage.max_block_duration.is_some() {
        let setting = "--storage.tsdb.max-block-duration";
        tracing::warn!(setting, "setting has no effect: blocks are not merged yet");
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The object store. A cluster of several nodes needs one that all of them can reach.
fn object_store(parts: &Parts<'_>, loaded: &Loaded) -> Result<Arc<dyn ObjectStore>, String> {
    let config = match loaded.config.object_store.clone() {
        Some(config) => config,
        None if !parts.args.cluster.join.is_empty() => {
            return Err("a cluster needs an object store that all nodes can reach, such as an S3 bucket: configure \
                        object_store in --config.file"
                .into());
        }
        None => ObjectStoreConfig::filesystem(parts.folders.bucket()),
    };
    config.build(StoreMetrics::new(&parts.registry).map_err(text)?).map_err(text)
}
