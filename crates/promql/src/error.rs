//! Why a query fails. The texts are those of Prometheus.

use pharos_model::{MemoryFull, SelectError};

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
    /// Requests hold as much memory as they may.
    #[error(transparent)]
    Full(MemoryFull),
    /// Its source failed (error type `internal`).
    #[error("expanding series: {0}")]
    Storage(String),
    /// Samples that it reads are damaged or missing (error type `internal`).
    #[error("expanding series: {0}")]
    Damaged(String),
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
            SelectError::Full(full) => QueryError::Full(full),
            SelectError::Storage(reason) => QueryError::Storage(reason),
            SelectError::Damaged(reason) => QueryError::Damaged(reason),
        }
    }
}

/// The error of two series with the same labels.
pub(crate) fn same_labels() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_selection_cancels_the_query() {
        assert_eq!(QueryError::from(SelectError::Cancelled), QueryError::Canceled);
    }

    #[test]
    fn a_selection_that_times_out_ends_the_query_in_the_words_of_prometheus() {
        let error = QueryError::from(SelectError::Timeout(std::time::Duration::from_secs(3)));
        assert_eq!(error.to_string(), "query timed out in expression evaluation");
    }

    #[test]
    fn limits_of_selections_are_limits_of_the_query() {
        let error = QueryError::from(SelectError::Memory { limit: 5 });
        assert_eq!(error, QueryError::Limit(SelectError::Memory { limit: 5 }.to_string()));
        let error = QueryError::from(SelectError::Series { limit: 5 });
        assert_eq!(error, QueryError::Limit(SelectError::Series { limit: 5 }.to_string()));
    }

    #[test]
    fn errors_of_storage_name_their_reason() {
        for error in [SelectError::Storage("disk failed".into()), SelectError::Damaged("disk failed".into())] {
            assert_eq!(QueryError::from(error).to_string(), "expanding series: disk failed");
        }
    }
}
