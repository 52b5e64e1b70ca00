//! Opens connections: looks up a host, connects to the first of its addresses that answers, and shakes hands.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{Loaded, describe_handshake};
use crate::url::RequestUrl;

/// How long the first family of addresses may take before the other is tried as well.
const FALLBACK_DELAY: Duration = Duration::from_millis(300);

/// A connected stream, with or without TLS.
pub(super) struct Stream {
    inner: Inner,
    /// The number of bytes that have arrived.
    pub(super) received: Arc<AtomicU64>,
    /// Whether server and client agreed on HTTP/2.
    pub(super) is_http2: bool,
}

enum Inner {
    Plain(Transport),
    Tls(Box<TlsStream<Transport>>),
}

enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects to the server of a URL, or to a Unix socket in its place.
pub(super) async fn dial(url: &RequestUrl, socket: Option<&Path>, tls: Option<&Loaded>) -> Result<Stream, String> {
    let transport = match socket {
        Some(path) => {
            let failed = |error: io::Error| format!("dial unix {}: connect: {error}", path.display());
            Transport::Unix(UnixStream::connect(path).await.map_err(failed)?)
        }
        None => {
            let tcp = connect(look_up(url).await?).await?;
            // Only a hint to the kernel: requests are short.
            let _ignored = tcp.set_nodelay(true);
            Transport::Tcp(tcp)
        }
    };
    let (inner, is_http2) = match tls {
        None => (Inner::Plain(transport), false),
        Some(tls) => {
            let (config, name) = tls.for_host(&url.host);
            let stream =
                TlsConnector::from(config).connect(name, transport).await.map_err(|e| describe_handshake(&e))?;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            (Inner::Tls(Box::new(stream)), is_http2)
        }
    };
    Ok(Stream { inner, received: Arc::default(), is_http2 })
}

/// The addresses of a server, in the order of the resolver.
async fn look_up(url: &RequestUrl) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = url.host.parse::<IpAddr>() {
        return Ok(vec![match address {
            IpAddr::V6(address) => SocketAddrV6::new(address, url.port, 0, scope(&url.zone)?).into(),
            IpAddr::V4(_) => SocketAddr::new(address, url.port),
        }]);
    }
    let host = if is_number_to_resolvers(&url.host) { format!("{}.", url.host) } else { url.host.clone() };
    let found = tokio::net::lookup_host((host.as_str(), url.port)).await;
    let addresses: Vec<_> = found.map_err(|e| format!("dial tcp: lookup {}: {e}", url.host))?.collect();
    if addresses.is_empty() { Err(format!("dial tcp: lookup {}: no such host", url.host)) } else { Ok(addresses) }
}

/// Whether the resolver of the system would take a name for an address in an old notation, such as `10.1` or `0x7f`. As an
/// absolute name it is looked up.
fn is_number_to_resolvers(host: &str) -> bool {
    let is_number = |part: &str| {
        let digits = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
        match digits {
            Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()),
        }
    };
    host.split('.').all(is_number)
}

/// The index of an interface; 0 for none.
fn scope(zone: &str) -> Result<u32, String> {
    if zone.is_empty() {
        return Ok(0);
    }
    if let Ok(index) = zone.parse() {
        return Ok(index);
    }
    let unknown = || format!("dial tcp: no interface has the name {zone:?}");
    if zone.contains('/') || zone.starts_with('.') {
        return Err(unknown());
    }
    let index = std::fs::read_to_string(format!("/sys/class/net/{zone}/ifindex")).map_err(|_| unknown())?;
    index.trim().parse().map_err(|_| unknown())
}

/// Connects to the first address that answers. If the family of the first address is slow, the other one is tried as well.
async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, String> {
    let is_first_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|at| at.is_ipv6() == is_first_v6);
    if second.is_empty() {
        return connect_in_turn(first).await;
    }
    let mut primary: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(connect_in_turn(first));
    tokio::select! {
        connected = &mut primary => match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => return connect_in_turn(second).await.map_err(|_| error),
        },
        () = tokio::time::sleep(FALLBACK_DELAY) => {}
    }
    let mut fallback: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(connect_in_turn(second));
    tokio::select! {
        connected = &mut primary => match connected {
            Ok(stream) => Ok(stream),
            Err(error) => fallback.await.map_err(|_| error),
        },
        connected = &mut fallback => match connected {
            Ok(stream) => Ok(stream),
            Err(_) => primary.await,
        },
    }
}

async fn connect_in_turn(addresses: Vec<SocketAddr>) -> Result<TcpStream, String> {
    let mut first_error = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                first_error.get_or_insert(format!("dial tcp {address}: connect: {error}"));
            }
        }
    }
    Err(first_error.unwrap_or_default())
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        self.received.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        match read {
            // Servers that just close the connection are common; the end of the body tells whether anything is missing.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
