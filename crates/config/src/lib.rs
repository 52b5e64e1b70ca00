//! The scraping part of `prometheus.yml`: serde types with Prometheus's field names, defaults and checks.
//!
//! Reading has two steps. Deserialising refuses unknown fields and malformed scalars, with their place in the file;
//! [`ScrapeConfig::validate`] then fills in what is inherited from `global` and refuses what does not fit together.
//! What Prometheus knows and Pharos does not do (yet) is accepted and named by [`ScrapeConfig::unsupported`].

mod discovery;
mod error;
mod global;
mod http;
mod otlp;
mod protocols;
mod relabel;
mod resolved;
mod scrape;
mod units;

pub use discovery::{FileSdConfig, HttpSdConfig, TargetGroup};
pub use error::ConfigError;
pub use global::GlobalConfig;
pub use http::{Authorization, BasicAuth, HeaderValues, HttpClientConfig, TlsConfig, TlsVersion};
pub use otlp::{OtlpConfig, OtlpConfigError, TranslationStrategy};
pub use protocols::{EscapingScheme, ScrapeProtocol, ValidationScheme};
pub use relabel::{RelabelAction, RelabelConfig, RelabelRule, relabel};
pub use resolved::ResolvedScrapeConfig;
pub use scrape::ScrapeConfig;
pub use units::{ByteSize, PromDuration, Secret, without_password};

#[cfg(test)]
mod tests;
