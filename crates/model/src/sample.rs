//! Samples, exemplars and metadata.

pub use pharos_histogram::{STALE_NAN, is_stale_nan};

use crate::labels::Labels;

/// The NaN that Prometheus writes for values that are not numbers (`value.NormalNaN`).
pub const NORMAL_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// One float sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since the epoch.
    pub t: i64,
    /// The value; [`STALE_NAN`] marks the end of the series.
    pub v: f64,
    /// Start timestamp: when the counter began, milliseconds; 0 if unknown.
    pub st: i64,
}

/// An example of what a series counted, usually with a trace ID.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Labels such as `trace_id`.
    pub labels: Labels,
    /// The value that was observed.
    pub value: f64,
    /// Milliseconds since the epoch.
    pub t: i64,
}

/// The type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum MetricType {
    /// The family has no type, or none that was sent.
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
    /// The name in the HTTP API and in OpenMetrics.
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

    /// The type of a name. `untyped` is the text format's word for unknown.
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

/// The metadata of a metric family.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Metadata {
    /// The type of its series.
    pub kind: MetricType,
    /// The unit of its values, empty if unknown.
    pub unit: String,
    /// The help text, empty if unknown.
    pub help: String,
}

impl Metadata {
    /// About how much memory the metadata of `family` takes, in bytes.
    pub fn bytes(&self, family: &str) -> usize {
        size_of::<(String, Metadata)>() + family.len() + self.unit.len() + self.help.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_types_have_names() {
        use MetricType::*;
        for kind in [Unknown, Counter, Gauge, Histogram, GaugeHistogram, Summary, Info, StateSet] {
            assert_eq!(MetricType::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(MetricType::parse("untyped"), Some(Unknown));
        assert_eq!(MetricType::parse("Counter"), None);
    }

    #[test]
    fn the_stale_marker_is_not_the_ordinary_nan() {
        assert!(is_stale_nan(STALE_NAN));
        assert!(NORMAL_NAN.is_nan() && !is_stale_nan(NORMAL_NAN));
    }
}
