//! The section `alerting`. It is checked and kept; a later release serves it.

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
    /// Rules for alerts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alert_relabel_configs: Vec<RelabelConfig>,
    /// Who gets alerts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alertmanagers: Vec<AlertmanagerConfig>,
}

http_section! {
    /// An entry of `alerting.alertmanagers`.
    pub struct AlertmanagerConfig {
        /// `http` or `https`. Default http.
        pub scheme: String = "http".into(),
        /// Prefix of the path.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub path_prefix: String = String::new(),
        /// How long a request may take. Default 10s.
        pub timeout: PromDuration = PromDuration::from_secs(10),
        /// Version of the API, `v2`.
        pub api_version: String = "v2".into(),
        /// Rules for the Alertmanagers that are discovered.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub relabel_configs: Vec<RelabelConfig> = Vec::new(),
        /// Rules for alerts.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub alert_relabel_configs: Vec<RelabelConfig> = Vec::new(),
        /// Addresses that are written here.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub static_configs: Vec<TargetGroup> = Vec::new(),
        /// Addresses from files.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub file_sd_configs: Vec<FileSdConfig> = Vec::new(),
        /// Addresses from HTTP servers.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub http_sd_configs: Vec<HttpSdConfig> = Vec::new(),
    }
    opaque: [
        /// Signatures of AWS.
        sigv4,
        /// Discovery that is not served.
        aws_sd_configs,
        /// Discovery that is not served.
        azure_sd_configs,
        /// Discovery that is not served.
        consul_sd_configs,
        /// Discovery that is not served.
        digitalocean_sd_configs,
        /// Discovery that is not served.
        dns_sd_configs,
        /// Discovery that is not served.
        docker_sd_configs,
        /// Discovery that is not served.
        dockerswarm_sd_configs,
        /// Discovery that is not served.
        ec2_sd_configs,
        /// Discovery that is not served.
        eureka_sd_configs,
        /// Discovery that is not served.
        gce_sd_configs,
        /// Discovery that is not served.
        hetzner_sd_configs,
        /// Discovery that is not served.
        ionos_sd_configs,
        /// Discovery that is not served.
        kubernetes_sd_configs,
        /// Discovery that is not served.
        kuma_sd_configs,
        /// Discovery that is not served.
        lightsail_sd_configs,
        /// Discovery that is not served.
        linode_sd_configs,
        /// Discovery that is not served.
        marathon_sd_configs,
        /// Discovery that is not served.
        nerve_sd_configs,
        /// Discovery that is not served.
        nomad_sd_configs,
        /// Discovery that is not served.
        openstack_sd_configs,
        /// Discovery that is not served.
        ovhcloud_sd_configs,
        /// Discovery that is not served.
        puppetdb_sd_configs,
        /// Discovery that is not served.
        scaleway_sd_configs,
        /// Discovery that is not served.
        serverset_sd_configs,
        /// Discovery that is not served.
        stackit_sd_configs,
        /// Discovery that is not served.
        triton_sd_configs,
        /// Discovery that is not served.
        uyuni_sd_configs,
        /// Discovery that is not served.
        vultr_sd_configs,
    ]
}
