//! The sections `remote_write` and `remote_read`. They are checked and kept; a later release serves them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pharos_config::{
    Authorization, BasicAuth, HeaderValues, PromDuration, RelabelConfig, Secret, TlsConfig, without_password,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// Declares a section with its defaults and, besides its own fields, those of an HTTP client.
macro_rules! http_section {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty = $default:expr,)*
    } opaque: [$($(#[$opaque_meta:meta])* $opaque:ident),* $(,)?]) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            $(
                $(#[$opaque_meta])*
                #[serde(skip_serializing)]
                pub $opaque: Option<IgnoredAny>,
            )*
            /// User name and password.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub basic_auth: Option<BasicAuth>,
            /// The `Authorization` header.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub authorization: Option<Authorization>,
            /// OAuth 2.
            #[serde(skip_serializing)]
            pub oauth2: Option<IgnoredAny>,
            /// A bearer token; the older form of `authorization`.
            #[serde(skip_serializing_if = "Secret::is_empty")]
            pub bearer_token: Secret,
            /// A file with a bearer token; the older form of `authorization`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub bearer_token_file: Option<PathBuf>,
            /// TLS.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub tls_config: Option<TlsConfig>,
            /// Whether redirects are followed. Default true.
            pub follow_redirects: bool,
            /// Whether HTTP/2 may be negotiated over TLS. Default true.
            pub enable_http2: bool,
            /// A proxy.
            #[serde(skip_serializing_if = "String::is_empty", serialize_with = "pharos_config::without_password")]
            pub proxy_url: String,
            /// Addresses that need no proxy.
            #[serde(skip_serializing_if = "String::is_empty")]
            pub no_proxy: String,
            /// Whether the proxy is taken from the environment.
            #[serde(skip_serializing_if = "crate::config::is_default")]
            pub proxy_from_environment: bool,
            /// Headers for the proxy.
            #[serde(skip_serializing)]
            pub proxy_connect_header: Option<IgnoredAny>,
            /// Headers that are added to requests.
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            pub http_headers: BTreeMap<String, HeaderValues>,
        }

        impl Default for $name {
            fn default() -> Self {
                $name {
                    $($field: $default,)*
                    $($opaque: None,)*
                    basic_auth: None,
                    authorization: None,
                    oauth2: None,
                    bearer_token: Secret::default(),
                    bearer_token_file: None,
                    tls_config: None,
                    follow_redirects: true,
                    enable_http2: true,
                    proxy_url: String::new(),
                    no_proxy: String::new(),
                    proxy_from_environment: false,
                    proxy_connect_header: None,
                    http_headers: BTreeMap::new(),
                }
            }
        }
    };
}
pub(super) use http_section;

http_section! {
    /// An entry of `remote_write`.
    pub struct RemoteWriteConfig {
        /// Where samples are sent.
        #[serde(serialize_with = "without_password")]
        pub url: String = String::new(),
        /// How long a request may take. Default 30s.
        pub remote_timeout: PromDuration = PromDuration::from_secs(30),
        /// Headers that are added.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub headers: BTreeMap<String, String> = BTreeMap::new(),
        /// Rules for samples.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub write_relabel_configs: Vec<RelabelConfig> = Vec::new(),
        /// Name, unique if given.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub name: String = String::new(),
        /// Whether exemplars are sent. Default false.
        #[serde(skip_serializing_if = "super::is_default")]
        pub send_exemplars: bool = false,
        /// Whether native histograms are sent. Default false.
        #[serde(skip_serializing_if = "super::is_default")]
        pub send_native_histograms: bool = false,
        /// Whether each connection may go to another address of the name. Default false.
        #[serde(skip_serializing_if = "super::is_default")]
        pub round_robin_dns: bool = false,
        /// Message that is sent. Default `prometheus.WriteRequest`.
        pub protobuf_message: String = "prometheus.WriteRequest".into(),
        /// The queue in front of the receiver.
        pub queue_config: QueueConfig = QueueConfig::default(),
        /// Sending of metadata.
        pub metadata_config: MetadataConfig = MetadataConfig::default(),
    }
    opaque: [
        /// Signatures of AWS.
        sigv4,
        /// Tokens of Azure.
        azuread,
        /// Tokens of Google Cloud.
        google_iam,
    ]
}

/// `queue_config` of a remote write section.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Samples waiting a shard.
    pub capacity: u64,
    /// Most senders.
    pub max_shards: u64,
    /// Fewest senders.
    pub min_shards: u64,
    /// Most samples of a request.
    pub max_samples_per_send: u64,
    /// How long a sample may wait for company.
    pub batch_send_deadline: PromDuration,
    /// First pause before a retry.
    pub min_backoff: PromDuration,
    /// Longest pause before a retry.
    pub max_backoff: PromDuration,
    /// Whether 429 is retried.
    #[serde(skip_serializing_if = "super::is_default")]
    pub retry_on_http_429: bool,
    /// Age from which samples are dropped.
    #[serde(skip_serializing_if = "PromDuration::is_zero")]
    pub sample_age_limit: PromDuration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        QueueConfig {
            capacity: 10_000,
            max_shards: 50,
            min_shards: 1,
            max_samples_per_send: 2000,
            batch_send_deadline: PromDuration::from_secs(5),
            min_backoff: PromDuration::from_millis(30),
            max_backoff: PromDuration::from_secs(5),
            retry_on_http_429: false,
            sample_age_limit: PromDuration::default(),
        }
    }
}

/// `metadata_config` of a remote write section.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetadataConfig {
    /// Whether metadata is sent.
    pub send: bool,
    /// How often.
    pub send_interval: PromDuration,
    /// Most entries of a request.
    pub max_samples_per_send: u64,
}

impl Default for MetadataConfig {
    fn default() -> Self {
        MetadataConfig { send: true, send_interval: PromDuration::from_secs(60), max_samples_per_send: 2000 }
    }
}

http_section! {
    /// An entry of `remote_read`.
    pub struct RemoteReadConfig {
        /// Where samples are read.
        #[serde(serialize_with = "without_password")]
        pub url: String = String::new(),
        /// How long a request may take. Default 1m.
        pub remote_timeout: PromDuration = PromDuration::from_secs(60),
        /// Most bytes of a frame of a streamed answer.
        pub chunked_read_limit: u64 = 50_000_000,
        /// Headers that are added.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub headers: BTreeMap<String, String> = BTreeMap::new(),
        /// Whether it is asked for time that is complete here too. Default false.
        pub read_recent: bool = false,
        /// Name, unique if given.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub name: String = String::new(),
        /// Labels that a selector must have for this source to be asked.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub required_matchers: BTreeMap<String, String> = BTreeMap::new(),
        /// Whether external labels are matched there. Default true.
        pub filter_external_labels: bool = true,
    }
    opaque: []
}
