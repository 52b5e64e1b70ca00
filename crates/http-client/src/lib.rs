//! The HTTP client that a section of the configuration describes: credentials, headers, TLS and redirects.
//!
//! Scrapes and discovery share it. Bodies have a limit after decompression, and all large bodies of the process share one.

mod bounded;
mod redirect;
mod tls;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};

use self::bounded::Bounded;
pub use self::bounded::Share;
use self::redirect::{Hop, is_sensitive};
use pharos_config::{ConfigError, HttpClientConfig, Secret};

const USER_AGENT: &str = concat!("Pharos/", env!("CARGO_PKG_VERSION"));
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

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

/// The client of one section of the configuration.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client,
    config: HttpClientConfig,
}

/// A response without its body.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// Its `Content-Type`; empty when it has none.
    pub content_type: String,
    /// The body's share of the memory for large bodies; hold it for as long as the body.
    pub share: Share,
}

impl HttpClient {
    /// Builds a client. Reads the certificates that the section names.
    pub fn new(config: &HttpClientConfig) -> Result<Self, ConfigError> {
        let tls = tls::client_config(&config.tls_config, config.enable_http2)?;
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .no_proxy()
            .redirect(Policy::none())
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
            .tls_backend_preconfigured(tls);
        if !config.enable_http2 {
            builder = builder.http1_only();
        }
        let client = builder
            .build()
            .map_err(|e| ConfigError::new(format!("could not build the HTTP client: {}", root_cause(&e))))?;
        Ok(HttpClient { client, config: config.clone() })
    }

    /// Fetches a URL within `timeout` and appends the decompressed body to `body`. A body of `limit` bytes or more fails.
    pub async fn get(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        timeout: Duration,
        limit: u64,
        body: &mut Vec<u8>,
    ) -> Result<ResponseHead, HttpError> {
        let exchange = async {
            let mut hop = Hop::first(url)?;
            loop {
                let mut request = self.authorized(&hop).await?;
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                let response = request.send().await.map_err(|e| failed(url, &e))?;
                match self.config.follow_redirects.then(|| hop.next(&response)).transpose()?.flatten() {
                    Some(next) => hop = next,
                    None => return receive(url, response, limit, body).await,
                }
            }
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(HttpError::Timeout(url.to_string())))
    }

    /// A request with the configured headers, and with credentials as long as it stays at its host.
    async fn authorized(&self, hop: &Hop) -> Result<RequestBuilder, HttpError> {
        let mut request = self.client.get(hop.url.clone());
        let is_trusted = !hop.has_left_host;
        if let Some(auth) = self.config.basic_auth.as_ref().filter(|_| is_trusted) {
            let name = text_or_file(&auth.username, auth.username_file.as_deref()).await?;
            let password = text_or_file(auth.password.reveal(), auth.password_file.as_deref()).await?;
            request = request.basic_auth(name, Some(password));
        }
        if let Some(auth) = self.config.authorization.as_ref().filter(|_| is_trusted) {
            let credentials = text_or_file(auth.credentials.reveal(), auth.credentials_file.as_deref()).await?;
            let value = HeaderValue::try_from(format!("{} {credentials}", auth.kind));
            let mut value = value.map_err(|_| HttpError::Failed("credentials are not a valid header value".into()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        for (name, values) in self.config.http_headers.iter().filter(|(name, _)| is_trusted || !is_sensitive(name)) {
            let plain = values.values.iter().map(String::as_str).chain(values.secrets.iter().map(Secret::reveal));
            for value in plain {
                request = request.header(name, value);
            }
            for file in &values.files {
                request = request.header(name, text_or_file("", Some(file)).await?);
            }
        }
        Ok(request)
    }
}

/// A setting, or the content of its file.
async fn text_or_file(text: &str, file: Option<&Path>) -> Result<String, HttpError> {
    let Some(file) = file else { return Ok(text.to_string()) };
    let read = tokio::fs::read_to_string(file).await;
    read.map(|text| text.trim().to_string())
        .map_err(|e| HttpError::Failed(format!("unable to read file {}: {e}", file.display())))
}

fn failed(url: &str, error: &reqwest::Error) -> HttpError {
    if error.is_timeout() {
        return HttpError::Timeout(url.to_string());
    }
    HttpError::Failed(format!("Get {url:?}: {}", root_cause(error)))
}

/// The message of the innermost cause, which says what happened. The outer ones only say where.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

async fn receive(url: &str, mut response: Response, limit: u64, body: &mut Vec<u8>) -> Result<ResponseHead, HttpError> {
    let status = response.status();
    if status != reqwest::StatusCode::OK {
        let reason = status.canonical_reason().unwrap_or("");
        return Err(HttpError::Status(format!("{} {reason}", status.as_u16()).trim_end().to_string()));
    }
    let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_string();
    let content_type = header(CONTENT_TYPE);
    let encoding = header(CONTENT_ENCODING);
    let bounded = Bounded::new(body, limit);
    let mut decoder = match encoding.as_str() {
        "gzip" => Decoder::Gzip(Box::new(MultiGzDecoder::new(bounded))),
        "" | "identity" => Decoder::Plain(bounded),
        other => return Err(HttpError::Failed(format!("unsupported Content-Encoding {other:?}"))),
    };
    while let Some(chunk) = response.chunk().await.map_err(|e| failed(url, &e))? {
        decoder.write(&chunk)?;
    }
    let share = decoder.finish()?;
    Ok(ResponseHead { content_type, share })
}

enum Decoder<'a> {
    Plain(Bounded<'a>),
    Gzip(Box<MultiGzDecoder<Bounded<'a>>>),
}

impl Decoder<'_> {
    fn write(&mut self, chunk: &[u8]) -> Result<(), HttpError> {
        match self {
            Decoder::Plain(bounded) => bounded.write_all(chunk),
            Decoder::Gzip(gzip) => gzip.write_all(chunk),
        }
        .map_err(body_error)
    }

    fn finish(self) -> Result<Share, HttpError> {
        match self {
            Decoder::Plain(bounded) => Ok(bounded.into_share()),
            Decoder::Gzip(gzip) => gzip.finish().map(Bounded::into_share).map_err(body_error),
        }
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
