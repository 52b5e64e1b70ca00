//! Why a proposal had no effect.

use std::io;

use crate::state::Refusal;

/// Why a command had no effect.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The state machine refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk, or an export.
    #[error(transparent)]
    Storage(#[from] io::Error),
    /// Nobody could carry it out in time; it may take effect yet. Sending it again is safe.
    #[error("meta is not available: {0}")]
    Unavailable(String),
    /// This node's part of meta has ended.
    #[error("meta has ended: {0}")]
    Stopped(String),
}
