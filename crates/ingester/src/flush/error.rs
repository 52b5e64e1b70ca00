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
    /// A listed block could not be read, so it is not known whether it has the samples of the window.
    #[error("block {block}, which should have samples of window {window} of tenant {tenant}, cannot be read: {source}")]
    Unreadable {
        /// The tenant of the window.
        tenant: TenantId,
        /// Start of the window.
        window: i64,
        /// Id of the block.
        block: String,
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

impl FlushError {
    /// Whether the cause lies in this window, so that the tenant's other windows need not wait.
    pub(super) fn is_of_window(&self) -> bool {
        match self {
            FlushError::Block { source, .. } => !matches!(source, BlockError::Store(_)),
            FlushError::Unreadable { .. } | FlushError::Aborted(_) => true,
            FlushError::Meta(_) | FlushError::Log(_) | FlushError::Head(_) => false,
        }
    }
}

/// Runs blocking work on the blocking thread pool.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FlushError> + Send + 'static,
) -> Result<T, FlushError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| FlushError::Aborted(e.to_string()))?
}
