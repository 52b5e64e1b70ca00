//! The section `global`: defaults that scrape sections inherit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::http::join;
use crate::protocols::{EscapingScheme, ScrapeProtocol, ValidationScheme, check_protocols};
use crate::units::{ByteSize, PromDuration};

/// The section `global`. A limit of 0 means no limit.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GlobalConfig {
    /// Time between scrapes of a target (default: 1m).
    pub scrape_interval: PromDuration,
    /// The limit on the duration of a scrape (default: 10s, or the interval if that is shorter).
    pub scrape_timeout: PromDuration,
    /// Formats to request, most wanted first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
    /// Time between evaluations of a rule group (default: 1m).
    pub evaluation_interval: PromDuration,
    /// How far in the past rules are evaluated (default: 0s).
    pub rule_query_offset: PromDuration,
    /// The file that queries are logged to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_log_file: Option<PathBuf>,
    /// The file that failed scrapes are logged to (not supported).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_failure_log_file: Option<PathBuf>,
    /// Labels of everything that leaves the cluster: alerts, remote write, federation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub external_labels: BTreeMap<String, String>,
    /// The limit on an uncompressed body.
    #[serde(skip_serializing_if = "ByteSize::is_zero")]
    pub body_size_limit: ByteSize,
    /// The limit on samples of a scrape.
    #[serde(deserialize_with = "crate::units::count")]
    pub sample_limit: u64,
    /// The limit on targets of a section.
    #[serde(deserialize_with = "crate::units::count")]
    pub target_limit: u64,
    /// The limit on labels of a sample.
    #[serde(deserialize_with = "crate::units::count")]
    pub label_limit: u64,
    /// The limit on a label name, bytes.
    #[serde(deserialize_with = "crate::units::count")]
    pub label_name_length_limit: u64,
    /// The limit on a label value, bytes.
    #[serde(deserialize_with = "crate::units::count")]
    pub label_value_length_limit: u64,
    /// The number of dropped targets that are kept for each section; 0 keeps all.
    #[serde(deserialize_with = "crate::units::count")]
    pub keep_dropped_targets: u64,
    /// Which names are valid (default: utf8).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name_validation_scheme: Option<ValidationScheme>,
    /// How targets are requested to escape names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name_escaping_scheme: Option<EscapingScheme>,
    /// Whether native histograms are scraped (default: false).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_native_histograms: Option<bool>,
    /// Whether classic histograms are stored as native ones with custom buckets (default: false).
    pub convert_classic_histograms_to_nhcb: bool,
    /// Whether classic histograms are stored even when there is a native one (default: false).
    pub always_scrape_classic_histograms: bool,
    /// Whether each scrape reports `scrape_timeout_seconds`, `scrape_sample_limit` and `scrape_body_size_bytes` as well
    /// (default: false).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_scrape_metrics: Option<bool>,
    /// The limit on series of a query, for Prometheus's feature `query-cost`; has no effect in Pharos, whose limits are in the
    /// section `limits`.
    #[serde(skip_serializing_if = "crate::units::is_zero", deserialize_with = "crate::units::count")]
    pub query_max_series: u64,
    /// The limit on samples that a query reads; has no effect in Pharos.
    #[serde(skip_serializing_if = "crate::units::is_zero", deserialize_with = "crate::units::count")]
    pub query_max_samples_read: u64,
    /// The limit on the duration of a query; has no effect in Pharos.
    #[serde(skip_serializing_if = "PromDuration::is_zero")]
    pub query_max_duration: PromDuration,
}

const DEFAULT_INTERVAL: PromDuration = PromDuration::from_secs(60);
const DEFAULT_TIMEOUT: PromDuration = PromDuration::from_secs(10);

impl Default for GlobalConfig {
    fn default() -> Self {
        GlobalConfig {
            scrape_interval: PromDuration::default(),
            scrape_timeout: PromDuration::default(),
            scrape_protocols: None,
            evaluation_interval: PromDuration::default(),
            rule_query_offset: PromDuration::default(),
            query_log_file: None,
            query_max_series: 0,
            query_max_samples_read: 0,
            query_max_duration: PromDuration::default(),
            scrape_failure_log_file: None,
            external_labels: BTreeMap::new(),
            body_size_limit: ByteSize(0),
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            keep_dropped_targets: 0,
            metric_name_validation_scheme: None,
            metric_name_escaping_scheme: None,
            scrape_native_histograms: None,
            convert_classic_histograms_to_nhcb: false,
            always_scrape_classic_histograms: false,
            extra_scrape_metrics: None,
        }
    }
}

impl GlobalConfig {
    /// Fills in defaults and checks the section. Idempotent; a missing section resolves to the defaults.
    pub fn resolve(mut self) -> Result<Self, ConfigError> {
        let scheme = self.metric_name_validation_scheme.unwrap_or_default();
        self.metric_name_validation_scheme = Some(scheme);
        if let Some(name) = self.external_labels.keys().find(|name| !scheme.is_valid_label_name(name)) {
            return Err(ConfigError::new(format!("{name:?} is not a valid label name")));
        }
        if self.scrape_interval.is_zero() {
            self.scrape_interval = DEFAULT_INTERVAL;
        }
        if self.scrape_timeout > self.scrape_interval {
            return Err(ConfigError::new("global scrape timeout greater than scrape interval"));
        }
        if self.scrape_timeout.is_zero() {
            self.scrape_timeout = DEFAULT_TIMEOUT.min(self.scrape_interval);
        }
        if self.evaluation_interval.is_zero() {
            self.evaluation_interval = DEFAULT_INTERVAL;
        }
        if let Some(protocols) = &self.scrape_protocols {
            check_protocols(protocols).map_err(|e| ConfigError::new(format!("{e} for global config")))?;
        }
        Ok(self)
    }

    /// Resolves relative paths against the directory of the configuration file.
    pub fn set_directory(&mut self, directory: &Path) {
        join(directory, &mut self.query_log_file);
        join(directory, &mut self.scrape_failure_log_file);
    }
}
