//! Discovery: where targets come from. Each mechanism runs as a task that publishes all that it finds; sections with
//! equal settings share one.

mod file;
mod http_sd;
mod metrics;

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_model::{Clock, Labels};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use pharos_config::{ConfigError, FileSdConfig, HttpSdConfig, ResolvedScrapeConfig, TargetGroup};
use pharos_http_client::HttpClient;

pub use metrics::DiscoveryMetrics;

/// The labels of all targets that a mechanism finds; `None` before its first answer.
pub type Found = Option<Arc<Vec<Labels>>>;

/// The settings of a mechanism.
#[derive(Clone, Debug, PartialEq)]
enum Mechanism {
    Static(Vec<TargetGroup>),
    File(FileSdConfig),
    Http(Box<HttpSdConfig>),
}

/// A running mechanism.
struct Running {
    mechanism: Mechanism,
    found: watch::Receiver<Found>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All mechanisms that run.
pub struct Discoveries {
    running: Vec<Running>,
    clock: Arc<dyn Clock>,
    metrics: DiscoveryMetrics,
}

impl Discoveries {
    /// No mechanism runs yet.
    pub fn new(clock: Arc<dyn Clock>, metrics: DiscoveryMetrics) -> Self {
        Discoveries { running: Vec::new(), clock, metrics }
    }

    /// What the mechanisms of a section find; starts those that do not run yet.
    pub fn of(&mut self, config: &ResolvedScrapeConfig) -> Result<Vec<watch::Receiver<Found>>, ConfigError> {
        mechanisms(config).into_iter().map(|mechanism| self.found(mechanism)).collect()
    }

    fn found(&mut self, mechanism: Mechanism) -> Result<watch::Receiver<Found>, ConfigError> {
        if let Some(running) = self.running.iter().find(|running| running.mechanism == mechanism) {
            return Ok(running.found.clone());
        }
        let (publish, found) = watch::channel(None);
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        let task = match mechanism.clone() {
            Mechanism::Static(groups) => {
                publish
                    .send_replace(Some(Arc::new(groups.iter().flat_map(|group| group_labels(group, &[])).collect())));
                tokio::spawn(async move { publish.closed().await })
            }
            Mechanism::File(config) => tokio::spawn(file::run(config, clock, metrics, publish)),
            Mechanism::Http(config) => {
                let client = HttpClient::new(&config.http_client()?)?;
                tokio::spawn(http_sd::run(*config, client, metrics, publish))
            }
        };
        self.running.push(Running { mechanism, found: found.clone(), task });
        Ok(found)
    }

    /// Ends the mechanisms that no section uses.
    pub fn retain(&mut self, configs: &[Arc<ResolvedScrapeConfig>]) {
        let used: Vec<Mechanism> = configs.iter().flat_map(|config| mechanisms(config)).collect();
        self.running.retain(|running| used.contains(&running.mechanism));
    }
}

fn mechanisms(config: &ResolvedScrapeConfig) -> Vec<Mechanism> {
    let statics = (!config.static_configs.is_empty()).then(|| Mechanism::Static(config.static_configs.clone()));
    let files = config.file_sd_configs.iter().cloned().map(Mechanism::File);
    let servers = config.http_sd_configs.iter().cloned().map(|config| Mechanism::Http(Box::new(config)));
    statics.into_iter().chain(files).chain(servers).collect()
}

/// The labels of each target of a group, with those that the mechanism adds.
fn group_labels(group: &TargetGroup, meta: &[(&str, &str)]) -> Vec<Labels> {
    let common: BTreeMap<&str, &str> =
        group.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(meta.iter().copied()).collect();
    let of_target = |address: &String| {
        let own = [("__address__", address.as_str())];
        Labels::from_pairs(common.iter().map(|(name, value)| (*name, *value)).chain(own))
    };
    group.targets.iter().map(of_target).collect()
}

#[cfg(test)]
mod tests;
