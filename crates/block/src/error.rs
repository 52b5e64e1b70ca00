//! What can go wrong with a block.

use pharos_model::SelectError;

/// Why a block could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// A file of the block is damaged or was not written by Pharos.
    #[error("block file {file} is damaged: {reason}")]
    Damaged {
        /// Path of the file in the object store.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The block's metadata is damaged or of an unknown version.
    #[error("metadata of block {block} is unusable: {reason}")]
    Meta {
        /// The block, or the path from which it was read.
        block: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something was pushed to a writer that no block can hold.
    #[error("cannot write block: {0}")]
    Input(String),
    /// The Parquet library failed to write.
    #[error("cannot encode block: {0}")]
    Encode(#[from] parquet::errors::ParquetError),
    /// The object store failed.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// A selector matches more series than allowed.
    #[error("query selects more than {0} series")]
    TooManySeries(usize),
}

impl BlockError {
    pub(crate) fn damaged(file: &str, reason: impl std::fmt::Display) -> Self {
        BlockError::Damaged { file: file.to_string(), reason: reason.to_string() }
    }
}

impl From<BlockError> for SelectError {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::TooManySeries(limit) => SelectError::Series { limit },
            other => SelectError::Storage(other.to_string()),
        }
    }
}
