//! Repairing a damaged log: what can be read is kept, the rest is cut away and said.

use std::path::{Path, PathBuf};

use super::incomplete;
use super::replay::{Segments, segment_path, truncate};
use super::segment::{ReadError, SegmentReader};
use crate::error::HeadError;
use crate::fs::{Fs, RealFs};

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Segments that are whole.
    pub intact: usize,
    /// Segments that were cut: where, how many bytes were lost, and why.
    pub truncated: Vec<Truncation>,
    /// Segments that are missing between others.
    pub missing: Vec<u32>,
}

/// One segment that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The file.
    pub file: PathBuf,
    /// Its length now, bytes; 0 when it was emptied.
    pub offset: u64,
    /// How many bytes were cut away.
    pub lost_bytes: u64,
    /// What was wrong there.
    pub reason: String,
}

/// Repairs the log in a directory, which no process may have open. Each damaged segment is cut at its first bad
/// record, and placeholders take the place of missing ones, so that the head opens again. What was cut away is lost: the log
/// is marked as incomplete before.
pub fn repair(dir: &Path) -> Result<RepairReport, HeadError> {
    repair_on(&RealFs, dir)
}

pub(crate) fn repair_on(fs: &dyn Fs, dir: &Path) -> Result<RepairReport, HeadError> {
    let lock = crate::head::lock_dir(fs, dir)?;
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
