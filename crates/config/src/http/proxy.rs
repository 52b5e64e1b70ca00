//! The proxy of an HTTP client.

use std::collections::BTreeMap;

use crate::error::ConfigError;
use crate::units::Secret;

/// Which requests take a proxy, and which one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProxyConfig {
    /// The URL of the proxy of all requests but those that [`ProxyConfig::no_proxy`] names. Empty for none.
    pub url: String,
    /// Hosts that are reached without the proxy, separated by commas: names, addresses and ranges of them.
    pub no_proxy: String,
    /// Whether `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` of the environment say which proxy requests take.
    pub from_environment: bool,
    /// Headers of requests for a tunnel.
    pub connect_header: BTreeMap<String, Vec<Secret>>,
}

impl ProxyConfig {
    /// Checks the fields of a section.
    pub(crate) fn checked(
        url: Option<&String>,
        no_proxy: Option<&String>,
        from_environment: Option<bool>,
        connect_header: &BTreeMap<String, Vec<Secret>>,
    ) -> Result<Self, ConfigError> {
        let config = ProxyConfig {
            url: url.cloned().unwrap_or_default(),
            no_proxy: no_proxy.cloned().unwrap_or_default(),
            from_environment: from_environment == Some(true),
            connect_header: connect_header.clone(),
        };
        let refuse = |message: &str| Err(ConfigError::new(message));
        if !config.connect_header.is_empty() && !config.from_environment && config.url.is_empty() {
            return refuse(
                "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured",
            );
        }
        if config.from_environment && !config.url.is_empty() {
            return refuse("if proxy_from_environment is configured, proxy_url must not be configured");
        }
        if config.from_environment && !config.no_proxy.is_empty() {
            return refuse("if proxy_from_environment is configured, no_proxy must not be configured");
        }
        if url.is_none() && !config.no_proxy.is_empty() {
            return refuse("if no_proxy is configured, proxy_url must also be configured");
        }
        Ok(config)
    }
}
