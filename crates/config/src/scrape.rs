//! An entry of `scrape_configs`, as it is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::discovery::{FileSdConfig, HttpSdConfig, TargetGroup};
use crate::http::{join, with_http_client};
use crate::protocols::{EscapingScheme, ScrapeProtocol, ValidationScheme};
use crate::relabel::RelabelConfig;
use crate::units::{ByteSize, PromDuration};

/// Declares `ScrapeConfig` with the discovery mechanisms that are accepted but not served.
macro_rules! scrape_config {
    (unserved: [$($mechanism:ident),* $(,)?], $($body:tt)*) => {
        with_http_client! {
            /// An entry of `scrape_configs`. What is `None` or 0 is inherited from `global`.
            #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct ScrapeConfig {
                $($body)*
                $(
                    /// A discovery mechanism that is not supported yet.
                    #[serde(skip_serializing)]
                    pub $mechanism: Option<IgnoredAny>,
                )*
            }
        }

        impl ScrapeConfig {
            fn unsupported_mechanisms(&self) -> Vec<&'static str> {
                [$((stringify!($mechanism), self.$mechanism.is_some())),*]
                    .into_iter()
                    .filter_map(|(name, is_set)| is_set.then_some(name))
                    .collect()
            }
        }

        impl Default for ScrapeConfig {
            fn default() -> Self {
                ScrapeConfig {
                    $($mechanism: None,)*
                    job_name: String::new(),
                    honor_labels: false,
                    honor_timestamps: true,
                    track_timestamps_staleness: false,
                    params: BTreeMap::new(),
                    scrape_interval: PromDuration::default(),
                    scrape_timeout: PromDuration::default(),
                    scrape_protocols: None,
                    fallback_scrape_protocol: None,
                    scrape_native_histograms: None,
                    always_scrape_classic_histograms: None,
                    convert_classic_histograms_to_nhcb: None,
                    scrape_failure_log_file: None,
                    metrics_path: "/metrics".into(),
                    scheme: "http".into(),
                    enable_compression: true,
                    body_size_limit: ByteSize(0),
                    sample_limit: 0,
                    target_limit: 0,
                    label_limit: 0,
                    label_name_length_limit: 0,
                    label_value_length_limit: 0,
                    native_histogram_bucket_limit: 0,
                    native_histogram_min_bucket_factor: 0.0,
                    keep_dropped_targets: 0,
                    metric_name_validation_scheme: None,
                    metric_name_escaping_scheme: None,
                    extra_scrape_metrics: None,
                    static_configs: Vec::new(),
                    file_sd_configs: Vec::new(),
                    http_sd_configs: Vec::new(),
                    relabel_configs: Vec::new(),
                    metric_relabel_configs: Vec::new(),
                    basic_auth: None,
                    authorization: None,
                    oauth2: None,
                    bearer_token: Default::default(),
                    bearer_token_file: None,
                    tls_config: None,
                    follow_redirects: true,
                    enable_http2: true,
                    proxy_url: None,
                    no_proxy: None,
                    proxy_from_environment: None,
                    proxy_connect_header: None,
                    http_headers: BTreeMap::new(),
                }
            }
        }
    };
}

scrape_config! {
    unserved: [
        aws_sd_configs, azure_sd_configs, consul_sd_configs, digitalocean_sd_configs, dns_sd_configs, docker_sd_configs,
        dockerswarm_sd_configs, ec2_sd_configs, ecs_sd_configs, elasticache_sd_configs, eureka_sd_configs,
        gce_sd_configs, hetzner_sd_configs, ionos_sd_configs, kubernetes_sd_configs, kuma_sd_configs,
        lightsail_sd_configs, linode_sd_configs, marathon_sd_configs, msk_sd_configs, nerve_sd_configs,
        nomad_sd_configs, oci_sd_configs, openstack_sd_configs, outscale_sd_configs, ovhcloud_sd_configs,
        puppetdb_sd_configs, rds_sd_configs, scaleway_sd_configs, serverset_sd_configs, stackit_sd_configs,
        triton_sd_configs, uyuni_sd_configs, vultr_sd_configs,
    ],
    /// Name of the section, and the `job` label of its series.
    pub job_name: String,
    /// Whether labels of the target win over those of its discovery. Default false: they become `exported_*`.
    pub honor_labels: bool,
    /// Whether timestamps of the target are kept. Default true.
    pub honor_timestamps: bool,
    /// Whether series with timestamps of the target get stale markers too. Default false.
    pub track_timestamps_staleness: bool,
    /// Query parameters of the request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Vec<String>>,
    /// How often targets are scraped.
    pub scrape_interval: PromDuration,
    /// How long a scrape may take.
    pub scrape_timeout: PromDuration,
    /// Formats to ask for, most wanted first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
    /// Format that is assumed when a target names none or an unknown one. Default none: the scrape fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Whether native histograms are scraped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_native_histograms: Option<bool>,
    /// Whether classic histograms are stored also when there is a native one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub always_scrape_classic_histograms: Option<bool>,
    /// Whether classic histograms are stored as native ones with custom buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub convert_classic_histograms_to_nhcb: Option<bool>,
    /// File to which failed scrapes are logged (not supported yet).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_failure_log_file: Option<PathBuf>,
    /// Path of the request. Default `/metrics`.
    pub metrics_path: String,
    /// `http` or `https`. Default `http`.
    pub scheme: String,
    /// Whether a compressed answer is asked for. Default true.
    pub enable_compression: bool,
    /// Most bytes of an uncompressed scrape.
    #[serde(skip_serializing_if = "ByteSize::is_zero")]
    pub body_size_limit: ByteSize,
    /// Most samples of a scrape, after relabelling.
    pub sample_limit: u64,
    /// Most targets, after relabelling.
    pub target_limit: u64,
    /// Most labels of a sample, after relabelling.
    pub label_limit: u64,
    /// Longest label name, bytes.
    pub label_name_length_limit: u64,
    /// Longest label value, bytes.
    pub label_value_length_limit: u64,
    /// Most buckets of a native histogram; resolution is reduced to get there. 0 means no limit.
    pub native_histogram_bucket_limit: u64,
    /// Least growth from one bucket to the next; resolution is reduced to get there. 0 means none.
    pub native_histogram_min_bucket_factor: f64,
    /// Most dropped targets that are remembered.
    pub keep_dropped_targets: u64,
    /// Which names are valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name_validation_scheme: Option<ValidationScheme>,
    /// How targets are asked to escape names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name_escaping_scheme: Option<EscapingScheme>,
    /// Whether `scrape_timeout_seconds`, `scrape_sample_limit` and `scrape_body_size_bytes` are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_scrape_metrics: Option<bool>,
    /// Targets that are written here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub static_configs: Vec<TargetGroup>,
    /// Targets from files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub file_sd_configs: Vec<FileSdConfig>,
    /// Targets from HTTP servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_sd_configs: Vec<HttpSdConfig>,
    /// Rules for targets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub relabel_configs: Vec<Option<RelabelConfig>>,
    /// Rules for samples.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metric_relabel_configs: Vec<Option<RelabelConfig>>,
}

impl ScrapeConfig {
    /// Makes relative paths relative to the configuration file's folder.
    pub fn set_directory(&mut self, directory: &Path) {
        self.set_http_directory(directory);
        join(directory, &mut self.scrape_failure_log_file);
        self.file_sd_configs.iter_mut().for_each(|sd| sd.set_directory(directory));
        self.http_sd_configs.iter_mut().for_each(|sd| sd.set_directory(directory));
    }

    /// Names of fields that are set and have no effect yet.
    pub fn unsupported(&self) -> Vec<&'static str> {
        let mut names = self.unsupported_mechanisms();
        names.extend(self.unsupported_http_fields());
        names.extend(self.http_sd_configs.iter().flat_map(HttpSdConfig::unsupported));
        if self.scrape_failure_log_file.is_some() {
            names.push("scrape_failure_log_file");
        }
        names
    }
}
