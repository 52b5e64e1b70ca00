//! The interface between parsers and what they fill: sinks, series, samples, metadata and errors.

use std::fmt;

use pharos_model::{Exemplar, Histogram, LabelsBuilder, MetricType};

/// An error in a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ExpositionError {
    /// The line, counted from 1; `None` for formats without lines and for errors of the sink.
    pub line: Option<usize>,
    /// A description without the line.
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
    /// An error without a line.
    pub fn new(reason: impl Into<String>) -> Self {
        ExpositionError { line: None, reason: reason.into() }
    }

    /// An error at an offset of the body.
    pub(super) fn at(body: &[u8], offset: usize, reason: impl Into<String>) -> Self {
        let before = &body[..offset.min(body.len())];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        ExpositionError { line: Some(line), reason: reason.into() }
    }
}

/// Reads the labels of a series on demand.
pub trait LabelSource {
    /// Adds the labels, including `__name__`, to `out`.
    fn read(&self, out: &mut LabelsBuilder) -> Result<(), String>;
}

/// A series as the body writes it.
#[derive(Clone, Copy)]
pub struct SeriesKey<'a> {
    /// The bytes that identify the series within this target's bodies.
    pub key: &'a [u8],
    /// Whether it is the series that the sink expected.
    pub is_expected: bool,
    /// Reads the labels of a series that the sink does not know.
    pub labels: &'a dyn LabelSource,
}

/// A field of a family's metadata.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetadataField<'a> {
    /// The metric type.
    Kind(MetricType),
    /// The unit, a suffix of the family's name.
    Unit(&'a str),
    /// The help text, unescaped.
    Help(&'a str),
}

/// The timestamps and exemplars of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SampleInfo<'a> {
    /// The timestamp in the body, milliseconds; `None` when it has none.
    pub t: Option<i64>,
    /// The start timestamp, milliseconds; 0 when unknown.
    pub st: i64,
    /// Exemplars. Those without a timestamp have [`NO_TIMESTAMP`].
    pub exemplars: &'a [Exemplar],
}

/// The timestamp of an exemplar that the body gives none.
pub const NO_TIMESTAMP: i64 = i64::MIN;

/// Where a sink put a float sample, so that the start timestamp can follow; `None` when the sink dropped the sample.
pub type SampleIndex = Option<u32>;

/// Receives what a parser finds.
pub trait Sink {
    /// The key of the series that the sink expects next; empty when it expects none.
    fn expected(&self) -> &[u8] {
        b""
    }

    /// Receives metadata of a metric family.
    fn metadata(&mut self, family: &str, field: MetadataField<'_>);

    /// Receives a float sample.
    fn float(&mut self, series: SeriesKey<'_>, v: f64, info: SampleInfo<'_>) -> Result<SampleIndex, ExpositionError>;

    /// Receives a native histogram.
    fn histogram(&mut self, series: SeriesKey<'_>, h: Histogram, info: SampleInfo<'_>) -> Result<(), ExpositionError>;

    /// Sets the start timestamp of a float sample.
    fn set_start(&mut self, index: SampleIndex, st: i64);
}

/// Which forms of histograms a scrape stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramOptions {
    /// Store native histograms.
    pub native: bool,
    /// Store the classic form even when there is a native one.
    pub always_classic: bool,
    /// Convert classic histograms to native ones with custom buckets. They are then needed even when there is a native
    /// one with classic buckets.
    pub classic_to_nhcb: bool,
}

/// The lines of a body up to the first one that is not UTF-8, and the error that this line is.
pub(super) fn valid_lines(body: &[u8]) -> (&str, Option<ExpositionError>) {
    match str::from_utf8(body) {
        Ok(text) => (text, None),
        Err(error) => {
            let valid = str::from_utf8(&body[..error.valid_up_to()]).unwrap_or_default();
            let lines = &valid[..valid.rfind('\n').map_or(0, |end| end + 1)];
            (lines, Some(ExpositionError::at(body, error.valid_up_to(), "invalid UTF-8")))
        }
    }
}
