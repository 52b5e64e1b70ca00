//! Errors of the head as a whole.

use std::path::PathBuf;

/// Why the head cannot be opened or maintained. Writes fail with [`pharos_model::WriteError`], reads with
/// [`pharos_model::SelectError`].
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// Another process holds the directory.
    #[error("{dir} is in use by another process: its lock file {lock} is held")]
    Locked {
        /// The directory of the log.
        dir: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// A file system operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The log is damaged in a place where a crash cannot have damaged it.
    #[error(
        "write-ahead log is damaged: {file} at offset {offset}: {reason}; repair it with 'pharos tool wal repair {dir}'"
    )]
    Corrupt {
        /// The segment file.
        file: PathBuf,
        /// The offset of the bad record, in bytes.
        offset: u64,
        /// What is wrong with the record.
        reason: String,
        /// The directory of the log.
        dir: PathBuf,
    },
    /// An incompatible version of Pharos wrote the log.
    #[error(
        "write-ahead log segment {file} cannot be read: {reason}; flush its samples with the version that wrote it, or delete the segment and lose them"
    )]
    Version {
        /// The segment file.
        file: PathBuf,
        /// The version that was found.
        reason: String,
    },
    /// A segment between two others is missing.
    #[error(
        "write-ahead log in {dir} is missing segment {segment}; accept the loss with 'pharos tool wal repair {dir}'"
    )]
    MissingSegment {
        /// The directory of the log.
        dir: PathBuf,
        /// The number of the segment.
        segment: u32,
    },
    /// A setting is out of range.
    #[error("{0}")]
    Config(String),
    /// The metrics could not be registered.
    #[error("cannot register metrics of the head: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The log is closed, failing or full.
    #[error(transparent)]
    Write(#[from] pharos_model::WriteError),
}
