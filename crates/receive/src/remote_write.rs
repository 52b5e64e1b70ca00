//! `POST /api/v1/write` and `/api/v1/push`: remote write 1.0 and 2.0.
//!
//! Valid samples are stored even if others of the request are rejected. The status is then 400, and the message names the
//! first rejected sample for each reason. The specification requires this, so that the sender does not retry.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pharos_model::{Hold, Purpose, RejectReason, TenantId, WriteOutcome};

use crate::buffers::{Buffers, Lease};
use crate::decode::Decoder;
use crate::error::ReceiveError;
use crate::receiver::{Receiver, tenant_of};
use crate::{body, write_v1, write_v2};

/// The version of remote write, which is that of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    V1,
    V2,
}

impl Message {
    fn protocol(self) -> &'static str {
        match self {
            Message::V1 => "remote_write_v1",
            Message::V2 => "remote_write_v2",
        }
    }
}

/// The largest decompressed body that is decoded on the async runtime, bytes. Larger ones go to a blocking thread.
const INLINE_BYTES: usize = 1 << 20;

pub(super) async fn handle(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let started = receiver.clock.monotonic();
    let message = message_of(request.headers());
    let protocol = message.as_ref().map_or("remote_write", |m| m.protocol());
    let mut written = WriteOutcome::default();
    let result = match message {
        Ok(message) => write(&receiver, message, request, &mut written).await,
        Err(error) => Err(error),
    };
    let mut response = match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => error.response(receiver.config.retry_after_seconds),
    };
    if protocol == Message::V2.protocol() {
        count_headers(&written, response.headers_mut());
    }
    receiver.answered(protocol, &response, started);
    response
}

async fn write(
    receiver: &Arc<Receiver>,
    message: Message,
    request: Request,
    written: &mut WriteOutcome,
) -> Result<(), ReceiveError> {
    check_encoding(request.headers())?;
    let tenant = tenant_of(request.headers())?;
    let hold = Arc::new(receiver.memory.open(&tenant, Purpose::Push));
    let mut buffers = receiver.buffers.lease();
    body::read(request.into_body(), receiver.config.max_body_bytes, &hold, &mut buffers.body).await?;
    let (buffers, rejections) = decode(receiver, message, &tenant, buffers, &hold).await?;
    *written = receiver.append(message.protocol(), &tenant, &buffers.batch, rejections).await?;
    match bad_request(message, written) {
        Some(text) => Err(ReceiveError::BadRequest(text)),
        None => Ok(()),
    }
}

/// Decompresses and decodes a request, on a blocking thread if it is large.
async fn decode(
    receiver: &Arc<Receiver>,
    message: Message,
    tenant: &TenantId,
    mut buffers: Lease,
    hold: &Arc<Hold>,
) -> Result<(Lease, WriteOutcome), ReceiveError> {
    let declared = snap::raw::decompress_len(&buffers.body).unwrap_or(0);
    if declared <= INLINE_BYTES {
        let rejections = decode_now(receiver, message, tenant, &mut buffers, hold)?;
        return Ok((buffers, rejections));
    }
    let receiver = receiver.clone();
    let tenant = tenant.clone();
    let hold = hold.clone();
    let work = move || {
        let decoded = decode_now(&receiver, message, &tenant, &mut buffers, &hold);
        decoded.map(|rejections| (buffers, rejections))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ReceiveError::Internal(format!("could not decode the request: {error}")))?
}

fn decode_now(
    receiver: &Receiver,
    message: Message,
    tenant: &TenantId,
    buffers: &mut Buffers,
    hold: &Hold,
) -> Result<WriteOutcome, ReceiveError> {
    let Buffers { body, plain, batch } = buffers;
    let request = body::snappy(body, receiver.config.max_decompressed_bytes, hold, plain)?;
    receiver.metrics.body(message.protocol(), body.len(), request.len());
    batch.clear();
    let mut decoder = Decoder::new(tenant, batch, receiver.config.max_decoded_bytes, hold);
    match message {
        Message::V1 => write_v1::decode(request, &mut decoder)?,
        Message::V2 => write_v2::decode(request, &mut decoder)?,
    }
    Ok(decoder.rejections)
}

/// The message about rejected samples, if there are any. Rejected exemplars do not fail a request of remote write 1.0.
fn bad_request(message: Message, outcome: &WriteOutcome) -> Option<String> {
    let counts = |reason: &RejectReason| message == Message::V2 || *reason != RejectReason::InvalidExemplar;
    let firsts: Vec<&str> =
        outcome.rejected.iter().filter(|(reason, _)| counts(reason)).map(|(_, r)| r.first.as_str()).collect();
    (!firsts.is_empty()).then(|| firsts.join("\n"))
}

fn count_headers(written: &WriteOutcome, headers: &mut HeaderMap) {
    let counts = [
        ("x-prometheus-remote-write-samples-written", written.samples),
        ("x-prometheus-remote-write-histograms-written", written.histograms),
        ("x-prometheus-remote-write-exemplars-written", written.exemplars),
    ];
    for (name, count) in counts {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(count));
    }
}

const MEDIA_TYPE: &str = "application/x-protobuf";
const V1_NAME: &str = "prometheus.WriteRequest";
const V2_NAME: &str = "io.prometheus.write.v2.Request";

/// The version that the content type names. A missing content type means 1.0.
fn message_of(headers: &HeaderMap) -> Result<Message, ReceiveError> {
    let unsupported = |text: String| Err(ReceiveError::UnsupportedMediaType(text));
    let content_type = match headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) {
        None => return Ok(Message::V1),
        Some(Err(_)) => return unsupported("the content type is not ASCII".into()),
        Some(Ok(text)) if text.trim().is_empty() => return Ok(Message::V1),
        Some(Ok(text)) => text.trim(),
    };
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or("");
    if !media.eq_ignore_ascii_case(MEDIA_TYPE) {
        return unsupported(format!(
            "expected {MEDIA_TYPE} as the first (media) part, got {content_type} content-type"
        ));
    }
    for part in parts {
        match part.split_once('=') {
            None => {
                return unsupported(format!(
                    "expected parameters to be key-values, got {part} in {content_type} content-type"
                ));
            }
            Some(("proto", V1_NAME)) => return Ok(Message::V1),
            Some(("proto", V2_NAME)) => return Ok(Message::V2),
            Some(("proto", name)) => {
                return unsupported(format!(
                    "got {content_type} content type; unknown type for remote write protobuf message {name}, supported: {V1_NAME}, {V2_NAME}"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(Message::V1)
}

fn check_encoding(headers: &HeaderMap) -> Result<(), ReceiveError> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"snappy") => Ok(()),
        Some(other) => Err(ReceiveError::UnsupportedMediaType(format!(
            "{} encoding (compression) is not accepted by this server; only snappy is acceptable",
            String::from_utf8_lossy(other)
        ))),
    }
}

#[cfg(test)]
mod tests;
