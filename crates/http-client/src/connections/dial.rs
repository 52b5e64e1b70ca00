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

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tunnel;
use crate::proxy::{Proxies, Proxy, ProxyKind};
use crate::tls::{Loaded, describe_handshake};
use crate::url::RequestUrl;

/// How long the first family of addresses may take before the other is tried as well.
const FALLBACK_DELAY: Duration = Duration::from_millis(300);

/// A connected stream, with or without TLS.
pub(super) struct Stream {
    inner: Box<dyn ByteStream>,
    /// The number of bytes that have arrived.
    pub(super) received: Arc<AtomicU64>,
    /// Whether server and client agreed on HTTP/2.
    pub(super) is_http2: bool,
}

/// A stream of bytes in both directions.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Where a connection goes.
pub(super) enum Route<'a> {
    /// To the server.
    Direct,
    /// To a Unix socket in its place.
    Socket(&'a Path),
    /// To a proxy, with the TLS settings of the client.
    Proxy(&'a Proxies, &'a Proxy, Option<&'a Loaded>),
}

/// Connects to the server of a URL.
pub(super) async fn dial(url: &RequestUrl, route: Route<'_>, tls: Option<&Loaded>) -> Result<Stream, String> {
    let transport: Box<dyn ByteStream> = match route {
        Route::Direct => Box::new(connect_to(url).await?),
        Route::Socket(path) => {
            let failed = |error: io::Error| format!("dial unix {}: connect: {error}", path.display());
            Box::new(UnixStream::connect(path).await.map_err(failed)?)
        }
        Route::Proxy(proxies, proxy, tls) => through_proxy(url, proxies, proxy, tls).await?,
    };
    let (inner, is_http2) = match tls {
        None => (transport, false),
        Some(tls) => {
            let stream = shake_hands(transport, tls.for_host(&url.host)).await?;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            (Box::new(stream) as Box<dyn ByteStream>, is_http2)
        }
    };
    Ok(Stream { inner, received: Arc::default(), is_http2 })
}

/// Connects to a proxy, and on to the server of a URL unless the proxy forwards requests to it.
async fn through_proxy(
    url: &RequestUrl,
    proxies: &Proxies,
    proxy: &Proxy,
    tls: Option<&Loaded>,
) -> Result<Box<dyn ByteStream>, String> {
    let stream = connect_to_proxy(proxy, tls).await.map_err(|error| format!("proxyconnect tcp: {error}"))?;
    match proxy.kind {
        ProxyKind::Http if !url.is_https => Ok(stream),
        ProxyKind::Http => tunnel::http(stream, url, proxy, proxies.connect_headers()).await,
        ProxyKind::Socks5 => tunnel::socks5(stream, url, proxy.url.user.as_ref()).await,
    }
}

async fn connect_to_proxy(proxy: &Proxy, tls: Option<&Loaded>) -> Result<Box<dyn ByteStream>, String> {
    let tcp = connect_to(&proxy.url).await?;
    Ok(match tls.filter(|_| proxy.url.is_https) {
        Some(tls) => Box::new(shake_hands(tcp, tls.for_proxy(&proxy.url.host)).await?),
        None => Box::new(tcp),
    })
}

async fn shake_hands<S: ByteStream>(
    stream: S,
    (config, name): (Arc<ClientConfig>, ServerName<'static>),
) -> Result<TlsStream<S>, String> {
    TlsConnector::from(config).connect(name, stream).await.map_err(|e| describe_handshake(&e))
}

async fn connect_to(url: &RequestUrl) -> Result<TcpStream, String> {
    let tcp = connect(look_up(url).await?).await?;
    // Only a hint to the kernel: requests are short.
    let _ignored = tcp.set_nodelay(true);
    Ok(tcp)
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
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
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
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
