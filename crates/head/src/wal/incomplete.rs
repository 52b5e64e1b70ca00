//! The marker of a log that may lack acknowledged samples: an empty file beside the segments.
//!
//! It becomes durable before the first segment of a new log is written and before a repair truncates anything. It survives
//! restarts until its owner knows that nobody relies on the missing samples.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::HeadError;
use crate::fs::Fs;

/// Differs from every segment name.
const FILE: &str = "incomplete";

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Whether the log in a directory carries the marker.
pub(crate) fn is_marked(fs: &dyn Fs, dir: &Path) -> Result<bool, HeadError> {
    let listed = fs.list(dir).map_err(|source| HeadError::Io { action: "list", path: dir.into(), source })?;
    Ok(listed.iter().any(|(name, _)| name == FILE))
}

/// Creates the marker durably.
pub(crate) fn mark(fs: &dyn Fs, dir: &Path) -> Result<(), HeadError> {
    let path = path(dir);
    let made = fs.open_write(&path).and_then(|mut file| file.sync()).and_then(|()| fs.sync_dir(dir));
    made.map_err(|source| HeadError::Io { action: "create", path, source })
}

/// Removes the marker durably. A missing marker is fine.
pub(crate) fn unmark(fs: &dyn Fs, dir: &Path) -> Result<(), HeadError> {
    let path = path(dir);
    let removed = match fs.remove(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    removed.and_then(|()| fs.sync_dir(dir)).map_err(|source| HeadError::Io { action: "remove", path, source })
}
