//! The sections that list or discover targets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::ConfigError;
use crate::glob::check_pattern;
use crate::http::with_http_client;
use crate::units::PromDuration;

/// Targets that share labels: an entry of `static_configs`, of a discovery file or of a discovery server's response.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetGroup {
    /// Addresses, as `host:port`.
    pub targets: Vec<String>,
    /// Labels that every target of the group gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable_values")]
    pub labels: BTreeMap<String, String>,
}

/// Reads `static_configs`, in which no entry may be empty.
pub(crate) fn static_groups<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<TargetGroup>, D::Error> {
    let groups = Option::<Vec<Option<TargetGroup>>>::deserialize(deserializer)?.unwrap_or_default();
    let groups: Option<Vec<_>> = groups.into_iter().collect();
    groups.ok_or_else(|| serde::de::Error::custom("empty or null section in static_configs"))
}

/// Reads labels. A `null` value is empty, which leaves its label out.
fn nullable_values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let labels = BTreeMap::<String, Option<String>>::deserialize(deserializer)?;
    Ok(labels.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

impl TargetGroup {
    /// Rejects labels with an empty name.
    pub fn check_labels(&self) -> Result<(), ConfigError> {
        match self.labels.keys().find(|name| name.is_empty()) {
            Some(name) => Err(ConfigError::new(format!("{name:?} is not a valid label name"))),
            None => Ok(()),
        }
    }
}

/// An entry of `file_sd_configs`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileSdConfig {
    /// Paths of JSON and YAML files, which may have the wildcards of Go's `filepath.Glob`: `*`, `?` and `[a-z]`. A `*` is only
    /// allowed in the last component of a path.
    pub files: Vec<String>,
    /// Time between reads of all files, even when none seems to have changed (default: 5m).
    pub refresh_interval: PromDuration,
}

impl Default for FileSdConfig {
    fn default() -> Self {
        FileSdConfig { files: Vec::new(), refresh_interval: PromDuration::from_secs(300) }
    }
}

const FILE_EXTENSIONS: [&str; 6] = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"];

impl FileSdConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.files.is_empty() {
            return Err(ConfigError::new("file service discovery config must contain at least one path name"));
        }
        match self.files.iter().find(|name| !is_discovery_file_name(name)) {
            Some(name) => Err(ConfigError::new(format!("path name {name:?} is not valid for file discovery"))),
            None => self.files.iter().try_for_each(|pattern| check_pattern(pattern)),
        }
    }

    pub(crate) fn set_directory(&mut self, directory: &Path) {
        for file in self.files.iter_mut().filter(|file| !file.is_empty()) {
            *file = directory.join(PathBuf::from(&*file)).to_string_lossy().into_owned();
        }
    }
}

/// Whether a path has a known extension, and wildcards only in its last component.
fn is_discovery_file_name(name: &str) -> bool {
    let Some(stem) = FILE_EXTENSIONS.iter().find_map(|extension| name.strip_suffix(extension)) else { return false };
    match stem.split_once('*') {
        Some((_, after)) => !after.contains('/'),
        None => true,
    }
}

with_http_client! {
    /// An entry of `http_sd_configs`.
    pub struct HttpSdConfig {
        /// The URL that answers with target groups as JSON.
        #[serde(serialize_with = "crate::units::without_password")]
        pub url: String,
        /// Time between requests (default: 1m).
        pub refresh_interval: PromDuration = PromDuration::from_secs(60),
    }
}

impl HttpSdConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.url.is_empty() {
            return Err(ConfigError::new("URL is missing"));
        }
        let url = url::Url::parse(&self.url).map_err(|e| ConfigError::new(format!("parse {:?}: {e}", self.url)))?;
        if url.scheme() != "http" && url.scheme() != "https" {
            return Err(ConfigError::new("URL scheme must be 'http' or 'https'"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(ConfigError::new("host is missing in URL"));
        }
        self.http_client().map(|_| ())
    }

    pub(crate) fn set_directory(&mut self, directory: &Path) {
        self.set_http_directory(directory);
    }
}
