//! The section `alerting`: where alerts are sent.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::discovery::{FileSdConfig, HttpSdConfig, TargetGroup};
use crate::error::ConfigError;
use crate::http::{HttpClientConfig, with_http_client};
use crate::protocols::ValidationScheme;
use crate::relabel::{RelabelConfig, RelabelRule};
use crate::units::PromDuration;

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

with_http_client! {
    /// An entry of `alerting.alertmanagers`.
    pub struct AlertmanagerConfig {
        /// The scheme of requests, `http` or `https` (default: `http`).
        pub scheme: String = "http".into(),
        /// The path below which the Alertmanager serves its API.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub path_prefix: String,
        /// The limit on the duration of a request (default: 10s).
        pub timeout: PromDuration = PromDuration::from_secs(10),
        /// The version of the API. Only `v2` is supported.
        pub api_version: String = "v2".into(),
        /// Relabelling of discovered Alertmanagers.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub relabel_configs: Vec<Option<RelabelConfig>>,
        /// Relabelling of alerts, for these Alertmanagers.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub alert_relabel_configs: Vec<Option<RelabelConfig>>,
        /// Addresses in the configuration file.
        #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::discovery::static_groups")]
        pub static_configs: Vec<TargetGroup>,
        /// Addresses in discovery files.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub file_sd_configs: Vec<FileSdConfig>,
        /// Addresses from HTTP discovery servers.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub http_sd_configs: Vec<HttpSdConfig>,
    }
    unsupported: [other kinds of discovery, sigv4]
}

/// A checked section `alerting`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResolvedAlerting {
    /// The relabelling rules for alerts.
    pub alert_relabel: Arc<[RelabelRule]>,
    /// The entries of `alertmanagers`.
    pub alertmanagers: Vec<Arc<ResolvedAlertmanagers>>,
}

/// A checked entry of `alerting.alertmanagers`. Equal entries behave alike, so a reload keeps their queues.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedAlertmanagers {
    /// The scheme of requests, unless relabelling changes it.
    pub scheme: String,
    /// The path of requests, unless relabelling changes it.
    pub path: String,
    /// The limit on the duration of a request.
    pub timeout: PromDuration,
    /// The HTTP client.
    pub http: HttpClientConfig,
    /// The relabelling rules for discovered Alertmanagers.
    pub relabel: Arc<[RelabelRule]>,
    /// The relabelling rules for alerts.
    pub alert_relabel: Arc<[RelabelRule]>,
    /// Addresses in the configuration file.
    pub static_configs: Vec<TargetGroup>,
    /// Addresses in discovery files.
    pub file_sd_configs: Vec<FileSdConfig>,
    /// Addresses from discovery servers.
    pub http_sd_configs: Vec<HttpSdConfig>,
}

impl AlertingConfig {
    /// Resolves relative paths against the directory of the configuration file.
    pub fn set_directory(&mut self, directory: &Path) {
        for section in &mut self.alertmanagers {
            section.set_http_directory(directory);
            section.file_sd_configs.iter_mut().for_each(|sd| sd.set_directory(directory));
            section.http_sd_configs.iter_mut().for_each(|sd| sd.set_directory(directory));
        }
    }
}

impl AlertmanagerConfig {
    /// Checks the entry and compiles its rules.
    ///
    /// # Errors
    /// Something in it is not valid.
    pub fn validate(&self, validation: ValidationScheme) -> Result<ResolvedAlertmanagers, ConfigError> {
        if self.api_version != "v2" {
            return Err(ConfigError::new("api_version must be v2"));
        }
        if !["http", "https"].contains(&self.scheme.as_str()) {
            return Err(ConfigError::new("scheme must be http or https"));
        }
        for group in &self.static_configs {
            group.check_labels()?;
            // Relabelling may make an address of anything.
            let addresses = group.targets.iter().filter(|_| self.relabel_configs.is_empty());
            if let Some(target) = addresses.into_iter().find(|target| target.is_empty() || target.contains('/')) {
                return Err(ConfigError::new(format!("static_configs: {target:?} is not a valid hostname")));
            }
        }
        self.file_sd_configs.iter().try_for_each(FileSdConfig::check)?;
        self.http_sd_configs.iter().try_for_each(HttpSdConfig::check)?;
        let prefix = self.path_prefix.trim_matches('/');
        let path = if prefix.is_empty() { "/api/v2/alerts".into() } else { format!("/{prefix}/api/v2/alerts") };
        Ok(ResolvedAlertmanagers {
            scheme: self.scheme.clone(),
            path,
            timeout: self.timeout,
            http: self.http_client()?,
            relabel: compiled(&self.relabel_configs, validation)?,
            alert_relabel: compiled(&self.alert_relabel_configs, validation)?,
            static_configs: self.static_configs.clone(),
            file_sd_configs: self.file_sd_configs.clone(),
            http_sd_configs: self.http_sd_configs.clone(),
        })
    }

    /// The names of fields that are set but not supported.
    pub fn unsupported(&self) -> Vec<&'static str> {
        self.unsupported_fields()
    }
}

impl AlertingConfig {
    /// Compiles the rules for alerts.
    ///
    /// # Errors
    /// A rule is not valid.
    pub fn alert_relabelling(&self, validation: ValidationScheme) -> Result<Arc<[RelabelRule]>, ConfigError> {
        compiled(&self.alert_relabel_configs, validation)
    }
}

fn compiled(rules: &[Option<RelabelConfig>], validation: ValidationScheme) -> Result<Arc<[RelabelRule]>, ConfigError> {
    let compile = |rule: &Option<RelabelConfig>| match rule {
        Some(rule) => RelabelRule::new(rule.clone(), validation),
        None => Err(ConfigError::new("relabelling rule is empty")),
    };
    rules.iter().map(compile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(section: &AlertmanagerConfig) -> Result<ResolvedAlertmanagers, String> {
        section.validate(ValidationScheme::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_path_has_the_prefix() {
        for (prefix, path) in [("", "/api/v2/alerts"), ("/", "/api/v2/alerts"), ("/a/b/", "/a/b/api/v2/alerts")] {
            let section = AlertmanagerConfig { path_prefix: prefix.into(), ..AlertmanagerConfig::default() };
            assert_eq!(resolved(&section).unwrap().path, path);
        }
    }

    #[test]
    fn what_cannot_be_sent_to_is_refused() {
        let wrong = AlertmanagerConfig { api_version: "v1".into(), ..AlertmanagerConfig::default() };
        assert!(resolved(&wrong).unwrap_err().contains("api_version must be v2"));
        let wrong = AlertmanagerConfig { scheme: "ftp".into(), ..AlertmanagerConfig::default() };
        assert!(resolved(&wrong).is_err());
        let targets = TargetGroup { targets: vec!["http://a:9093".into()], ..TargetGroup::default() };
        let wrong = AlertmanagerConfig { static_configs: vec![targets], ..AlertmanagerConfig::default() };
        assert!(resolved(&wrong).unwrap_err().contains("not a valid hostname"));
    }

    #[test]
    fn fields_that_have_no_effect_are_named() {
        let ignored = Some(serde::de::IgnoredAny);
        let section = AlertmanagerConfig { sigv4: ignored, ecs_sd_configs: ignored, ..AlertmanagerConfig::default() };
        assert_eq!(section.unsupported(), ["sigv4", "ecs_sd_configs"]);
    }
}
