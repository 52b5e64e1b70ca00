//! The HTTP client that a section of the configuration describes: credentials, headers, TLS and redirects.
//!
//! Scrapes, discovery and notifications share it. It takes servers as Go's client does, so that whatever Prometheus scrapes can be scraped.
//! Bodies have a limit after decompression, and those of scrapes are drawn from the account of memory.

#![forbid(unsafe_code)]

mod bounded;
mod connections;
mod oauth2;
mod proxy;
mod tls;
mod url;

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, LOCATION, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};

use self::bounded::Bounded;
use self::connections::{Connections, Exchange, describe};
use self::oauth2::Tokens;
use self::proxy::Proxies;
use self::tls::Tls;
pub use self::tls::{TlsDialer, TlsStream};
use self::url::RequestUrl;
use pharos_config::{ConfigError, HttpClientConfig, Secret, masked_url};
use pharos_model::Hold;

const MAX_REDIRECTS: usize = 10;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Pharos/", env!("CARGO_PKG_VERSION")));

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The request could not be made or sent, or the response was aborted.
    #[error("{0}")]
    Failed(String),
    /// The response did not arrive in time. Holds the URL.
    #[error("Get {0:?}: context deadline exceeded")]
    Timeout(String),
    /// The status is not 200. Holds code and reason.
    #[error("server returned HTTP status {0}")]
    Status(String),
    /// The body exceeds its limit.
    #[error("body size limit exceeded")]
    BodySize,
}

/// The client of one section of the configuration. Clones share their connections.
#[derive(Clone)]
pub struct HttpClient {
    connections: Arc<Connections>,
    config: HttpClientConfig,
    /// Where the credentials of OAuth 2.0 come from.
    tokens: Option<Arc<Tokens>>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A response without its body.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// Its `Content-Type`; empty when it has none.
    pub content_type: String,
}

/// A request of any method.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub url: String,
    /// What errors say instead of the URL, if the URL is a secret.
    pub shown_url: Option<&'static str>,
    /// Headers besides those of the configuration.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

/// A response of any status.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

impl HttpClient {
    /// Builds a client. Files that the section names are read for each request, and those with certificates take effect on
    /// new connections.
    pub fn new(config: &HttpClientConfig) -> Result<Self, ConfigError> {
        let tls = Tls::new(&config.tls_config, config.enable_http2)?;
        let connections = Arc::new(Connections::new(tls, Proxies::new(&config.proxy)?));
        let tokens = config.oauth2.as_ref().map(Tokens::new).transpose()?.map(Arc::new);
        Ok(HttpClient { connections, config: config.clone(), tokens })
    }

    /// A client with the same settings whose requests all go to a Unix socket, whatever the host of their URL.
    pub fn over_socket(&self, path: &Path) -> Self {
        HttpClient { connections: Arc::new(self.connections.over_socket(path)), ..self.clone() }
    }

    /// Fetches a URL within `timeout` and appends the decompressed body to `body`. A body of `limit` bytes or more fails, and so
    /// does one whose memory cannot be drawn from `hold`.
    pub async fn get(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        timeout: Duration,
        limit: u64,
        hold: Option<&Hold>,
        body: &mut Vec<u8>,
    ) -> Result<ResponseHead, HttpError> {
        let exchange = async {
            let exchange =
                self.follow(Method::GET, url, headers, Bytes::new()).await.map_err(|error| failed(url, &error))?;
            self.receive(url, exchange, Bounded::new(body, limit, hold)).await
        };
        let late = || HttpError::Timeout(masked_url(url).into_owned());
        tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    /// Sends a request and returns its response, whatever its status, with up to `limit` bytes of the body. What is beyond is
    /// left out. Takes as long as the server does: the caller has a deadline.
    ///
    /// # Errors
    /// The request could not be made or sent, or the response was aborted. The message begins as Go's does.
    pub async fn send(&self, request: HttpRequest, limit: usize) -> Result<HttpResponse, HttpError> {
        let HttpRequest { method, url, shown_url, headers, body } = request;
        let shown = shown_url.map_or_else(|| masked_url(&url).into_owned(), str::to_string);
        let fault = |error: &str| HttpError::Failed(format!("{} {shown:?}: {error}", go_method(&method)));
        let followed = self.follow(method.clone(), &url, &headers, body).await;
        let mut exchange = followed.map_err(|error| match error {
            RequestError::File(error) => HttpError::Failed(error),
            RequestError::Sent(error) => fault(&error),
        })?;
        let mut body = Vec::new();
        let mut is_whole = true;
        while let Some(frame) = exchange.response.body_mut().frame().await {
            let frame = frame.map_err(|e| fault(&describe(&e)))?;
            let chunk = frame.data_ref().map_or(&[][..], |chunk| chunk);
            let room = limit - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                is_whole = false;
                break;
            }
        }
        let status = exchange.response.status().as_u16();
        let headers = std::mem::take(exchange.response.headers_mut());
        if is_whole {
            self.connections.keep(exchange);
        }
        Ok(HttpResponse { status, headers, body })
    }

    /// Sends a request, and another one to each place to which it is redirected.
    async fn follow(
        &self,
        mut method: Method,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        mut body: Bytes,
    ) -> Result<Exchange, RequestError> {
        let first = RequestUrl::parse(url)?;
        let mut url = first.clone();
        // Once a redirect has left the host, credentials stay behind, even if a later one returns to it.
        let mut is_trusted = true;
        let mut headers = headers.to_vec();
        for _ in 0..MAX_REDIRECTS {
            is_trusted &= url.may_have_credentials_of(&first);
            let request = self.request(&method, &url, &headers, &body, is_trusted).await?;
            let exchange = self.connections.send(&url, request).await?;
            let Some(location) = self.redirect(&exchange) else { return Ok(exchange) };
            let next = url
                .join(&location)
                .map_err(|error| format!("failed to parse Location header {location:?}: {error}"))?;
            headers.retain(|(name, _)| *name != REFERER);
            headers.extend(url.referer_for(&next).map(|referer| (REFERER, referer)));
            url = next;
            // Like browsers, a client fetches the other place unless the status says to send the same there.
            if matches!(exchange.response.status().as_u16(), 301..=303) && method != Method::GET {
                method = Method::GET;
                body = Bytes::new();
                headers.retain(|(name, _)| *name != CONTENT_TYPE);
            }
        }
        Err(format!("stopped after {MAX_REDIRECTS} redirects").into())
    }

    /// Where a response redirects to.
    fn redirect(&self, exchange: &Exchange) -> Option<String> {
        let status = exchange.response.status().as_u16();
        if !self.config.follow_redirects || !matches!(status, 301..=303 | 307 | 308) {
            return None;
        }
        let location = exchange.response.headers().get(LOCATION)?.as_bytes();
        let escaped = |byte: &u8| match byte.is_ascii() {
            true => char::from(*byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        (!location.is_empty()).then(|| location.iter().map(escaped).collect())
    }

    async fn request(
        &self,
        method: &Method,
        url: &RequestUrl,
        given: &[(HeaderName, HeaderValue)],
        body: &Bytes,
        is_trusted: bool,
    ) -> Result<Request<Full<Bytes>>, RequestError> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, AGENT);
        let host = HeaderValue::try_from(&url.authority).map_err(|_| format!("invalid host {:?}", url.authority))?;
        headers.insert(HOST, host.clone());
        if is_trusted && let Some(credentials) = self.credentials(url).await? {
            headers.insert(AUTHORIZATION, credentials);
        }
        for (name, values) in self.config.http_headers.iter().filter(|(name, _)| is_trusted || !is_sensitive(name)) {
            let name = HeaderName::try_from(name).map_err(|_| format!("invalid header name {name:?}"))?;
            let mut add = |value: &str| match HeaderValue::try_from(value) {
                Ok(value) => {
                    headers.append(name.clone(), value);
                    Ok(())
                }
                Err(_) => Err(format!("invalid value of header {name:?}")),
            };
            values
                .values
                .iter()
                .map(String::as_str)
                .chain(values.secrets.iter().map(Secret::reveal))
                .try_for_each(&mut add)?;
            for file in &values.files {
                add(&text_or_file("", Some(file)).await?)?;
            }
        }
        // Credentials that the caller gives stay behind, too.
        for (name, value) in given.iter().filter(|(name, _)| is_trusted || !is_sensitive(name.as_str())) {
            headers.insert(name.clone(), value.clone());
        }
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        let mut uri = http::uri::Parts::default();
        // HTTP/2 takes the host from the URI; HTTP/1 sends the path only.
        uri.path_and_query = Some(url.target.clone());
        *request.uri_mut() = http::Uri::from_parts(uri).map_err(|e| e.to_string())?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The `Authorization` header. A user in the URL comes before those of the configuration.
    async fn credentials(&self, url: &RequestUrl) -> Result<Option<HeaderValue>, RequestError> {
        let value = if let Some((name, password)) = &url.user {
            basic(name, password)
        } else if let Some(auth) = &self.config.basic_auth {
            let name = text_or_file(&auth.username, auth.username_file.as_deref()).await?;
            let password = text_or_file(auth.password.reveal(), auth.password_file.as_deref()).await?;
            basic(&name, &password)
        } else if let Some(auth) = &self.config.authorization {
            let credentials = text_or_file(auth.credentials.reveal(), auth.credentials_file.as_deref()).await?;
            format!("{} {credentials}", auth.kind)
        } else if let Some(tokens) = &self.tokens {
            // A request for a token is a request, too.
            Box::pin(tokens.credentials()).await?
        } else {
            return Ok(None);
        };
        let mut value =
            HeaderValue::try_from(value).map_err(|_| "credentials are not a valid header value".to_string())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn receive(&self, url: &str, mut exchange: Exchange, body: Bounded<'_>) -> Result<ResponseHead, HttpError> {
        let response = &mut exchange.response;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(HttpError::Status(shown_status(response)));
        }
        let header = |name| {
            let value = response.headers().get(name).map_or(&b""[..], |value| value.as_bytes());
            String::from_utf8_lossy(value).into_owned()
        };
        let content_type = header(CONTENT_TYPE);
        let mut decoder = Decoder::new(&header(CONTENT_ENCODING), body)?;
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|e| failed(url, &RequestError::Sent(describe(&e))))?;
            if let Some(chunk) = frame.data_ref() {
                decoder.write(chunk)?;
            }
        }
        decoder.finish()?;
        self.connections.keep(exchange);
        Ok(ResponseHead { content_type })
    }
}

/// Credentials of HTTP basic authentication.
fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
}

/// The method as the errors of Go's client spell it.
fn go_method(method: &Method) -> String {
    let (first, rest) = method.as_str().split_at(1);
    format!("{first}{}", rest.to_ascii_lowercase())
}

/// Code and reason of a response, the latter as the server spells it.
fn shown_status(response: &http::Response<hyper::body::Incoming>) -> String {
    let own = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let own = own.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    let reason = own.unwrap_or_else(|| response.status().canonical_reason().unwrap_or("").to_string());
    format!("{} {reason}", response.status().as_u16()).trim_end().to_string()
}

/// Whether a header only goes to the host that it was configured for.
fn is_sensitive(name: &str) -> bool {
    let sensitive =
        ["authorization", "cookie", "cookie2", "proxy-authenticate", "proxy-authorization", "www-authenticate"];
    sensitive.iter().any(|header| name.eq_ignore_ascii_case(header))
}

/// Why a request failed before its body.
enum RequestError {
    /// A file of the section cannot be read.
    File(String),
    /// Everything else, which is about the server.
    Sent(String),
}

impl From<String> for RequestError {
    fn from(error: String) -> Self {
        RequestError::Sent(error)
    }
}

/// A setting, or the content of its file.
async fn text_or_file(text: &str, file: Option<&Path>) -> Result<String, RequestError> {
    let Some(file) = file else { return Ok(text.to_string()) };
    let read = tokio::fs::read_to_string(file).await;
    read.map(|text| text.trim().to_string())
        .map_err(|e| RequestError::File(format!("unable to read file {}: {e}", file.display())))
}

fn failed(url: &str, error: &RequestError) -> HttpError {
    match error {
        RequestError::File(error) => HttpError::Failed(error.clone()),
        RequestError::Sent(error) => HttpError::Failed(format!("Get {:?}: {error}", masked_url(url))),
    }
}

/// Decompresses a body.
enum Decoder<'a> {
    Plain(Bounded<'a>),
    Gzip(Box<MultiGzDecoder<Bounded<'a>>>),
    /// `deflate` before its first byte, which tells which of two formats it is.
    Undecided(Option<Bounded<'a>>),
    Zlib(Box<ZlibDecoder<Bounded<'a>>>),
    Deflate(Box<DeflateDecoder<Bounded<'a>>>),
}

impl<'a> Decoder<'a> {
    /// The decoder of a content encoding. As in Prometheus, a body with an unknown one is taken as it is.
    fn new(encoding: &str, bounded: Bounded<'a>) -> Result<Self, HttpError> {
        Ok(match encoding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Decoder::Gzip(Box::new(MultiGzDecoder::new(bounded))),
            "deflate" => Decoder::Undecided(Some(bounded)),
            "zstd" => {
                return Err(HttpError::Failed("received a zstd-compressed response, which was not asked for".into()));
            }
            _ => Decoder::Plain(bounded),
        })
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), HttpError> {
        let Some(first) = chunk.first() else { return Ok(()) };
        if let Decoder::Undecided(bounded) = self
            && let Some(bounded) = bounded.take()
        {
            *self = match first & 0x0f {
                8 => Decoder::Zlib(Box::new(ZlibDecoder::new(bounded))),
                _ => Decoder::Deflate(Box::new(DeflateDecoder::new(bounded))),
            };
        }
        match self {
            Decoder::Plain(bounded) => bounded.write_all(chunk),
            Decoder::Undecided(_) => Ok(()),
            Decoder::Gzip(gzip) => gzip.write_all(chunk),
            Decoder::Zlib(zlib) => zlib.write_all(chunk),
            Decoder::Deflate(deflate) => deflate.write_all(chunk),
        }
        .map_err(body_error)
    }

    fn finish(self) -> Result<(), HttpError> {
        match self {
            Decoder::Plain(bounded) => Ok(bounded),
            Decoder::Undecided(_) => return Ok(()),
            Decoder::Gzip(gzip) => gzip.finish(),
            Decoder::Zlib(zlib) => zlib.finish(),
            Decoder::Deflate(deflate) => deflate.finish(),
        }
        .map(drop)
        .map_err(body_error)
    }
}

fn body_error(error: std::io::Error) -> HttpError {
    match error.kind() {
        std::io::ErrorKind::FileTooLarge => HttpError::BodySize,
        std::io::ErrorKind::QuotaExceeded => HttpError::Failed(error.to_string()),
        _ => HttpError::Failed(format!("could not decompress the body: {error}")),
    }
}

#[cfg(test)]
mod tests;
