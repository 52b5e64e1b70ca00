//! Why the head cannot be opened or asked to do something.

use std::path::PathBuf;

/// A failure of the head as a whole. Writes fail with [`pharos_model::WriteError`], reads with [`pharos_model::SelectError`].
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// Another process has the directory.
    #[error("{dir} is in use by another process: its lock file {lock} is held")]
    Locked {
        /// The directory of the log.
        dir: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// The file system failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The log is damaged where no crash damages it.
    #[error(
        "write-ahead log is damaged: {file} at offset {offset}: {reason}; repair it with 'pharos tool wal repair {dir}'"
    )]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// Where the bad record begins.
        offset: u64,
        /// What is wrong with it.
        reason: String,
        /// The directory of the log.
        dir: PathBuf,
    },
    /// Another version of Pharos wrote the log.
    #[error(
        "write-ahead log segment {file} cannot be read: {reason}; ship it with the version that wrote it, or remove it and lose it"
    )]
    Version {
        /// The segment.
        file: PathBuf,
        /// Which version it has.
        reason: String,
    },
    /// A segment between others is not there.
    #[error("write-ahead log in {dir} lacks segment {segment}; accept the loss with 'pharos tool wal repair {dir}'")]
    MissingSegment {
        /// The directory of the log.
        dir: PathBuf,
        /// The number of the segment.
        segment: u32,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// The metrics are registered already.
    #[error("cannot register metrics of the head: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The log is closed or full.
    #[error(transparent)]
    Write(#[from] pharos_model::WriteError),
}
