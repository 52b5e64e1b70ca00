//! Why a query fails.

use pharos_model::SelectError;

/// Why a query failed, in Prometheus's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It took longer than it may (error type `timeout`).
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// It was cancelled (error type `canceled`).
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// It would hold more samples than it may (error type `execution`).
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// It needs more memory or selects more series than it may (error type `execution`).
    #[error("{0}")]
    Limit(String),
    /// Its source failed (error type `internal`).
    #[error("expanding series: {0}")]
    Storage(String),
    /// It can't be evaluated (error type `execution`).
    #[error("{0}")]
    Execution(String),
    /// Its times or its type are not valid (error type `bad_data`).
    #[error("{0}")]
    BadData(String),
}

impl From<SelectError> for QueryError {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Cancelled => QueryError::Canceled,
            SelectError::Timeout(_) => QueryError::Timeout,
            SelectError::Memory { .. } | SelectError::Series { .. } => QueryError::Limit(error.to_string()),
            SelectError::Storage(reason) => QueryError::Storage(reason),
        }
    }
}
