//! Connections between nodes. A [`Connection`] carries gRPC calls, whether to another machine or to a service in this process;
//! [`Connect`] provides one for an address. [`Channels`] implements it for real networks, and [`TokenCheck`] guards the server.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::identity::ClusterIdentity;

/// Carries calls to one node. Generated clients wrap it: `MetaClient::new(connection)`.
pub type Connection = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;

/// Provides connections. Calling it is cheap: connections are cached, and established by the first call.
pub trait Connect: Send + Sync + 'static {
    /// A connection to `host:port`. An unreachable address fails the first call.
    ///
    /// # Errors
    /// The address is malformed.
    fn connect(&self, address: &str) -> Result<Connection, Status>;

    /// Makes the next call to an address use a new connection, because the current one does not answer. Calls in progress are not
    /// affected. Does nothing if the current connection is new.
    fn reconnect(&self, address: &str) {
        let _ = address;
    }

    /// The identity that calls over these connections carry. Meta keeps it up to date. One that nobody reads if they carry none.
    fn identity(&self) -> ClusterIdentity {
        ClusterIdentity::default()
    }
}

/// The header that carries the join token, with which nodes authenticate when they have no certificates.
pub const TOKEN_HEADER: &str = "x-pharos-join-token";

/// Flow-control windows of a call and of a connection, bytes. They are large because queries send many samples.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Timeout for opening a connection. It is short, so that a new attempt follows soon after a network fault.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Age from which a connection that does not answer is replaced.
const MIN_RECONNECT_AGE: Duration = Duration::from_secs(1);

/// Most cached connections.
const MAX_CHANNELS: usize = 4096;

/// A stream of bytes to another node.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Opens byte streams to other nodes, for example encrypted ones. Without one, [`Channels`] uses plain TCP.
pub trait Dial: Send + Sync + 'static {
    /// Opens a stream to `host:port`.
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>>;
}

/// A connection, and when it was opened.
type Cached = (Channel, tokio::time::Instant);

/// One HTTP/2 connection per address, shared by all callers.
#[derive(Clone, Default)]
pub struct Channels {
    channels: Arc<Mutex<HashMap<String, Cached>>>,
    token: Option<MetadataValue<Ascii>>,
    dial: Option<Arc<dyn Dial>>,
}

impl Channels {
    /// Connections without encryption or token.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a join token with every call.
    ///
    /// # Errors
    /// The token has characters that a header cannot carry.
    pub fn with_token(mut self, token: &str) -> Result<Self, String> {
        let value =
            token.parse().map_err(|_| "the join token has characters that a header cannot carry".to_string())?;
        self.token = Some(value);
        Ok(self)
    }

    /// Opens streams with `dial`.
    pub fn with_dial(mut self, dial: Arc<dyn Dial>) -> Self {
        self.dial = Some(dial);
        self
    }

    /// Drops the cached connections, so that new ones are established, for example with new certificates.
    pub fn forget(&self) {
        self.channels.lock().clear();
    }

    fn channel(&self, address: &str) -> Result<Channel, Status> {
        let mut channels = self.channels.lock();
        if let Some((channel, _)) = channels.get(address) {
            return Ok(channel.clone());
        }
        let bad = |reason: &dyn std::fmt::Display| Status::invalid_argument(format!("address {address:?}: {reason}"));
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| bad(&e))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true);
        let channel = match self.dial.clone() {
            None => endpoint.connect_lazy(),
            Some(dial) => {
                let address = address.to_string();
                endpoint.connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
                    let dialling = dial.dial(address.clone());
                    async move { dialling.await.map(TokioIo::new) }
                }))
            }
        };
        if channels.len() >= MAX_CHANNELS {
            channels.clear();
        }
        channels.insert(address.to_string(), (channel.clone(), tokio::time::Instant::now()));
        Ok(channel)
    }
}

impl Connect for Channels {
    fn connect(&self, address: &str) -> Result<Connection, Status> {
        let channel = self.channel(address)?;
        let token = self.token.clone();
        let failed = |error: tonic::transport::Error| Status::from_error(Box::new(error));
        let with_token = channel.map_err(failed).map_request(move |mut request: http::Request<Body>| {
            if let Some(token) = token.as_ref().and_then(|token| http::HeaderValue::from_bytes(token.as_bytes()).ok()) {
                request.headers_mut().insert(TOKEN_HEADER, token);
            }
            request
        });
        Ok(BoxCloneSyncService::new(with_token))
    }

    fn reconnect(&self, address: &str) {
        let mut channels = self.channels.lock();
        if channels.get(address).is_some_and(|(_, since)| since.elapsed() >= MIN_RECONNECT_AGE) {
            channels.remove(address);
        }
    }
}

/// A server interceptor that rejects calls without the join token.
#[derive(Clone)]
pub struct TokenCheck {
    token: Option<Arc<[u8]>>,
}

impl TokenCheck {
    /// Requires a token; `None` accepts every call.
    pub fn new(token: Option<&str>) -> Self {
        TokenCheck { token: token.map(|token| token.as_bytes().into()) }
    }
}

impl tonic::service::Interceptor for TokenCheck {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let Some(expected) = &self.token else { return Ok(request) };
        let given = request.metadata().get(TOKEN_HEADER).map_or(&[][..], |value| value.as_bytes());
        // Constant time: comparing every byte keeps the time from telling how many of them match.
        let differing = expected.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
        if expected.len() == given.len() && differing == 0 {
            return Ok(request);
        }
        Err(Status::unauthenticated("the join token is missing or belongs to another cluster"))
    }
}

#[cfg(test)]
mod tests {
    use tonic::service::Interceptor;

    use super::*;

    fn call(check: &mut TokenCheck, token: Option<&str>) -> Result<(), Status> {
        let mut request = tonic::Request::new(());
        if let Some(token) = token {
            request.metadata_mut().insert(TOKEN_HEADER, token.parse().unwrap());
        }
        check.call(request).map(|_| ())
    }

    #[test]
    fn a_call_with_the_token_is_accepted() {
        assert!(call(&mut TokenCheck::new(Some("secret")), Some("secret")).is_ok());
    }

    #[test]
    fn a_call_with_another_token_is_unauthenticated() {
        let mut check = TokenCheck::new(Some("secret"));
        for token in ["secres", "secre", "secrets", ""] {
            assert_eq!(call(&mut check, Some(token)).unwrap_err().code(), tonic::Code::Unauthenticated, "{token}");
        }
    }

    #[test]
    fn a_call_without_a_token_is_unauthenticated() {
        assert!(call(&mut TokenCheck::new(Some("secret")), None).is_err());
    }

    #[test]
    fn without_a_required_token_every_call_is_accepted() {
        assert!(call(&mut TokenCheck::new(None), None).is_ok());
        assert!(call(&mut TokenCheck::new(None), Some("anything")).is_ok());
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_an_error() {
        assert!(Channels::new().with_token("new\nline").is_err());
        assert!(Channels::new().with_token("secret").is_ok());
    }

    #[tokio::test]
    async fn a_malformed_address_is_an_error() {
        assert!(Channels::new().connect("no address").is_err());
    }

    #[tokio::test]
    async fn a_connection_is_cached_by_address() {
        let channels = Channels::new();
        channels.connect("127.0.0.1:1").unwrap();
        channels.connect("127.0.0.1:1").unwrap();
        channels.connect("127.0.0.1:2").unwrap();
        assert_eq!(channels.channels.lock().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_answer_is_replaced_unless_it_is_new() {
        let channels = Channels::new();
        channels.connect("127.0.0.1:1").unwrap();
        channels.connect("127.0.0.1:2").unwrap();
        channels.reconnect("127.0.0.1:1");
        assert_eq!(channels.channels.lock().len(), 2, "it is new");
        tokio::time::advance(MIN_RECONNECT_AGE).await;
        channels.reconnect("127.0.0.1:1");
        assert_eq!(channels.channels.lock().keys().collect::<Vec<_>>(), ["127.0.0.1:2"]);
    }

    #[tokio::test]
    async fn forgotten_connections_are_dropped() {
        let channels = Channels::new();
        channels.connect("127.0.0.1:1").unwrap();
        channels.forget();
        assert!(channels.channels.lock().is_empty());
    }
}
