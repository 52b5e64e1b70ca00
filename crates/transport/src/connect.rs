//! How nodes reach each other: a [`Connection`] carries gRPC calls, whether to another machine or to a service in this
//! process; [`Connect`] gives one for an address. [`Channels`] is the one for real networks.

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

/// Carries calls to one node. Generated clients take it: `MetaClient::new(connection)`.
pub type Connection = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;

/// Gives connections. Cheap to ask: connections are kept, and made when the first call needs them.
pub trait Connect: Send + Sync + 'static {
    /// A connection to `host:port`. An address that cannot be one is an error; an unreachable one shows with the first call.
    fn connect(&self, address: &str) -> Result<Connection, Status>;
}

/// Header with which a node shows that it may talk to the cluster, when certificates do not.
pub const TOKEN_HEADER: &str = "x-pharos-join-token";

/// What a call, and all calls of a connection, may send before it is taken, bytes: samples of queries are many.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Most connections that are kept.
const MOST_CHANNELS: usize = 4096;

/// A stream of bytes to another node.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Opens streams to other nodes, for example encrypted ones. Without one they are plain TCP.
pub trait Dial: Send + Sync + 'static {
    /// A stream to `host:port`.
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>>;
}

/// One HTTP/2 connection an address, shared by all callers.
#[derive(Clone, Default)]
pub struct Channels {
    channels: Arc<Mutex<HashMap<String, Channel>>>,
    token: Option<MetadataValue<Ascii>>,
    dial: Option<Arc<dyn Dial>>,
}

impl Channels {
    /// Connections without encryption or token.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a join token with every call.
    pub fn with_token(mut self, token: &str) -> Result<Self, String> {
        let value = token.parse().map_err(|_| "the join token has characters that no header may have".to_string())?;
        self.token = Some(value);
        Ok(self)
    }

    /// Has streams opened by `dial`.
    pub fn with_dial(mut self, dial: Arc<dyn Dial>) -> Self {
        self.dial = Some(dial);
        self
    }

    /// Drops the connections, so that new ones are made, for example with new certificates.
    pub fn forget(&self) {
        self.channels.lock().clear();
    }

    fn channel(&self, address: &str) -> Result<Channel, Status> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let bad = |reason: &dyn std::fmt::Display| Status::invalid_argument(format!("address {address:?}: {reason}"));
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| bad(&e))?
            .connect_timeout(Duration::from_secs(3))
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
        if channels.len() >= MOST_CHANNELS {
            channels.clear();
        }
        channels.insert(address.to_string(), channel.clone());
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
}

/// Lets through what carries the token; for servers, as an interceptor.
#[derive(Clone)]
pub struct TokenCheck {
    token: Option<Arc<[u8]>>,
}

impl TokenCheck {
    /// Asks for a token; none lets everyone through.
    pub fn new(token: Option<&str>) -> Self {
        TokenCheck { token: token.map(|token| token.as_bytes().into()) }
    }
}

impl tonic::service::Interceptor for TokenCheck {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let Some(expected) = &self.token else { return Ok(request) };
        let given = request.metadata().get(TOKEN_HEADER).map_or(&[][..], |value| value.as_bytes());
        // Every byte is looked at, so that the time taken does not tell how many are right.
        let differing = expected.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
        if expected.len() == given.len() && differing == 0 {
            return Ok(request);
        }
        Err(Status::unauthenticated("the join token is missing or not that of this cluster"))
    }
}

#[cfg(test)]
mod tests {
    use tonic::service::Interceptor;

    use super::*;

    #[test]
    fn only_the_token_opens() {
        let mut check = TokenCheck::new(Some("secret"));
        let with = |token: &str| {
            let mut request = tonic::Request::new(());
            request.metadata_mut().insert(TOKEN_HEADER, token.parse().unwrap());
            request
        };
        assert!(check.call(with("secret")).is_ok());
        assert!(check.call(with("secres")).is_err() && check.call(with("secre")).is_err());
        assert!(check.call(tonic::Request::new(())).is_err());
        assert!(TokenCheck::new(None).call(tonic::Request::new(())).is_ok());
    }

    #[tokio::test]
    async fn addresses_that_cannot_be_are_refused_and_connections_are_kept() {
        let channels = Channels::new();
        assert!(channels.connect("no address").is_err());
        channels.connect("127.0.0.1:1").unwrap();
        channels.connect("127.0.0.1:1").unwrap();
        assert_eq!(channels.channels.lock().len(), 1);
    }
}
