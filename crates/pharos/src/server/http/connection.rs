//! Serves one connection until it ends, its client keeps the server waiting for too long, or another connection needs its place.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use pharos_api::query_log::ClientAddress;
use pharos_transport::ByteStream;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::activity::Activity;
use super::body::{AnswerBody, RequestBody};
use super::places::Place;
use super::watched::Watched;
use super::{Patience, Secure, SharedRouter, respond};
use crate::server::request_line::RequestLines;

/// The limit on the headers of a request. Proxies and service meshes add dozens; their size is limited besides.
const MAX_HEADERS: usize = 2048;
/// Pings go to HTTP/2 peers that have been silent for this time. A peer has as much time to answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a client may delay the end of its connection.
const GRACE: Duration = Duration::from_secs(1);
/// Maximum number of concurrent requests on an HTTP/2 connection of a client.
const MAX_STREAMS: u32 = 100;
/// Maximum number of bytes that an HTTP/2 connection buffers of an answer to a client.
const MAX_SEND_BUFFER: usize = 64 << 10;

/// A connection and what serving it needs.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) router: SharedRouter,
    pub(super) patience: Patience,
    pub(super) activity: Arc<Activity>,
    pub(super) place: Place,
    pub(super) shutdown: watch::Receiver<bool>,
}

/// Why the server ends a connection.
enum End {
    /// The process is shutting down. Requests in progress may finish.
    Shutdown,
    /// No request has arrived for too long. An HTTP/2 client is told, so that it loses no request.
    Idle,
    /// The client has sent and read nothing for too long in the middle of a request.
    Stalled,
    /// Another connection needs the place.
    NoRoom,
}

impl Connection {
    /// Serves the connection until it ends.
    pub(super) async fn run(mut self, stream: TcpStream, secure: Option<Arc<dyn Secure>>) {
        let peer = self.peer;
        let Some(secure) = secure else { return self.serve(stream).await };
        let secured = tokio::select! {
            secured = tokio::time::timeout(self.patience.first(), secure.secure(stream)) => secured,
            () = self.place.closing() => return tracing::debug!(%peer, "closing a connection to make room for another one"),
            _ = self.shutdown.wait_for(|stop| *stop) => return,
        };
        match secured {
            Ok(Ok(secured)) => self.serve(secured).await,
            Ok(Err(error)) => tracing::warn!(%peer, %error, "TLS handshake failed; closing the connection"),
            Err(_) => tracing::warn!(%peer, "TLS handshake took too long; closing the connection"),
        }
    }

    async fn serve(mut self, stream: impl ByteStream + 'static) {
        let peer = self.peer;
        let builder = self.protocols();
        let service = hyper::service::service_fn(self.service());
        let mut serving =
            pin!(builder.serve_connection(
                TokioIo::new(RequestLines::new(Watched::new(stream, self.activity.clone()))),
                service
            ));
        let end = tokio::select! {
            ended = serving.as_mut() => return log_end(peer, ended),
            end = self.end() => end,
        };
        match end {
            End::Shutdown => {}
            End::Idle => tracing::debug!(%peer, "closing an idle connection"),
            End::Stalled => return tracing::debug!(%peer, "closing a connection whose client keeps a request waiting"),
            // A request that is being served by now is answered first.
            End::NoRoom if !self.activity.is_idle() && self.activity.waited().is_some() => {
                return tracing::warn!(
                    %peer,
                    "--web.max-connections is reached; closing a connection whose client keeps a request waiting"
                );
            }
            End::NoRoom => tracing::debug!(%peer, "closing a connection to make room for another one"),
        }
        serving.as_mut().graceful_shutdown();
        let ended = match end {
            End::Shutdown => Some(serving.await),
            _ => self.grace(serving).await,
        };
        if let Some(ended) = ended {
            log_end(peer, ended);
        }
    }

    /// Waits for a connection that was asked to end. `None` when its client delays the end for too long.
    async fn grace<T>(&self, mut serving: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        loop {
            if let Ok(ended) = tokio::time::timeout(GRACE, serving.as_mut()).await {
                return Some(ended);
            }
            if self.activity.waited().is_some_and(|waited| waited >= GRACE) {
                return None;
            }
        }
    }

    fn protocols(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).max_headers(MAX_HEADERS);
        let mut http2 = builder.http2();
        http2.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE_INTERVAL).keep_alive_timeout(KEEP_ALIVE_INTERVAL);
        if matches!(self.patience, Patience::Client(_)) {
            http2.max_concurrent_streams(MAX_STREAMS).max_send_buf_size(MAX_SEND_BUFFER);
            builder.http1().header_read_timeout(self.patience.first());
        }
        builder
    }

    /// Answers requests with the router, and records whether the client or the server is waited for.
    fn service(
        &self,
    ) -> impl Fn(Request<Incoming>) -> futures::future::BoxFuture<'static, Result<Response<AnswerBody>, Infallible>> + use<>
    {
        let (router, activity, patience, peer) = (self.router.clone(), self.activity.clone(), self.patience, self.peer);
        move |mut request| {
            // Counted from here on, so that the connection is not closed as idle before the answer is first polled.
            let (router, activity, exchange) = (router.load_full(), activity.clone(), activity.begin());
            request.extensions_mut().insert(ClientAddress(peer.ip().to_canonical()));
            Box::pin(async move {
                let within = match patience {
                    Patience::Client(patience) => Some(patience),
                    Patience::Node(_) => None,
                };
                let request = request.map(|body| Body::new(RequestBody::new(body, exchange.clone(), within)));
                // Without a router nobody has looked at the token.
                let is_starting = router.is_none();
                let response = respond(router, request).await;
                if matches!(patience, Patience::Node(_)) && !is_starting && is_authenticated(response.headers()) {
                    activity.trust();
                }
                exchange.serve();
                Ok(response.map(|body| AnswerBody::new(body, exchange)))
            })
        }
    }

    /// Waits for a reason to end the connection.
    async fn end(&mut self) -> End {
        tokio::select! {
            _ = self.shutdown.wait_for(|stop| *stop) => End::Shutdown,
            () = self.place.closing() => End::NoRoom,
            end = out_of_patience(&self.activity, self.patience) => end,
        }
    }
}

/// Waits until the client has kept the server waiting for too long.
async fn out_of_patience(activity: &Activity, patience: Patience) -> End {
    let limit = patience.first();
    loop {
        if matches!(patience, Patience::Node(_)) && activity.is_trusted() {
            return std::future::pending().await;
        }
        let waited = activity.waited().unwrap_or_default();
        let (limit, end) = match activity.is_idle() {
            true => (limit, End::Idle),
            // The handler answers a late body first.
            false => (limit + GRACE, End::Stalled),
        };
        if waited >= limit {
            return end;
        }
        tokio::time::sleep(limit - waited).await;
    }
}

impl Patience {
    /// How long the client may take for the head of its first request.
    fn first(self) -> Duration {
        let (Patience::Client(patience) | Patience::Node(patience)) = self;
        patience
    }
}

/// Whether a call between nodes had the right token.
fn is_authenticated(headers: &HeaderMap) -> bool {
    let status = headers.get("grpc-status").map(axum::http::HeaderValue::as_bytes);
    status != Some((tonic::Code::Unauthenticated as i32).to_string().as_bytes())
}

fn log_end(peer: SocketAddr, ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended with an error");
    }
}
