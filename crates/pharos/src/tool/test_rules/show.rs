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

/// The number of lines of a side above which both sides are shown instead of their difference.
const MAX_DIFF_LINES: usize = 2000;

/// The lines of two texts: those of both, those that are only expected (`-`) and those that are only found (`+`).
pub(super) fn difference(expected: &str, found: &str) -> String {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let removed = |line: &&str| format!("- {line}");
    let added = |line: &&str| format!("+ {line}");
    if expected.len().max(found.len()) > MAX_DIFF_LINES {
        return expected.iter().map(removed).chain(found.iter().map(added)).collect::<Vec<_>>().join("\n");
    }
    // The length of the longest common subsequence of what is behind each pair of positions.
    let mut common = vec![vec![0_u32; found.len() + 1]; expected.len() + 1];
    for (i, a) in expected.iter().enumerate().rev() {
        for (j, b) in found.iter().enumerate().rev() {
            common[i][j] = if a == b { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < expected.len() || j < found.len() {
        let is_common = i < expected.len() && j < found.len() && expected[i] == found[j];
        if is_common {
            lines.push(format!("  {}", expected[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == found.len() || i < expected.len() && common[i + 1][j] >= common[i][j + 1] {
            lines.push(removed(&expected[i]));
            i += 1;
        } else {
            lines.push(added(&found[j]));
            j += 1;
        }
    }
    lines.join("\n")
}
