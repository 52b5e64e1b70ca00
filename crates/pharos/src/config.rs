//! The configuration file: `prometheus.yml` with Pharos's own sections `object_store`, `limits` and `tenants`.
//!
//! [`Config::load`] reads, checks and completes a file. Every mistake is an error with file, line, column and field.
//! Sections that a later release implements are checked and reported by a warning. A loaded configuration is immutable.

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

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pharos_block::objects::ObjectStoreConfig;
use pharos_config::{
    AlertingConfig, GlobalConfig, PromDuration, ResolvedAlerting, ResolvedScrapeConfig, ScrapeConfig, TargetGroup,
};
use pharos_ruler::RuleFile;
use serde::{Deserialize, Serialize};

pub(crate) use files::find as find_files;
pub(crate) use yaml::options as yaml_options;

pub use error::{ConfigError, Place};
pub use limits::{LimitsConfig, TenantLimits, TenantOverrides};
pub use remote::{MetadataConfig, QueueConfig, RemoteReadConfig, RemoteWriteConfig};
pub use sections::{
    ExemplarsConfig, OtlpConfig, RetentionConfig, RuntimeConfig, StorageConfig, TracingConfig, TranslationStrategy,
    TsdbConfig,
};

/// A configuration file. Every section is optional.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Defaults of scrape sections, and the labels of this server.
    pub global: GlobalConfig,
    /// Settings of the process.
    #[serde(skip_serializing_if = "is_default")]
    pub runtime: RuntimeConfig,
    /// Files with more scrape sections under the key `scrape_configs`. The last part of a path may contain `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scrape_config_files: Vec<String>,
    /// Targets to scrape, and how.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scrape_configs: Vec<ScrapeConfig>,
    /// Files with recording and alerting rules. The last part of a path may contain `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule_files: Vec<String>,
    /// Rules of tenants other than the default one, by tenant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, TenantConfig>,
    /// Where alerts are sent.
    #[serde(skip_serializing_if = "is_default")]
    pub alerting: AlertingConfig,
    /// Servers to which samples are forwarded (not supported yet).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_write: Vec<RemoteWriteConfig>,
    /// Servers that queries also read from (not supported yet).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_read: Vec<RemoteReadConfig>,
    /// Retention, late samples and exemplars.
    pub storage: StorageConfig,
    /// How OTLP metrics are translated to series.
    pub otlp: OtlpConfig,
    /// Where traces of this process are sent (not supported yet).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingConfig>,
    /// Where blocks are stored. Default: a folder below `--storage.path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStoreConfig>,
    /// Limits of the node and of each tenant.
    pub limits: LimitsConfig,
}

/// An entry of `tenants`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantConfig {
    /// Files with rules that read and write the samples of the tenant. The last part of a path may contain `*`.
    pub rule_files: Vec<String>,
}

/// A configuration after it was read, checked and completed.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// All sections, with defaults and inherited values, and with the sections of `scrape_config_files`.
    pub config: Config,
    /// The scrape sections in the agent's form, in the order of `config.scrape_configs`.
    pub scrape: Vec<Arc<ResolvedScrapeConfig>>,
    /// The files that `rule_files` names.
    pub rules: Vec<Arc<RuleFile>>,
    /// The section `alerting` in the ruler's form.
    pub alerting: ResolvedAlerting,
    /// The section `otlp` in the receiver's form.
    pub otlp: pharos_config::OtlpConfig,
    /// Warnings for the operator: sections without effect, unset variables.
    pub warnings: Vec<String>,
    /// The text of the file; empty without one.
    pub raw_text: String,
}

impl Loaded {
    fn unchecked(config: Config, raw_text: String) -> Self {
        let otlp = pharos_config::OtlpConfig::default();
        Loaded {
            config,
            scrape: Vec::new(),
            rules: Vec::new(),
            alerting: ResolvedAlerting::default(),
            otlp,
            warnings: Vec::new(),
            raw_text,
        }
    }
}

/// Looks up an environment variable, for `external_labels`.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

fn is_default<T: Default + PartialEq>(section: &T) -> bool {
    *section == T::default()
}

impl Config {
    /// Reads and checks a file. Variables come from the environment of the process.
    pub fn load(file: &Path) -> Result<Loaded, ConfigError> {
        Self::load_with(file, &|name| std::env::var(name).ok())
    }

    /// Like [`Config::load`], with variables from `environment`.
    pub fn load_with(file: &Path, environment: Environment<'_>) -> Result<Loaded, ConfigError> {
        let text = yaml::read(file)?;
        let config: Config = yaml::parse(file, &text)?;
        let mut loaded = Loaded::unchecked(config, text);
        check::complete(&mut loaded, file, environment)?;
        Ok(loaded)
    }

    /// The configuration of a server without a file: it scrapes itself on `port` every 15 seconds.
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

    /// The configuration as YAML, with defaults. Secrets appear as `<secret>`.
    pub fn to_yaml(&self) -> String {
        printed::to_yaml(self)
    }
}

#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod tests;
