//! `POST /api/v1/otlp/v1/metrics`: OTLP over HTTP, protobuf or JSON, plain or gzip.
//!
//! The response's `partial_success` describes rejected points. If every point was rejected, the status is 400. The body of a
//! failed request is a `google.rpc.Status`.

mod exemplars;
mod json;
mod labels;
mod naming;
mod native;
mod points;
mod schema;
mod status;
mod translate;
mod values;
mod walk;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pharos_model::{Hold, Purpose, RejectReason, TenantId, WriteOutcome};
use pharos_transport::otlp::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use prost::Message;

use crate::body;
use crate::buffers::{Buffers, Lease};
use crate::decode::Decoder;
use crate::error::ReceiveError;
use crate::receiver::{Receiver, tenant_of};

const PROTOCOL: &str = "otlp";
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The encoding of a request and of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

/// The largest body that is translated on the async runtime, bytes. Larger ones go to a blocking thread.
const INLINE_BYTES: usize = 32 << 10;
/// The same for a compressed body, which may become a thousand times as long.
const INLINE_COMPRESSED_BYTES: usize = 512;

pub(super) async fn handle(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let started = receiver.clock.monotonic();
    let failed = |error, encoding| status::respond(&error, encoding, receiver.config.retry_after_seconds);
    let response = match encoding_of(request.headers()) {
        Ok(encoding) => match write(&receiver, encoding, request).await {
            Ok(outcome) => encoding.respond(&export_response(&outcome)),
            Err(error) => failed(error, Some(encoding)),
        },
        Err(error) => failed(error, None),
    };
    receiver.answered(PROTOCOL, &response, started);
    response
}

async fn write(receiver: &Arc<Receiver>, encoding: Encoding, request: Request) -> Result<WriteOutcome, ReceiveError> {
    let compressed = is_gzip(request.headers())?;
    let tenant = tenant_of(request.headers())?;
    let hold = receiver.memory.open(&tenant, Purpose::Push);
    let mut buffers = receiver.buffers.lease();
    body::read(request.into_body(), receiver.config.max_body_bytes, &hold, &mut buffers.body).await?;
    let (buffers, rejections, _hold) = decode(receiver, (encoding, compressed), &tenant, buffers, hold).await?;
    let outcome = receiver.append(PROTOCOL, &tenant, &buffers.batch, rejections).await?;
    match outcome.samples + outcome.histograms == 0 && rejected_points(&outcome) > 0 {
        true => Err(ReceiveError::BadRequest(first_rejections(&outcome))),
        false => Ok(outcome),
    }
}

async fn decode(
    receiver: &Arc<Receiver>,
    encoding: (Encoding, bool),
    tenant: &TenantId,
    mut buffers: Lease,
    hold: Hold,
) -> Result<(Lease, WriteOutcome, Hold), ReceiveError> {
    let inline_bytes = if encoding.1 { INLINE_COMPRESSED_BYTES } else { INLINE_BYTES };
    if buffers.body.len() <= inline_bytes {
        let rejections = decode_now(receiver, encoding, tenant, &mut buffers, &hold)?;
        return Ok((buffers, rejections, hold));
    }
    let receiver = receiver.clone();
    let tenant = tenant.clone();
    let work = move || {
        let rejections = decode_now(&receiver, encoding, &tenant, &mut buffers, &hold)?;
        Ok((buffers, rejections, hold))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ReceiveError::Internal(format!("could not decode the request: {error}")))?
}

fn decode_now(
    receiver: &Receiver,
    (encoding, compressed): (Encoding, bool),
    tenant: &TenantId,
    buffers: &mut Buffers,
    hold: &Hold,
) -> Result<WriteOutcome, ReceiveError> {
    let Buffers { body, plain, batch } = buffers;
    let request = match compressed {
        true => {
            body::gzip(body, receiver.config.max_decompressed_bytes, hold, plain)?;
            &*plain
        }
        false => &*body,
    };
    receiver.metrics.body(PROTOCOL, body.len(), request.len());
    let transcoded = match encoding {
        Encoding::Protobuf => None,
        Encoding::Json => Some(json::to_protobuf(request, receiver.config.max_decompressed_bytes, hold)?),
    };
    let request = transcoded.as_deref().unwrap_or(request);
    batch.clear();
    let mut decoder = Decoder::new(tenant, batch, receiver.config.max_decoded_bytes, hold);
    translate::translate(&receiver.otlp.load(), request, &mut decoder)?;
    Ok(decoder.rejections)
}

/// The response about rejected points. Exemplars are not points.
fn export_response(outcome: &WriteOutcome) -> ExportMetricsServiceResponse {
    let rejected = rejected_points(outcome);
    let partial_success = (rejected > 0).then(|| ExportMetricsPartialSuccess {
        rejected_data_points: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: first_rejections(outcome),
    });
    ExportMetricsServiceResponse { partial_success }
}

fn rejected_points(outcome: &WriteOutcome) -> u64 {
    point_rejections(outcome).map(|(_, rejected)| rejected.count).sum()
}

fn first_rejections(outcome: &WriteOutcome) -> String {
    point_rejections(outcome).map(|(_, rejected)| rejected.first.as_str()).collect::<Vec<_>>().join("\n")
}

fn point_rejections(outcome: &WriteOutcome) -> impl Iterator<Item = (&RejectReason, &pharos_model::write::Rejected)> {
    outcome.rejected.iter().filter(|(reason, _)| **reason != RejectReason::InvalidExemplar)
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, ReceiveError> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let media = given.as_deref().and_then(|text| text.split(';').next()).unwrap_or("").trim();
    match media {
        protobuf if protobuf.eq_ignore_ascii_case(PROTOBUF) => Ok(Encoding::Protobuf),
        json if json.eq_ignore_ascii_case(JSON) => Ok(Encoding::Json),
        _ => Err(ReceiveError::BadRequest(format!(
            "unsupported content type: {}, supported: [{JSON}, {PROTOBUF}]",
            given.as_deref().unwrap_or("")
        ))),
    }
}

impl Encoding {
    /// Encodes the response. In JSON, 64-bit integers are text.
    fn respond(self, response: &ExportMetricsServiceResponse) -> Response {
        let (content_type, bytes) = match self {
            Encoding::Protobuf => (PROTOBUF, response.encode_to_vec()),
            Encoding::Json => {
                let partial_success = response.partial_success.as_ref().map(|partial| {
                    let rejected = partial.rejected_data_points.to_string();
                    serde_json::json!({ "rejectedDataPoints": rejected, "errorMessage": partial.error_message })
                });
                let json =
                    partial_success.map_or(serde_json::json!({}), |p| serde_json::json!({ "partialSuccess": p }));
                (JSON, json.to_string().into_bytes())
            }
        };
        ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], bytes).into_response()
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, ReceiveError> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(other) => Err(ReceiveError::BadRequest(format!(
            "unsupported compression: {}. Only \"gzip\" or no compression supported",
            String::from_utf8_lossy(other)
        ))),
    }
}

#[cfg(test)]
mod tests;
