//! Why a flush failed, and how its blocking work runs.

use pharos_block::BlockError;
use pharos_cluster::MetaError;
use pharos_head::HeadError;
use pharos_model::{TenantId, WriteError};

/// Why a window could not be flushed. It will be retried.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The block could not be written or uploaded.
    #[error("block of window {window} of tenant {tenant}: {source}")]
    Block {
        /// The tenant of the window.
        tenant: TenantId,
        /// Start of the window.
        window: i64,
        /// The cause.
        source: BlockError,
    },
    /// The commit to the catalogue failed.
    #[error("commit to the catalogue: {0}")]
    Meta(#[from] MetaError),
    /// The write-ahead log failed.
    #[error("write-ahead log: {0}")]
    Log(#[from] WriteError),
    /// The head could not be read.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A task was cancelled or panicked.
    #[error("aborted: {0}")]
    Aborted(String),
}

/// Runs blocking work on the blocking thread pool.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FlushError> + Send + 'static,
) -> Result<T, FlushError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| FlushError::Aborted(e.to_string()))?
}
