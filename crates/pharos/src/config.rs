//! The configuration file: `prometheus.yml` with Pharos's own sections `object_store` and `limits`.
//!
//! [`Config::load`] reads, checks and completes a file. Every mistake is an error with file, line, column and field.
//! What a later release serves is checked in shape and named by a warning. A loaded configuration never changes.

mod alerting;
mod check;
mod error;
mod expand;
mod files;
mod limits;
mod printed;
mod remote;
mod sections;
mod source;
mod yaml;

use std::path::Path;
use std::sync::Arc;

use pharos_block::objects::ObjectStoreConfig;
use pharos_config::{GlobalConfig, PromDuration, ResolvedScrapeConfig, ScrapeConfig, TargetGroup};
use serde::{Deserialize, Serialize};

pub(crate) use files::find as find_files;
pub(crate) use yaml::options as yaml_options;

pub use alerting::{AlertingConfig, AlertmanagerConfig};
pub use error::{ConfigError, Place};
pub use limits::{LimitsConfig, TenantLimits, TenantOverrides};
pub use remote::{MetadataConfig, QueueConfig, RemoteReadConfig, RemoteWriteConfig};
pub use sections::{
    ExemplarsConfig, OtlpConfig, RetentionConfig, RuntimeConfig, StorageConfig, TracingConfig, TranslationStrategy,
    TsdbConfig,
};

/// A configuration file. Every section may be left away.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What scrape sections inherit, and the labels of this server.
    pub global: GlobalConfig,
    /// The process.
    #[serde(skip_serializing_if = "is_default")]
    pub runtime: RuntimeConfig,
    /// Files with more scrape sections, under the key `scrape_configs`; the last part of a path may hold `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scrape_config_files: Vec<String>,
    /// What is scraped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scrape_configs: Vec<ScrapeConfig>,
    /// Files with recording and alerting rules (not evaluated yet).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule_files: Vec<String>,
    /// Where alerts go (not served yet).
    #[serde(skip_serializing_if = "is_default")]
    pub alerting: AlertingConfig,
    /// Where samples are forwarded (not served yet).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_write: Vec<RemoteWriteConfig>,
    /// Where more samples are read from (not served yet).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_read: Vec<RemoteReadConfig>,
    /// How long and how much is kept.
    pub storage: StorageConfig,
    /// How OTLP metrics become series.
    pub otlp: OtlpConfig,
    /// Where traces of this process go (not served yet).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingConfig>,
    /// Where blocks are kept. Default: a folder below `--storage.path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStoreConfig>,
    /// What each tenant may use.
    pub limits: LimitsConfig,
}

/// A configuration that was read, checked and completed.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// All sections, with defaults and inherited values filled in and the sections of `scrape_config_files` added.
    pub config: Config,
    /// The scrape sections as the agent runs them, in the order of `config.scrape_configs`.
    pub scrape: Vec<Arc<ResolvedScrapeConfig>>,
    /// The section `otlp` as the receiver runs by it.
    pub otlp: pharos_config::OtlpConfig,
    /// What to tell the operator: sections that have no effect, unset variables.
    pub warnings: Vec<String>,
    /// The file's text; empty without a file.
    pub raw_text: String,
}

impl Loaded {
    fn unchecked(config: Config, raw_text: String) -> Self {
        let otlp = pharos_config::OtlpConfig::default();
        Loaded { config, scrape: Vec::new(), otlp, warnings: Vec::new(), raw_text }
    }
}

/// Looks up an environment variable, for `external_labels`.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

fn is_default<T: Default + PartialEq>(section: &T) -> bool {
    *section == T::default()
}

impl Config {
    /// Reads and checks a file, with variables of the process's environment.
    pub fn load(file: &Path) -> Result<Loaded, ConfigError> {
        Self::load_with(file, &|name| std::env::var(name).ok())
    }

    /// As [`Config::load`], with another environment.
    pub fn load_with(file: &Path, environment: Environment<'_>) -> Result<Loaded, ConfigError> {
        let text = yaml::read(file)?;
        let config: Config = yaml::parse(file, &text)?;
        let mut loaded = Loaded::unchecked(config, text);
        check::complete(&mut loaded, file, environment)?;
        Ok(loaded)
    }

    /// The configuration of a server that is given none: it scrapes itself on `port` every 15 s.
    pub fn without_file(port: u16) -> Result<Loaded, ConfigError> {
        let target = TargetGroup { targets: vec![format!("localhost:{port}")], ..TargetGroup::default() };
        let job = ScrapeConfig { job_name: "pharos".into(), static_configs: vec![target], ..ScrapeConfig::default() };
        let every_15_s = PromDuration::from_secs(15);
        let global =
            GlobalConfig { scrape_interval: every_15_s, evaluation_interval: every_15_s, ..GlobalConfig::default() };
        let config = Config { global, scrape_configs: vec![job], ..Config::default() };
        let mut loaded = Loaded::unchecked(config, String::new());
        check::complete(&mut loaded, Path::new("(no configuration file)"), &|_| None)?;
        Ok(loaded)
    }

    /// The configuration as YAML with defaults filled in; secrets are printed as `<secret>`.
    pub fn to_yaml(&self) -> String {
        printed::to_yaml(self)
    }
}

#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod tests;
