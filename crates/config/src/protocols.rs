//! Scrape protocols, and the schemes for valid names and for escaping.

use std::fmt;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;

/// A format in which a target may expose its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs, reason = "the variants are named after their formats")]
pub enum ScrapeProtocol {
    #[serde(rename = "PrometheusProto")]
    PrometheusProto,
    #[serde(rename = "PrometheusText0.0.4")]
    PrometheusText0_0_4,
    #[serde(rename = "PrometheusText1.0.0")]
    PrometheusText1_0_0,
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetricsText0_0_1,
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetricsText1_0_0,
    #[serde(rename = "OpenMetricsText2.0.0")]
    OpenMetricsText2_0_0,
}

use ScrapeProtocol::*;

impl ScrapeProtocol {
    /// All protocols, in the order in which error messages list them.
    pub const ALL: [ScrapeProtocol; 6] = [
        OpenMetricsText0_0_1,
        OpenMetricsText1_0_0,
        OpenMetricsText2_0_0,
        PrometheusProto,
        PrometheusText0_0_4,
        PrometheusText1_0_0,
    ];
    /// The default protocols, most wanted first.
    pub const DEFAULT: [ScrapeProtocol; 4] =
        [OpenMetricsText1_0_0, OpenMetricsText0_0_1, PrometheusText1_0_0, PrometheusText0_0_4];
    /// The default protocols when native histograms are scraped, most wanted first.
    pub const DEFAULT_WITH_NATIVE_HISTOGRAMS: [ScrapeProtocol; 5] =
        [PrometheusProto, OpenMetricsText1_0_0, OpenMetricsText0_0_1, PrometheusText1_0_0, PrometheusText0_0_4];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            PrometheusProto => "PrometheusProto",
            PrometheusText0_0_4 => "PrometheusText0.0.4",
            PrometheusText1_0_0 => "PrometheusText1.0.0",
            OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
            OpenMetricsText2_0_0 => "OpenMetricsText2.0.0",
        }
    }

    /// The media type with its parameters, as the `Accept` header lists it.
    pub fn media_type(self) -> &'static str {
        match self {
            PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            PrometheusText0_0_4 => "text/plain;version=0.0.4",
            PrometheusText1_0_0 => "text/plain;version=1.0.0",
            OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
            OpenMetricsText2_0_0 => "application/openmetrics-text;version=2.0.0",
        }
    }
}

impl fmt::Display for ScrapeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ScrapeProtocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        ScrapeProtocol::ALL.into_iter().find(|p| p.as_str() == name).ok_or_else(|| {
            let known = ScrapeProtocol::ALL.map(ScrapeProtocol::as_str).join(" ");
            D::Error::custom(format!("unknown scrape protocol {name}, supported: [{known}]"))
        })
    }
}

/// Rejects an empty list and repeated protocols.
pub(crate) fn check_protocols(protocols: &[ScrapeProtocol]) -> Result<(), ConfigError> {
    if protocols.is_empty() {
        return Err(ConfigError::new("scrape_protocols cannot be empty"));
    }
    let is_repeated = |(i, p): (usize, &ScrapeProtocol)| protocols[..i].contains(p);
    if protocols.iter().enumerate().any(is_repeated) {
        let names: Vec<_> = protocols.iter().map(|p| p.as_str()).collect();
        return Err(ConfigError::new(format!("duplicated protocol in scrape_protocols, got [{}]", names.join(" "))));
    }
    Ok(())
}

/// Which metric and label names are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum ValidationScheme {
    /// ASCII letters, digits, `_` and, in metric names, `:`.
    Legacy,
    /// Any UTF-8 except the empty name.
    #[default]
    Utf8,
}

impl ValidationScheme {
    /// Whether a label may have this name.
    pub fn is_valid_label_name(self, name: &str) -> bool {
        match self {
            ValidationScheme::Legacy => pharos_model::labels::is_legacy_label_name(name),
            ValidationScheme::Utf8 => !name.is_empty(),
        }
    }

    /// Whether a metric may have this name.
    pub fn is_valid_metric_name(self, name: &str) -> bool {
        match self {
            ValidationScheme::Legacy => pharos_model::labels::is_legacy_metric_name(name),
            ValidationScheme::Utf8 => !name.is_empty(),
        }
    }
}

impl<'de> Deserialize<'de> for ValidationScheme {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        match name.as_str() {
            "legacy" => Ok(ValidationScheme::Legacy),
            "utf8" | "" => Ok(ValidationScheme::Utf8),
            _ => Err(D::Error::custom(format!(
                "unrecognized ValidationScheme: {name:?}, must be either '', 'legacy' or 'utf8'"
            ))),
        }
    }
}

/// How targets are requested to escape names outside of the legacy character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Default)]
pub enum EscapingScheme {
    /// Names are not escaped.
    #[default]
    #[serde(rename = "allow-utf-8")]
    AllowUtf8,
    /// Other characters become `_`.
    #[serde(rename = "underscores")]
    Underscores,
    /// Dots become `_dot_`, underscores `__`.
    #[serde(rename = "dots")]
    Dots,
    /// Names get the prefix `U__`, and other characters become their code points.
    #[serde(rename = "values")]
    Values,
}

impl EscapingScheme {
    /// The name in the configuration and in the `Accept` header.
    pub fn as_str(self) -> &'static str {
        match self {
            EscapingScheme::AllowUtf8 => "allow-utf-8",
            EscapingScheme::Underscores => "underscores",
            EscapingScheme::Dots => "dots",
            EscapingScheme::Values => "values",
        }
    }

    /// The default scheme for a validation scheme.
    pub(crate) fn default_for(validation: ValidationScheme) -> Self {
        match validation {
            ValidationScheme::Legacy => EscapingScheme::Underscores,
            ValidationScheme::Utf8 => EscapingScheme::AllowUtf8,
        }
    }
}

impl<'de> Deserialize<'de> for EscapingScheme {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        [EscapingScheme::AllowUtf8, EscapingScheme::Underscores, EscapingScheme::Dots, EscapingScheme::Values]
            .into_iter()
            .find(|scheme| scheme.as_str() == name)
            .ok_or_else(|| {
                D::Error::custom(format!(
                    "unknown name escaping method specified, must be one of 'allow-utf-8', 'underscores', 'dots', or 'values', got {name:?}"
                ))
            })
    }
}
