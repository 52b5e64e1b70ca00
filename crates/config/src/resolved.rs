//! A checked scrape section: inherited values filled in, rules compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::discovery::{FileSdConfig, HttpSdConfig, TargetGroup};
use crate::error::ConfigError;
use crate::global::GlobalConfig;
use crate::http::HttpClientConfig;
use crate::protocols::{EscapingScheme, ScrapeProtocol, ValidationScheme, check_protocols};
use crate::relabel::{RelabelConfig, RelabelRule};
use crate::scrape::ScrapeConfig;
use crate::units::PromDuration;

/// A checked scrape section. A limit of 0 means no limit. Equal sections behave alike, so a reload keeps their pools.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedScrapeConfig {
    /// The name of the section.
    pub job_name: String,
    /// Whether labels of samples win over those of the target.
    pub honor_labels: bool,
    /// Whether timestamps in the body are kept.
    pub honor_timestamps: bool,
    /// Whether series with timestamps in the body get stale markers too.
    pub track_timestamps_staleness: bool,
    /// The query parameters of the request.
    pub params: BTreeMap<String, Vec<String>>,
    /// Time between scrapes, unless relabelling changes it.
    pub scrape_interval: PromDuration,
    /// The limit on the duration of a scrape, unless relabelling changes it.
    pub scrape_timeout: PromDuration,
    /// Formats to request, most wanted first.
    pub protocols: Vec<ScrapeProtocol>,
    /// The format of responses whose content type is missing or unknown.
    pub fallback_protocol: Option<ScrapeProtocol>,
    /// Whether native histograms are stored.
    pub native_histograms: bool,
    /// Whether classic histograms are stored even when there is a native one.
    pub always_classic_histograms: bool,
    /// Whether classic histograms are stored as native ones with custom buckets.
    pub classic_to_nhcb: bool,
    /// The path of the request, unless relabelling changes it.
    pub metrics_path: String,
    /// The scheme of the request, unless relabelling changes it.
    pub scheme: String,
    /// Whether to request a compressed response.
    pub enable_compression: bool,
    /// The limit on an uncompressed body, bytes.
    pub body_size_limit: u64,
    /// The limit on samples of a scrape.
    pub sample_limit: u64,
    /// The limit on targets.
    pub target_limit: u64,
    /// The limit on labels of a sample.
    pub label_limit: u64,
    /// The limit on a label name, bytes.
    pub label_name_length_limit: u64,
    /// The limit on a label value, bytes.
    pub label_value_length_limit: u64,
    /// The limit on buckets of a native histogram.
    pub histogram_bucket_limit: u64,
    /// The least factor between buckets of a native histogram.
    pub histogram_min_bucket_factor: f64,
    /// The number of dropped targets that are kept; 0 keeps all.
    pub keep_dropped_targets: u64,
    /// Which names are valid.
    pub validation: ValidationScheme,
    /// How targets are requested to escape names.
    pub escaping: EscapingScheme,
    /// Whether each scrape reports the extra metrics.
    pub extra_scrape_metrics: bool,
    /// The HTTP client for targets.
    pub http: HttpClientConfig,
    /// The relabelling rules for targets.
    pub relabel: Arc<[RelabelRule]>,
    /// The relabelling rules for samples.
    pub metric_relabel: Arc<[RelabelRule]>,
    /// Targets in the configuration file.
    pub static_configs: Vec<TargetGroup>,
    /// Targets in discovery files.
    pub file_sd_configs: Vec<FileSdConfig>,
    /// Targets from discovery servers.
    pub http_sd_configs: Vec<HttpSdConfig>,
}

impl ScrapeConfig {
    /// Checks the section and fills in what it inherits from `global`, which must be resolved
    /// ([`GlobalConfig::resolve`]). The caller checks that job names are unique.
    pub fn validate(&self, global: &GlobalConfig) -> Result<ResolvedScrapeConfig, ConfigError> {
        if self.job_name.is_empty() {
            return Err(ConfigError::new("job_name is empty"));
        }
        let http = self.http_client()?;
        self.check_discovery()?;
        let (interval, timeout) = self.interval_and_timeout(global)?;
        let protocols = self.protocols(global)?;
        let (validation, escaping) = self.name_schemes(global)?;
        let or = |own: u64, inherited: u64| if own == 0 { inherited } else { own };
        Ok(ResolvedScrapeConfig {
            job_name: self.job_name.clone(),
            honor_labels: self.honor_labels,
            honor_timestamps: self.honor_timestamps,
            track_timestamps_staleness: self.track_timestamps_staleness,
            params: self.params.clone(),
            scrape_interval: interval,
            scrape_timeout: timeout,
            protocols,
            fallback_protocol: self.fallback_scrape_protocol,
            native_histograms: self.wants_native_histograms(global),
            always_classic_histograms: self
                .always_scrape_classic_histograms
                .unwrap_or(global.always_scrape_classic_histograms),
            classic_to_nhcb: self
                .convert_classic_histograms_to_nhcb
                .unwrap_or(global.convert_classic_histograms_to_nhcb),
            metrics_path: self.metrics_path.clone(),
            scheme: self.scheme.clone(),
            enable_compression: self.enable_compression,
            body_size_limit: or(self.body_size_limit.0, global.body_size_limit.0),
            sample_limit: or(self.sample_limit, global.sample_limit),
            target_limit: or(self.target_limit, global.target_limit),
            label_limit: or(self.label_limit, global.label_limit),
            label_name_length_limit: or(self.label_name_length_limit, global.label_name_length_limit),
            label_value_length_limit: or(self.label_value_length_limit, global.label_value_length_limit),
            histogram_bucket_limit: self.native_histogram_bucket_limit,
            histogram_min_bucket_factor: self.native_histogram_min_bucket_factor,
            keep_dropped_targets: or(self.keep_dropped_targets, global.keep_dropped_targets),
            validation,
            escaping,
            extra_scrape_metrics: self.extra_scrape_metrics.or(global.extra_scrape_metrics).unwrap_or(false),
            http,
            relabel: compile_rules(&self.relabel_configs, validation, "target")?,
            metric_relabel: compile_rules(&self.metric_relabel_configs, validation, "metric")?,
            static_configs: self.static_configs.clone(),
            file_sd_configs: self.file_sd_configs.clone(),
            http_sd_configs: self.http_sd_configs.clone(),
        })
    }

    fn check_discovery(&self) -> Result<(), ConfigError> {
        for group in &self.static_configs {
            group.check_labels()?;
            // Relabelling may make an address of anything.
            let addresses = group.targets.iter().filter(|_| self.relabel_configs.is_empty());
            if let Some(target) = addresses.into_iter().find(|target| target.is_empty() || target.contains('/')) {
                return Err(ConfigError::new(format!("{target:?} is not a valid hostname")));
            }
        }
        self.file_sd_configs.iter().try_for_each(FileSdConfig::check)?;
        self.http_sd_configs.iter().try_for_each(HttpSdConfig::check)
    }

    fn interval_and_timeout(&self, global: &GlobalConfig) -> Result<(PromDuration, PromDuration), ConfigError> {
        let interval = if self.scrape_interval.is_zero() { global.scrape_interval } else { self.scrape_interval };
        if self.scrape_timeout > interval {
            let job = &self.job_name;
            return Err(ConfigError::new(format!(
                "scrape timeout greater than scrape interval for scrape config with job name {job:?}"
            )));
        }
        let inherited = global.scrape_timeout.min(interval);
        Ok((interval, if self.scrape_timeout.is_zero() { inherited } else { self.scrape_timeout }))
    }

    fn wants_native_histograms(&self, global: &GlobalConfig) -> bool {
        self.scrape_native_histograms.or(global.scrape_native_histograms).unwrap_or(false)
    }

    fn protocols(&self, global: &GlobalConfig) -> Result<Vec<ScrapeProtocol>, ConfigError> {
        let default = || match self.wants_native_histograms(global) {
            true => ScrapeProtocol::DEFAULT_WITH_NATIVE_HISTOGRAMS.to_vec(),
            false => ScrapeProtocol::DEFAULT.to_vec(),
        };
        let protocols =
            self.scrape_protocols.clone().or_else(|| global.scrape_protocols.clone()).unwrap_or_else(default);
        check_protocols(&protocols)
            .map_err(|e| ConfigError::new(format!("{e} for scrape config with job name {:?}", self.job_name)))?;
        Ok(protocols)
    }

    fn name_schemes(&self, global: &GlobalConfig) -> Result<(ValidationScheme, EscapingScheme), ConfigError> {
        let global_validation = global.metric_name_validation_scheme.unwrap_or_default();
        let global_escaping =
            global.metric_name_escaping_scheme.unwrap_or(EscapingScheme::default_for(global_validation));
        let validation = self.metric_name_validation_scheme.unwrap_or(global_validation);
        let inherited = match self.metric_name_validation_scheme {
            None => global_escaping,
            Some(own) => EscapingScheme::default_for(own),
        };
        let escaping = self.metric_name_escaping_scheme.unwrap_or(inherited);
        if escaping == EscapingScheme::AllowUtf8 && validation == ValidationScheme::Legacy {
            return Err(ConfigError::new("utf8 metric names requested but validation scheme is not set to UTF8"));
        }
        Ok((validation, escaping))
    }
}

fn compile_rules(
    rules: &[Option<RelabelConfig>],
    validation: ValidationScheme,
    what: &str,
) -> Result<Arc<[RelabelRule]>, ConfigError> {
    let compile = |rule: &Option<RelabelConfig>| match rule {
        Some(rule) => RelabelRule::new(rule.clone(), validation),
        None => Err(ConfigError::new(format!("empty or null {what} relabeling rule in scrape config"))),
    };
    rules.iter().map(compile).collect()
}
