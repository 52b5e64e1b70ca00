//! The sections of `prometheus.yml`: serde types with Prometheus's field names, defaults and checks.
//!
//! A section is read in two steps. Deserialising rejects unknown fields and malformed scalars with their position in the
//! file. [`ScrapeConfig::validate`] then fills in what the section inherits from `global`, rejects combinations that
//! make no sense and compiles the relabelling rules. Fields that Prometheus has and Pharos does not support are accepted;
//! [`ScrapeConfig::unsupported`] names them.

#![forbid(unsafe_code)]

mod alerting;
mod discovery;
mod error;
mod glob;
mod global;
mod http;
mod otlp;
mod protocols;
mod relabel;
mod resolved;
mod scrape;
mod units;

pub use alerting::{AlertingConfig, AlertmanagerConfig, ResolvedAlerting, ResolvedAlertmanagers};
pub use discovery::{FileSdConfig, HttpSdConfig, TargetGroup};
pub use error::ConfigError;
pub use glob::glob;
pub use global::GlobalConfig;
pub use http::{
    Authorization, BasicAuth, HeaderValues, HttpClientConfig, HttpConfig, JWT_BEARER, OAuth2, ProxyConfig, TlsConfig,
    TlsVersion,
};
pub use otlp::{OtlpConfig, OtlpConfigError, TranslationStrategy};
pub use protocols::{EscapingScheme, ScrapeProtocol, ValidationScheme};
pub use relabel::{RelabelAction, RelabelConfig, RelabelRule, relabel};
pub use resolved::ResolvedScrapeConfig;
pub use scrape::ScrapeConfig;
pub use units::{ByteSize, PromDuration, Secret, masked_url, without_password};

#[cfg(test)]
mod tests;
