//! `pharos alertmanager`: wires the Alertmanager of `pharos-alertmanager` with flags, listeners, signals and metrics.

mod built_in;
mod configuration;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use pharos_alertmanager::api::{self, ApiSettings};
use pharos_alertmanager::engine::{Engine, Settings};
use pharos_alertmanager::metrics::Metrics;
use pharos_alertmanager::replicas::http::{self as replica_http, HttpCarrier};
use pharos_alertmanager::replicas::{Alone, Cluster, ClusterSettings, Replicas};
use pharos_alertmanager::run::run as run_engine;
use pharos_alertmanager::silences::SilenceLimits;
use pharos_alertmanager::{Config, Syntax};
use pharos_model::{Clock, SystemClock};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::{AlertmanagerArgs, AlertmanagerClusterArgs, ListenAddress};
use crate::logging;
use crate::metrics::{REVISION, VERSION, metrics_text, register_process_metrics};
use crate::server::http::{self, HttpConfig, Patience, SharedRouter};
use crate::server::network::address::advertised;
pub(crate) use built_in::{AlertmanagerHandle, BuiltIn, Neighbours, Prepared, Surroundings};
use configuration::Configuration;

/// Connections over all listeners of one kind.
const MAX_CONNECTIONS: usize = 2048;
/// GET requests that are answered at once by default.
const GET_CONCURRENCY: usize = 8;
/// How long a client may keep the server waiting.
const PATIENCE: Duration = Duration::from_secs(300);
/// Features of Alertmanager, and the syntax of matchers that each stands for.
const FEATURES: [(&str, Option<Syntax>); 8] = [
    ("classic-mode", Some(Syntax::Classic)),
    ("utf8-strict-mode", Some(Syntax::Utf8)),
    ("alert-names-in-metrics", None),
    ("receiver-name-in-metrics", None),
    ("group-key-in-metrics", None),
    ("auto-gomemlimit", None),
    ("event-recorder", None),
    ("muted-alerts-in-nflog", None),
];

/// Runs the Alertmanager until SIGINT or SIGTERM. An error says why it could not start.
pub fn run(args: AlertmanagerArgs) -> Result<(), String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    logging::init(args.log.level, args.log.format, clock.clone()).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("pharos")
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    runtime.block_on(serve(args, clock))
}

async fn serve(args: AlertmanagerArgs, clock: Arc<dyn Clock>) -> Result<(), String> {
    tracing::info!(version = VERSION, "starting the Alertmanager");
    for name in args.inert.without_effect() {
        tracing::warn!("--{name} has no effect");
    }
    let registry = Registry::new();
    register_process_metrics(&registry).map_err(|error| error.to_string())?;
    let metrics = Arc::new(Metrics::register(&registry).map_err(|error| error.to_string())?);
    let syntax = syntax(&args.enable_feature)?;
    let config = Config::load(&args.config_file, syntax).map_err(|error| error.to_string())?;
    let (stop, stopped) = watch::channel(false);

    let mut listeners = Vec::new();
    for address in &args.web.listen_address {
        listeners.push(http::bind(address).await?);
    }
    let external_url = external_url(&args.web.external_url, &listeners)?;
    let route_prefix = route_prefix(args.web.route_prefix.as_deref(), &external_url);

    let cluster = Replication::open(&args.cluster, clock.clone()).await?;
    let replicas: Arc<dyn Replicas> = match &cluster {
        Some(replication) => replication.cluster.clone(),
        None => Arc::new(Alone),
    };
    let engine = Engine::open(settings(&args, syntax), metrics.clone(), replicas, clock.clone())?;
    measure(&engine, &registry)?;
    let configuration =
        Arc::new(Configuration::start(engine.clone(), &args.config_file, config, external_url.clone())?);
    let mut tasks = Vec::new();
    if let Some(replication) = cluster {
        tasks.extend(replication.start(&engine, stopped.clone()));
    }

    let settings = ApiSettings {
        cors_origin: args.web.cors_origin.clone(),
        get_concurrency: usize::try_from(args.web.get_concurrency).ok().filter(|n| *n > 0).unwrap_or(GET_CONCURRENCY),
        timeout: Some(args.web.timeout).filter(|timeout| !timeout.is_zero()),
        route_prefix,
        started: engine.now(),
        version: VERSION.into(),
        revision: REVISION.into(),
    };
    let reload: api::Reload = {
        let configuration = configuration.clone();
        Arc::new(move || configuration.reload())
    };
    let router = api::router(engine.clone(), settings, reload, Arc::new(move || metrics_text(&registry)));
    for listener in &listeners {
        let address =
            listener.local_addr().map_err(|error| format!("cannot read the address of a listener: {error}"))?;
        tracing::info!(%address, "Listening on");
    }
    tasks.push(listen(listeners, router, Patience::Client(PATIENCE), stopped.clone()));
    let running = tokio::spawn(run_engine(engine, stopped));
    wait_for_stop(&configuration).await?;
    tracing::info!("stopping");
    stop.send_replace(true);
    for task in tasks.into_iter().chain([running]) {
        if let Err(error) = task.await {
            tracing::error!(%error, "a part of the Alertmanager ended unexpectedly");
        }
    }
    tracing::info!("see you next time");
    Ok(())
}

/// Registers the metrics that the engine computes when they are read.
fn measure(engine: &Arc<Engine>, registry: &Registry) -> Result<(), String> {
    let measured = Arc::downgrade(engine);
    let compute = move || {
        if let Some(engine) = measured.upgrade() {
            engine.update_gauges();
        }
    };
    engine.metrics.register_computed(registry, compute).map_err(|error| error.to_string())
}

fn settings(args: &AlertmanagerArgs, syntax: Syntax) -> Settings {
    let limit = |limit: i64| usize::try_from(limit).unwrap_or_default();
    Settings {
        folder: args.data.path.clone(),
        retention: args.data.retention,
        maintenance_interval: args.data.maintenance_interval,
        alert_gc_interval: args.data.alert_gc_interval,
        per_name_limit: limit(args.data.per_name_limit),
        silence_limits: SilenceLimits {
            max_silences: limit(args.data.max_silences),
            max_bytes: limit(args.data.max_silence_bytes),
        },
        logs_silences: args.data.log_silences,
        start_delay: args.data.start_delay,
        syntax,
    }
}

/// The syntax of matchers that features stand for.
pub(crate) fn syntax(features: &[String]) -> Result<Syntax, String> {
    let mut syntax = Syntax::Both;
    for feature in features.iter().filter(|feature| !feature.is_empty()) {
        let known = FEATURES.iter().find(|(name, _)| name == feature);
        let (_, stands_for) = known.ok_or_else(|| format!("unknown option '{feature}' for --enable-feature"))?;
        match stands_for {
            None => tracing::warn!(feature, "this feature has no effect"),
            Some(other) if syntax != Syntax::Both && syntax != *other => {
                return Err("cannot have both classic and UTF-8 modes enabled".into());
            }
            Some(other) => syntax = *other,
        }
    }
    Ok(syntax)
}

/// The given URL, or the one of this host and the port of the first listener. Has no slash at its end.
fn external_url(given: &str, listeners: &[TcpListener]) -> Result<String, String> {
    if given.is_empty() {
        let port = listeners.first().and_then(|listener| listener.local_addr().ok()).map_or(9093, |bound| bound.port());
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or("localhost");
        return Ok(format!("http://{host}:{port}"));
    }
    if given.starts_with(['"', '\'']) || given.ends_with(['"', '\'']) {
        return Err("URL must not begin or end with quotes".into());
    }
    let text = if given.contains("://") { given.to_string() } else { format!("http://{given}") };
    let url = url::Url::parse(&text).map_err(|error| format!("--web.external-url: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url.as_str().trim_end_matches('/').to_string()),
        scheme => Err(format!(
            "--web.external-url: {given:?}: invalid {scheme:?} scheme, only 'http' and 'https' are supported"
        )),
    }
}

/// The given prefix, or the path of the external URL: empty, or `/path` without a slash at its end.
fn route_prefix(given: Option<&str>, external_url: &str) -> String {
    let of_url = || url::Url::parse(external_url).map(|url| url.path().to_string()).unwrap_or_default();
    let path = given.filter(|given| !given.is_empty()).map_or_else(of_url, str::to_string);
    match path.trim_matches('/') {
        "" => String::new(),
        path => format!("/{path}"),
    }
}

/// Serves a router on listeners.
fn listen(
    listeners: Vec<TcpListener>,
    router: axum::Router,
    patience: Patience,
    stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let router: SharedRouter = Arc::new(ArcSwapOption::from_pointee(router));
    let config = HttpConfig { max_connections: MAX_CONNECTIONS, patience };
    tokio::spawn(http::serve(listeners, router, config, None, stopped))
}

/// The replicas and the listener for them.
struct Replication {
    cluster: Arc<Cluster>,
    listener: TcpListener,
}

impl Replication {
    /// Binds the listener; none if `--cluster.listen-address` is empty.
    async fn open(args: &AlertmanagerClusterArgs, clock: Arc<dyn Clock>) -> Result<Option<Self>, String> {
        if args.listen_address.is_empty() {
            return Ok(None);
        }
        let failed = |error: String| format!("--cluster.listen-address {}: {error}", args.listen_address);
        let listen: ListenAddress = args.listen_address.parse().map_err(failed)?;
        let listener = http::bind(&listen).await?;
        let bound = listener.local_addr().map_err(|error| failed(error.to_string()))?;
        let listen = ListenAddress { port: bound.port(), ..listen };
        let address = advertised(args.advertise_address.as_deref(), &args.peers, &listen)?;
        let name = match args.peer_name.as_str() {
            "" => ulid::Ulid::generate().to_string(),
            name => name.to_string(),
        };
        let settings = ClusterSettings {
            name,
            address,
            label: args.label.clone(),
            peers: args.peers.clone(),
            peer_timeout: args.peer_timeout,
            heartbeat_interval: args.probe_interval,
            exchange_interval: args.exchange_interval,
            settle_timeout: args.settle_timeout,
            reconnect_interval: args.reconnect_interval,
            reconnect_timeout: args.reconnect_timeout,
        };
        tracing::info!(address = settings.address, name = settings.name, "listening for other replicas");
        let cluster = Cluster::new(settings, Arc::new(HttpCarrier::new()?), clock);
        Ok(Some(Replication { cluster, listener }))
    }

    fn start(self, engine: &Arc<Engine>, stopped: watch::Receiver<bool>) -> [JoinHandle<()>; 2] {
        self.cluster.attach(engine);
        let router = replica_http::router(self.cluster.clone());
        let serving = listen(vec![self.listener], router, Patience::Client(PATIENCE), stopped.clone());
        [serving, tokio::spawn(self.cluster.run(stopped))]
    }
}

/// Waits for SIGINT or SIGTERM. Reloads the configuration on SIGHUP.
async fn wait_for_stop(configuration: &Arc<Configuration>) -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| format!("cannot listen to signals: {error}"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => {
                let configuration = configuration.clone();
                // The reload logs its outcome and sets metrics.
                let _logged = tokio::task::spawn_blocking(move || configuration.reload()).await;
            }
        }
    }
}

/// Checks a file as a start would. The text says how many receivers and templates it has.
pub(crate) fn check_file(file: &Path) -> Result<String, String> {
    configuration::check(file)
}
