//! Listeners: accept a limited number of connections, serve them with the router once startup is done, and close them
//! gracefully.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use pharos_api::query_log::ClientAddress;
use pharos_transport::ByteStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

use super::request_line::RequestLines;
use crate::cli::ListenAddress;

/// How long shutdown waits for requests in progress.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pings go to HTTP/2 peers that have been silent for this time. A peer has as much time to answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The router; none during startup.
pub(super) type SharedRouter = Arc<ArcSwapOption<Router>>;

/// Secures accepted connections before anything is read from them.
pub(super) trait Secure: Send + Sync + 'static {
    /// Completes the handshake and returns the secured stream.
    fn secure(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>>;
}

/// Settings of listeners.
#[derive(Clone)]
pub(super) struct HttpConfig {
    /// Maximum number of connections over all listeners.
    pub(super) max_connections: usize,
    /// How long a client may take to send the head of a request.
    pub(super) read_timeout: Duration,
}

/// Binds an address. 0.0.0.0 stands for all addresses of both families, as in Go. The error names the address.
pub(super) async fn bind(address: &ListenAddress) -> Result<TcpListener, String> {
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
pub(super) async fn serve(
    listeners: Vec<TcpListener>,
    router: SharedRouter,
    config: HttpConfig,
    secure: Option<Arc<dyn Secure>>,
    shutdown: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(config.max_connections));
    let loops = listeners.into_iter().map(|listener| {
        let accept_loop = AcceptLoop {
            router: router.clone(),
            permits: permits.clone(),
            config: config.clone(),
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
    permits: Arc<Semaphore>,
    config: HttpConfig,
    secure: Option<Arc<dyn Secure>>,
}

impl AcceptLoop {
    async fn run(self, listener: TcpListener, mut shutdown: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        loop {
            let Ok(permit) = self.permits.clone().acquire_owned().await else { break };
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
            // Responses are small, and clients wait for them.
            let _best_effort = stream.set_nodelay(true);
            tokio::spawn(self.connection(stream, peer, graceful.watcher(), shutdown.clone(), permit));
        }
        drop(listener);
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("aborting requests that did not finish before shutdown");
        }
    }

    /// Serves one connection until it ends.
    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        watcher: Watcher,
        mut shutdown: watch::Receiver<bool>,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + use<> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.config.read_timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_INTERVAL);
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |mut request: Request<hyper::body::Incoming>| {
            let router = router.load_full();
            request.extensions_mut().insert(ClientAddress(peer.ip().to_canonical()));
            async move { Ok::<_, Infallible>(respond(router, request.map(Body::new)).await) }
        });
        let secure = self.secure.clone();
        let timeout = self.config.read_timeout;
        async move {
            tokio::select! {
                asked = tokio::time::timeout(timeout, stream.readable()) => if asked.is_err() {
                    return tracing::debug!(%peer, "closing a connection that sent nothing");
                },
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            let ended = match secure {
                None => {
                    let stream = TokioIo::new(RequestLines::new(stream));
                    watcher.watch(builder.serve_connection_with_upgrades(stream, service)).await
                }
                Some(secure) => match secure.secure(stream).await {
                    Ok(secured) => {
                        let secured = TokioIo::new(RequestLines::new(secured));
                        watcher.watch(builder.serve_connection_with_upgrades(secured, service)).await
                    }
                    Err(error) => return tracing::warn!(%peer, %error, "TLS handshake failed; closing the connection"),
                },
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "connection ended with an error");
            }
            drop(permit);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_slashes_of_a_path_count_as_one() {
        let cleaned = |uri: &str| without_repeated_slashes(&uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(cleaned("//api///v1/query?query=a//b").unwrap(), "/api/v1/query?query=a//b");
        assert_eq!(cleaned("/api/v1/query?query=a//b"), None);
    }

    #[tokio::test]
    async fn the_wildcard_address_takes_both_families() {
        if !takes_both_families() {
            return;
        }
        let listener = bind(&":0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }
}
