//! The network between nodes: the advertised address ([`address`]), encryption ([`tls`]), authentication by certificate or
//! token, the identity of the cluster in every call, and the listener that serves this node's roles.

pub(crate) mod address;
pub(super) mod tls;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use pharos_model::Clock;
use pharos_transport::{Channels, ClusterIdentity, Connect, Identified, IdentityCheck, TokenCheck};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::{InterceptorLayer, Routes, RoutesBuilder};

use super::http::{self, HttpConfig, Patience, SharedRouter};
use crate::cli::{ClusterArgs, ListenAddress};
use tls::NodeTls;

/// The default port of the cluster listener.
const DEFAULT_PORT: u16 = 7946;
/// How long a caller may take until its first call with the token of the cluster.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(10);

/// This node's end of the cluster network.
pub(super) struct Network {
    /// Connections to other nodes.
    pub(super) connect: Arc<dyn Connect>,
    /// The advertised `host:port` of this node.
    pub(super) address: String,
    router: SharedRouter,
    token: Option<String>,
    tasks: Vec<JoinHandle<()>>,
}

impl Network {
    /// Binds the cluster listener. It answers 503 until [`Network::serve`] is called.
    pub(super) async fn open(
        args: &ClusterArgs,
        http_config: HttpConfig,
        clock: &Arc<dyn Clock>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Network, String> {
        let everywhere = || ListenAddress { host: "0.0.0.0".into(), port: DEFAULT_PORT };
        let listen = args.listen_address.clone().unwrap_or_else(everywhere);
        let listener = http::bind(&listen).await?;
        let port = listener
            .local_addr()
            .map_err(|e| format!("cannot read the address of the cluster listener {listen}: {e}"))?
            .port();
        let address = address::advertised(
            args.advertise_address.as_deref(),
            &args.join,
            &ListenAddress { port, ..listen.clone() },
        )?;
        let token = token(args)?;
        let tls = NodeTls::load(args)?.map(Arc::new);
        let mut channels = Channels::new();
        if let Some(token) = &token {
            channels = channels.with_token(token)?;
        }
        if let Some(tls) = &tls {
            channels = channels.with_dial(tls.clone());
        }
        log_access(&listen, &address, &listener, tls.is_some(), token.is_some());
        let router: SharedRouter = Arc::new(ArcSwapOption::empty());
        let mut tasks = Vec::new();
        if let Some(tls) = &tls {
            let (tls, channels) = (tls.clone(), channels.clone());
            tasks.push(tokio::spawn(tls::watch(tls, channels, clock.clone(), stopped.clone())));
        }
        let acceptor = tls.map(|tls| -> Arc<dyn http::Secure> { tls });
        let http_config = HttpConfig { patience: Patience::Node(STRANGER_TIMEOUT), ..http_config };
        let serving = http::serve(vec![listener], router.clone(), http_config, acceptor, stopped);
        tasks.push(tokio::spawn(serving));
        let connect = Arc::new(Identified::new(Arc::new(channels), ClusterIdentity::default()));
        Ok(Network { connect, address, router, token, tasks })
    }

    /// The shared secret of the cluster.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Serves these services from now on, instead of the previous ones.
    pub(super) fn serve(&self, services: impl FnOnce(&mut RoutesBuilder)) {
        let mut routes = Routes::builder();
        services(&mut routes);
        let token = InterceptorLayer::new(TokenCheck::new(self.token.as_deref()));
        let cluster = IdentityCheck::new(self.connect.identity());
        // The layer that is added last comes first: a caller without the token learns nothing about the cluster.
        let router = routes.routes().into_axum_router().layer(cluster).layer(token);
        self.router.store(Some(Arc::new(router)));
    }

    /// Waits for the listener to end.
    pub(super) async fn finish(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "cluster listener ended unexpectedly");
            }
        }
    }
}

fn token(args: &ClusterArgs) -> Result<Option<String>, String> {
    let Some(file) = &args.token_file else { return Ok(args.token.clone()) };
    let failed = |reason: String| format!("--cluster.token-file {}: {reason}", file.display());
    let text = std::fs::read_to_string(file).map_err(|e| failed(e.to_string()))?;
    match text.trim() {
        "" => Err(failed("file is empty".into())),
        token => Ok(Some(token.to_string())),
    }
}

/// Logs how the cluster listener is protected, and warns if it is open.
fn log_access(listen: &ListenAddress, address: &str, listener: &TcpListener, tls: bool, token: bool) {
    tracing::info!(%listen, address, tls, token, "listening for other nodes");
    let is_private = listener.local_addr().is_ok_and(|bound| bound.ip().is_loopback());
    match (tls, token) {
        (false, false) if !is_private => tracing::warn!(
            %listen,
            "the cluster listener accepts everyone; set --cluster.token-file, or --tls.cert-file, --tls.key-file and --tls.ca-file, on all nodes"
        ),
        (false, true) if !is_private => tracing::warn!(
            %listen,
            "the token and all samples are sent unencrypted between nodes; unless the network is trusted, set --tls.cert-file, --tls.key-file and --tls.ca-file on all nodes"
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
