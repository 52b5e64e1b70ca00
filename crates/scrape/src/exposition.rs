//! Formats in which targets expose their metrics, read into a [`Sink`] without copying.
//!
//! A parser recognises what is in the body and where; it does not look into the labels of a series. The sink says
//! which series it expects next, so that a line that begins with the same bytes as in the scrape before costs one
//! comparison; only for a series that is new the sink asks for its labels ([`LabelSource`]). Whatever is wrong ends
//! with an error that names the line; the caller then throws away what the sink holds.

mod convert;
mod float;
mod openmetrics;
mod protobuf;
mod series;
mod text;

use std::fmt;

use pharos_model::{Exemplar, Histogram, LabelsBuilder, MetricType};

use pharos_config::ScrapeProtocol;

pub use convert::ClassicToNative;
pub use openmetrics::parse_openmetrics;
pub use protobuf::parse_protobuf;
pub use text::parse_text;

/// What is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ExpositionError {
    /// Line, from 1; `None` for formats without lines and for refusals of the sink.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for ExpositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl ExpositionError {
    /// An error that has no line.
    pub fn new(reason: impl Into<String>) -> Self {
        ExpositionError { line: None, reason: reason.into() }
    }

    /// An error at an offset of the body.
    fn at(body: &[u8], offset: usize, reason: impl Into<String>) -> Self {
        let before = &body[..offset.min(body.len())];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        ExpositionError { line: Some(line), reason: reason.into() }
    }
}

/// Reads the labels of a series on demand.
pub trait LabelSource {
    /// Adds the labels, `__name__` included, to `out`.
    fn read(&self, out: &mut LabelsBuilder) -> Result<(), String>;
}

/// A series as a body names it.
#[derive(Clone, Copy)]
pub struct SeriesKey<'a> {
    /// Bytes that stand for the series in this target's bodies.
    pub key: &'a [u8],
    /// Whether it is the one that the sink expected.
    pub is_expected: bool,
    /// Its labels.
    pub labels: &'a dyn LabelSource,
}

/// A part of a family's metadata.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetadataField<'a> {
    /// Its type.
    Kind(MetricType),
    /// Its unit.
    Unit(&'a str),
    /// Its help text, escape sequences replaced.
    Help(&'a str),
}

/// When a sample is of and what belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SampleInfo<'a> {
    /// Timestamp that the body gives, milliseconds.
    pub t: Option<i64>,
    /// Start timestamp, milliseconds; 0 when unknown.
    pub st: i64,
    /// Exemplars. Those without a timestamp of their own have `i64::MIN`.
    pub exemplars: &'a [Exemplar],
}

/// The timestamp of an exemplar that has none of its own.
pub const NO_TIMESTAMP: i64 = i64::MIN;

/// Where a sink put a float sample, so that its start timestamp can follow; `None` when it did not keep it.
pub type SampleSlot = Option<u32>;

/// Takes what a parser finds.
pub trait Sink {
    /// The key of the series that is expected next; empty when none is.
    fn expected(&self) -> &[u8] {
        b""
    }

    /// Something is said of a metric family.
    fn metadata(&mut self, family: &str, field: MetadataField<'_>);

    /// A float sample.
    fn float(&mut self, series: SeriesKey<'_>, v: f64, info: SampleInfo<'_>) -> Result<SampleSlot, ExpositionError>;

    /// A native histogram.
    fn histogram(&mut self, series: SeriesKey<'_>, h: Histogram, info: SampleInfo<'_>) -> Result<(), ExpositionError>;

    /// Sets the start timestamp of a float sample.
    fn set_start(&mut self, slot: SampleSlot, st: i64);
}

/// A family of formats that one parser reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text.
    Text,
    /// OpenMetrics text.
    OpenMetrics,
    /// Delimited protobuf.
    Protobuf,
}

impl Format {
    /// The format of a body with this `Content-Type`, or of the fallback protocol when the type is missing or unknown.
    pub fn negotiate(content_type: &str, fallback: Option<ScrapeProtocol>) -> Result<Format, ExpositionError> {
        let mut parts = content_type.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        match (media_type.as_str(), fallback) {
            ("text/plain", _) => Ok(Format::Text),
            ("application/openmetrics-text", _) => Ok(Format::OpenMetrics),
            ("application/vnd.google.protobuf", _) => Ok(Format::Protobuf),
            (_, Some(fallback)) => Ok(Format::of(fallback)),
            ("", None) => Err(ExpositionError::new(
                "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target",
            )),
            _ => Err(ExpositionError::new(format!(
                "received unsupported Content-Type {content_type:?} and no fallback_scrape_protocol specified for target"
            ))),
        }
    }

    fn of(protocol: ScrapeProtocol) -> Format {
        match protocol {
            ScrapeProtocol::PrometheusProto => Format::Protobuf,
            ScrapeProtocol::PrometheusText0_0_4 | ScrapeProtocol::PrometheusText1_0_0 => Format::Text,
            ScrapeProtocol::OpenMetricsText0_0_1
            | ScrapeProtocol::OpenMetricsText1_0_0
            | ScrapeProtocol::OpenMetricsText2_0_0 => Format::OpenMetrics,
        }
    }

    /// Reads a body into a sink. `histograms` says what becomes of native histograms (protobuf only).
    pub fn parse(self, body: &[u8], histograms: HistogramOptions, sink: &mut impl Sink) -> Result<(), ExpositionError> {
        match self {
            Format::Text => parse_text(body, sink),
            Format::OpenMetrics => parse_openmetrics(body, sink),
            Format::Protobuf => parse_protobuf(body, histograms, sink),
        }
    }
}

/// Which forms of histograms are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramOptions {
    /// Whether native histograms are taken.
    pub native: bool,
    /// Whether the classic form is taken also when there is a native one.
    pub always_classic: bool,
    /// Whether classic histograms will be converted, so that they are needed also when there is a native one with
    /// classic buckets.
    pub classic_to_nhcb: bool,
}

/// Checks that a body is text: UTF-8 without NUL.
fn checked_text(body: &[u8]) -> Result<&str, ExpositionError> {
    let text = std::str::from_utf8(body).map_err(|e| ExpositionError::at(body, e.valid_up_to(), "invalid UTF-8"))?;
    match memchr::memchr(0, body) {
        Some(offset) => Err(ExpositionError::at(body, offset, "unexpected NUL byte")),
        None => Ok(text),
    }
}

#[cfg(test)]
mod collect;
#[cfg(test)]
mod tests;
