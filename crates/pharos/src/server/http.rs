//! Listeners: accept a limited number of connections, serve them with the router once startup is done, and close them
//! gracefully.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
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

/// Binds an address. The error names it.
pub(super) async fn bind(address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))
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
            request.extensions_mut().insert(ClientAddress(peer.ip()));
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
                None => watcher.watch(builder.serve_connection_with_upgrades(TokioIo::new(stream), service)).await,
                Some(secure) => match secure.secure(stream).await {
                    Ok(secured) => {
                        let secured = TokioIo::new(secured);
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

async fn respond(router: Option<Arc<Router>>, request: Request<Body>) -> Response {
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
