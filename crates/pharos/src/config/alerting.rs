//! The section `alerting`. It is checked, and printed by the status API, but has no effect yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pharos_config::{
    Authorization, BasicAuth, FileSdConfig, HeaderValues, HttpSdConfig, PromDuration, RelabelConfig, Secret,
    TargetGroup, TlsConfig,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::remote::http_section;

/// The section `alerting`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertingConfig {
    /// Relabelling of alerts, for all Alertmanagers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alert_relabel_configs: Vec<Option<RelabelConfig>>,
    /// Alertmanagers to send alerts to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alertmanagers: Vec<AlertmanagerConfig>,
}

http_section! {
    /// An entry of `alerting.alertmanagers`.
    pub struct AlertmanagerConfig {
        /// `http` or `https`. Default http.
        pub scheme: String = "http".into(),
        /// Path prefix of the API. Default none.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub path_prefix: String = String::new(),
        /// Timeout of a request. Default 10s.
        pub timeout: PromDuration = PromDuration::from_secs(10),
        /// Version of the API. Only `v2` is supported.
        pub api_version: String = "v2".into(),
        /// Relabelling of discovered Alertmanagers.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub relabel_configs: Vec<Option<RelabelConfig>> = Vec::new(),
        /// Relabelling of alerts, for these Alertmanagers.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub alert_relabel_configs: Vec<Option<RelabelConfig>> = Vec::new(),
        /// Addresses in the configuration file.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub static_configs: Vec<TargetGroup> = Vec::new(),
        /// Addresses in discovery files.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub file_sd_configs: Vec<FileSdConfig> = Vec::new(),
        /// Addresses from HTTP discovery servers.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub http_sd_configs: Vec<HttpSdConfig> = Vec::new(),
    }
    opaque: [
        /// AWS request signing (not supported).
        sigv4,
        /// A discovery mechanism that is not supported.
        aws_sd_configs,
        /// A discovery mechanism that is not supported.
        azure_sd_configs,
        /// A discovery mechanism that is not supported.
        consul_sd_configs,
        /// A discovery mechanism that is not supported.
        digitalocean_sd_configs,
        /// A discovery mechanism that is not supported.
        dns_sd_configs,
        /// A discovery mechanism that is not supported.
        docker_sd_configs,
        /// A discovery mechanism that is not supported.
        dockerswarm_sd_configs,
        /// A discovery mechanism that is not supported.
        ec2_sd_configs,
        /// A discovery mechanism that is not supported.
        eureka_sd_configs,
        /// A discovery mechanism that is not supported.
        gce_sd_configs,
        /// A discovery mechanism that is not supported.
        hetzner_sd_configs,
        /// A discovery mechanism that is not supported.
        ionos_sd_configs,
        /// A discovery mechanism that is not supported.
        kubernetes_sd_configs,
        /// A discovery mechanism that is not supported.
        kuma_sd_configs,
        /// A discovery mechanism that is not supported.
        lightsail_sd_configs,
        /// A discovery mechanism that is not supported.
        linode_sd_configs,
        /// A discovery mechanism that is not supported.
        marathon_sd_configs,
        /// A discovery mechanism that is not supported.
        nerve_sd_configs,
        /// A discovery mechanism that is not supported.
        nomad_sd_configs,
        /// A discovery mechanism that is not supported.
        openstack_sd_configs,
        /// A discovery mechanism that is not supported.
        ovhcloud_sd_configs,
        /// A discovery mechanism that is not supported.
        puppetdb_sd_configs,
        /// A discovery mechanism that is not supported.
        scaleway_sd_configs,
        /// A discovery mechanism that is not supported.
        serverset_sd_configs,
        /// A discovery mechanism that is not supported.
        stackit_sd_configs,
        /// A discovery mechanism that is not supported.
        triton_sd_configs,
        /// A discovery mechanism that is not supported.
        uyuni_sd_configs,
        /// A discovery mechanism that is not supported.
        vultr_sd_configs,
    ]
}
