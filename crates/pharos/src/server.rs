//! The server: opens the storage, wires the roles, and serves until it is told to stop.
//!
//! Startup checks flags and configuration, binds the listeners (which answer 503), replays the write-ahead log, creates and
//! starts the roles, and installs the router. Shutdown hands targets over, stops scraping, finishes requests in progress,
//! stops shipping and writes the log. It flushes nothing, because the log has every acknowledged sample. A signal during
//! startup ends the process at once, for the same reason.

mod clock_metric;
mod deletions;
mod departure;
pub(crate) mod http;
mod limits;
mod membership;
pub(crate) mod memory;
mod meta_retry;
pub(crate) mod network;
mod open_files;
mod owner;
mod request_line;
mod restart;
mod roles;
mod rules;
mod scrape_pools;
mod services;
mod snapshot;
mod statistics;
mod storage;
mod targets;
mod web;
mod window;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use pharos_model::{Clock, MemoryAccount, SystemClock};
use prometheus::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::alertmanager::Prepared;
use crate::cli::ServerArgs;
use crate::logging;
use crate::metrics::register_process_metrics;
use crate::reload::{ConfigHandle, ConfigSource, FilesWatch};
use roles::Roles;
use services::NodeServices;
use storage::Folders;

/// How long queries may continue after a stop. Shorter than the wait for requests in progress, so that clients receive an
/// error rather than a broken connection.
const QUERY_GRACE: std::time::Duration = std::time::Duration::from_secs(3);

/// Runs the server until SIGINT, SIGTERM or `/-/quit`. An error says why it could not start or continue.
pub fn run(args: ServerArgs) -> Result<(), String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let log = logging::init(args.log.level, args.log.format, clock.clone()).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("pharos")
        .build()
        .map_err(|e| format!("cannot start threads: {e}"))?;
    let outcome = runtime.block_on(serve(args, clock, log));
    // Threads may still wait for an object store that does not answer. Their timers panic once the runtime is shut down. All
    // that must be durable is, so the process ends under them instead.
    std::mem::forget(runtime);
    outcome
}

async fn serve(args: ServerArgs, clock: Arc<dyn Clock>, log: logging::LogHandle) -> Result<(), String> {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), roles = args.roles.names(), "starting pharos");
    args.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let registry = Registry::new();
    register_process_metrics(&registry).map_err(|e| e.to_string())?;
    let config = load_config(&args, &clock, &registry, &log)?;
    let (stop, stopped) = watch::channel(false);

    let mut listeners = Vec::new();
    for address in &args.web.listen_address {
        let listener = http::bind(address).await?;
        tracing::info!(%address, "listening");
        listeners.push(listener);
    }
    let router: http::SharedRouter = Arc::new(ArcSwapOption::empty());
    let http_config = http::HttpConfig {
        max_connections: open_files::connections(args.web.max_connections as usize),
        patience: http::Patience::Client(args.web.read_timeout),
    };
    let serving = tokio::spawn(http::serve(listeners, router.clone(), http_config.clone(), None, stopped.clone()));

    let folders = Folders::new(&args.storage.path)?;
    let alertmanager = Prepared::new(&args).await?;
    let memory = MemoryAccount::new(memory::limits(&args.web, &config.current().config.limits));
    memory::register(&registry, memory.clone()).map_err(|e| e.to_string())?;
    let started = roles::start(roles::Parts {
        args: &args,
        config,
        clock,
        registry,
        memory,
        log,
        folders,
        http: http_config,
        alertmanager,
        stop: stop.clone(),
        stopped,
    });
    tokio::pin!(started);
    let mut signals = Signals::new()?;
    let roles = tokio::select! {
        roles = &mut started => roles?,
        () = signals.stop() => {
            tracing::info!("stopped by a signal during startup");
            stop.send_replace(true);
            return Ok(());
        }
    };
    router.store(Some(Arc::new(web::router(&args.web, &roles)?)));
    tracing::info!("server is ready to receive web requests");

    let is_auto_reload = args.auto_reload || args.features().has("auto-reload-config");
    let auto_reload = is_auto_reload.then_some(args.auto_reload_interval);
    let failed = tokio::select! {
        () = wait_for_stop(&mut signals, &roles.services, stop.subscribe(), auto_reload) => None,
        error = roles.failed() => Some(error),
    };
    match &failed {
        Some(error) => tracing::error!(error, "a role failed; stopping"),
        None => tracing::info!("stopping"),
    }
    wind_down(roles, serving, &stop, &mut signals).await;
    tracing::info!("see you next time");
    // The exit code tells a supervisor to restart the process.
    failed.map_or(Ok(()), Err)
}

/// Lets the cluster take over, then stops: queries get [`QUERY_GRACE`] to finish. A second signal cuts the takeover short.
async fn wind_down(roles: Roles, serving: JoinHandle<()>, stop: &watch::Sender<bool>, signals: &mut Signals) {
    tokio::select! {
        () = roles.depart() => {}
        () = signals.stop() => tracing::warn!("second stop signal; not waiting for the cluster to take over"),
    }
    stop.send_replace(true);
    let queries = roles.api.active.clone();
    tokio::spawn(async move {
        tokio::time::sleep(QUERY_GRACE).await;
        queries.cancel_all();
    });
    roles.finish().await;
    if let Err(error) = serving.await {
        tracing::error!(%error, "HTTP server ended unexpectedly");
    }
}

fn load_config(
    args: &ServerArgs,
    clock: &Arc<dyn Clock>,
    registry: &Registry,
    log: &logging::LogHandle,
) -> Result<Arc<ConfigHandle>, String> {
    let source = match &args.config_file {
        Some(file) => ConfigSource::File(file.clone()),
        None => ConfigSource::Builtin { port: args.web.listen_address.first().map_or(9090, |a| a.port) },
    };
    let handle = ConfigHandle::load(source, clock.clone(), registry).map_err(|e| e.to_string())?;
    let loaded = handle.current();
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Some(level) = loaded.config.runtime.log_level {
        log.set_level(level);
    }
    Ok(Arc::new(handle))
}

/// The signals that the server handles.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|e| format!("cannot listen to signals: {e}"));
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for a stop. Until then, reloads the configuration on SIGHUP and, if `auto_reload` is set, when its files change.
async fn wait_for_stop(
    signals: &mut Signals,
    services: &Arc<NodeServices>,
    mut stop: watch::Receiver<bool>,
    auto_reload: Option<std::time::Duration>,
) {
    let mut watched = FilesWatch::new(services.config.fingerprint());
    loop {
        let next_check = async {
            match auto_reload {
                Some(interval) => tokio::time::sleep(interval).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = next_check => {
                let services = services.clone();
                let changed = watched.has_changed(services.config.fingerprint());
                if changed {
                    tracing::info!("configuration files changed; reloading");
                    // The reload logs its outcome and sets metrics.
                    let _logged = tokio::task::spawn_blocking(move || services.reload_now()).await;
                }
            }
            _ = signals.interrupt.recv() => return,
            _ = signals.terminate.recv() => return,
            _ = stop.wait_for(|stop| *stop) => return,
            _ = signals.hangup.recv() => {
                let services = services.clone();
                // The reload logs its outcome and sets metrics.
                let _logged = tokio::task::spawn_blocking(move || services.reload_now()).await;
            }
        }
    }
}
