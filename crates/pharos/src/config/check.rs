//! Checks across fields and sections, inheritance of defaults, and warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use pharos_config::{GlobalConfig, RelabelConfig, RelabelRule, ResolvedScrapeConfig, ScrapeConfig, ValidationScheme};
use pharos_model::TenantId;
use pharos_querier::QueryFeatures;
use pharos_ruler::RuleFile;
use pharos_rules::RuleGroups;
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::source::SourceMap;
use super::source::Step::{self, Field, Item};
use super::{Config, Environment, Loaded, expand, files, limits, yaml};

/// Headers that custom headers must not replace, in lower case.
const RESERVED_HEADERS: [&str; 16] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "user-agent",
    "www-authenticate",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-prometheus-remote-read-version",
    "x-prometheus-remote-write-version",
];

/// The file that is being checked, for the positions of errors.
struct Checked<'a> {
    file: &'a Path,
    text: &'a str,
}

/// The content of a file that `scrape_config_files` names.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct ScrapeFile {
    scrape_configs: Vec<ScrapeConfig>,
}

/// Checks a parsed configuration, fills in inherited values and collects warnings.
pub(super) fn complete(loaded: &mut Loaded, file: &Path, environment: Environment<'_>) -> Result<(), ConfigError> {
    let text = std::mem::take(&mut loaded.raw_text);
    let checked = Checked { file, text: &text };
    checked.global(loaded, environment)?;
    checked.scrape(loaded)?;
    checked.storage_and_limits(loaded)?;
    checked.rules(loaded)?;
    checked.alerting(loaded)?;
    checked.unsupported(&loaded.config)?;
    warn_of_unsupported(loaded);
    loaded.raw_text = text;
    Ok(())
}

/// The path of a field: `scrape_configs[1].relabel_configs`.
fn printed(path: &[Step<'_>]) -> String {
    path.iter().fold(String::new(), |mut out, step| {
        match step {
            Field(name) if out.is_empty() => out.push_str(name),
            Field(name) => out.push_str(&format!(".{name}")),
            Item(index) => out.push_str(&format!("[{index}]")),
        }
        out
    })
}

impl Checked<'_> {
    /// An error at the value to which `path` leads.
    fn error(&self, path: &[Step<'_>], reason: impl Display) -> ConfigError {
        let place = SourceMap::new(self.text, yaml::options()).place_of(path);
        ConfigError::at(self.file, place, format!("{}: {reason}", printed(path)))
    }

    /// An error in the section to which `path` leads, at the field that the reason mentions.
    fn error_in(&self, path: &[Step<'_>], reason: impl Display) -> ConfigError {
        let reason = reason.to_string();
        let (place, field) = SourceMap::new(self.text, yaml::options()).field_named_in(path, &reason);
        let field = field.map_or(String::new(), |field| format!(".{field}"));
        ConfigError::at(self.file, place, format!("{}{field}: {reason}", printed(path)))
    }

    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    fn global(&self, loaded: &mut Loaded, environment: Environment<'_>) -> Result<(), ConfigError> {
        let global = &mut loaded.config.global;
        let mut unset = Vec::new();
        for value in global.external_labels.values_mut() {
            *value = expand::expand(value, environment, &mut unset);
        }
        let warning = |name| format!("global.external_labels: the environment variable {name:?} is empty or not set");
        loaded.warnings.extend(unset.into_iter().map(warning));
        let resolved = std::mem::take(global).resolve();
        *global = resolved.map_err(|error| self.error_in(&[Field("global")], error))?;
        global.set_directory(self.folder());
        Ok(())
    }

    fn scrape(&self, loaded: &mut Loaded) -> Result<(), ConfigError> {
        let mut jobs = BTreeMap::new();
        let global = loaded.config.global.clone();
        for (index, section) in loaded.config.scrape_configs.iter_mut().enumerate() {
            loaded.scrape.push(Arc::new(self.scrape_section(index, section, &global, &mut jobs)?));
        }
        for (index, pattern) in loaded.config.scrape_config_files.clone().iter().enumerate() {
            let path = [Field("scrape_config_files"), Item(index)];
            files::check_pattern(pattern).map_err(|reason| self.error(&path, reason))?;
            let found = files::find(self.folder(), pattern).map_err(|error| self.error(&path, error))?;
            if found.is_empty() {
                loaded.warnings.push(format!("{}: no file matches {pattern:?}", printed(&path)));
            }
            for file in found {
                let text = yaml::read(&file)?;
                let more: ScrapeFile = yaml::parse(&file, &text)?;
                let checked = Checked { file: &file, text: &text };
                for (index, mut section) in more.scrape_configs.into_iter().enumerate() {
                    loaded.scrape.push(Arc::new(checked.scrape_section(index, &mut section, &global, &mut jobs)?));
                    loaded.config.scrape_configs.push(section);
                }
            }
        }
        Ok(())
    }

    /// Checks a scrape section and fills in what it inherits. `jobs` maps the names seen so far to their sections.
    fn scrape_section(
        &self,
        index: usize,
        section: &mut ScrapeConfig,
        global: &GlobalConfig,
        jobs: &mut BTreeMap<String, String>,
    ) -> Result<ResolvedScrapeConfig, ConfigError> {
        let path = [Field("scrape_configs"), Item(index)];
        let own = |field| [path[0], path[1], Field(field)];
        if section.job_name.is_empty() {
            return Err(self.error(&path, "job_name is missing or empty"));
        }
        let here = format!("{} of {}", printed(&path), self.file.display());
        if let Some(first) = jobs.insert(section.job_name.clone(), here) {
            let reason = format!("{:?} is already the name of {first}", section.job_name);
            return Err(self.error(&own("job_name"), reason));
        }
        let scheme = section.metric_name_validation_scheme.or(global.metric_name_validation_scheme).unwrap_or_default();
        for (field, rules) in
            [("relabel_configs", &section.relabel_configs), ("metric_relabel_configs", &section.metric_relabel_configs)]
        {
            let rules: Vec<Option<&RelabelConfig>> = rules.iter().map(Option::as_ref).collect();
            self.relabelling(&own(field), &rules, scheme)?;
        }
        // The first check quotes paths as the file has them. The second one resolves them.
        section.validate(global).map_err(|error| self.error_in(&path, error))?;
        section.set_directory(self.folder());
        let resolved = section.validate(global).map_err(|error| self.error_in(&path, error))?;
        section.scrape_interval = resolved.scrape_interval;
        section.scrape_timeout = resolved.scrape_timeout;
        section.scrape_protocols = Some(resolved.protocols.clone());
        Ok(resolved)
    }

    fn relabelling(
        &self,
        path: &[Step<'_>],
        rules: &[Option<&RelabelConfig>],
        scheme: ValidationScheme,
    ) -> Result<(), ConfigError> {
        for (index, rule) in rules.iter().enumerate() {
            let path = [path, &[Item(index)]].concat();
            let rule = rule.ok_or_else(|| self.error(&path, "relabelling rule is empty"))?;
            RelabelRule::new(rule.clone(), scheme).map_err(|error| self.error_in(&path, error))?;
        }
        Ok(())
    }

    fn storage_and_limits(&self, loaded: &mut Loaded) -> Result<(), ConfigError> {
        let config = &mut loaded.config;
        let tsdb = &config.storage.tsdb;
        let path = [Field("storage"), Field("tsdb"), Field("retention"), Field("percentage")];
        if tsdb.retention.percentage.is_some_and(|share| !(0.0..=100.0).contains(&share)) {
            return Err(self.error(&path, "must be between 0 and 100"));
        }
        let defaults = &mut config.limits.defaults;
        if let Some(window) = tsdb.out_of_order_time_window
            && defaults.out_of_order_time_window == limits::DEFAULT_WINDOW
        {
            defaults.out_of_order_time_window = window;
        }
        if !["", "xor", "xor2"].contains(&tsdb.chunk_encoding.floats.as_str()) {
            let path = [Field("storage"), Field("tsdb"), Field("chunk_encoding"), Field("floats")];
            return Err(self.error(&path, "must be xor, xor2 or omitted"));
        }
        if let Some(exemplars) = &config.storage.exemplars {
            defaults.max_exemplars = exemplars.max_exemplars;
        }
        for tenant in config.limits.overrides.keys() {
            let path = [Field("limits"), Field("overrides"), Field(tenant)];
            TenantId::new(tenant).map_err(|error| self.error(&path, error))?;
        }
        self.query_features(config)?;
        let otlp = pharos_config::OtlpConfig::from(&config.otlp);
        let is_legacy = config.global.metric_name_validation_scheme == Some(ValidationScheme::Legacy);
        if is_legacy && !otlp.translation_strategy.escapes() {
            let path = [Field("otlp"), Field("translation_strategy")];
            let strategy = config.otlp.translation_strategy;
            let reason = format!("{strategy:?} is not allowed when global.metric_name_validation_scheme is legacy");
            return Err(self.error(&path, reason));
        }
        loaded.otlp = otlp.checked().map_err(|error| self.error_in(&[Field("otlp")], error))?;
        Ok(())
    }

    fn query_features(&self, config: &Config) -> Result<(), ConfigError> {
        let limits = &config.limits;
        let defaults = (vec![Field("limits"), Field("defaults")], &limits.defaults.disabled_query_features);
        let own = limits.overrides.iter().filter_map(|(tenant, own)| {
            let path = vec![Field("limits"), Field("overrides"), Field(tenant.as_str())];
            own.disabled_query_features.as_ref().map(|names| (path, names))
        });
        for (mut path, names) in std::iter::once(defaults).chain(own) {
            path.push(Field("disabled_query_features"));
            for (index, name) in names.iter().enumerate() {
                if !QueryFeatures::default().disable(name) {
                    path.push(Item(index));
                    let known = QueryFeatures::NAMES.join(", ");
                    return Err(self.error(&path, format!("unknown feature {name:?}; expected one of {known}")));
                }
            }
        }
        Ok(())
    }

    /// Reads and checks the rule files. A pattern may match no file.
    fn rules(&self, loaded: &mut Loaded) -> Result<(), ConfigError> {
        let mut known = BTreeSet::new();
        for tenant in loaded.config.tenants.keys() {
            TenantId::new(tenant).map_err(|error| self.error(&[Field("tenants"), Field(tenant)], error))?;
        }
        for (tenant, path, pattern) in rule_patterns(&loaded.config) {
            files::check_pattern(pattern).map_err(|reason| self.error(&path, reason))?;
            for file in files::find(self.folder(), pattern).map_err(|error| self.error(&path, error))? {
                if known.insert((tenant.clone(), file.clone())) {
                    let (groups, path) = (rule_groups(&file)?, file.display().to_string());
                    loaded.rules.push(Arc::new(RuleFile { tenant: tenant.clone(), path, groups }));
                }
            }
        }
        Ok(())
    }

    fn alerting(&self, loaded: &mut Loaded) -> Result<(), ConfigError> {
        let scheme = loaded.config.global.metric_name_validation_scheme.unwrap_or_default();
        let alerting = &mut loaded.config.alerting;
        let rules: Vec<_> = alerting.alert_relabel_configs.iter().map(Option::as_ref).collect();
        self.relabelling(&[Field("alerting"), Field("alert_relabel_configs")], &rules, scheme)?;
        for (index, section) in alerting.alertmanagers.iter().enumerate() {
            let path = [Field("alerting"), Field("alertmanagers"), Item(index)];
            for (field, rules) in [
                ("relabel_configs", &section.relabel_configs),
                ("alert_relabel_configs", &section.alert_relabel_configs),
            ] {
                let rules: Vec<_> = rules.iter().map(Option::as_ref).collect();
                self.relabelling(&[path[0], path[1], path[2], Field(field)], &rules, scheme)?;
            }
            // The first check quotes paths as the file has them. The second one resolves them.
            section.validate(scheme).map_err(|error| self.error_in(&path, error))?;
            let names = section.unsupported().join(", ");
            if !names.is_empty() {
                let section = printed(&path);
                loaded.warnings.push(format!("{section}: {names} has no effect: not supported yet"));
            }
        }
        alerting.set_directory(self.folder());
        let failed = |error: pharos_config::ConfigError| self.error_in(&[Field("alerting")], error);
        loaded.alerting.alert_relabel = alerting.alert_relabelling(scheme).map_err(failed)?;
        for section in &alerting.alertmanagers {
            loaded.alerting.alertmanagers.push(Arc::new(section.validate(scheme).map_err(failed)?));
        }
        Ok(())
    }

    /// Checks the sections that have no effect yet.
    fn unsupported(&self, config: &Config) -> Result<(), ConfigError> {
        let mut names = BTreeMap::new();
        for (index, remote) in config.remote_write.iter().enumerate() {
            self.remote("remote_write", index, &remote.url, &remote.name, &mut names)?;
            self.headers(&[Field("remote_write"), Item(index)], &remote.headers)?;
            let path = [Field("remote_write"), Item(index), Field("protobuf_message")];
            if !["prometheus.WriteRequest", "io.prometheus.write.v2.Request"]
                .contains(&remote.protobuf_message.as_str())
            {
                let reason = "must be prometheus.WriteRequest or io.prometheus.write.v2.Request";
                return Err(self.error(&path, reason));
            }
            if let Some((field, reason)) = remote.queue_config.mistake() {
                return Err(self.error(&[path[0], path[1], Field("queue_config"), Field(field)], reason));
            }
            let rules: Vec<_> = remote.write_relabel_configs.iter().map(Some).collect();
            self.relabelling(&[path[0], path[1], Field("write_relabel_configs")], &rules, ValidationScheme::default())?;
        }
        names.clear();
        for (index, remote) in config.remote_read.iter().enumerate() {
            self.remote("remote_read", index, &remote.url, &remote.name, &mut names)?;
            self.headers(&[Field("remote_read"), Item(index)], &remote.headers)?;
        }
        self.tracing(config)
    }

    fn remote(
        &self,
        section: &str,
        index: usize,
        url: &str,
        name: &str,
        names: &mut BTreeMap<String, usize>,
    ) -> Result<(), ConfigError> {
        let path = [Field(section), Item(index)];
        if url.is_empty() {
            return Err(self.error(&path, "url is missing or empty"));
        }
        // Prometheus takes every URL here, even `localhost:9090`, whose scheme is `localhost`.
        if !url.is_ascii() || url.bytes().any(|b| b.is_ascii_control() || b == b' ') {
            return Err(self.error(&[path[0], path[1], Field("url")], "not a URL"));
        }
        match names.insert(name.to_string(), index) {
            Some(first) if !name.is_empty() => {
                let path = [path[0], path[1], Field("name")];
                Err(self.error(&path, format!("{name:?} is already the name of {section}[{first}]")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses custom headers that the protocol or the credentials set.
    fn headers(&self, section: &[Step<'_>], headers: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        for name in headers.keys() {
            let reason = match name.to_ascii_lowercase().as_str() {
                "authorization" => "authorization is set by the fields for credentials",
                lower if RESERVED_HEADERS.contains(&lower) => "a reserved header, which must not be changed",
                _ => continue,
            };
            return Err(self.error(&[section, &[Field("headers"), Field(name)]].concat(), reason));
        }
        Ok(())
    }

    fn tracing(&self, config: &Config) -> Result<(), ConfigError> {
        let Some(tracing) = &config.tracing else { return Ok(()) };
        let field = |name| [Field("tracing"), Field(name)];
        if tracing.endpoint.is_empty() {
            return Err(self.error(&[Field("tracing")], "endpoint is missing or empty"));
        }
        self.headers(&[Field("tracing")], &tracing.headers)?;
        if !["http", "grpc"].contains(&tracing.client_type.as_str()) {
            return Err(self.error(&field("client_type"), "must be http or grpc"));
        }
        if !["", "gzip"].contains(&tracing.compression.as_str()) {
            return Err(self.error(&field("compression"), "must be gzip or omitted"));
        }
        match (0.0..=1.0).contains(&tracing.sampling_fraction) {
            true => Ok(()),
            false => Err(self.error(&field("sampling_fraction"), "must be between 0 and 1")),
        }
    }
}

/// The groups of a rule file. All mistakes are in the error, one a line.
/// The patterns of rule files, with their tenants and where the configuration has them.
fn rule_patterns(config: &Config) -> impl Iterator<Item = (TenantId, Vec<Step<'_>>, &str)> {
    let own = config.rule_files.iter().enumerate();
    let own = own.map(|(at, pattern)| (TenantId::default(), vec![Field("rule_files"), Item(at)], pattern.as_str()));
    let of_tenants = config.tenants.iter().flat_map(|(name, section)| {
        // Names are checked before.
        let tenant = TenantId::new(name).unwrap_or_default();
        section.rule_files.iter().enumerate().map(move |(at, pattern)| {
            let path = vec![Field("tenants"), Field(name), Field("rule_files"), Item(at)];
            (tenant.clone(), path, pattern.as_str())
        })
    });
    own.chain(of_tenants)
}

fn rule_groups(file: &Path) -> Result<RuleGroups, ConfigError> {
    RuleGroups::parse(&yaml::read(file)?, false).map_err(|mistakes| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        ConfigError::at(file, None, mistakes.join("\n"))
    })
}

/// Warns of settings that have no effect.
fn warn_of_unsupported(loaded: &mut Loaded) {
    let config = &loaded.config;
    let tsdb = &config.storage.tsdb;
    let unsupported = [
        ("remote_write", "samples are not forwarded yet", !config.remote_write.is_empty()),
        ("remote_read", "other servers are not queried yet", !config.remote_read.is_empty()),
        ("tracing", "traces are not sent yet", config.tracing.is_some()),
        (
            "global.scrape_failure_log_file",
            "failed scrapes are not logged yet",
            config.global.scrape_failure_log_file.is_some(),
        ),
        (
            "global.query_max_…",
            "the limits of queries are in the section limits",
            config.global.query_max_series > 0
                || config.global.query_max_samples_read > 0
                || !config.global.query_max_duration.is_zero(),
        ),
        ("runtime.gogc", "it tunes the Go runtime", config.runtime.gogc.is_some()),
        ("storage.tsdb.retention.percentage", "it is not supported yet", tsdb.retention.percentage.is_some()),
        (
            "storage.tsdb.chunk_encoding",
            "each chunk is encoded in the best of several ways",
            tsdb.chunk_encoding != Default::default(),
        ),
        (
            "storage.tsdb.stale_series_compaction_threshold",
            "stale series leave memory with their window",
            tsdb.stale_series_compaction_threshold.is_some(),
        ),
    ];
    for (section, reason, _) in unsupported.into_iter().filter(|(_, _, is_set)| *is_set) {
        loaded.warnings.push(format!("{section} has no effect: {reason}"));
    }
    for section in &config.scrape_configs {
        let names = section.unsupported();
        if !names.is_empty() {
            let names = names.join(", ");
            loaded
                .warnings
                .push(format!("scrape job {:?}: {names} has no effect: not supported yet", section.job_name));
        }
    }
}
