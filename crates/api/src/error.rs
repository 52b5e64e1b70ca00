//! Errors of the HTTP API, with the types and status codes that Prometheus documents.
//!
//! Only this file maps errors to status codes, except for remote read, whose codes differ.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use pharos_model::{MemoryFull, SelectError};
use pharos_promql::QueryError;
use pharos_querier::{AdmissionError, FeatureDisabled, StaleView};

/// The kind of an error, which determines its `errorType` and status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is invalid.
    BadData,
    /// The query cannot be evaluated or exceeds a limit.
    Execution,
    /// The query was cancelled, through the API or because the client hung up.
    Canceled,
    /// The query exceeded its timeout.
    Timeout,
    /// The server failed, for example because samples are unavailable.
    Internal,
    /// The tenant's queue of waiting queries is full, or its requests hold as much memory as they may.
    TooManyRequests,
    /// The server cannot respond at the moment, or the API is disabled.
    Unavailable,
    /// The requested resource does not exist.
    NotFound,
}

impl ErrorKind {
    /// The name in responses and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ErrorKind::BadData => "bad_data",
            ErrorKind::Execution => "execution",
            ErrorKind::Canceled => "canceled",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Internal => "internal",
            ErrorKind::TooManyRequests => "too_many_requests",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::NotFound => "not_found",
        }
    }

    fn of_full(full: &MemoryFull) -> Self {
        if full.is_of_tenant() { ErrorKind::TooManyRequests } else { ErrorKind::Unavailable }
    }

    /// Returns the HTTP status code of the kind.
    pub fn status(self) -> StatusCode {
        match self {
            ErrorKind::BadData => StatusCode::BAD_REQUEST,
            ErrorKind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Canceled | ErrorKind::Timeout | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

/// An error response.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The kind, which determines the status code.
    pub kind: ErrorKind,
    /// The message that the client receives.
    pub message: String,
}

impl ApiError {
    /// Creates an error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        ApiError { kind, message: message.into() }
    }

    /// Creates an error of kind [`ErrorKind::BadData`].
    pub fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// Creates an error of kind [`ErrorKind::BadData`] whose message names the invalid parameter.
    pub fn parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {reason}"))
    }

    /// Creates an error of kind [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let kind = match &error {
            QueryError::Timeout => ErrorKind::Timeout,
            QueryError::Canceled => ErrorKind::Canceled,
            QueryError::TooManySamples | QueryError::Limit(_) | QueryError::Execution(_) => ErrorKind::Execution,
            QueryError::Storage(_) | QueryError::Damaged(_) => ErrorKind::Internal,
            QueryError::Full(full) => ErrorKind::of_full(full),
            QueryError::BadData(_) => ErrorKind::BadData,
        };
        match error {
            QueryError::BadData(reason) => ApiError::parameter("query", reason),
            error => ApiError::new(kind, error.to_string()),
        }
    }
}

impl From<SelectError> for ApiError {
    fn from(error: SelectError) -> Self {
        let kind = match &error {
            SelectError::Cancelled => ErrorKind::Canceled,
            SelectError::Timeout(_) => ErrorKind::Timeout,
            SelectError::Memory { .. } | SelectError::Series { .. } => ErrorKind::Execution,
            SelectError::Full(full) => ErrorKind::of_full(full),
            SelectError::Storage(_) | SelectError::Damaged(_) => ErrorKind::Internal,
        };
        ApiError::new(kind, error.to_string())
    }
}

impl From<MemoryFull> for ApiError {
    fn from(full: MemoryFull) -> Self {
        ApiError::new(ErrorKind::of_full(&full), full.to_string())
    }
}

impl From<AdmissionError> for ApiError {
    fn from(error: AdmissionError) -> Self {
        let kind = match &error {
            AdmissionError::QueueFull { .. } => ErrorKind::TooManyRequests,
            AdmissionError::TimedOut => ErrorKind::Timeout,
            AdmissionError::Canceled => ErrorKind::Canceled,
            AdmissionError::Stopping => ErrorKind::Unavailable,
            AdmissionError::Panicked(_) => ErrorKind::Internal,
        };
        ApiError::new(kind, error.to_string())
    }
}

impl From<StaleView> for ApiError {
    fn from(error: StaleView) -> Self {
        ApiError::new(ErrorKind::Unavailable, error.to_string())
    }
}

impl From<FeatureDisabled> for ApiError {
    fn from(error: FeatureDisabled) -> Self {
        ApiError::parameter("query", error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"status": "error", "errorType": self.kind.name(), "error": self.message});
        (self.kind.status(), [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
    }
}
