//! The configuration of the Alertmanager that is in force, and its replacement at runtime.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use pharos_alertmanager::engine::{Active, Engine};
use pharos_alertmanager::{Config, Syntax};

/// The configuration. One reload runs at a time; one that fails changes nothing.
pub(super) struct Configuration {
    engine: Arc<Engine>,
    file: PathBuf,
    external_url: String,
    reloading: Mutex<()>,
}

impl Configuration {
    /// Puts the first configuration in force. Blocks while it reads templates.
    ///
    /// # Errors
    /// A template or a receiver is invalid.
    pub(super) fn start(
        engine: Arc<Engine>,
        file: &Path,
        config: Config,
        external_url: String,
    ) -> Result<Self, String> {
        let configuration = Configuration { engine, file: file.to_path_buf(), external_url, reloading: Mutex::new(()) };
        configuration.apply(config).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(configuration)
    }

    /// Reads the file and puts it in force. Blocks while it reads.
    ///
    /// # Errors
    /// The file is invalid. The previous configuration stays in force.
    pub(super) fn reload(&self) -> Result<(), String> {
        let _one_at_a_time = self.reloading.lock();
        let loaded = Config::load(&self.file, self.engine.settings.syntax).map_err(|error| error.to_string());
        let outcome = loaded.and_then(|config| self.apply(config));
        match &outcome {
            Ok(()) => tracing::info!(file = %self.file.display(), "the configuration was reloaded"),
            Err(error) => {
                self.engine.metrics.reload_successful.set(0.0);
                tracing::error!(error, "the configuration was not reloaded; the previous one stays in force");
            }
        }
        outcome
    }

    fn apply(&self, config: Config) -> Result<(), String> {
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        self.warn_of_intervals(&config);
        let mut hasher = std::hash::DefaultHasher::new();
        config.printed.hash(&mut hasher);
        let active = Active::build(config, &self.external_url)?;
        self.engine.activate(active);
        let metrics = &self.engine.metrics;
        // A double has room for 48 bits of the hash.
        metrics.config_hash.set((hasher.finish() >> 16) as f64);
        metrics.reload_successful.set(1.0);
        metrics.reload_timestamp.set(self.engine.now().as_millisecond() as f64 / 1000.0);
        Ok(())
    }

    fn warn_of_intervals(&self, config: &Config) {
        let retention = self.engine.settings.retention;
        for route in &config.routes.0 {
            if route.repeat_interval > retention {
                tracing::warn!(
                    route = route.key, ?retention, repeat_interval = ?route.repeat_interval,
                    "repeat_interval is longer than --data.retention; notifications repeat after the retention"
                );
            }
            if route.repeat_interval < route.group_interval {
                tracing::warn!(
                    route = route.key, repeat_interval = ?route.repeat_interval, group_interval = ?route.group_interval,
                    "repeat_interval is shorter than group_interval; notifications repeat at the next group_interval"
                );
            }
        }
    }
}

/// Checks a file with its templates. The text says what it has.
pub(super) fn check(file: &Path) -> Result<String, String> {
    let config = Config::load(file, Syntax::Both).map_err(|error| error.to_string())?;
    let (rules, receivers, templates) = (config.inhibit_rules.len(), config.receivers.len(), config.templates.len());
    config.load_templates("http://localhost:9093")?;
    Ok(format!("{rules} inhibit rules, {receivers} receivers, {templates} templates"))
}
