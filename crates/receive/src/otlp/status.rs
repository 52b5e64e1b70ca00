//! Failed OTLP requests: the body is a `google.rpc.Status` in the encoding of the request, as the specification demands.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use prost::Message;

use super::{Encoding, JSON, PROTOBUF};
use crate::error::ReceiveError;

/// `google.rpc.Status` without details, which this server never sends.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

/// Describes an error to the sender. A request in an unknown encoding gets JSON, which people can read.
pub(super) fn respond(error: &ReceiveError, encoding: Option<Encoding>, retry_after_seconds: u32) -> Response {
    let response = error.response(retry_after_seconds);
    let status = Status { code: grpc_code(response.status()), message: error.message() };
    let (content_type, body) = match encoding {
        Some(Encoding::Protobuf) => (PROTOBUF, status.encode_to_vec()),
        Some(Encoding::Json) | None => {
            let json = serde_json::json!({ "code": status.code, "message": status.message });
            (JSON, json.to_string().into_bytes())
        }
    };
    let (mut parts, _text) = response.into_parts();
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Response::from_parts(parts, body.into())
}

/// The code of gRPC that stands for an HTTP status.
fn grpc_code(status: StatusCode) -> i32 {
    const INVALID_ARGUMENT: i32 = 3;
    const RESOURCE_EXHAUSTED: i32 = 8;
    const INTERNAL: i32 = 13;
    const UNAVAILABLE: i32 = 14;
    match status {
        StatusCode::TOO_MANY_REQUESTS => RESOURCE_EXHAUSTED,
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        status if status.is_server_error() => INTERNAL,
        _ => INVALID_ARGUMENT,
    }
}
