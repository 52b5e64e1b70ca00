//! Discovery: where targets come from. Each mechanism runs as a task that publishes all targets it finds. Sections with
//! equal settings share a task.

#![forbid(unsafe_code)]

mod file;
mod group;
mod http_sd;
mod metrics;

use std::mem::discriminant;
use std::sync::Arc;

use pharos_config::{
    ConfigError, FileSdConfig, HttpSdConfig, ResolvedAlertmanagers, ResolvedScrapeConfig, TargetGroup,
};
use pharos_http_client::HttpClient;
use pharos_model::Clock;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use group::DiscoveredTargets;
pub use metrics::DiscoveryMetrics;

use group::group_labels;

/// The mechanisms of one section of the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mechanisms<'a> {
    /// Targets in the configuration file.
    pub static_configs: &'a [TargetGroup],
    /// Targets in discovery files.
    pub file_sd_configs: &'a [FileSdConfig],
    /// Targets from discovery servers.
    pub http_sd_configs: &'a [HttpSdConfig],
}

impl<'a> From<&'a ResolvedScrapeConfig> for Mechanisms<'a> {
    fn from(config: &'a ResolvedScrapeConfig) -> Self {
        let ResolvedScrapeConfig { static_configs, file_sd_configs, http_sd_configs, .. } = config;
        Mechanisms { static_configs, file_sd_configs, http_sd_configs }
    }
}

impl<'a> From<&'a ResolvedAlertmanagers> for Mechanisms<'a> {
    fn from(config: &'a ResolvedAlertmanagers) -> Self {
        let ResolvedAlertmanagers { static_configs, file_sd_configs, http_sd_configs, .. } = config;
        Mechanisms { static_configs, file_sd_configs, http_sd_configs }
    }
}

/// The settings of a mechanism.
#[derive(Clone, Debug, PartialEq)]
enum Mechanism {
    Static(Vec<TargetGroup>),
    File(FileSdConfig),
    Http(Box<HttpSdConfig>),
}

/// The task of a mechanism, which ends when this is dropped.
struct RunningMechanism {
    mechanism: Mechanism,
    targets: watch::Receiver<DiscoveredTargets>,
    task: JoinHandle<()>,
}

impl Drop for RunningMechanism {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs the mechanisms of all sections.
pub struct DiscoveryManager {
    running: Vec<RunningMechanism>,
    clock: Arc<dyn Clock>,
    metrics: DiscoveryMetrics,
}

impl DiscoveryManager {
    /// A manager that runs nothing yet.
    pub fn new(clock: Arc<dyn Clock>, metrics: DiscoveryMetrics) -> Self {
        DiscoveryManager { running: Vec::new(), clock, metrics }
    }

    /// Subscribes to the mechanisms of a section, one receiver each. Starts those that are not running. One that takes the
    /// place of another of the section's previous version has its targets until it finds its own.
    ///
    /// # Errors
    /// The client of a discovery server cannot be built.
    pub fn subscribe(
        &mut self,
        section: Mechanisms<'_>,
        previous: Option<Mechanisms<'_>>,
    ) -> Result<Vec<watch::Receiver<DiscoveredTargets>>, ConfigError> {
        let wanted = section.all();
        let mut replaced = previous.map(Mechanisms::all).unwrap_or_default();
        replaced.retain(|mechanism| !wanted.contains(mechanism));
        wanted.into_iter().map(|mechanism| self.run(mechanism, &replaced)).collect()
    }

    /// The targets of the mechanisms of the same kind that a new one replaces; `None` if there are none.
    fn targets_of_replaced(&self, mechanism: &Mechanism, replaced: &[Mechanism]) -> DiscoveredTargets {
        let is_replaced = |running: &&RunningMechanism| {
            discriminant(&running.mechanism) == discriminant(mechanism) && replaced.contains(&running.mechanism)
        };
        let found: Vec<_> =
            self.running.iter().filter(is_replaced).filter_map(|running| running.targets.borrow().clone()).collect();
        let all = || Arc::new(found.iter().flat_map(|targets| targets.iter().cloned()).collect());
        (!found.is_empty()).then(all)
    }

    fn run(
        &mut self,
        mechanism: Mechanism,
        replaced: &[Mechanism],
    ) -> Result<watch::Receiver<DiscoveredTargets>, ConfigError> {
        if let Some(running) = self.running.iter().find(|running| running.mechanism == mechanism) {
            return Ok(running.targets.clone());
        }
        let (publish, targets) = watch::channel(self.targets_of_replaced(&mechanism, replaced));
        let metrics = self.metrics.clone();
        let task = match mechanism.clone() {
            Mechanism::Static(groups) => {
                let all = groups.iter().flat_map(|group| group_labels(group, &[])).collect();
                publish.send_replace(Some(Arc::new(all)));
                tokio::spawn(async move { publish.closed().await })
            }
            Mechanism::File(config) => tokio::spawn(file::run(config, self.clock.clone(), metrics, publish)),
            Mechanism::Http(config) => {
                let client = HttpClient::new(&config.http_client()?)?;
                tokio::spawn(http_sd::run(*config, client, metrics, publish))
            }
        };
        self.running.push(RunningMechanism { mechanism, targets: targets.clone(), task });
        Ok(targets)
    }

    /// Stops the mechanisms that none of these sections uses.
    pub fn retain<'a>(&mut self, sections: impl IntoIterator<Item = Mechanisms<'a>>) {
        let used: Vec<Mechanism> = sections.into_iter().flat_map(Mechanisms::all).collect();
        self.running.retain(|running| used.contains(&running.mechanism));
    }
}

impl Mechanisms<'_> {
    fn all(self) -> Vec<Mechanism> {
        let statics = (!self.static_configs.is_empty()).then(|| Mechanism::Static(self.static_configs.to_vec()));
        let files = self.file_sd_configs.iter().cloned().map(Mechanism::File);
        let servers = self.http_sd_configs.iter().cloned().map(|config| Mechanism::Http(Box::new(config)));
        statics.into_iter().chain(files).chain(servers).collect()
    }
}

#[cfg(test)]
mod tests;
