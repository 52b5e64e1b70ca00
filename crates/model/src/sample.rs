//! Samples, exemplars and metadata.

pub use pharos_histogram::{STALE_NAN, is_stale_nan};

use crate::labels::Labels;

/// The NaN that Prometheus writes for ordinary not-a-number values (`value.NormalNaN`).
pub const NORMAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// One float sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since the epoch.
    pub t: i64,
    /// The value; [`STALE_NAN`] marks the end of the series.
    pub v: f64,
    /// Start timestamp (when the counter began), milliseconds; 0 when unknown.
    pub st: i64,
}

/// An exemplar: an example of what a series counted, usually with a trace id.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Its labels, for example `trace_id`.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// Milliseconds since the epoch.
    pub t: i64,
}

/// What a metric family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum MetricType {
    /// Not said.
    #[default]
    Unknown,
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// A classic or native histogram.
    Histogram,
    /// A histogram whose buckets go up and down.
    GaugeHistogram,
    /// Precomputed quantiles.
    Summary,
    /// A constant with information in its labels.
    Info,
    /// One of a set of states.
    StateSet,
}

impl MetricType {
    /// The name that the HTTP API and OpenMetrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Unknown => "unknown",
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
        }
    }

    /// The type of that name; `untyped` is the text format's word for unknown.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "unknown" | "untyped" => MetricType::Unknown,
            "counter" => MetricType::Counter,
            "gauge" => MetricType::Gauge,
            "histogram" => MetricType::Histogram,
            "gaugehistogram" => MetricType::GaugeHistogram,
            "summary" => MetricType::Summary,
            "info" => MetricType::Info,
            "stateset" => MetricType::StateSet,
            _ => return None,
        })
    }
}

/// What is known of a metric family.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Metadata {
    /// Its type.
    pub kind: MetricType,
    /// Its unit, empty when unknown.
    pub unit: String,
    /// Its help text.
    pub help: String,
}
