//! The configuration that is in force, and its replacement while the server runs. A bad file leaves the old one in force.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use pharos_model::Clock;
use prometheus::{Gauge, Registry};

use crate::config::{Config, ConfigError, Loaded, find_files};

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file, read again on each reload.
    File(PathBuf),
    /// None was given: the server scrapes itself on this port.
    Builtin {
        /// The port of the first listener.
        port: u16,
    },
}

impl ConfigSource {
    fn load(&self) -> Result<Loaded, ConfigError> {
        match self {
            ConfigSource::File(file) => Config::load(file),
            ConfigSource::Builtin { port } => Config::without_file(*port),
        }
    }
}

/// Tells changes of files by their fingerprint.
pub struct FilesWatch {
    last: u64,
}

impl FilesWatch {
    /// The files are now as this says.
    pub fn new(fingerprint: u64) -> Self {
        FilesWatch { last: fingerprint }
    }

    /// Whether they are no longer as they were when this was asked before.
    pub fn has_changed(&mut self, fingerprint: u64) -> bool {
        std::mem::replace(&mut self.last, fingerprint) != fingerprint
    }
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is bad.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The file is good and a part of the server cannot run by it.
    #[error("the new configuration cannot be applied: {0}")]
    Apply(String),
}

/// The configuration in force. Readers take [`ConfigHandle::current`]; one reload runs at a time.
pub struct ConfigHandle {
    source: ConfigSource,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Loaded>,
    reloading: Mutex<()>,
    successful: AtomicBool,
    applied_ms: AtomicI64,
    metrics: ReloadMetrics,
}

struct ReloadMetrics {
    successful: Gauge,
    success_timestamp: Gauge,
}

impl ReloadMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(ReloadMetrics {
            successful: gauge(
                "pharos_config_last_reload_successful",
                "Whether the last configuration reload was applied.",
            )?,
            success_timestamp: gauge(
                "pharos_config_last_reload_success_timestamp_seconds",
                "When a configuration was last applied, seconds since the epoch.",
            )?,
        })
    }
}

impl ConfigHandle {
    /// Loads the first configuration. An error of the registry means that the names are taken: that is reported as
    /// [`ReloadError::Apply`].
    pub fn load(source: ConfigSource, clock: Arc<dyn Clock>, registry: &Registry) -> Result<Self, ReloadError> {
        let loaded = source.load()?;
        let metrics = ReloadMetrics::register(registry).map_err(|error| ReloadError::Apply(error.to_string()))?;
        let handle = ConfigHandle {
            source,
            clock,
            current: ArcSwap::from_pointee(loaded),
            reloading: Mutex::new(()),
            successful: true.into(),
            applied_ms: 0.into(),
            metrics,
        };
        handle.record(true);
        Ok(handle)
    }

    /// The configuration in force.
    pub fn current(&self) -> Arc<Loaded> {
        self.current.load_full()
    }

    /// Where the configuration comes from.
    pub fn source(&self) -> &ConfigSource {
        &self.source
    }

    /// A number that changes when the configuration's file, or a file of `scrape_config_files` or `rule_files`, does. Blocks
    /// while it reads them.
    pub fn fingerprint(&self) -> u64 {
        let ConfigSource::File(file) = &self.source else { return 0 };
        let mut hasher = std::hash::DefaultHasher::new();
        let mut files = vec![file.clone()];
        let loaded = self.current();
        let folder = file.parent().unwrap_or(Path::new(""));
        for pattern in loaded.config.scrape_config_files.iter().chain(&loaded.config.rule_files) {
            files.extend(find_files(folder, pattern).unwrap_or_default());
        }
        for file in files {
            // What cannot be read counts as empty: it is a change, too.
            (&file, std::fs::read(&file).unwrap_or_default()).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Whether the last load was applied, and when one was applied last, milliseconds since the epoch.
    pub fn last_reload(&self) -> (bool, i64) {
        (self.successful.load(Ordering::Relaxed), self.applied_ms.load(Ordering::Relaxed))
    }

    /// Loads the configuration again and puts it in force if it is good and `apply` takes it. Blocks while it reads files.
    /// `apply` is called with the old and the new configuration and must change nothing when it fails.
    pub fn reload(
        &self,
        apply: impl FnOnce(&Loaded, &Arc<Loaded>) -> Result<(), String>,
    ) -> Result<Arc<Loaded>, ReloadError> {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = || {
            let new = Arc::new(self.source.load()?);
            apply(&self.current(), &new).map_err(ReloadError::Apply)?;
            self.current.store(new.clone());
            Ok(new)
        };
        let outcome = attempt();
        self.record(outcome.is_ok());
        outcome
    }

    fn record(&self, successful: bool) {
        self.successful.store(successful, Ordering::Relaxed);
        self.metrics.successful.set(f64::from(u8::from(successful)));
        if successful {
            let now_ms = self.clock.now_ms();
            self.applied_ms.store(now_ms, Ordering::Relaxed);
            self.metrics.success_timestamp.set(now_ms as f64 / 1000.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pharos_model::clock::ManualClock;

    #[test]
    fn a_bad_file_leaves_the_old_configuration_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("global: {scrape_interval: 5s}\n");
        let clock = Arc::new(ManualClock::at(1000));
        let registry = Registry::new();
        let handle = ConfigHandle::load(ConfigSource::File(file.clone()), clock.clone(), &registry).unwrap();
        let interval = || handle.current().config.global.scrape_interval.as_millis();
        assert_eq!((interval(), handle.last_reload()), (5000, (true, 1000)));

        clock.set(2000);
        let mut watch = FilesWatch::new(handle.fingerprint());
        assert!(!watch.has_changed(handle.fingerprint()));
        write("global: {scrape_interval: nonsense}\n");
        assert!(watch.has_changed(handle.fingerprint()) && !watch.has_changed(handle.fingerprint()));
        let error = handle.reload(|_, _| panic!("a bad file is not applied")).unwrap_err();
        assert!(error.to_string().contains("prometheus.yml:1:27: global.scrape_interval: "), "{error}");
        assert_eq!((interval(), handle.last_reload()), (5000, (false, 1000)));

        write("global: {scrape_interval: 7s}\n");
        let error = handle.reload(|_, _| Err("no port is free".into())).unwrap_err();
        assert_eq!(error.to_string(), "the new configuration cannot be applied: no port is free");
        assert_eq!((interval(), handle.last_reload()), (5000, (false, 1000)));

        handle
            .reload(|old, new| {
                assert_ne!(old.config, new.config);
                Ok(())
            })
            .unwrap();
        assert_eq!((interval(), handle.last_reload()), (7000, (true, 2000)));
        let text = crate::metrics::metrics_text(&registry);
        assert!(text.contains("pharos_config_last_reload_successful 1\n"), "{text}");
        assert!(text.contains("pharos_config_last_reload_success_timestamp_seconds 2\n"), "{text}");
    }
}
