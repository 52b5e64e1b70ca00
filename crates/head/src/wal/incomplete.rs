//! The marker of a log that may lack what was acknowledged: an empty file beside the segments.
//!
//! It is durable before the first segment of a log that begins empty is written, and before a repair cuts anything away, and
//! stays through restarts until its owner knows that nobody counts on what is missing.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::HeadError;
use crate::fs::Fs;

/// No name of a segment.
const FILE: &str = "incomplete";

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Whether the log in a directory is marked.
pub(crate) fn is_marked(fs: &dyn Fs, dir: &Path) -> Result<bool, HeadError> {
    let listed = fs.list(dir).map_err(|source| HeadError::Io { action: "list", path: dir.into(), source })?;
    Ok(listed.iter().any(|(name, _)| name == FILE))
}

/// Marks it, for good.
pub(crate) fn mark(fs: &dyn Fs, dir: &Path) -> Result<(), HeadError> {
    let path = path(dir);
    let made = fs.open_write(&path).and_then(|mut file| file.sync()).and_then(|()| fs.sync_dir(dir));
    made.map_err(|source| HeadError::Io { action: "create", path, source })
}

/// Takes the mark away, for good.
pub(crate) fn unmark(fs: &dyn Fs, dir: &Path) -> Result<(), HeadError> {
    let path = path(dir);
    let removed = match fs.remove(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    removed.and_then(|()| fs.sync_dir(dir)).map_err(|source| HeadError::Io { action: "remove", path, source })
}
