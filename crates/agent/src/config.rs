//! The scraping part of `prometheus.yml`: serde types with Prometheus's field names, defaults and checks.
//!
//! Reading has two steps. Deserialising refuses unknown fields and malformed scalars, with their place in the file;
//! [`ScrapeConfig::validate`] then fills in what is inherited from `global` and refuses what does not fit together.
//! What Prometheus knows and Pharos does not do (yet) is accepted and named by [`ScrapeConfig::unsupported`].

mod discovery;
mod global;
pub(crate) mod http;
mod protocols;
mod relabel;
mod resolved;
mod scrape;
mod units;

pub use discovery::{FileSdConfig, HttpSdConfig, TargetGroup};
pub use global::GlobalConfig;
pub use http::{Authorization, BasicAuth, HeaderValues, HttpClientConfig, TlsConfig, TlsVersion};
pub use protocols::{EscapingScheme, ScrapeProtocol, ValidationScheme};
pub use relabel::{RelabelAction, RelabelConfig};
pub use resolved::ResolvedScrapeConfig;
pub use scrape::ScrapeConfig;
pub use units::{ByteSize, PromDuration, Secret, without_password};

pub(crate) use relabel::{DEFAULT_REGEX, DEFAULT_REPLACEMENT};

/// What is wrong with a section, in Prometheus's words where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(crate) String);

impl ConfigError {
    pub(crate) fn new(message: &str) -> Self {
        ConfigError(message.to_string())
    }
}

#[cfg(test)]
mod tests;
