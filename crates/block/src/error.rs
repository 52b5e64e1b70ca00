//! Errors of reading and writing blocks.

use pharos_model::SelectError;

/// Why a block could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// A file of the block is damaged or was not written by Pharos.
    #[error("block file {file} is damaged: {reason}")]
    Damaged {
        /// The path of the file in the object store.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The metadata of the block is damaged or of an unknown version.
    #[error("metadata of block {block} is unusable: {reason}")]
    Meta {
        /// The id of the block, or its folder.
        block: String,
        /// What is wrong.
        reason: String,
    },
    /// The input of a writer cannot be stored in a block.
    #[error("cannot write block: {0}")]
    Input(String),
    /// The Parquet library failed to encode the block.
    #[error("cannot encode block: {0}")]
    Encode(#[from] parquet::errors::ParquetError),
    /// A request to the object store failed.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// A selector matches more series than the limit allows.
    #[error("query selects more than {0} series (max_query_series)")]
    TooManySeries(usize),
}

impl BlockError {
    pub(crate) fn damaged(file: &str, reason: impl std::fmt::Display) -> Self {
        BlockError::Damaged { file: file.to_string(), reason: reason.to_string() }
    }

    /// Whether the block itself is damaged or missing, so that no other attempt or node can read it.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            BlockError::Damaged { .. }
                | BlockError::Meta { .. }
                | BlockError::Store(object_store::Error::NotFound { .. })
        )
    }
}

impl From<BlockError> for SelectError {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::TooManySeries(limit) => SelectError::Series { limit },
            damaged if damaged.is_permanent() => SelectError::Damaged(damaged.to_string()),
            other => SelectError::Storage(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_and_absence_are_permanent_and_failed_requests_are_not() {
        let missing = object_store::Error::NotFound { path: "b/data.parquet".into(), source: "gone".into() };
        let broken = object_store::Error::Generic { store: "s3", source: "reset by peer".into() };
        assert!(matches!(BlockError::damaged("f", "checksum").into(), SelectError::Damaged(_)));
        assert!(
            matches!(BlockError::from(missing).into(), SelectError::Damaged(text) if text.contains("data.parquet"))
        );
        assert!(matches!(BlockError::from(broken).into(), SelectError::Storage(_)));
        assert!(matches!(BlockError::TooManySeries(3).into(), SelectError::Series { limit: 3 }));
    }
}
