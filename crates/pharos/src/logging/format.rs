//! The format of log lines: `time=2026-11-21T04:18:42.408Z level=INFO source=wal.rs:120 msg="replayed the log" segments=3`,
//! or the same as a JSON object. Ambiguous values are quoted, and an event is always exactly one line.

use std::fmt::{self, Write};
use std::sync::Arc;

use pharos_gocompat::GoQuoted;
use pharos_model::Clock;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::LogFormat;

/// Formats events as lines.
pub(super) struct EventFormat {
    pub(super) format: LogFormat,
    pub(super) clock: Arc<dyn Clock>,
}

impl<S, N> FormatEvent<S, N> for EventFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = Line {
            time_ms: self.clock.now_ms(),
            level: metadata.level().as_str(),
            source: metadata.file().map(|file| (file.rsplit('/').next().unwrap_or(file), metadata.line().unwrap_or(0))),
            message: &fields.message,
            fields: &fields.others,
        };
        match self.format {
            LogFormat::Logfmt => line.write_logfmt(&mut writer),
            LogFormat::Json => line.write_json(&mut writer),
        }
    }
}

/// An event, ready to be written.
pub(super) struct Line<'a> {
    /// Milliseconds since the epoch.
    pub(super) time_ms: i64,
    pub(super) level: &'a str,
    /// File name and line number in the code.
    pub(super) source: Option<(&'a str, u32)>,
    pub(super) message: &'a str,
    pub(super) fields: &'a [(&'static str, Value)],
}

/// The value of a field.
pub(super) enum Value {
    /// Text, quoted if necessary.
    Text(String),
    /// A number or a boolean in its JSON form.
    Plain(String),
}

impl Line<'_> {
    fn time(&self) -> String {
        let time = jiff::Timestamp::from_millisecond(self.time_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        format!("{time:.3}")
    }

    pub(super) fn write_logfmt(&self, out: &mut impl Write) -> fmt::Result {
        write!(out, "time={} level={}", self.time(), self.level)?;
        if let Some((file, line)) = self.source {
            write!(out, " source={file}:{line}")?;
        }
        write!(out, " msg={}", LogfmtText(self.message))?;
        for (name, value) in self.fields {
            let value = match value {
                Value::Text(text) | Value::Plain(text) => text,
            };
            write!(out, " {name}={}", LogfmtText(value))?;
        }
        out.write_char('\n')
    }

    pub(super) fn write_json(&self, out: &mut impl Write) -> fmt::Result {
        write!(out, "{{\"time\":\"{}\",\"level\":\"{}\"", self.time(), self.level)?;
        if let Some((file, line)) = self.source {
            write!(out, ",\"source\":{}", JsonText(&format!("{file}:{line}")))?;
        }
        write!(out, ",\"msg\":{}", JsonText(self.message))?;
        for (name, value) in self.fields {
            match value {
                Value::Text(text) => write!(out, ",{}:{}", JsonText(name), JsonText(text))?,
                Value::Plain(text) => write!(out, ",{}:{text}", JsonText(name))?,
            }
        }
        out.write_str("}\n")
    }
}

/// A logfmt value: bare when it is unambiguous, otherwise quoted like Go's `%q`.
pub(super) struct LogfmtText<'a>(pub(super) &'a str);

impl fmt::Display for LogfmtText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_ambiguous = |c: char| c == '"' || c == '=' || c.is_whitespace() || c.is_control() || c == '\u{fffd}';
        if self.0.is_empty() || self.0.contains(is_ambiguous) {
            write!(f, "{}", GoQuoted(self.0))
        } else {
            f.write_str(self.0)
        }
    }
}

struct JsonText<'a>(&'a str);

impl fmt::Display for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }

    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.push(field, Value::Plain(value.to_string()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::Text(value.to_string()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, Value::Text(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.plain(field, value),
            false => self.push(field, Value::Text(value.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
