//! Why a flush failed, and how its blocking work runs.

use pharos_block::BlockError;
use pharos_cluster::MetaError;
use pharos_head::HeadError;
use pharos_model::{TenantId, WriteError};

/// Why a window could not be shipped. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The block could not be written or uploaded.
    #[error("block of window {window} of tenant {tenant}: {source}")]
    Block {
        /// Whose.
        tenant: TenantId,
        /// Start of the window.
        window: i64,
        /// What failed.
        source: BlockError,
    },
    /// The catalogue did not take it.
    #[error("catalogue: {0}")]
    Meta(#[from] MetaError),
    /// The log did not take it.
    #[error("write-ahead log: {0}")]
    Log(#[from] WriteError),
    /// The head failed.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The work was broken off.
    #[error("broken off: {0}")]
    Aborted(String),
}

/// Runs work that blocks on a thread for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FlushError> + Send + 'static,
) -> Result<T, FlushError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| FlushError::Aborted(e.to_string()))?
}
