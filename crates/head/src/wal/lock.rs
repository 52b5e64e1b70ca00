//! The lock of a log's directory, which one process at a time can hold.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::HeadError;
use crate::fs::{DirLock, Fs};

const FILE: &str = "lock";

/// Locks the directory of a log until the lock is dropped. Fails while another process holds it.
pub(crate) fn lock_dir(fs: &dyn Fs, dir: &Path) -> Result<Box<dyn DirLock>, HeadError> {
    let lock = dir.join(FILE);
    fs.lock(&lock).map_err(|source| match source.kind() {
        ErrorKind::WouldBlock => HeadError::Locked { dir: dir.into(), lock },
        _ => HeadError::Io { action: "lock", path: lock, source },
    })
}
