//! The page of a federation: metric families, as text or as protobuf.

use std::fmt::Write as _;
use std::sync::Arc;

use pharos_histogram::{CounterReset, Histogram};
use pharos_model::labels::{is_legacy_label_name, is_legacy_metric_name};
use pharos_model::{Labels, METRIC_NAME, MetricType};
use pharos_transport::client;
use prost::Message;

use super::format::Format;
use crate::json;

/// The newest value of a series.
#[derive(Clone, Debug)]
pub(super) enum Newest {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Newest {
    /// The type of the family, which separates floats and histograms of one name.
    pub(super) fn family_type(&self, known: MetricType) -> client::MetricType {
        match self {
            Newest::Histogram(h) if h.counter_reset == CounterReset::Gauge => client::MetricType::GaugeHistogram,
            Newest::Histogram(_) => client::MetricType::Histogram,
            Newest::Float(_) => match known {
                MetricType::Counter => client::MetricType::Counter,
                MetricType::Gauge => client::MetricType::Gauge,
                _ => client::MetricType::Untyped,
            },
        }
    }

    /// Whether a format can express the value. Text has no native histograms with exponential buckets.
    pub(super) fn fits(&self, format: Format) -> bool {
        format.is_protobuf || matches!(self, Newest::Float(_)) || self.is_classic()
    }

    fn is_classic(&self) -> bool {
        matches!(self, Newest::Histogram(h) if h.has_custom_buckets())
    }
}

/// What a metric takes in memory besides its texts, bytes.
const METRIC_BYTES: usize = size_of::<client::Metric>();

/// Writes the families of a page.
pub(super) struct Page {
    format: Format,
    family: Option<client::MetricFamily>,
    out: Vec<u8>,
    /// The memory of the metrics of the family, roughly.
    pending: usize,
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        Page { format, family: None, out: Vec::new(), pending: 0 }
    }

    /// Adds a sample. Samples of one family follow each other.
    pub(super) fn add(
        &mut self,
        labels: &Labels,
        external: &[(String, String)],
        kind: client::MetricType,
        t: i64,
        value: &Newest,
    ) {
        let name = self.format.escaping.name(labels.metric_name());
        let is_same = self.family.as_ref().is_some_and(|family| family.name() == name && family.r#type() == kind);
        if !is_same {
            let next =
                client::MetricFamily { name: Some(name.into()), r#type: Some(kind.into()), ..Default::default() };
            self.write(Some(next));
        }
        let metric =
            client::Metric { label: self.labels(labels, external), timestamp_ms: Some(t), ..value_of(kind, value) };
        if let Some(family) = &mut self.family {
            self.pending += METRIC_BYTES + 2 * metric.encoded_len();
            family.metric.push(metric);
        }
    }

    /// The memory of the page so far, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.out.len() + self.pending
    }

    /// Ends the page.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.write(None);
        self.out
    }

    fn write(&mut self, next: Option<client::MetricFamily>) {
        let Some(family) = std::mem::replace(&mut self.family, next) else { return };
        self.pending = 0;
        match self.format.is_protobuf {
            true => self.out.extend_from_slice(&family.encode_length_delimited_to_vec()),
            false => self.out.extend_from_slice(text(&family).as_bytes()),
        }
    }

    fn labels(&self, labels: &Labels, external: &[(String, String)]) -> Vec<client::LabelPair> {
        let mut pairs: Vec<(&str, &str)> = labels.iter().filter(|(n, _)| *n != METRIC_NAME).collect();
        pairs.extend(external.iter().filter(|(n, _)| labels.get(n).is_none()).map(|(n, v)| (n.as_str(), v.as_str())));
        if labels.get("instance").is_none() && !external.iter().any(|(n, _)| n == "instance") {
            // An empty instance keeps the federating server from adding its own.
            pairs.push(("instance", ""));
        }
        pairs.sort_unstable();
        let pair = |(name, value): (&str, &str)| client::LabelPair {
            name: Some(self.format.escaping.name(name).into()),
            value: Some(value.into()),
        };
        pairs.into_iter().map(pair).collect()
    }
}

/// A metric with nothing but its value.
fn value_of(kind: client::MetricType, value: &Newest) -> client::Metric {
    let mut metric = client::Metric::default();
    match (value, kind) {
        (Newest::Float(v), client::MetricType::Counter) => {
            metric.counter = Some(client::Counter { value: Some(*v), ..Default::default() });
        }
        (Newest::Float(v), client::MetricType::Gauge) => metric.gauge = Some(client::Gauge { value: Some(*v) }),
        (Newest::Float(v), _) => metric.untyped = Some(client::Untyped { value: Some(*v) }),
        (Newest::Histogram(h), _) if h.has_custom_buckets() => metric.histogram = Some(classic(h)),
        (Newest::Histogram(h), _) => metric.histogram = Some(native(h)),
    }
    metric
}

fn native(h: &Histogram) -> client::Histogram {
    let spans = |spans: &[pharos_histogram::Span]| {
        let span = |s: &pharos_histogram::Span| client::BucketSpan { offset: Some(s.offset), length: Some(s.length) };
        spans.iter().map(span).collect()
    };
    client::Histogram {
        sample_count_float: Some(h.count),
        sample_sum: Some(h.sum),
        schema: Some(h.schema),
        zero_threshold: Some(h.zero_threshold),
        zero_count_float: Some(h.zero_count),
        positive_span: spans(&h.positive_spans),
        positive_count: h.positive_buckets.clone(),
        negative_span: spans(&h.negative_spans),
        negative_count: h.negative_buckets.clone(),
        ..Default::default()
    }
}

/// The classic form of a histogram with custom buckets. The bucket of +Inf is left out.
fn classic(h: &Histogram) -> client::Histogram {
    let mut counts = vec![0.0; h.custom_values.len()];
    for bucket in h.positive() {
        if let Some(slot) = usize::try_from(bucket.index).ok().and_then(|index| counts.get_mut(index)) {
            *slot = bucket.count;
        }
    }
    let mut below = 0.0;
    let bucket = |(bound, count): (&f64, &f64)| {
        below += count;
        client::Bucket { upper_bound: Some(*bound), cumulative_count_float: Some(below), ..Default::default() }
    };
    let bucket = h.custom_values.iter().zip(&counts).map(bucket).collect();
    client::Histogram { sample_count_float: Some(h.count), sample_sum: Some(h.sum), bucket, ..Default::default() }
}

/// A family in the text format.
fn text(family: &client::MetricFamily) -> String {
    let mut out = String::new();
    let name = family.name();
    let kind = match family.r#type() {
        client::MetricType::Counter => "counter",
        client::MetricType::Gauge => "gauge",
        client::MetricType::Histogram | client::MetricType::GaugeHistogram => "histogram",
        _ => "untyped",
    };
    let quoted = if is_legacy_metric_name(name) { name.to_string() } else { format!("\"{}\"", escaped(name)) };
    let _infallible = writeln!(out, "# TYPE {quoted} {kind}");
    for metric in &family.metric {
        let mut line = |suffix: &str, bound: Option<f64>, v: f64| sample(&mut out, (name, suffix), metric, bound, v);
        if let Some(h) = &metric.histogram {
            for bucket in &h.bucket {
                line("_bucket", Some(bucket.upper_bound()), bucket.cumulative_count_float());
            }
            line("_bucket", Some(f64::INFINITY), h.sample_count_float());
            line("_sum", None, h.sample_sum());
            line("_count", None, h.sample_count_float());
        } else {
            let counter = metric.counter.as_ref().map(client::Counter::value);
            let gauge = metric.gauge.as_ref().map(client::Gauge::value);
            let untyped = metric.untyped.as_ref().map(client::Untyped::value);
            line("", None, counter.or(gauge).or(untyped).unwrap_or_default());
        }
    }
    out
}

fn sample(out: &mut String, (name, suffix): (&str, &str), metric: &client::Metric, bound: Option<f64>, v: f64) {
    let quoted_name = !is_legacy_metric_name(name);
    match quoted_name {
        true => {
            let _infallible = write!(out, "{{\"{}{suffix}\"", escaped(name));
        }
        false => {
            let _infallible = write!(out, "{name}{suffix}{{");
        }
    }
    let bound = bound.map(number);
    let bound = bound.as_deref().map(|bound| ("le", bound));
    let pairs = metric.label.iter().map(|pair| (pair.name(), pair.value())).chain(bound);
    for (i, (n, v)) in pairs.enumerate() {
        if i > 0 || quoted_name {
            out.push(',');
        }
        let n = if is_legacy_label_name(n) { n.to_string() } else { format!("\"{}\"", escaped(n)) };
        let _infallible = write!(out, "{n}=\"{}\"", escaped(v));
    }
    let _infallible = writeln!(out, "}} {} {}", number(v), metric.timestamp_ms());
}

fn number(v: f64) -> String {
    let mut number = Vec::new();
    json::float(&mut number, v);
    String::from_utf8_lossy(&number).into_owned()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::format::Escaping;
    use super::*;

    fn page(is_protobuf: bool, samples: &[(&[(&str, &str)], Newest)], external: &[(String, String)]) -> Vec<u8> {
        let mut page = Page::new(Format { is_protobuf, escaping: Escaping::AllowUtf8 });
        for (labels, value) in samples {
            let kind = value.family_type(MetricType::Unknown);
            page.add(&Labels::from_pairs(labels.iter().copied()), external, kind, 1000, value);
        }
        page.finish()
    }

    fn text_page(samples: &[(&[(&str, &str)], Newest)], external: &[(String, String)]) -> String {
        String::from_utf8(page(false, samples, external)).unwrap()
    }

    #[test]
    fn samples_are_rendered_with_external_labels_and_escapes() {
        let external = [("dc".into(), "x".into()), ("job".into(), "hidden".into())];
        let text = text_page(&[(&[("__name__", "up"), ("job", "a\"b\n")], Newest::Float(1.0))], &external);
        assert_eq!(text, "# TYPE up untyped\nup{dc=\"x\",instance=\"\",job=\"a\\\"b\\n\"} 1 1000\n");
    }

    #[test]
    fn utf8_names_are_quoted() {
        let text = text_page(&[(&[("__name__", "http.requests"), ("instance", "i")], Newest::Float(0.5))], &[]);
        assert_eq!(text, "# TYPE \"http.requests\" untyped\n{\"http.requests\",instance=\"i\"} 0.5 1000\n");
    }

    #[test]
    fn custom_buckets_are_rendered_as_a_classic_histogram() {
        let span = pharos_histogram::Span { offset: 1, length: 2 };
        let h = Histogram {
            schema: -53,
            count: 6.0,
            sum: 9.0,
            custom_values: [0.5, 1.0, 2.5].into(),
            positive_spans: vec![span],
            positive_buckets: vec![2.0, 3.0],
            ..Histogram::default()
        };
        let labels: &[(&str, &str)] = &[("__name__", "h"), ("instance", "i")];
        let text = text_page(&[(labels, Newest::Histogram(h.into()))], &[]);
        let expected = "# TYPE h histogram\n\
             h_bucket{instance=\"i\",le=\"0.5\"} 0 1000\n\
             h_bucket{instance=\"i\",le=\"1\"} 2 1000\n\
             h_bucket{instance=\"i\",le=\"2.5\"} 5 1000\n\
             h_bucket{instance=\"i\",le=\"+Inf\"} 6 1000\n\
             h_sum{instance=\"i\"} 9 1000\n\
             h_count{instance=\"i\"} 6 1000\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn native_histograms_are_encoded_as_protobuf() {
        let span = pharos_histogram::Span { offset: -1, length: 1 };
        let h = Histogram {
            schema: 3,
            count: 2.0,
            sum: 9.0,
            positive_spans: vec![span],
            positive_buckets: vec![2.0],
            ..Histogram::default()
        };
        let float: (&[(&str, &str)], _) = (&[("__name__", "h")], Newest::Float(1.0));
        let bytes = page(true, &[float, (&[("__name__", "h")], Newest::Histogram(h.into()))], &[]);
        let mut rest = &bytes[..];
        let first = client::MetricFamily::decode_length_delimited(&mut rest).unwrap();
        let second = client::MetricFamily::decode_length_delimited(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert_eq!(first.metric[0].untyped.as_ref().unwrap().value(), 1.0);
        assert_eq!(second.r#type(), client::MetricType::Histogram);
        let histogram = second.metric[0].histogram.as_ref().unwrap();
        assert_eq!((histogram.schema(), histogram.sample_count_float()), (3, 2.0));
        assert_eq!(histogram.positive_count, [2.0]);
        assert_eq!(histogram.positive_span[0].offset(), -1);
        assert_eq!(second.metric[0].timestamp_ms(), 1000);
    }
}
