//! Requests to services, and what their status codes mean.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use pharos_http_client::{HttpClient, HttpRequest, HttpResponse};

use crate::error::{FailureReason, NotifyError};

/// The most of an answer that is read, bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// The most of an answer that an error quotes, bytes.
const MAX_QUOTED_BYTES: usize = 4096;
/// What errors say instead of a URL with a secret.
pub(crate) const REDACTED: &str = "<redacted>";

/// A JSON payload for a URL that is a secret.
pub(crate) fn json_request(method: Method, url: impl Into<String>, body: String) -> HttpRequest {
    HttpRequest {
        method,
        url: url.into(),
        shown_url: Some(REDACTED),
        headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body: Bytes::from(body),
    }
}

/// A header with a secret.
pub(crate) fn secret_header(name: HeaderName, value: &str) -> Result<(HeaderName, HeaderValue), NotifyError> {
    let invalid = |_| NotifyError::permanent(FailureReason::ConfigError, format!("invalid value of header {name:?}"));
    let mut value = HeaderValue::try_from(value).map_err(invalid)?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Sends a request. The deadline is the caller's.
///
/// # Errors
/// There was no response; that is worth another attempt.
pub(crate) async fn send(client: &HttpClient, request: HttpRequest) -> Result<HttpResponse, NotifyError> {
    let sent = client.send(request, MAX_ANSWER_BYTES).await;
    sent.map_err(|error| NotifyError::temporary(FailureReason::Other, error.to_string()))
}

/// Posts a JSON payload to a URL that is a secret, and takes any status 2xx for success.
///
/// # Errors
/// As of [`send`] and [`check`].
pub(crate) async fn post_json(
    client: &HttpClient,
    url: impl Into<String>,
    body: String,
    retried: &[u16],
) -> Result<HttpResponse, NotifyError> {
    let response = send(client, json_request(Method::POST, url, body)).await?;
    check(&response, retried, quoted)?;
    Ok(response)
}

/// Checks the status of a response: 2xx is success, 5xx and the statuses `retried` are worth another attempt. `details` says
/// what the answer explains.
///
/// # Errors
/// The status is none of 2xx.
pub(crate) fn check(
    response: &HttpResponse,
    retried: &[u16],
    details: impl FnOnce(&HttpResponse) -> String,
) -> Result<(), NotifyError> {
    let status = response.status;
    if status / 100 == 2 {
        return Ok(());
    }
    let details = details(response);
    let separator = if details.is_empty() { "" } else { ": " };
    let message = format!("unexpected status code {status}{separator}{details}");
    let reason = FailureReason::of_status(status);
    Err(match status / 100 == 5 || retried.contains(&status) {
        true => NotifyError::temporary(reason, message),
        false => NotifyError::permanent(reason, message),
    })
}

/// The answer as text, for errors.
pub(crate) fn quoted(response: &HttpResponse) -> String {
    let end = response.body.len().min(MAX_QUOTED_BYTES);
    String::from_utf8_lossy(&response.body[..end]).into_owned()
}

/// How long a service asks to wait. Its date counts by its own clock.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let value = header(RETRY_AFTER)?;
    if let Ok(seconds) = value.parse::<i64>() {
        return u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
    }
    let date = |text: &str| rfc2822::parse(&text.replace("GMT", "+0000")).ok().map(|zoned| zoned.timestamp());
    let now = header(DATE).and_then(date).unwrap_or(now);
    Duration::try_from(date(value)?.duration_since(now)).ok().filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests;
