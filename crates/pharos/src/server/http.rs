//! Listeners: connections are accepted within a limit, served by the router once the node is up, and closed in order.

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

/// Longest wait for requests under way when the node stops.
const DRAIN: Duration = Duration::from_secs(5);
/// A peer of HTTP/2 that says nothing for this time is asked whether it is there, and has as much time again to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The router, absent while the node starts.
pub(super) type SharedRouter = Arc<ArcSwapOption<Router>>;

/// Makes accepted connections secure before anything is read from them.
pub(super) trait Secure: Send + Sync + 'static {
    /// The stream inside, once both sides have shown who they are.
    fn secure(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>>;
}

/// What listeners need to know.
#[derive(Clone)]
pub(super) struct HttpConfig {
    /// Most connections over all listeners.
    pub(super) max_connections: usize,
    /// Longest time that a client may take to send the head of a request.
    pub(super) read_timeout: Duration,
}

/// Binds an address; the error names it.
pub(super) async fn bind(address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|e| format!("listening on {address}: {e}"))
}

/// Serves all listeners until `shutdown` becomes true, then waits for requests under way.
pub(super) async fn serve(
    listeners: Vec<TcpListener>,
    router: SharedRouter,
    config: HttpConfig,
    secure: Option<Arc<dyn Secure>>,
    shutdown: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(config.max_connections));
    let loops = listeners.into_iter().map(|listener| {
        let accepting = Accepting {
            router: router.clone(),
            permits: permits.clone(),
            config: config.clone(),
            secure: secure.clone(),
        };
        tokio::spawn(accepting.run(listener, shutdown.clone()))
    });
    for served in loops.collect::<Vec<_>>() {
        if let Err(error) = served.await {
            tracing::error!(%error, "a listener ended unexpectedly");
        }
    }
}

/// One listener at work.
struct Accepting {
    router: SharedRouter,
    permits: Arc<Semaphore>,
    config: HttpConfig,
    secure: Option<Arc<dyn Secure>>,
}

impl Accepting {
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
                    // Out of file descriptors, usually: accepting again at once would spin.
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // Answers are small and clients wait for them.
            let _best_effort = stream.set_nodelay(true);
            tokio::spawn(self.connection(stream, peer, graceful.watcher(), shutdown.clone(), permit));
        }
        drop(listener);
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still under way when the server stopped");
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
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |mut request: Request<hyper::body::Incoming>| {
            let router = router.load_full();
            request.extensions_mut().insert(ClientAddress(peer.ip()));
            async move { Ok::<_, Infallible>(respond(router, request.map(Body::new)).await) }
        });
        let (securing, patience) = (self.secure.clone(), self.config.read_timeout);
        async move {
            tokio::select! {
                asked = tokio::time::timeout(patience, stream.readable()) => if asked.is_err() {
                    return tracing::debug!(%peer, "a connection is ended on which nothing was asked");
                },
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            let ended = match securing {
                None => watcher.watch(builder.serve_connection_with_upgrades(TokioIo::new(stream), service)).await,
                Some(secure) => match secure.secure(stream).await {
                    Ok(secured) => {
                        let secured = TokioIo::new(secured);
                        watcher.watch(builder.serve_connection_with_upgrades(secured, service)).await
                    }
                    Err(error) => return tracing::warn!(%peer, %error, "a connection was refused"),
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
