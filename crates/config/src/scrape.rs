//! An entry of `scrape_configs` as it is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::discovery::{FileSdConfig, HttpSdConfig, TargetGroup};
use crate::http::{join, with_http_client};
use crate::protocols::{EscapingScheme, ScrapeProtocol, ValidationScheme};
use crate::relabel::RelabelConfig;
use crate::units::{ByteSize, PromDuration};

with_http_client! {
    /// An entry of `scrape_configs`. Values that are unset or 0 are inherited from `global`.
    pub struct ScrapeConfig {
        /// The name of the section, and the default `job` label of its targets.
        pub job_name: String,
        /// Whether labels of samples win over those of the target (default: false, they become `exported_*`).
        pub honor_labels: bool,
        /// Whether timestamps in the body are kept (default: true).
        pub honor_timestamps: bool = true,
        /// Whether series with timestamps in the body get stale markers too (default: false).
        pub track_timestamps_staleness: bool,
        /// The query parameters of the request.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub params: BTreeMap<String, Vec<String>>,
        /// Time between scrapes of a target.
        pub scrape_interval: PromDuration,
        /// The limit on the duration of a scrape.
        pub scrape_timeout: PromDuration,
        /// Formats to request, most wanted first.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
        /// The format of responses whose content type is missing or unknown (default: none, the scrape fails).
        #[serde(skip_serializing_if = "Option::is_none")]
        pub fallback_scrape_protocol: Option<ScrapeProtocol>,
        /// Whether native histograms are scraped.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scrape_native_histograms: Option<bool>,
        /// Whether classic histograms are stored even when there is a native one.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub always_scrape_classic_histograms: Option<bool>,
        /// Whether classic histograms are stored as native ones with custom buckets.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub convert_classic_histograms_to_nhcb: Option<bool>,
        /// The file that failed scrapes are logged to (not supported).
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scrape_failure_log_file: Option<PathBuf>,
        /// The path of the request (default: `/metrics`).
        pub metrics_path: String = "/metrics".into(),
        /// The scheme of the request, `http` or `https` (default: `http`).
        pub scheme: String = "http".into(),
        /// Whether to request a compressed response (default: true).
        pub enable_compression: bool = true,
        /// The limit on an uncompressed body.
        #[serde(skip_serializing_if = "ByteSize::is_zero")]
        pub body_size_limit: ByteSize,
        /// The limit on samples of a scrape, after relabelling.
        #[serde(deserialize_with = "crate::units::count")]
        pub sample_limit: u64,
        /// The limit on targets, after relabelling.
        #[serde(deserialize_with = "crate::units::count")]
        pub target_limit: u64,
        /// The limit on labels of a sample, after relabelling.
        #[serde(deserialize_with = "crate::units::count")]
        pub label_limit: u64,
        /// The limit on a label name, bytes.
        #[serde(deserialize_with = "crate::units::count")]
        pub label_name_length_limit: u64,
        /// The limit on a label value, bytes.
        #[serde(deserialize_with = "crate::units::count")]
        pub label_value_length_limit: u64,
        /// The limit on buckets of a native histogram, kept by reducing its resolution; 0 means no limit.
        #[serde(deserialize_with = "crate::units::count")]
        pub native_histogram_bucket_limit: u64,
        /// The least factor from one bucket to the next, kept by reducing the resolution; 0 means no limit.
        pub native_histogram_min_bucket_factor: f64,
        /// The number of dropped targets that are kept; 0 keeps all.
        #[serde(deserialize_with = "crate::units::count")]
        pub keep_dropped_targets: u64,
        /// Which names are valid.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub metric_name_validation_scheme: Option<ValidationScheme>,
        /// How targets are requested to escape names.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub metric_name_escaping_scheme: Option<EscapingScheme>,
        /// Whether each scrape reports `scrape_timeout_seconds`, `scrape_sample_limit` and `scrape_body_size_bytes` as well.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub extra_scrape_metrics: Option<bool>,
        /// Targets in the configuration file.
        #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::discovery::static_groups")]
        pub static_configs: Vec<TargetGroup>,
        /// Targets in discovery files.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub file_sd_configs: Vec<FileSdConfig>,
        /// Targets from discovery servers.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub http_sd_configs: Vec<HttpSdConfig>,
        /// The relabelling rules for targets.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub relabel_configs: Vec<Option<RelabelConfig>>,
        /// The relabelling rules for samples.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub metric_relabel_configs: Vec<Option<RelabelConfig>>,
    }
    unsupported: [other kinds of discovery]
}

impl ScrapeConfig {
    /// Resolves relative paths against the directory of the configuration file.
    pub fn set_directory(&mut self, directory: &Path) {
        self.set_http_directory(directory);
        join(directory, &mut self.scrape_failure_log_file);
        self.file_sd_configs.iter_mut().for_each(|sd| sd.set_directory(directory));
        self.http_sd_configs.iter_mut().for_each(|sd| sd.set_directory(directory));
    }

    /// The names of fields that are set but not supported.
    pub fn unsupported(&self) -> Vec<&'static str> {
        let mut names = self.unsupported_fields();
        if self.scrape_failure_log_file.is_some() {
            names.push("scrape_failure_log_file");
        }
        names
    }
}
