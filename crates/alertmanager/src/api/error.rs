//! Errors of the API and their status codes, of HTTP and of gRPC. Only this file maps one to the other.

use super::json::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::silences::SilenceError;

/// Codes of validation errors, which have the status 422.
const INVALID_TYPE: u32 = 601;
const REQUIRED: u32 = 602;
const TOO_FEW: u32 = 612;

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// The request makes no sense. The body is the text.
    BadRequest(String),
    /// The body is not what the API describes. It begins with the code.
    Unreadable(String),
    /// A parameter, a field or the whole body is not valid.
    Invalid(u32, String),
    /// There is no such silence; with a text if the request was to change it.
    NotFound(Option<String>),
    /// The server failed.
    Internal(String),
}

impl ApiError {
    /// A value that cannot be read as its type. `place` is `query`, `path` or `body`.
    pub(super) fn type_of(name: &str, place: &str, kind: &str, value: &str) -> ApiError {
        ApiError::Invalid(INVALID_TYPE, format!("{name} in {place} must be of type {kind}: {value:?}"))
    }

    /// Fields that are missing, or lists that are too short.
    pub(super) fn validation(failures: &[String]) -> ApiError {
        let code =
            if failures.iter().any(|failure| failure.contains("should have at least")) { TOO_FEW } else { REQUIRED };
        match failures {
            [one] => ApiError::Invalid(code, one.clone()),
            several => ApiError::Invalid(code, format!("validation failure list:\n{}", several.join("\n"))),
        }
    }
}

impl From<SilenceError> for ApiError {
    fn from(error: SilenceError) -> Self {
        match error {
            SilenceError::NotFound => ApiError::NotFound(Some(error.to_string())),
            SilenceError::NotDurable(_) => ApiError::Internal(error.to_string()),
            SilenceError::Invalid(_) | SilenceError::TooLarge { .. } | SilenceError::TooMany { .. } => {
                ApiError::BadRequest(error.to_string())
            }
        }
    }
}

impl From<ApiError> for tonic::Status {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::BadRequest(text) | ApiError::Unreadable(text) | ApiError::Invalid(_, text) => {
                tonic::Status::invalid_argument(text)
            }
            ApiError::NotFound(text) => tonic::Status::not_found(text.unwrap_or_default()),
            ApiError::Internal(text) => tonic::Status::internal(text),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let coded = |code: u32, message: String| Json(json!({"code": code, "message": message}));
        match self {
            ApiError::BadRequest(text) => (StatusCode::BAD_REQUEST, Json(text)).into_response(),
            ApiError::Unreadable(text) => (StatusCode::BAD_REQUEST, coded(400, text)).into_response(),
            ApiError::Invalid(code, text) => (StatusCode::UNPROCESSABLE_ENTITY, coded(code, text)).into_response(),
            ApiError::NotFound(None) => StatusCode::NOT_FOUND.into_response(),
            ApiError::NotFound(Some(text)) => (StatusCode::NOT_FOUND, Json(text)).into_response(),
            ApiError::Internal(text) => (StatusCode::INTERNAL_SERVER_ERROR, Json(text)).into_response(),
        }
    }
}
