//! Connections to a server through a proxy.

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::ByteStream;
use super::{MAX_HEAD_BYTES, describe};
use crate::basic;
use crate::proxy::Proxy;
use crate::url::RequestUrl;

/// The credentials for a proxy.
pub(super) fn proxy_authorization(proxy: &Proxy) -> Option<HeaderValue> {
    let (name, password) = proxy.url.user.as_ref()?;
    let mut value = HeaderValue::try_from(basic(name, password)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Asks an HTTP proxy for a tunnel to the server of a URL.
pub(super) async fn http(
    stream: Box<dyn ByteStream>,
    url: &RequestUrl,
    proxy: &Proxy,
    headers: HeaderMap,
) -> Result<Box<dyn ByteStream>, String> {
    let begun =
        http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).title_case_headers(true).handshake(TokioIo::new(stream));
    let (mut sender, connection) = begun.await.map_err(|e| describe(&e))?;
    tokio::spawn(connection.with_upgrades());
    let server = url.host_and_port();
    let mut request = Request::connect(&server).body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    *request.headers_mut() = headers;
    request.headers_mut().insert(HOST, HeaderValue::try_from(&server).map_err(|e| e.to_string())?);
    if let Some(credentials) = proxy_authorization(proxy) {
        request.headers_mut().insert(PROXY_AUTHORIZATION, credentials);
    }
    let response = sender.send_request(request).await.map_err(|e| describe(&e))?;
    if response.status() != StatusCode::OK {
        let reason = response.status().canonical_reason();
        return Err(reason.map_or_else(|| response.status().as_u16().to_string(), str::to_string));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|e| describe(&e))?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

/// The version of SOCKS (RFC 1928), and that of its authentication by password (RFC 1929).
const SOCKS_VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
/// Ways to authenticate.
const NO_AUTHENTICATION: u8 = 0;
const BY_PASSWORD: u8 = 2;

/// Asks a SOCKS proxy for a connection to the server of a URL, whose name the proxy looks up.
pub(super) async fn socks5(
    mut stream: Box<dyn ByteStream>,
    url: &RequestUrl,
    user: Option<&(String, String)>,
) -> Result<Box<dyn ByteStream>, String> {
    let failed = |error: std::io::Error| format!("socks connect: {error}");
    let ways: &[u8] = if user.is_some() { &[NO_AUTHENTICATION, BY_PASSWORD] } else { &[NO_AUTHENTICATION] };
    stream.write_all(&[&[SOCKS_VERSION, ways.len() as u8], ways].concat()).await.map_err(failed)?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await.map_err(failed)?;
    match (chosen, user) {
        ([SOCKS_VERSION, NO_AUTHENTICATION], _) => {}
        ([SOCKS_VERSION, BY_PASSWORD], Some((name, password))) => {
            let request = [&[PASSWORD_VERSION], &*prefixed(name)?, &*prefixed(password)?].concat();
            stream.write_all(&request).await.map_err(failed)?;
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await.map_err(failed)?;
            if answer[1] != 0 {
                return Err("socks connect: username/password authentication failed".into());
            }
        }
        ([SOCKS_VERSION, _], _) => return Err("socks connect: no acceptable authentication methods".into()),
        ([version, _], _) => return Err(format!("socks connect: unexpected protocol version {version}")),
    }
    let address = match url.host.parse() {
        Ok(std::net::IpAddr::V4(address)) => [&[1], &address.octets()[..]].concat(),
        Ok(std::net::IpAddr::V6(address)) => [&[4], &address.octets()[..]].concat(),
        Err(_) => [&[3], &*prefixed(&url.host)?].concat(),
    };
    let request = [&[SOCKS_VERSION, 1, 0], &*address, &url.port.to_be_bytes()].concat();
    stream.write_all(&request).await.map_err(failed)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.map_err(failed)?;
    if answer[1] != 0 {
        return Err(format!("socks connect: {}", socks_failure(answer[1])));
    }
    // The address from which the proxy connects, which nobody needs, and its port.
    let length = match answer[3] {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await.map_err(failed)?),
        kind => return Err(format!("socks connect: unknown address type {kind}")),
    };
    stream.read_exact(&mut vec![0; length + 2]).await.map_err(failed)?;
    Ok(stream)
}

/// A text after its length.
fn prefixed(text: &str) -> Result<Vec<u8>, String> {
    let length = u8::try_from(text.len()).map_err(|_| format!("socks connect: {} bytes are too long", text.len()))?;
    Ok([&[length], text.as_bytes()].concat())
}

fn socks_failure(code: u8) -> &'static str {
    match code {
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unknown code",
    }
}

#[cfg(test)]
mod tests;
