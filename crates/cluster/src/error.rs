//! Why a proposal failed, or why its outcome is unknown.

use std::io;

use crate::state::Refusal;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The state machine refused it, and nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A disk failed, or the object store that holds exports.
    #[error(transparent)]
    Storage(#[from] io::Error),
    /// No leader accepted the command in time. It may still take effect; sending it again is safe.
    #[error("meta is unavailable: {0}")]
    Unavailable(String),
    /// Raft stopped on this node.
    #[error("meta has stopped on this node: {0}")]
    Stopped(String),
}
