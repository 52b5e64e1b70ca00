//! Logging to stderr as Prometheus 3 does: a line an event in logfmt or JSON, with time, level, source, message and fields.
//!
//! The level applies to Pharos's own events; libraries are never logged below `info`, openraft
//! never below `warn`, and only errors unless the level is `debug`.

mod format;

use std::sync::Arc;

use pharos_model::Clock;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, fmt, reload};

use crate::cli::{LogFormat, LogLevel};
use format::EventFormat;

/// Changes the level while the server runs.
#[derive(Clone)]
pub struct LogHandle(reload::Handle<Targets, Registry>);

impl LogHandle {
    /// Sets the least severity that is logged.
    pub fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::warn!(%error, "the log level cannot be changed");
        }
    }
}

/// Starts logging for the process. Fails when it was started before.
pub fn init(level: LogLevel, format: LogFormat, clock: Arc<dyn Clock>) -> Result<LogHandle, TryInitError> {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false).event_format(EventFormat { format, clock });
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    Ok(LogHandle(handle))
}

fn filter(level: LogLevel) -> Targets {
    let (own, libraries) = match level {
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::INFO),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
    };
    // What Raft does step by step is for its developers; meta says what matters of it.
    let raft = if level == LogLevel::Debug { LevelFilter::WARN } else { LevelFilter::ERROR };
    Targets::new().with_default(libraries).with_target("openraft", raft).with_target("pharos", own)
}
