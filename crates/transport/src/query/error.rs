//! Why a source gave no response.

use pharos_model::wire::Malformed;
use pharos_model::{FragmentError, SelectError, ShardSet};

use super::completeness::Completeness;

/// A source may not answer for some shards; another replica has to be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// The refused shards; empty for all shards of the read.
    pub shards: ShardSet,
    /// For people.
    pub reason: String,
    /// What the source has, if that is less than [`Scope::complete_from`](super::Scope::complete_from) requires. A read that
    /// requires no more may be answered.
    pub complete: Option<Completeness>,
}

/// Why a source gave no response.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The read failed on the source.
    #[error(transparent)]
    Failed(#[from] FragmentError),
    /// The source may not answer for some shards.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The node could not be reached, or its response ended early.
    #[error("{0}")]
    Unreachable(String),
}

impl ReadError {
    /// Converts to the error of a local source.
    pub fn into_select_error(self) -> SelectError {
        match self {
            ReadError::Failed(FragmentError::Select(error)) => error,
            other => SelectError::Storage(other.to_string()),
        }
    }

    /// Whether the node is at fault, so that another node may answer.
    pub fn is_retryable(&self) -> bool {
        match self {
            ReadError::Refused(_) | ReadError::Unreachable(_) => true,
            ReadError::Failed(FragmentError::Select(SelectError::Storage(_))) => true,
            ReadError::Failed(_) => false,
        }
    }

    /// Whether what was asked for is damaged or missing, so that no node can read it.
    pub fn is_permanent(&self) -> bool {
        matches!(self, ReadError::Failed(FragmentError::Select(SelectError::Damaged(_))))
    }
}

impl From<SelectError> for ReadError {
    fn from(error: SelectError) -> Self {
        ReadError::Failed(error.into())
    }
}

impl From<Malformed> for ReadError {
    fn from(malformed: Malformed) -> Self {
        ReadError::Unreachable(format!("malformed response: {malformed}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> ReadError {
        Refused { shards: ShardSet::of(3), reason: "not in sync".into(), complete: None }.into()
    }

    #[test]
    fn another_node_is_read_when_the_node_is_at_fault() {
        assert!(refused().is_retryable());
        assert!(ReadError::Unreachable("connection refused".into()).is_retryable());
        assert!(ReadError::from(SelectError::Storage("disk".into())).is_retryable());
    }

    #[test]
    fn no_other_node_is_read_when_the_query_is_at_fault() {
        assert!(!ReadError::from(SelectError::Cancelled).is_retryable());
        assert!(!ReadError::from(SelectError::Memory { limit: 1 }).is_retryable());
        assert!(!ReadError::from(SelectError::Damaged("block".into())).is_retryable());
        assert!(!ReadError::Failed(FragmentError::TooManySamples).is_retryable());
    }

    #[test]
    fn a_select_error_survives_the_conversion_and_back() {
        let error = ReadError::from(SelectError::Series { limit: 7 }).into_select_error();
        assert!(matches!(error, SelectError::Series { limit: 7 }), "{error}");
    }

    #[test]
    fn other_errors_become_storage_errors_of_the_same_text() {
        let error = refused().into_select_error();
        assert!(matches!(&error, SelectError::Storage(text) if text == "not in sync"), "{error}");
    }
}
