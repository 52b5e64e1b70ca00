//! Repairs a damaged log: keeps what can be read, truncates the rest, and reports what was lost.

use std::path::{Path, PathBuf};

use super::incomplete;
use super::lock::lock_dir;
use super::replay::{Segments, segment_path, truncate};
use super::segment::{ReadError, SegmentReader};
use crate::error::HeadError;
use crate::fs::{Fs, RealFs};

/// The result of a repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// How many segments needed no repair.
    pub intact: usize,
    /// Segments that were truncated.
    pub truncated: Vec<Truncation>,
    /// Numbers of segments that were missing between others.
    pub missing: Vec<u32>,
}

/// A segment that was truncated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The segment file.
    pub file: PathBuf,
    /// The length it was truncated to, in bytes; 0 when nothing of it was readable.
    pub offset: u64,
    /// How many bytes were lost.
    pub lost_bytes: u64,
    /// What was wrong at that offset.
    pub reason: String,
}

/// Repairs the log in a directory that no process may have open. Damaged segments are truncated at their first bad record
/// and missing ones are replaced by empty ones, so that the head opens again. Whatever is truncated is lost; the log is marked
/// as incomplete before that.
pub fn repair(dir: &Path) -> Result<RepairReport, HeadError> {
    repair_on(&RealFs, dir)
}

pub(crate) fn repair_on(fs: &dyn Fs, dir: &Path) -> Result<RepairReport, HeadError> {
    let lock = lock_dir(fs, dir)?;
    let segments = Segments::list(fs, dir)?;
    let mut report = RepairReport::default();
    for (number, path, len) in &segments.files {
        let io = |source| HeadError::Io { action: "read", path: path.clone(), source };
        let file = fs.open_read(path).map_err(io)?;
        let damage = match SegmentReader::new(file, *len, *number) {
            Ok(mut reader) => loop {
                let offset = reader.offset();
                match reader.next() {
                    Ok(Some(payload)) => match super::record::check(payload) {
                        Ok(()) => {}
                        Err(error) => break Some((offset, ReadError::Bad(error.to_string()))),
                    },
                    Ok(None) => break None,
                    Err(error) => break Some((offset, error)),
                }
            },
            Err(error) => Some((0, error)),
        };
        match damage {
            None => report.intact += 1,
            Some((_, ReadError::Io(source))) => return Err(io(source)),
            Some((_, error @ ReadError::Version(_))) => {
                return Err(HeadError::Version { file: path.clone(), reason: error.to_string() });
            }
            Some((offset, ReadError::Bad(reason))) => {
                incomplete::mark(fs, dir)?;
                truncate(fs, dir, path, *number, offset)?;
                report.truncated.push(Truncation { file: path.clone(), offset, lost_bytes: len - offset, reason });
            }
        }
    }
    for pair in segments.files.windows(2) {
        for number in pair[0].0 + 1..pair[1].0 {
            incomplete::mark(fs, dir)?;
            truncate(fs, dir, &segment_path(dir, number), number, 0)?;
            report.missing.push(number);
        }
    }
    drop(lock);
    Ok(report)
}
