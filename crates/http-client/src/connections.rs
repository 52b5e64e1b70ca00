//! The connections of a client. One that was used stays open for later requests to its server.
//!
//! A server may close a connection at the moment when a request arrives. If that happens on a connection that was used
//! before, and nothing of a response has arrived, the request is sent again on a new one, provided that it is a GET or was
//! not sent at all.

mod dial;
mod tunnel;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::time::Instant;

use self::dial::{Route, Stream};
use crate::proxy::{Proxies, Proxy, ProxyKind};
use crate::tls::Tls;
use crate::url::RequestUrl;

/// How long an unused connection stays open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Pings go to HTTP/2 servers that have been silent for this time, as in Prometheus.
const PING_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum time for the answer to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Enough for any server; the size of a response's head is limited besides.
const MAX_HEADERS: usize = 4096;
/// The limit on the head of a response, bytes.
const MAX_HEAD_BYTES: usize = 1 << 20;
/// Idle connections are searched for those that have ended whenever there are this many more.
const SWEEP_STEP: usize = 64;

/// What connections have in common that a request may use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Server {
    is_https: bool,
    host: String,
    zone: String,
    port: u16,
    /// Of the TLS settings.
    generation: u64,
}

/// The connections of a client.
pub(super) struct Connections {
    tls: Arc<Tls>,
    proxies: Arc<Proxies>,
    /// The Unix socket that all requests go to, instead of the server of their URL.
    socket: Option<PathBuf>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    by_server: HashMap<Server, Vec<Connection>>,
    count: usize,
    next_sweep: usize,
}

/// An open connection.
struct Connection {
    sender: Sender,
    /// The number of bytes that have arrived.
    received: Arc<AtomicU64>,
    idle_since: Instant,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A response whose connection is used again once its body has been read.
pub(super) struct Exchange {
    pub(super) response: Response<Incoming>,
    server: Server,
    connection: Connection,
}

impl Connections {
    pub(super) fn new(tls: Tls, proxies: Proxies) -> Self {
        Connections { tls: Arc::new(tls), proxies: Arc::new(proxies), socket: None, idle: Mutex::default() }
    }

    /// Connections with the same settings that all go to a Unix socket.
    pub(super) fn over_socket(&self, path: &Path) -> Self {
        let (tls, proxies) = (self.tls.clone(), self.proxies.clone());
        Connections { tls, proxies, socket: Some(path.to_path_buf()), idle: Mutex::default() }
    }

    /// Sends a request and returns its response without the body.
    pub(super) async fn send(&self, url: &RequestUrl, mut request: Request<Full<Bytes>>) -> Result<Exchange, String> {
        let proxy = if self.socket.is_some() { None } else { self.proxies.of(url)? };
        if let Some(proxy) = proxy.filter(|proxy| proxy.kind == ProxyKind::Http && !url.is_https) {
            request = for_proxy(request, url, proxy)?;
        }
        let is_secured = url.is_https || proxy.is_some_and(|proxy| proxy.url.is_https);
        let loaded = if is_secured { Some(self.tls.load().await?) } else { None };
        let tls = loaded.as_ref().filter(|_| url.is_https);
        let server = Server {
            is_https: url.is_https,
            host: url.host.to_ascii_lowercase(),
            zone: url.zone.clone(),
            port: url.port,
            generation: loaded.as_ref().map_or(0, |tls| tls.generation),
        };
        loop {
            let used = self.take(&server).await;
            let is_used = used.is_some();
            let mut connection = match used {
                Some(connection) => connection,
                None => {
                    let route = match (&self.socket, proxy) {
                        (Some(path), _) => Route::Socket(path),
                        (None, Some(proxy)) => Route::Proxy(&self.proxies, proxy, loaded.as_deref()),
                        (None, None) => Route::Direct,
                    };
                    open(dial::dial(url, route, tls.map(Arc::as_ref)).await?).await?
                }
            };
            let received = connection.received.load(Ordering::Relaxed);
            let sent = match &mut connection.sender {
                Sender::Http1(sender) => sender.try_send_request(request.clone()).await,
                Sender::Http2(sender) => sender.try_send_request(for_http2(request.clone(), url)?).await,
            };
            let mut error = match sent {
                Ok(response) => return Ok(Exchange { response, server, connection }),
                Err(error) => error,
            };
            let is_unsent = error.take_message().is_some();
            let may_repeat = is_unsent || request.method() == Method::GET && connection.can_resend(received);
            if !(is_used && may_repeat) {
                return Err(describe(error.error()));
            }
        }
    }

    /// Takes an idle connection that is still open.
    async fn take(&self, server: &Server) -> Option<Connection> {
        loop {
            let mut connection = {
                let mut idle = self.idle.lock();
                let list = idle.by_server.get_mut(server)?;
                let shared = list.last().and_then(Connection::share).filter(Connection::is_open);
                if shared.is_some() {
                    return shared;
                }
                let taken = list.pop();
                if list.is_empty() {
                    idle.by_server.remove(server);
                }
                idle.count = idle.count.saturating_sub(usize::from(taken.is_some()));
                taken?
            };
            if connection.is_open() && connection.ready().await {
                return Some(connection);
            }
        }
    }

    /// Keeps the connection of a response whose body was read to its end.
    pub(super) fn keep(&self, exchange: Exchange) {
        self.put_back(exchange.server, exchange.connection);
    }

    fn put_back(&self, server: Server, mut connection: Connection) {
        connection.idle_since = Instant::now();
        let mut idle = self.idle.lock();
        let list = idle.by_server.entry(server).or_default();
        match list.last_mut().filter(|_| matches!(connection.sender, Sender::Http2(_))) {
            // All requests to a server share a connection of HTTP/2, of which this is usually another handle.
            Some(shared) => return *shared = connection,
            None => list.push(connection),
        }
        idle.count += 1;
        if idle.count >= idle.next_sweep {
            idle.sweep();
        }
    }
}

impl Idle {
    /// Forgets connections that have ended or were idle for long.
    fn sweep(&mut self) {
        self.by_server.retain(|_, list| {
            list.retain(Connection::is_open);
            !list.is_empty()
        });
        self.count = self.by_server.values().map(Vec::len).sum();
        self.next_sweep = self.count * 2 + SWEEP_STEP;
    }
}

impl Connection {
    fn is_open(&self) -> bool {
        let is_closed = match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        };
        !is_closed && self.idle_since.elapsed() < IDLE_TIMEOUT
    }

    /// Waits until the previous exchange has ended; false if the connection ended with it.
    async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// A connection that several requests may use at a time.
    fn share(&self) -> Option<Connection> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Connection {
                sender: Sender::Http2(sender.clone()),
                received: self.received.clone(),
                idle_since: self.idle_since,
            }),
        }
    }

    /// Whether a request that failed here can be sent again: no response to it has begun.
    fn can_resend(&self, received_before: u64) -> bool {
        match &self.sender {
            Sender::Http1(_) => self.received.load(Ordering::Relaxed) == received_before,
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}

/// Moves the host from its header to the URI, where HTTP/2 has it.
fn for_http2(mut request: Request<Full<Bytes>>, url: &RequestUrl) -> Result<Request<Full<Bytes>>, String> {
    request.headers_mut().remove(http::header::HOST);
    let uri = http::Uri::builder().scheme("https").authority(url.authority.as_str()).path_and_query(url.target.clone());
    *request.uri_mut() = uri.build().map_err(|e| e.to_string())?;
    Ok(request)
}

/// Names the server in a request that a proxy forwards to it.
fn for_proxy(
    mut request: Request<Full<Bytes>>,
    url: &RequestUrl,
    proxy: &Proxy,
) -> Result<Request<Full<Bytes>>, String> {
    let uri = http::Uri::builder().scheme("http").authority(url.authority.as_str()).path_and_query(url.target.clone());
    *request.uri_mut() = uri.build().map_err(|e| e.to_string())?;
    if let Some(credentials) = tunnel::proxy_authorization(proxy) {
        request.headers_mut().insert(http::header::PROXY_AUTHORIZATION, credentials);
    }
    Ok(request)
}

/// Begins HTTP on a stream.
async fn open(stream: Stream) -> Result<Connection, String> {
    let received = stream.received.clone();
    let is_http2 = stream.is_http2;
    let io = TokioIo::new(stream);
    let sender = if is_http2 {
        let begun = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .handshake(io);
        let (sender, connection) = begun.await.map_err(|e| describe(&e))?;
        tokio::spawn(connection);
        Sender::Http2(sender)
    } else {
        let begun = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES)
            // Some devices know headers only in their usual spelling.
            .title_case_headers(true)
            .ignore_invalid_headers_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(io);
        let (sender, connection) = begun.await.map_err(|e| describe(&e))?;
        tokio::spawn(connection);
        Sender::Http1(sender)
    };
    Ok(Connection { sender, received, idle_since: Instant::now() })
}

/// The message of the innermost cause, which says what happened. The outer ones only say where.
pub(super) fn describe(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() {
        return "EOF".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // The end of a connection in the middle of a body.
    match cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(std::io::ErrorKind::UnexpectedEof) => "unexpected EOF".into(),
        _ => cause.to_string(),
    }
}

#[cfg(test)]
mod tests;
