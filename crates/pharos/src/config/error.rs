//! The error of a configuration file.

use std::fmt;
use std::path::{Path, PathBuf};

/// A position in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, counted from 1.
    pub line: u64,
    /// Column in characters, counted from 1.
    pub column: u64,
}

/// A mistake in a configuration file. Printed as `FILE:LINE:COLUMN: field: reason`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The path by which the file was opened.
    pub file: PathBuf,
    /// Where the mistake is; none when the file cannot be read.
    pub place: Option<Place>,
    /// What is wrong. Starts with the path of the field, if there is one: `scrape_configs[1].job_name: …`.
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
