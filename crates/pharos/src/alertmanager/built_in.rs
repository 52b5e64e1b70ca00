//! The Alertmanager inside of the server: the same engine and API, below `/alertmanager`.
//!
//! In a cluster, the nodes with an Alertmanager are replicas of each other: they share silences and the notification log over
//! the connections of the cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use jiff::Timestamp;
use pharos_alertmanager::api::{self, ApiSettings};
use pharos_alertmanager::engine::{Alert, Engine, Settings};
use pharos_alertmanager::metrics::Metrics;
use pharos_alertmanager::replicas::nodes::{self, AlertmanagerService, NodeCarrier};
use pharos_alertmanager::replicas::{Alone, Cluster, ClusterSettings, Replicas};
use pharos_alertmanager::run::run;
use pharos_alertmanager::silences::SilenceLimits;
use pharos_alertmanager::{Config, Syntax};
use pharos_cluster::View;
use pharos_model::{Clock, TenantId};
use pharos_ruler::{AlertSink, OutgoingAlert};
use pharos_transport::Connect;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::service::RoutesBuilder;

use super::configuration::Configuration;
use super::{GET_CONCURRENCY, PATIENCE, listen, measure};
use crate::cli::ServerArgs;
use crate::metrics::{REVISION, VERSION, metrics_text};
use crate::server::http::{self, Patience};

/// The path of the API in the server.
pub(crate) const PATH: &str = "/alertmanager";

/// Alerts of one rule each that may wait to be taken.
const MAX_WAITING: usize = 10_000;

/// The running Alertmanager.
pub(crate) struct BuiltIn {
    handle: AlertmanagerHandle,
    routes: Router,
    engine: Arc<Engine>,
    /// The replicas on other nodes, if this node belongs to a cluster.
    cluster: Option<Arc<Cluster>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the server does with the Alertmanager: it reloads it, and its rules send alerts to it.
#[derive(Clone)]
pub(crate) struct AlertmanagerHandle {
    configuration: Arc<Configuration>,
    alerts: mpsc::Sender<Vec<OutgoingAlert>>,
    url: String,
}

impl AlertmanagerHandle {
    /// The URL at which the Alertmanager takes alerts of others.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Reads the configuration again. Blocks while it reads.
    ///
    /// # Errors
    /// It is invalid; the previous one stays in force.
    pub(crate) fn reload(&self) -> Result<(), String> {
        self.configuration.reload()
    }
}

impl AlertSink for AlertmanagerHandle {
    fn send(&self, _: &TenantId, alerts: &[OutgoingAlert]) {
        if self.alerts.try_send(alerts.to_vec()).is_err() {
            tracing::warn!(
                alerts = alerts.len(),
                "the Alertmanager is too busy to take alerts; dropping them until the rule sends them again"
            );
        }
    }
}

/// Takes alerts of rules until nobody sends any more.
async fn take(engine: Arc<Engine>, mut waiting: mpsc::Receiver<Vec<OutgoingAlert>>) {
    let mut next = Vec::new();
    while waiting.recv_many(&mut next, MAX_WAITING).await > 0 {
        let alerts: Vec<OutgoingAlert> = next.drain(..).flatten().collect();
        let engine = engine.clone();
        let taken = tokio::task::spawn_blocking(move || {
            let now = engine.now();
            engine.receive(alerts.into_iter().map(|alert| incoming(alert, now)).collect());
        });
        if let Err(error) = taken.await {
            tracing::error!(%error, "alerts of rules were not taken");
        }
    }
}

/// An alert of a rule as the Alertmanager knows it.
fn incoming(alert: OutgoingAlert, now: Timestamp) -> Alert {
    let time = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or(now);
    Alert {
        labels: alert.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        annotations: alert.annotations,
        starts_at: time(alert.starts_at_ms),
        ends_at: Some(time(alert.ends_at_ms)),
        updated_at: now,
        generator_url: alert.generator_url,
        timed_out: false,
    }
}

/// What the Alertmanager takes from the server.
pub(crate) struct Surroundings<'s> {
    /// The folder of all data.
    pub(crate) folder: &'s Path,
    /// The URL of the server, without a slash at its end.
    pub(crate) external_url: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) registry: &'s Registry,
    /// The cluster; none if this node is one by itself.
    pub(crate) cluster: Option<Neighbours>,
    pub(crate) stopped: watch::Receiver<bool>,
}

/// The other nodes, some of which may have an Alertmanager, too.
pub(crate) struct Neighbours {
    /// The identity of this node.
    pub(crate) node: String,
    /// The address at which other nodes reach it.
    pub(crate) address: String,
    pub(crate) views: watch::Receiver<View>,
    pub(crate) connect: Arc<dyn Connect>,
}

/// An Alertmanager whose configuration was read and whose addresses are bound.
pub(crate) struct Prepared {
    file: PathBuf,
    config: Config,
    listeners: Vec<TcpListener>,
}

impl Prepared {
    /// Reads the configuration and binds the addresses, if the flags ask for an Alertmanager.
    ///
    /// # Errors
    /// The configuration is invalid, or an address is taken.
    pub(crate) async fn new(args: &ServerArgs) -> Result<Option<Self>, String> {
        let Some(file) = args.alertmanager_config() else { return Ok(None) };
        let config = Config::load(file, Syntax::Both).map_err(|error| error.to_string())?;
        let mut listeners = Vec::new();
        for address in &args.alertmanager.listen_address {
            listeners.push(http::bind(address).await?);
            tracing::info!(%address, "listening for requests to the Alertmanager");
        }
        Ok(Some(Prepared { file: file.to_path_buf(), config, listeners }))
    }

    /// Starts the Alertmanager.
    ///
    /// # Errors
    /// A template or a receiver is invalid, or the data cannot be read.
    pub(crate) fn start(self, surroundings: Surroundings<'_>) -> Result<BuiltIn, String> {
        let Surroundings { folder, external_url, clock, registry, cluster, stopped } = surroundings;
        let metrics = Arc::new(Metrics::register(registry).map_err(|error| error.to_string())?);
        let replicated = cluster.map(|cluster| Replicated::new(cluster, &clock));
        let replicas: Arc<dyn Replicas> = match &replicated {
            Some(replicated) => replicated.cluster.clone(),
            None => Arc::new(Alone),
        };
        let engine = Engine::open(settings(folder), metrics, replicas, clock)?;
        measure(&engine, registry)?;
        let external_url = format!("{external_url}{PATH}");
        let configuration =
            Arc::new(Configuration::start(engine.clone(), &self.file, self.config, external_url.clone())?);
        let api_settings = ApiSettings {
            cors_origin: None,
            get_concurrency: GET_CONCURRENCY,
            timeout: None,
            route_prefix: String::new(),
            started: engine.now(),
            version: VERSION.into(),
            revision: REVISION.into(),
        };
        let reload: api::Reload = {
            let configuration = configuration.clone();
            Arc::new(move || configuration.reload())
        };
        let metrics_of = registry.clone();
        let routes = api::routes(engine.clone(), api_settings, reload, Arc::new(move || metrics_text(&metrics_of)));
        let mut tasks = vec![listen(self.listeners, routes.clone(), Patience::Client(PATIENCE), stopped.clone())];
        let cluster = replicated.map(|replicated| replicated.start(&engine, &stopped, &mut tasks));
        let (alerts, waiting) = mpsc::channel(MAX_WAITING);
        // It ends with the last handle, of which this has one, so nobody waits for it.
        tokio::spawn(take(engine.clone(), waiting));
        tasks.push(tokio::spawn(run(engine.clone(), stopped)));
        let handle = AlertmanagerHandle { configuration, alerts, url: format!("{external_url}/api/v2/alerts") };
        Ok(BuiltIn { handle, routes, engine, cluster, tasks })
    }
}

/// The replicas on other nodes, which are not called yet.
struct Replicated {
    cluster: Arc<Cluster>,
    neighbours: Neighbours,
}

impl Replicated {
    fn new(neighbours: Neighbours, clock: &Arc<dyn Clock>) -> Self {
        let settings = ClusterSettings {
            name: neighbours.node.clone(),
            address: neighbours.address.clone(),
            label: String::new(),
            peers: nodes::expected(&neighbours.views.borrow(), &neighbours.node),
            peer_timeout: Duration::from_secs(15),
            heartbeat_interval: Duration::from_secs(1),
            exchange_interval: Duration::from_secs(60),
            settle_timeout: Duration::from_secs(60),
            reconnect_interval: Duration::from_secs(10),
            reconnect_timeout: Duration::from_secs(6 * 3600),
        };
        let carrier = Arc::new(NodeCarrier(neighbours.connect.clone()));
        Replicated { cluster: Cluster::new(settings, carrier, clock.clone()), neighbours }
    }

    /// Starts to call the replicas, and follows which there are.
    fn start(
        self,
        engine: &Arc<Engine>,
        stopped: &watch::Receiver<bool>,
        tasks: &mut Vec<JoinHandle<()>>,
    ) -> Arc<Cluster> {
        let Replicated { cluster, neighbours: Neighbours { node, views, .. } } = self;
        cluster.attach(engine);
        tasks.push(tokio::spawn(nodes::follow(cluster.clone(), node, views, stopped.clone())));
        tasks.push(tokio::spawn(cluster.clone().run(stopped.clone())));
        cluster
    }
}

impl BuiltIn {
    /// The API below [`PATH`].
    pub(crate) fn routes(&self) -> Router {
        // Nested routes do not match the path with a slash.
        let to_path = || async { Redirect::permanent(PATH) };
        Router::new().nest(PATH, self.routes.clone()).route(&format!("{PATH}/"), get(to_path))
    }

    /// What the server needs to reload it and to send alerts to it.
    pub(crate) fn handle(&self) -> AlertmanagerHandle {
        self.handle.clone()
    }

    /// Adds the service that other nodes call.
    pub(crate) fn add_services(&self, routes: &mut RoutesBuilder) {
        if let Some(cluster) = &self.cluster {
            AlertmanagerService { engine: self.engine.clone(), cluster: cluster.clone() }.mount(routes);
        }
    }

    /// Waits for the end after a stop.
    pub(crate) async fn finish(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the Alertmanager ended unexpectedly");
            }
        }
    }
}

fn settings(folder: &Path) -> Settings {
    Settings {
        folder: folder.join("alertmanager"),
        retention: Duration::from_secs(120 * 3600),
        maintenance_interval: Duration::from_secs(15 * 60),
        alert_gc_interval: Duration::from_secs(30 * 60),
        per_name_limit: 0,
        silence_limits: SilenceLimits::default(),
        logs_silences: false,
        start_delay: Duration::ZERO,
        syntax: Syntax::Both,
    }
}

#[cfg(test)]
mod tests {
    use pharos_model::Labels;

    use super::*;

    #[test]
    fn an_alert_of_a_rule_keeps_its_times_and_labels() {
        let alert = OutgoingAlert {
            labels: Labels::from_pairs([("alertname", "Down")]),
            annotations: [("a".to_string(), "b".to_string())].into(),
            starts_at_ms: 1000,
            ends_at_ms: 2500,
            generator_url: "http://g".into(),
        };
        let incoming = incoming(alert, Timestamp::UNIX_EPOCH);
        assert_eq!(incoming.labels["alertname"], "Down");
        assert_eq!(incoming.starts_at.as_millisecond(), 1000);
        assert_eq!(incoming.ends_at.map(|end| end.as_millisecond()), Some(2500));
    }
}
