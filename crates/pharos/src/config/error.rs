//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a file: line and column count from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// A mistake in a configuration file. Printed as `FILE:LINE:COLUMN: field: reason`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file as it was named.
    pub file: PathBuf,
    /// Where; none when the file as a whole cannot be read.
    pub place: Option<Place>,
    /// What is wrong, beginning with the path of the field if it has one: `scrape_configs[1].job_name: …`.
    pub reason: String,
}

impl ConfigError {
    pub(super) fn at(file: &Path, place: Option<Place>, reason: impl Into<String>) -> Self {
        ConfigError { file: file.to_path_buf(), place, reason: reason.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.reason)
    }
}
