//! The active configuration, and its replacement at runtime. An invalid file leaves the active one unchanged.

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
    /// A file that is read on each reload.
    File(PathBuf),
    /// Built in: the server scrapes itself on this port.
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

/// Detects changes of files by their fingerprint.
pub struct FilesWatch {
    last: u64,
}

impl FilesWatch {
    /// Starts from this fingerprint.
    pub fn new(fingerprint: u64) -> Self {
        FilesWatch { last: fingerprint }
    }

    /// Whether the fingerprint differs from the one of the previous call.
    pub fn has_changed(&mut self, fingerprint: u64) -> bool {
        std::mem::replace(&mut self.last, fingerprint) != fingerprint
    }
}

/// Why a reload failed. The active configuration is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is invalid.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The file is valid, but a part of the server cannot apply it.
    #[error("cannot apply the new configuration: {0}")]
    Apply(String),
}

/// The active configuration. Readers call [`ConfigHandle::current`]. One reload runs at a time.
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
                "Whether the last configuration reload succeeded.",
            )?,
            success_timestamp: gauge(
                "pharos_config_last_reload_success_timestamp_seconds",
                "Time of the last successful configuration reload in seconds since the epoch.",
            )?,
        })
    }
}

impl ConfigHandle {
    /// Loads the initial configuration and registers the metrics of reloads. A failed registration is reported as
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

    /// The active configuration.
    pub fn current(&self) -> Arc<Loaded> {
        self.current.load_full()
    }

    /// Where the configuration comes from.
    pub fn source(&self) -> &ConfigSource {
        &self.source
    }

    /// A hash of the configuration file and of the files that `scrape_config_files`, `rule_files` and `tenants` name. Blocks while it
    /// reads them.
    pub fn fingerprint(&self) -> u64 {
        let ConfigSource::File(file) = &self.source else { return 0 };
        let mut hasher = std::hash::DefaultHasher::new();
        let mut files = vec![file.clone()];
        let loaded = self.current();
        let folder = file.parent().unwrap_or(Path::new(""));
        let config = &loaded.config;
        let of_tenants = config.tenants.values().flat_map(|tenant| &tenant.rule_files);
        for pattern in config.scrape_config_files.iter().chain(&config.rule_files).chain(of_tenants) {
            files.extend(find_files(folder, pattern).unwrap_or_default());
        }
        for file in files {
            // An unreadable file counts as empty, so that losing it is a change, too.
            (&file, std::fs::read(&file).unwrap_or_default()).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Whether the last reload succeeded, and the time of the last success in milliseconds since the epoch.
    pub fn last_reload(&self) -> (bool, i64) {
        (self.successful.load(Ordering::Relaxed), self.applied_ms.load(Ordering::Relaxed))
    }

    /// Loads the configuration and activates it if it is valid and `apply` succeeds. Blocks while it reads files.
    /// `apply` gets the previous and the new configuration, and must change nothing when it fails.
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
    fn an_invalid_file_leaves_the_configuration_unchanged() {
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
        assert_eq!(error.to_string(), "cannot apply the new configuration: no port is free");
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
