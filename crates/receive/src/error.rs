//! Every way in which a request fails, and its HTTP response.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pharos_model::memory::Exceeded;
use pharos_model::{MemoryFull, WriteError};

use crate::decode::DecodeError;

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReceiveError {
    /// The request is malformed, or some of its samples were rejected for good (400).
    #[error("{0}")]
    BadRequest(String),
    /// The body exceeds its limit (413).
    #[error("{0}")]
    BodyTooLarge(String),
    /// The content type or encoding is not supported (415).
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// The node is overloaded, and the sender should slow down (429).
    #[error("{0}")]
    Overloaded(String),
    /// Samples cannot be made durable at present (503).
    #[error("{0}")]
    Unavailable(String),
    /// A bug in this program (500).
    #[error("{0}")]
    Internal(String),
}

impl ReceiveError {
    fn status(&self) -> StatusCode {
        match self {
            ReceiveError::BadRequest(_) => StatusCode::BAD_REQUEST,
            ReceiveError::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ReceiveError::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ReceiveError::Overloaded(_) => StatusCode::TOO_MANY_REQUESTS,
            ReceiveError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            ReceiveError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The description for the sender, of bounded length.
    pub(super) fn message(&self) -> String {
        let mut text = self.to_string();
        if text.len() > MAX_MESSAGE_BYTES {
            text.truncate(text.floor_char_boundary(MAX_MESSAGE_BYTES));
            text.push_str("...");
        }
        text
    }

    /// The response: plain text, and `Retry-After` if a retry may succeed.
    pub(super) fn response(&self, retry_after_seconds: u32) -> Response {
        let mut response = (self.status(), self.message() + "\n").into_response();
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if matches!(self, ReceiveError::Overloaded(_) | ReceiveError::Unavailable(_)) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds));
        }
        response
    }
}

/// The limit on a message, so that huge labels are not repeated in full.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

impl From<WriteError> for ReceiveError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Overloaded(text) => ReceiveError::Overloaded(text),
            WriteError::Unavailable(text) => ReceiveError::Unavailable(text),
        }
    }
}

impl From<DecodeError> for ReceiveError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Full(full) => full.into(),
            error => ReceiveError::BadRequest(error.to_string()),
        }
    }
}

impl From<MemoryFull> for ReceiveError {
    fn from(full: MemoryFull) -> Self {
        match full.exceeded {
            // The sender cannot help it by sending less.
            Exceeded::All => ReceiveError::Unavailable(full.to_string()),
            Exceeded::Tenant(_) | Exceeded::Purpose(_) => ReceiveError::Overloaded(full.to_string()),
        }
    }
}
