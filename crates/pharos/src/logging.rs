//! Logging to stderr in the format of Prometheus 3: one line per event, logfmt or JSON, with time, level, source, message
//! and fields.
//!
//! The level applies to Pharos's own events. Libraries never log below `info`. Openraft logs errors, and warnings when the
//! level is `debug`.

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

/// Changes the log level at runtime.
#[derive(Clone)]
pub struct LogHandle(reload::Handle<Targets, Registry>);

impl LogHandle {
    /// Sets the lowest severity to log.
    pub fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::warn!(%error, "could not change the log level");
        }
    }
}

/// Starts logging for the process. Fails when logging has been started already.
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
    // The individual steps of Raft only matter to its developers. The cluster crate logs the outcomes.
    let raft = if level == LogLevel::Debug { LevelFilter::WARN } else { LevelFilter::ERROR };
    Targets::new().with_default(libraries).with_target("openraft", raft).with_target("pharos", own)
}
