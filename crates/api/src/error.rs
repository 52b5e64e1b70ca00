//! Errors of the HTTP API: their types and status codes, as Prometheus documents them. The only place that maps errors
//! to status codes.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use pharos_model::SelectError;
use pharos_promql::QueryError;
use pharos_querier::{AdmissionError, FeatureDisabled};

/// What kind of error a client sees in `errorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong.
    BadData,
    /// The query can't be evaluated or is over a limit.
    Execution,
    /// The query was cancelled: by a client that hung up, which reads nothing, or through the API.
    Canceled,
    /// The query took too long.
    Timeout,
    /// Something failed here.
    Internal,
    /// The tenant has too much under way.
    TooManyRequests,
    /// Not at the moment.
    Unavailable,
    /// There is no such thing.
    NotFound,
}

impl ErrorKind {
    fn name(self) -> &'static str {
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

    /// The status code.
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

/// An error answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Its kind.
    pub kind: ErrorKind,
    /// What the client reads.
    pub message: String,
}

impl ApiError {
    /// An error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        ApiError { kind, message: message.into() }
    }

    /// The request is wrong.
    pub fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// A parameter of the request is wrong.
    pub fn parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {reason}"))
    }

    /// Something failed here.
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
            QueryError::Storage(_) => ErrorKind::Internal,
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
            SelectError::Storage(_) => ErrorKind::Internal,
        };
        ApiError::new(kind, error.to_string())
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
