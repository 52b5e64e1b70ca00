//! Why a notification failed.

use std::time::Duration;

/// A failed attempt to notify. The message holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotifyError {
    /// Whether another attempt may succeed.
    pub retry: bool,
    /// The least time until that attempt, if the service named one.
    pub retry_after: Option<Duration>,
    /// The class of the failure.
    pub reason: FailureReason,
    /// What happened.
    pub message: String,
}

/// The class of a failure, the label `reason` of `alertmanager_notifications_failed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// None of the others.
    Other,
    /// A status 4xx, or an answer that says that the request is wrong.
    ClientError,
    /// A status 5xx.
    ServerError,
    /// The notification was given up.
    ContextCanceled,
    /// The attempt took too long.
    ContextDeadlineExceeded,
    /// A status 401 or 403.
    AuthError,
    /// A status 429.
    RateLimited,
    /// A template failed.
    TemplateError,
    /// A file of the configuration cannot be read.
    FileReadError,
    /// The configuration is wrong.
    ConfigError,
    /// The payload cannot be encoded.
    EncodingError,
    /// The request could not be sent.
    RequestError,
    /// The notification lacks something.
    MissingContext,
}

impl FailureReason {
    /// All reasons, for metrics that begin at zero.
    pub const ALL: [FailureReason; 13] = [
        FailureReason::Other,
        FailureReason::ClientError,
        FailureReason::ServerError,
        FailureReason::ContextCanceled,
        FailureReason::ContextDeadlineExceeded,
        FailureReason::AuthError,
        FailureReason::RateLimited,
        FailureReason::TemplateError,
        FailureReason::FileReadError,
        FailureReason::ConfigError,
        FailureReason::EncodingError,
        FailureReason::RequestError,
        FailureReason::MissingContext,
    ];

    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            FailureReason::Other => "other",
            FailureReason::ClientError => "clientError",
            FailureReason::ServerError => "serverError",
            FailureReason::ContextCanceled => "contextCanceled",
            FailureReason::ContextDeadlineExceeded => "contextDeadlineExceeded",
            FailureReason::AuthError => "authError",
            FailureReason::RateLimited => "rateLimited",
            FailureReason::TemplateError => "templateError",
            FailureReason::FileReadError => "fileReadError",
            FailureReason::ConfigError => "configError",
            FailureReason::EncodingError => "encodingError",
            FailureReason::RequestError => "requestError",
            FailureReason::MissingContext => "missingContext",
        }
    }

    /// The class of a status code.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => FailureReason::AuthError,
            429 => FailureReason::RateLimited,
            400..500 => FailureReason::ClientError,
            500..600 => FailureReason::ServerError,
            _ => FailureReason::Other,
        }
    }
}

impl NotifyError {
    /// A failure that another attempt would repeat.
    pub(crate) fn permanent(reason: FailureReason, message: impl Into<String>) -> Self {
        NotifyError { retry: false, retry_after: None, reason, message: message.into() }
    }

    /// A failure after which another attempt may succeed.
    pub(crate) fn temporary(reason: FailureReason, message: impl Into<String>) -> Self {
        NotifyError { retry: true, ..NotifyError::permanent(reason, message) }
    }

    /// Says in front of the message what failed.
    pub(crate) fn within(self, what: impl std::fmt::Display) -> Self {
        NotifyError { message: format!("{what}: {}", self.message), ..self }
    }
}
