//! Listeners: accept a limited number of connections, serve them with the router once startup is done, and close them
//! gracefully. A client that keeps the server waiting loses its connection, see [`connection`] and [`places`].

mod activity;
mod body;
mod connection;
mod places;
#[cfg(test)]
mod tests;
mod watched;

use std::io;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use pharos_transport::ByteStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

use activity::Activity;
use connection::Connection;
use places::Places;

use crate::cli::ListenAddress;

/// How long shutdown waits for requests in progress.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The router; none during startup.
pub(crate) type SharedRouter = Arc<ArcSwapOption<Router>>;

/// Secures accepted connections before anything is read from them.
pub(crate) trait Secure: Send + Sync + 'static {
    /// Completes the handshake and returns the secured stream.
    fn secure(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>>;
}

/// Settings of listeners.
#[derive(Clone)]
pub(crate) struct HttpConfig {
    /// Maximum number of connections over all listeners.
    pub(crate) max_connections: usize,
    /// How long a client may keep the server waiting.
    pub(crate) patience: Patience,
}

/// How long a client may keep the server waiting before its connection is closed.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    /// For the API: this long for the whole of a request, between requests, and while the client reads none of its answer.
    Client(Duration),
    /// For other nodes: this long until the first call with the token of the cluster. Calls of nodes may last.
    Node(Duration),
}

/// Binds an address. 0.0.0.0 stands for all addresses of both families, as in Go. The error names the address.
pub(crate) async fn bind(address: &ListenAddress) -> Result<TcpListener, String> {
    if address.host == "0.0.0.0" && takes_both_families() {
        // Without IPv6 in the kernel this fails, and IPv4 is all there is.
        if let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, address.port)).await {
            return Ok(listener);
        }
    }
    TcpListener::bind(address.to_string()).await.map_err(|e| format!("cannot listen on {address}: {e}"))
}

/// Whether a listener on the IPv6 wildcard takes IPv4 connections, too.
fn takes_both_families() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only").is_ok_and(|only_ipv6| only_ipv6.trim() == "0")
}

/// Serves all listeners until `shutdown` becomes true, then waits for requests in progress.
pub(crate) async fn serve(
    listeners: Vec<TcpListener>,
    router: SharedRouter,
    config: HttpConfig,
    secure: Option<Arc<dyn Secure>>,
    shutdown: watch::Receiver<bool>,
) {
    let places = Places::new(config.max_connections);
    let loops = listeners.into_iter().map(|listener| {
        let accept_loop = AcceptLoop {
            router: router.clone(),
            places: places.clone(),
            patience: config.patience,
            secure: secure.clone(),
        };
        tokio::spawn(accept_loop.run(listener, shutdown.clone()))
    });
    for served in loops.collect::<Vec<_>>() {
        if let Err(error) = served.await {
            tracing::error!(%error, "listener ended unexpectedly");
        }
    }
}

/// The accept loop of a listener.
struct AcceptLoop {
    router: SharedRouter,
    places: Arc<Places>,
    patience: Patience,
    secure: Option<Arc<dyn Secure>>,
}

impl AcceptLoop {
    async fn run(self, listener: TcpListener, mut shutdown: watch::Receiver<bool>) {
        // Each connection holds a receiver, so that the sender knows when the last one has ended.
        let (open, held) = watch::channel(());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = shutdown.wait_for(|stop| *stop) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Usually the process is out of file descriptors. An immediate retry would spin.
                    tracing::warn!(%error, "could not accept a connection; retrying in 100ms");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let activity = Activity::new();
            let place = tokio::select! {
                place = self.places.take(peer.ip(), &activity) => place,
                _ = shutdown.wait_for(|stop| *stop) => break,
            };
            // Responses are small, and clients wait for them.
            let _best_effort = stream.set_nodelay(true);
            let connection = Connection {
                peer,
                router: self.router.clone(),
                patience: self.patience,
                activity,
                place,
                shutdown: shutdown.clone(),
            };
            let (secure, held) = (self.secure.clone(), held.clone());
            tokio::spawn(async move {
                connection.run(stream, secure).await;
                drop(held);
            });
        }
        drop((listener, held));
        if tokio::time::timeout(DRAIN_TIMEOUT, open.closed()).await.is_err() {
            tracing::warn!("aborting requests that did not finish before shutdown");
        }
    }
}

async fn respond(router: Option<Arc<Router>>, mut request: Request<Body>) -> Response {
    if let Some(cleaned) = without_repeated_slashes(request.uri()) {
        *request.uri_mut() = cleaned;
    }
    match router {
        Some(router) => match Router::clone(&router).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None if request.uri().path().ends_with("/-/healthy") => "Pharos is Healthy.\n".into_response(),
        None => {
            let retry = [(header::RETRY_AFTER, "1")];
            (StatusCode::SERVICE_UNAVAILABLE, retry, "Service Unavailable: the write-ahead log is being replayed\n")
                .into_response()
        }
    }
}

/// The same URI with single slashes in its path, which a client doubles that joins `http://host/` and `/api/v1/query`; `None`
/// when there is nothing to change.
fn without_repeated_slashes(uri: &Uri) -> Option<Uri> {
    if !uri.path().contains("//") {
        return None;
    }
    let mut path = String::with_capacity(uri.path().len());
    for c in uri.path().chars() {
        if c != '/' || !path.ends_with('/') {
            path.push(c);
        }
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}
