//! The sections `runtime`, `storage`, `otlp` and `tracing`.

use std::collections::BTreeMap;

use pharos_config::{ByteSize, PromDuration, TlsConfig};
use serde::{Deserialize, Serialize};

use crate::cli::LogLevel;

/// The section `runtime`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeConfig {
    /// Tunes the Go runtime; has no effect in Pharos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gogc: Option<i64>,
    /// Lowest severity to log: `debug`, `info`, `warn` or `error`. Default: the value of `--log.level`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,
}

/// The section `storage`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Samples: retention and out-of-order writes.
    pub tsdb: TsdbConfig,
    /// Number of exemplars to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemplars: Option<ExemplarsConfig>,
}

/// `storage.tsdb`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TsdbConfig {
    /// How far a sample may be behind the newest sample of its tenant. Default: the value in `limits`, 2h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_order_time_window: Option<PromDuration>,
    /// Share of stale series at which Prometheus compacts its head early; has no effect in Pharos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_series_compaction_threshold: Option<f64>,
    /// How Prometheus encodes chunks; has no effect in Pharos.
    #[serde(skip_serializing_if = "super::is_default")]
    pub chunk_encoding: ChunkEncodingConfig,
    /// How long and how much to keep.
    #[serde(skip_serializing_if = "super::is_default")]
    pub retention: RetentionConfig,
}

/// `storage.tsdb.chunk_encoding`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChunkEncodingConfig {
    /// Encoding of floats: `xor` or `xor2`; has no effect in Pharos.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub floats: String,
}

/// `storage.tsdb.retention`. Each field takes precedence over the flag of the same name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// How long to keep samples; 0s means forever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<PromDuration>,
    /// Total size of all blocks; 0 means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<ByteSize>,
    /// Share of the disk that blocks may use in percent (not supported yet).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentage: Option<f64>,
}

/// `storage.exemplars`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExemplarsConfig {
    /// Exemplars to keep per tenant; the oldest are dropped first. Default 100000.
    pub max_exemplars: u64,
}

impl Default for ExemplarsConfig {
    fn default() -> Self {
        ExemplarsConfig { max_exemplars: 100_000 }
    }
}

/// How OTLP names become names of metrics and labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum TranslationStrategy {
    /// Characters outside `[a-zA-Z0-9_:]` become `_`; units and `_total` are appended.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Characters outside `[a-zA-Z0-9_:]` become `_`; nothing is appended.
    UnderscoreEscapingWithoutSuffixes,
    /// Names are kept; units and `_total` are appended.
    NoUTF8EscapingWithSuffixes,
    /// Names are kept; nothing is appended.
    NoTranslation,
}

/// The section `otlp`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// Whether all resource attributes become labels. Default false.
    #[serde(skip_serializing_if = "super::is_default")]
    pub promote_all_resource_attributes: bool,
    /// Resource attributes to exclude when `promote_all_resource_attributes` is set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore_resource_attributes: Vec<String>,
    /// Resource attributes that become labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub promote_resource_attributes: Vec<String>,
    /// How names are translated. Default `UnderscoreEscapingWithSuffixes`.
    pub translation_strategy: TranslationStrategy,
    /// Whether `service.name`, `service.namespace` and `service.instance.id` also go to `target_info`. Default false.
    #[serde(skip_serializing_if = "super::is_default")]
    pub keep_identifying_resource_attributes: bool,
    /// Whether explicit-bucket histograms become native ones with custom buckets. Default false.
    #[serde(skip_serializing_if = "super::is_default")]
    pub convert_histograms_to_nhcb: bool,
    /// Whether name, version, schema URL and attributes of the scope become labels. Default false.
    #[serde(skip_serializing_if = "super::is_default")]
    pub promote_scope_metadata: bool,
    /// Whether labels that begin with `_` get the prefix `key`. Default true.
    pub label_name_underscore_sanitization: bool,
    /// Whether several underscores in a row stay in label names. Default true.
    pub label_name_preserve_multiple_underscores: bool,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        OtlpConfig {
            promote_all_resource_attributes: false,
            ignore_resource_attributes: Vec::new(),
            promote_resource_attributes: Vec::new(),
            translation_strategy: TranslationStrategy::default(),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
        }
    }
}

/// The section `tracing`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracingConfig {
    /// `http` or `grpc`. Default grpc.
    pub client_type: String,
    /// Endpoint that traces are sent to.
    pub endpoint: String,
    /// Share of requests to trace, from 0 to 1.
    pub sampling_fraction: f64,
    /// Whether to connect without TLS. Default false.
    pub insecure: bool,
    /// TLS settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    /// Headers to add to requests.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Compression: `gzip`, or none when omitted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub compression: String,
    /// Timeout of a request. Default 10s.
    pub timeout: PromDuration,
}

impl Default for TracingConfig {
    fn default() -> Self {
        TracingConfig {
            client_type: "grpc".into(),
            endpoint: String::new(),
            sampling_fraction: 0.0,
            insecure: false,
            tls_config: None,
            headers: BTreeMap::new(),
            compression: String::new(),
            timeout: PromDuration::from_secs(10),
        }
    }
}

impl From<&OtlpConfig> for pharos_config::OtlpConfig {
    fn from(section: &OtlpConfig) -> Self {
        pharos_config::OtlpConfig {
            promote_all_resource_attributes: section.promote_all_resource_attributes,
            promote_resource_attributes: section.promote_resource_attributes.clone(),
            ignore_resource_attributes: section.ignore_resource_attributes.clone(),
            translation_strategy: match section.translation_strategy {
                TranslationStrategy::UnderscoreEscapingWithSuffixes => {
                    pharos_config::TranslationStrategy::UnderscoreEscapingWithSuffixes
                }
                TranslationStrategy::UnderscoreEscapingWithoutSuffixes => {
                    pharos_config::TranslationStrategy::UnderscoreEscapingWithoutSuffixes
                }
                TranslationStrategy::NoUTF8EscapingWithSuffixes => {
                    pharos_config::TranslationStrategy::NoUTF8EscapingWithSuffixes
                }
                TranslationStrategy::NoTranslation => pharos_config::TranslationStrategy::NoTranslation,
            },
            keep_identifying_resource_attributes: section.keep_identifying_resource_attributes,
            convert_histograms_to_nhcb: section.convert_histograms_to_nhcb,
            promote_scope_metadata: section.promote_scope_metadata,
            label_name_underscore_sanitization: section.label_name_underscore_sanitization,
            label_name_preserve_multiple_underscores: section.label_name_preserve_multiple_underscores,
        }
    }
}
