//! The sections `remote_write` and `remote_read`. They are checked, and printed by the status API, but have no effect yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pharos_config::{
    Authorization, BasicAuth, HeaderValues, PromDuration, RelabelConfig, Secret, TlsConfig, without_password,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// Declares a section with its defaults, and adds the fields of an HTTP client.
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
            /// Credentials for HTTP basic authentication.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub basic_auth: Option<BasicAuth>,
            /// The `Authorization` header.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub authorization: Option<Authorization>,
            /// OAuth 2.0 client credentials.
            #[serde(skip_serializing)]
            pub oauth2: Option<IgnoredAny>,
            /// A bearer token. `authorization` is the newer form.
            #[serde(skip_serializing_if = "Secret::is_empty")]
            pub bearer_token: Secret,
            /// A file with a bearer token. `authorization` is the newer form.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub bearer_token_file: Option<PathBuf>,
            /// TLS settings.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub tls_config: Option<TlsConfig>,
            /// Whether redirects are followed. Default true.
            pub follow_redirects: bool,
            /// Whether HTTP/2 may be negotiated over TLS. Default true.
            pub enable_http2: bool,
            /// URL of a proxy.
            #[serde(skip_serializing_if = "String::is_empty", serialize_with = "pharos_config::without_password")]
            pub proxy_url: String,
            /// Comma-separated addresses that are reached without the proxy.
            #[serde(skip_serializing_if = "String::is_empty")]
            pub no_proxy: String,
            /// Whether the environment (`HTTPS_PROXY`, …) names the proxy. Default false.
            #[serde(skip_serializing_if = "crate::config::is_default")]
            pub proxy_from_environment: bool,
            /// Headers to send to the proxy.
            #[serde(skip_serializing)]
            pub proxy_connect_header: Option<IgnoredAny>,
            /// Headers to add to requests.
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

http_section! {
    /// An entry of `remote_write`.
    pub struct RemoteWriteConfig {
        /// URL of the endpoint that samples are sent to.
        #[serde(serialize_with = "without_password")]
        pub url: String = String::new(),
        /// Timeout of a request. Default 30s.
        pub remote_timeout: PromDuration = PromDuration::from_secs(30),
        /// Headers to add to requests.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub headers: BTreeMap<String, String> = BTreeMap::new(),
        /// Relabelling of samples.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub write_relabel_configs: Vec<RelabelConfig> = Vec::new(),
        /// Name; unique within the section if set.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub name: String = String::new(),
        /// Whether exemplars are sent. Default false.
        #[serde(skip_serializing_if = "super::is_default")]
        pub send_exemplars: bool = false,
        /// Whether native histograms are sent. Default false.
        #[serde(skip_serializing_if = "super::is_default")]
        pub send_native_histograms: bool = false,
        /// Whether native histograms with custom buckets are sent as classic ones. Default false.
        #[serde(skip_serializing_if = "super::is_default")]
        pub convert_nhcb_to_classic: bool = false,
        /// Whether each connection resolves the host name again. Default false.
        #[serde(skip_serializing_if = "super::is_default")]
        pub round_robin_dns: bool = false,
        /// Protobuf message to send. Default `prometheus.WriteRequest`.
        pub protobuf_message: String = "prometheus.WriteRequest".into(),
        /// Queueing, sharding and retries.
        pub queue_config: QueueConfig = QueueConfig::default(),
        /// Sending of metric metadata.
        pub metadata_config: MetadataConfig = MetadataConfig::default(),
    }
    opaque: [
        /// AWS request signing (not supported).
        sigv4,
        /// Azure AD tokens (not supported).
        azuread,
        /// Google Cloud tokens (not supported).
        google_iam,
    ]
}

/// `queue_config` of a remote write section.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Samples that wait per shard. Default 10000.
    pub capacity: u64,
    /// Largest number of shards, which send concurrently. Default 50.
    pub max_shards: u64,
    /// Smallest number of shards. Default 1.
    pub min_shards: u64,
    /// Samples per request. Default 2000.
    pub max_samples_per_send: u64,
    /// How long a sample waits for a request to fill up. Default 5s.
    pub batch_send_deadline: PromDuration,
    /// Pause before the first retry. Default 30ms.
    pub min_backoff: PromDuration,
    /// Longest pause before a retry. Default 5s.
    pub max_backoff: PromDuration,
    /// Whether a response with status 429 is retried. Default false.
    #[serde(skip_serializing_if = "super::is_default")]
    pub retry_on_http_429: bool,
    /// Age from which unsent samples are dropped. Default 0s: never.
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

impl QueueConfig {
    /// The first mistake: the field and what is wrong with it.
    pub(super) fn mistake(&self) -> Option<(&'static str, &'static str)> {
        let positive = "must be positive";
        let mistakes = [
            ("max_shards", positive, self.max_shards == 0),
            ("min_shards", positive, self.min_shards == 0),
            ("min_shards", "must not be greater than max_shards", self.min_shards > self.max_shards),
            ("max_samples_per_send", positive, self.max_samples_per_send == 0),
            ("capacity", positive, self.capacity == 0),
            ("max_backoff", "must not be less than min_backoff", self.max_backoff < self.min_backoff),
        ];
        mistakes.into_iter().find_map(|(field, reason, is_made)| is_made.then_some((field, reason)))
    }
}

/// `metadata_config` of a remote write section.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetadataConfig {
    /// Whether metadata is sent. Default true.
    pub send: bool,
    /// How often metadata is sent. Default 1m.
    pub send_interval: PromDuration,
    /// Entries per request. Default 2000.
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
        /// URL of the endpoint that samples are read from.
        #[serde(serialize_with = "without_password")]
        pub url: String = String::new(),
        /// Timeout of a request. Default 1m.
        pub remote_timeout: PromDuration = PromDuration::from_secs(60),
        /// Largest frame of a streamed response in bytes. Default 50000000.
        pub chunked_read_limit: u64 = 50_000_000,
        /// Headers to add to requests.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub headers: BTreeMap<String, String> = BTreeMap::new(),
        /// Whether to query it for time ranges that are complete in this server. Default false.
        pub read_recent: bool = false,
        /// Name; unique within the section if set.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub name: String = String::new(),
        /// Equality matchers that a selector must have for this server to be queried.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub required_matchers: BTreeMap<String, String> = BTreeMap::new(),
        /// Whether external labels become matchers of the request. Default true.
        pub filter_external_labels: bool = true,
    }
    opaque: []
}
