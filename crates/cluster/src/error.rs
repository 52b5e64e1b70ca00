//! Why a proposal had no effect, or none that is known.

use std::io;

use crate::state::Refusal;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The state machine refused it, and nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A disk or the object store of exports failed.
    #[error(transparent)]
    Storage(#[from] io::Error),
    /// No leader took the command in time. It may still take effect; sending it again is safe.
    #[error("meta is unavailable: {0}")]
    Unavailable(String),
    /// Raft stopped on this node.
    #[error("meta has stopped on this node: {0}")]
    Stopped(String),
}
