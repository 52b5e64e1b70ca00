//! Helpers for handlers: the response envelope, streamed responses, and blocking work.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pharos_model::{Budget, TenantId};
use pharos_querier::admission::Job;
use serde::Serialize;

use crate::error::ApiError;
pub(super) use crate::unsent::Gone;
use crate::unsent::{PART_BYTES, Unread, Writer};
use crate::{Api, json};

/// Maximum number of annotations of a kind in a response, as in Prometheus.
const MAX_ANNOTATIONS: usize = 10;

/// Responds with `{"status":"success","data":…}`.
pub(super) fn success(data: impl Serialize) -> Response {
    success_with_warnings(data, &[])
}

/// Like [`success`], but with warnings.
pub(super) fn success_with_warnings(data: impl Serialize, warnings: &[String]) -> Response {
    let mut body = b"{\"status\":\"success\",\"data\":".to_vec();
    if let Err(error) = serde_json::to_writer(&mut body, &data) {
        return ApiError::internal(format!("error marshaling json response: {error}")).into_response();
    }
    annotations(&mut body, warnings, &[]);
    body.push(b'}');
    json_response(Body::from(body))
}

fn json_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Responds to requests for unknown routes with status 404 and the text of Go's server.
pub async fn no_such_route() -> Response {
    plain(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Responds to requests with a method that the route does not have, with status 405 and the text of Prometheus.
pub async fn no_such_method() -> Response {
    plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
}

/// Appends `,"warnings":[…],"infos":[…]`, omitting what is empty.
pub(super) fn annotations(out: &mut Vec<u8>, warnings: &[String], infos: &[String]) {
    for (key, kind, all) in [("warnings", "warning", warnings), ("infos", "info", infos)] {
        if all.is_empty() {
            continue;
        }
        out.extend_from_slice(b",\"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":[");
        for (i, text) in all.iter().take(MAX_ANNOTATIONS).enumerate() {
            if i > 0 {
                out.push(b',');
            }
            json::string(out, text);
        }
        if all.len() > MAX_ANNOTATIONS {
            out.push(b',');
            json::string(out, &format!("{} more {kind} annotations omitted", all.len() - MAX_ANNOTATIONS));
        }
        out.push(b']');
    }
}

/// Adds warnings to a response whose format has no place for them.
pub(super) fn with_warning_headers(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        let is_plain = |c: char| (c.is_ascii_graphic() || c == ' ') && c != '"' && c != '\\';
        let text: String = warning.chars().map(|c| if is_plain(c) { c } else { '\'' }).collect();
        // 199 is the code of a warning for people.
        if let Ok(value) = HeaderValue::try_from(format!("199 pharos \"{text}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

/// Runs a tenant's blocking work on a blocking thread, under a permit.
pub(super) async fn blocking<T: Send + 'static>(
    api: &Arc<Api>,
    tenant: &TenantId,
    budget: &Arc<Budget>,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let timeout = api.config.limits.load().of(tenant).timeout;
    let job = Job { tenant, budget, timeout, registered: None };
    api.admission.run(job, work).await.map(|(done, _)| done)
}

/// Sends the output of a blocking writer in parts.
pub(super) struct Parts {
    writer: Writer,
}

impl Parts {
    /// Sends the written output once it fills a part.
    pub(super) fn flush(&self, out: &mut Vec<u8>) -> Result<(), Gone> {
        if out.len() < PART_BYTES {
            return Ok(());
        }
        self.writer.send(Bytes::from(std::mem::take(out)))
    }
}

/// Streams the JSON that `write` produces on a blocking thread. What `write` owns, such as the permit of a query, lives until
/// the response is encoded.
pub(super) async fn stream(
    api: &Api,
    tenant: &TenantId,
    write: impl FnOnce(&mut Vec<u8>, &Parts) -> Result<(), Gone> + Send + 'static,
) -> Response {
    let (writer, unread) = api.unsent.begin(tenant);
    tokio::task::spawn_blocking(move || {
        let parts = Parts { writer };
        let mut out = Vec::with_capacity(4096);
        // An error leaves the response incomplete, which aborts it.
        if write(&mut out, &parts).is_ok() {
            let _nobody_reads = parts.writer.finish(Bytes::from(out));
        }
    });
    match unread.first().await {
        Ok(size) => unread_json(size, unread),
        Err(Some(full)) => ApiError::from(full).into_response(),
        Err(None) => ApiError::internal("the answer could not be written").into_response(),
    }
}

/// Responds with JSON that is encoded already.
pub(super) async fn encoded(api: &Api, tenant: &TenantId, json: Vec<u8>) -> Response {
    match api.unsent.whole(tenant, Bytes::from(json)).await {
        Ok((size, unread)) => unread_json(Some(size), unread),
        Err(full) => ApiError::from(full).into_response(),
    }
}

/// Responds with JSON of this size, if it is known.
fn unread_json(size: Option<usize>, unread: Unread) -> Response {
    let mut response = json_response(Body::from_stream(unread));
    if let Some(size) = size {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_become_headers() {
        let warnings = ["as of 5: \"x\" \u{e9}\n".to_string(), "another".to_string()];
        let response = with_warning_headers(Body::empty().into_response(), &warnings);
        let headers: Vec<_> = response.headers().get_all(header::WARNING).iter().collect();
        assert_eq!(headers, ["199 pharos \"as of 5: 'x' ''\"", "199 pharos \"another\""]);
    }
}
