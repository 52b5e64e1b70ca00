//! Compared values, and how promtool prints them.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_gocompat::GoFloat;
use pharos_gocompat::GoQuoted;
use pharos_model::{Histogram, Labels};
use pharos_promql::promqltest::histogram_notation;

/// An alert, reduced to what tests compare.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShownAlert {
    labels: Labels,
    annotations: BTreeMap<String, String>,
}

impl ShownAlert {
    pub(super) fn new(labels: Labels, annotations: BTreeMap<String, String>) -> Self {
        ShownAlert { labels, annotations }
    }
}

/// A sample, reduced to what tests compare.
pub(super) struct ShownSample {
    pub(super) labels: Labels,
    pub(super) value: f64,
    pub(super) histogram: Option<Arc<Histogram>>,
}

impl ShownSample {
    /// Whether two samples are equal. With `fuzzy`, adjacent floats are equal, too.
    pub(super) fn same_as(&self, other: &ShownSample, fuzzy: bool) -> bool {
        let (a, b) = (self.value, other.value);
        let close = a == b || fuzzy && (a.next_up() == b || a.next_down() == b);
        let notation = |sample: &ShownSample| sample.histogram.as_deref().map(histogram_notation);
        self.labels == other.labels && close && notation(self) == notation(other)
    }
}

/// Samples on one line.
pub(super) fn samples(samples: &[ShownSample]) -> String {
    if samples.is_empty() {
        return "nil".into();
    }
    let shown = samples.iter().map(|sample| match &sample.histogram {
        Some(h) => format!("{} {}", sample.labels, histogram_notation(h)),
        None => format!("{} {}", sample.labels, with_exponent(sample.value)),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// A float as `2.5E+00`.
fn with_exponent(value: f64) -> String {
    if !value.is_finite() {
        return GoFloat(value).to_string();
    }
    let text = format!("{value:E}");
    let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}E{sign}{digits:0>2}")
}

/// Alerts with their labels and annotations, indented like promtool's output.
pub(super) fn alerts(alerts: &[ShownAlert]) -> String {
    const INDENT: &str = "            ";
    if alerts.is_empty() {
        return "[]".into();
    }
    let shown = alerts.iter().enumerate().map(|(at, alert)| {
        let pairs = alert.annotations.iter().map(|(name, value)| format!("{name}={}", GoQuoted(value)));
        let (labels, annotations) = (&alert.labels, pairs.collect::<Vec<_>>().join(", "));
        format!("{INDENT}{at}:\n{INDENT}  Labels:{labels}\n{INDENT}  Annotations:{{{annotations}}}")
    });
    format!("[\n{}\n{INDENT}]", shown.collect::<Vec<_>>().join(",\n"))
}
