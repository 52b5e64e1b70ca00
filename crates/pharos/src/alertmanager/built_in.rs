//! The Alertmanager inside of the server: the same engine and API, below `/alertmanager`.
//!
//! It has no replicas: each server with a configuration file of its own notifies on its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jiff::Timestamp;
use pharos_alertmanager::api::{self, ApiSettings};
use pharos_alertmanager::engine::{Alert, Engine, Settings};
use pharos_alertmanager::metrics::Metrics;
use pharos_alertmanager::replicas::Alone;
use pharos_alertmanager::run::run;
use pharos_alertmanager::silences::SilenceLimits;
use pharos_alertmanager::{Config, Syntax};
use pharos_model::{Clock, TenantId};
use pharos_ruler::{AlertSink, OutgoingAlert};
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::configuration::Configuration;
use super::{GET_CONCURRENCY, PATIENCE, listen, measure};
use crate::cli::BuiltInAlertmanagerArgs;
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
    tasks: Vec<JoinHandle<()>>,
}

/// What the server does with the Alertmanager: it reloads it, and its rules send alerts to it.
#[derive(Clone)]
pub(crate) struct AlertmanagerHandle {
    configuration: Arc<Configuration>,
    alerts: mpsc::Sender<Vec<OutgoingAlert>>,
}

impl AlertmanagerHandle {
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
    pub(crate) stopped: watch::Receiver<bool>,
}

impl BuiltIn {
    /// Starts the Alertmanager if the flags ask for one.
    ///
    /// # Errors
    /// The configuration is invalid, the data cannot be read, or an address is taken.
    pub(crate) async fn start(
        args: &BuiltInAlertmanagerArgs,
        surroundings: Surroundings<'_>,
    ) -> Result<Option<Self>, String> {
        let Some(file) = &args.config_file else { return Ok(None) };
        let Surroundings { folder, external_url, clock, registry, stopped } = surroundings;
        let config = Config::load(file, Syntax::Both).map_err(|error| error.to_string())?;
        let metrics = Arc::new(Metrics::register(registry).map_err(|error| error.to_string())?);
        let engine = Engine::open(settings(folder), metrics, Arc::new(Alone), clock)?;
        measure(&engine, registry)?;
        let external_url = format!("{external_url}{PATH}");
        let configuration = Arc::new(Configuration::start(engine.clone(), file, config, external_url)?);
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
        let registry = registry.clone();
        let routes = api::routes(engine.clone(), api_settings, reload, Arc::new(move || metrics_text(&registry)));
        let mut listeners = Vec::new();
        for address in &args.listen_address {
            listeners.push(http::bind(address).await?);
            tracing::info!(%address, "listening for requests to the Alertmanager");
        }
        let serving = listen(listeners, routes.clone(), Patience::Client(PATIENCE), stopped.clone());
        let (alerts, waiting) = mpsc::channel(MAX_WAITING);
        // It ends with the last handle, of which this has one, so nobody waits for it.
        tokio::spawn(take(engine.clone(), waiting));
        let running = tokio::spawn(run(engine, stopped));
        let handle = AlertmanagerHandle { configuration, alerts };
        Ok(Some(BuiltIn { handle, routes, tasks: vec![serving, running] }))
    }

    /// The API without a prefix.
    pub(crate) fn routes(&self) -> Router {
        self.routes.clone()
    }

    /// What the server needs to reload it and to send alerts to it.
    pub(crate) fn handle(&self) -> AlertmanagerHandle {
        self.handle.clone()
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
