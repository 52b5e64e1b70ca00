//! Prometheus's protobuf format: a sequence of length-prefixed `io.prometheus.client.MetricFamily` messages.
//!
//! It is the only format with native histograms. Classic histograms and summaries become the series that the text formats
//! have. The key of a series is the byte 0xff followed by its length-prefixed labels.
//!
//! The format says once what the text formats repeat in every line. Labels are bounded as in those, and so is the length that the
//! body would have in them.

mod family;

use pharos_gocompat::strconv::format_openmetrics;
use pharos_model::labels::{LabelsIter, append_canonical};
use pharos_model::sample::NORMAL_NAN;
use pharos_model::{CounterReset, Exemplar, Histogram, Labels, LabelsBuilder, METRIC_NAME, MetricType, Span};
use pharos_transport::client;

use self::family::{FamilyHead, Metrics};
use super::float::excerpt;
use super::series::MAX_LABELS;
use super::sink::{
    ExpositionError, HistogramOptions, LabelSource, MetadataField, NO_TIMESTAMP, SampleInfo, SeriesKey, Sink,
};

const KEY_PREFIX: u8 = 0xff;
/// The most bytes of keys in a body: what a body in a text format may have.
const MAX_KEY_BYTES: usize = 256 << 20;

/// Parses a body of length-delimited protobuf messages.
pub fn parse_protobuf(body: &[u8], options: HistogramOptions, sink: &mut impl Sink) -> Result<(), ExpositionError> {
    let mut rest = body;
    let mut parser = ProtobufParser { options, key: Vec::new(), key_bytes: 0 };
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let (head, metrics) = take_family(&mut rest)
            .map_err(|reason| ExpositionError::new(format!("metric family {number}: {reason}")))?;
        parser.family(&head, metrics, sink).map_err(|e| {
            let name = excerpt(&head.name);
            ExpositionError::new(format!("metric family {number} ({name:?}): {}", e.reason))
        })?;
    }
    Ok(())
}

fn take_family<'a>(rest: &mut &'a [u8]) -> Result<(FamilyHead, Metrics<'a>), String> {
    let length = prost::decode_length_delimiter(&mut *rest).map_err(|e| e.to_string())?;
    let (message, after) =
        rest.split_at_checked(length).ok_or_else(|| format!("message of {length} bytes is truncated"))?;
    *rest = after;
    let head = prost::Message::decode(message).map_err(|e: prost::DecodeError| e.to_string())?;
    Ok((head, Metrics::of(message)))
}

struct ProtobufParser {
    options: HistogramOptions,
    key: Vec<u8>,
    /// The bytes of all keys so far.
    key_bytes: usize,
}

/// The labels in a key.
struct KeyLabels<'a>(&'a [u8]);

impl LabelSource for KeyLabels<'_> {
    fn read(&self, out: &mut LabelsBuilder) -> Result<(), String> {
        for (name, value) in LabelsIter::over(&self.0[1..]) {
            if !out.get(name).is_empty() {
                return Err(format!("label name {:?} is not unique", excerpt(name)));
            }
            out.set(name, value);
        }
        Ok(())
    }
}

/// What all samples of one metric share.
#[derive(Clone, Copy)]
struct Context<'a> {
    family: &'a str,
    metric: &'a client::Metric,
    /// The metric's own timestamp. 0 means that it has none.
    t: Option<i64>,
    st: i64,
}

impl ProtobufParser {
    fn family(
        &mut self,
        family: &FamilyHead,
        metrics: Metrics<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), ExpositionError> {
        let mut metrics = metrics.peekable();
        // A family without metrics says nothing, whatever its name.
        if metrics.peek().is_none() {
            return Ok(());
        }
        let name = family.name.as_str();
        if name.is_empty() {
            return Err(ExpositionError::new("metric family without a name"));
        }
        let kind = metric_type(family);
        sink.metadata(name, MetadataField::Help(&family.help));
        sink.metadata(name, MetadataField::Kind(kind));
        if !family.unit.is_empty() {
            sink.metadata(name, MetadataField::Unit(&family.unit));
        }
        metrics.try_for_each(|metric| self.metric(name, kind, &metric.map_err(ExpositionError::new)?, sink))
    }

    fn metric(
        &mut self,
        family: &str,
        kind: MetricType,
        metric: &client::Metric,
        sink: &mut impl Sink,
    ) -> Result<(), ExpositionError> {
        if metric.label.len() > MAX_LABELS {
            return Err(ExpositionError::new(format!("more than {MAX_LABELS} labels")));
        }
        // A metric without the value of its type, such as a counter that holds a gauge, reads as the default value.
        let context = Context { family, metric, t: metric.timestamp_ms.filter(|t| *t != 0), st: 0 };
        match kind {
            MetricType::Counter => {
                let counter = metric.counter.as_ref();
                let context = Context { st: counter.map_or(0, |c| millis(&c.created_timestamp)), ..context };
                let exemplar = counter.and_then(|c| c.exemplar.as_ref()).and_then(exemplar);
                let v = counter.map_or(0.0, client::Counter::value);
                self.float(context, "", None, v, exemplar.as_slice(), sink)
            }
            MetricType::Gauge => {
                let v = metric.gauge.as_ref().map_or(0.0, client::Gauge::value);
                self.float(context, "", None, v, &[], sink)
            }
            MetricType::Summary => {
                let (absent, given) = (client::Summary::default(), metric.summary.as_ref());
                let summary = given.unwrap_or(&absent);
                self.summary(Context { st: millis(&summary.created_timestamp), ..context }, summary, sink)
            }
            MetricType::Histogram | MetricType::GaugeHistogram => {
                let (absent, given) = (client::Histogram::default(), metric.histogram.as_ref());
                let histogram = given.unwrap_or(&absent);
                let context = Context { st: millis(&histogram.created_timestamp), ..context };
                self.histogram(context, histogram, kind, sink)
            }
            _ => {
                let v = metric.untyped.as_ref().map_or(0.0, client::Untyped::value);
                self.float(context, "", None, v, &[], sink)
            }
        }
    }

    fn summary(
        &mut self,
        context: Context<'_>,
        summary: &client::Summary,
        sink: &mut impl Sink,
    ) -> Result<(), ExpositionError> {
        self.float(context, "_count", None, summary.sample_count() as f64, &[], sink)?;
        self.float(context, "_sum", None, summary.sample_sum(), &[], sink)?;
        summary.quantile.iter().try_for_each(|quantile| {
            let bound = format_openmetrics(quantile.quantile());
            self.float(context, "", Some(("quantile", &bound)), quantile.value(), &[], sink)
        })
    }

    fn histogram(
        &mut self,
        context: Context<'_>,
        histogram: &client::Histogram,
        kind: MetricType,
        sink: &mut impl Sink,
    ) -> Result<(), ExpositionError> {
        let take_native = self.options.native && is_native(histogram);
        if take_native {
            let exemplars = native_exemplars(histogram);
            let native = native_histogram(histogram, kind)
                .map_err(|reason| ExpositionError::new(format!("native histogram: {reason}")))?;
            self.write_key(context, "", None)?;
            let labels = KeyLabels(&self.key);
            let series = SeriesKey { key: &self.key, is_expected: sink.expected() == self.key, labels: &labels };
            let info = SampleInfo { t: context.t, st: context.st, exemplars: &exemplars };
            sink.histogram(series, native, info)?;
        }
        if !take_native || (self.options.always_classic && !histogram.bucket.is_empty()) {
            self.classic(context, histogram, sink)?;
        }
        Ok(())
    }

    fn classic(
        &mut self,
        context: Context<'_>,
        histogram: &client::Histogram,
        sink: &mut impl Sink,
    ) -> Result<(), ExpositionError> {
        let count = or_float(histogram.sample_count(), histogram.sample_count_float);
        self.float(context, "_count", None, count, &[], sink)?;
        self.float(context, "_sum", None, histogram.sample_sum(), &[], sink)?;
        // Buckets behind that of infinity are ignored, and a missing one is added.
        for bucket in &histogram.bucket {
            let bound = format_openmetrics(bucket.upper_bound());
            let value = or_float(bucket.cumulative_count(), bucket.cumulative_count_float);
            let exemplar = bucket.exemplar.as_ref().and_then(exemplar);
            self.float(context, "_bucket", Some(("le", &bound)), value, exemplar.as_slice(), sink)?;
            if bucket.upper_bound() == f64::INFINITY {
                return Ok(());
            }
        }
        self.float(context, "_bucket", Some(("le", "+Inf")), count, &[], sink)
    }

    fn float(
        &mut self,
        context: Context<'_>,
        suffix: &str,
        bound: Option<(&str, &str)>,
        v: f64,
        exemplars: &[Exemplar],
        sink: &mut impl Sink,
    ) -> Result<(), ExpositionError> {
        self.write_key(context, suffix, bound)?;
        let labels = KeyLabels(&self.key);
        let series = SeriesKey { key: &self.key, is_expected: sink.expected() == self.key, labels: &labels };
        let v = if v.is_nan() { NORMAL_NAN } else { v };
        sink.float(series, v, SampleInfo { t: context.t, st: context.st, exemplars }).map(|_| ())
    }

    fn write_key(
        &mut self,
        context: Context<'_>,
        suffix: &str,
        bound: Option<(&str, &str)>,
    ) -> Result<(), ExpositionError> {
        let key = &mut self.key;
        key.clear();
        key.push(KEY_PREFIX);
        pharos_model::labels::append_uvarint(key, METRIC_NAME.len() as u64);
        key.extend_from_slice(METRIC_NAME.as_bytes());
        pharos_model::labels::append_uvarint(key, (context.family.len() + suffix.len()) as u64);
        key.extend_from_slice(context.family.as_bytes());
        key.extend_from_slice(suffix.as_bytes());
        for pair in &context.metric.label {
            append_canonical(key, pair.name(), pair.value());
        }
        if let Some((name, value)) = bound {
            append_canonical(key, name, value);
        }
        self.key_bytes += key.len();
        match self.key_bytes > MAX_KEY_BYTES {
            true => Err(ExpositionError::new(format!("labels of all series take more than {MAX_KEY_BYTES} bytes"))),
            false => Ok(()),
        }
    }
}

fn metric_type(family: &FamilyHead) -> MetricType {
    match family.kind() {
        client::MetricType::Counter => MetricType::Counter,
        client::MetricType::Gauge => MetricType::Gauge,
        client::MetricType::Summary => MetricType::Summary,
        client::MetricType::Untyped => MetricType::Unknown,
        client::MetricType::Histogram => MetricType::Histogram,
        client::MetricType::GaugeHistogram => MetricType::GaugeHistogram,
    }
}

/// A protobuf timestamp in milliseconds; 0 when there is none.
fn millis(timestamp: &Option<prost_types::Timestamp>) -> i64 {
    timestamp.as_ref().map_or(0, |t| t.seconds.saturating_mul(1000).saturating_add(i64::from(t.nanos) / 1_000_000))
}

/// The float count if the message has one, else the whole one.
fn or_float(whole: u64, float: Option<f64>) -> f64 {
    match float {
        Some(float) if float > 0.0 => float,
        _ => whole as f64,
    }
}

/// An exemplar; `None` when it has a label twice.
fn exemplar(exemplar: &client::Exemplar) -> Option<Exemplar> {
    let labels = Labels::from_pairs(exemplar.label.iter().map(|pair| (pair.name(), pair.value())));
    let given = exemplar.label.iter().filter(|pair| !pair.value().is_empty()).count();
    let t = if exemplar.timestamp.is_some() { millis(&exemplar.timestamp) } else { NO_TIMESTAMP };
    (labels.iter().count() == given).then(|| Exemplar { labels, value: exemplar.value(), t })
}

/// The exemplars of a native histogram: its own, or else those of its classic buckets. Each needs a timestamp.
fn native_exemplars(histogram: &client::Histogram) -> Vec<Exemplar> {
    let of_buckets = || histogram.bucket.iter().filter_map(|b| exemplar(b.exemplar.as_ref()?)).collect::<Vec<_>>();
    let own: Vec<_> = histogram.exemplars.iter().filter_map(exemplar).collect();
    let all = if own.is_empty() { of_buckets() } else { own };
    all.into_iter().filter(|e| e.t != NO_TIMESTAMP).collect()
}

/// Whether a message has a native histogram, possibly one without observations.
fn is_native(histogram: &client::Histogram) -> bool {
    !histogram.positive_span.is_empty()
        || !histogram.negative_span.is_empty()
        || histogram.zero_threshold() > 0.0
        || histogram.zero_count() > 0
        || histogram.zero_count_float() > 0.0
}

fn native_histogram(histogram: &client::Histogram, kind: MetricType) -> Result<Histogram, String> {
    let is_float = histogram.sample_count_float() > 0.0 || histogram.zero_count_float() > 0.0;
    let counter_reset = match kind {
        MetricType::GaugeHistogram => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    };
    let buckets = |floats: &[f64], deltas: &[i64]| if is_float { floats.to_vec() } else { running_sums(deltas) };
    let native = Histogram {
        counter_reset,
        integer: !is_float,
        schema: histogram.schema(),
        zero_threshold: histogram.zero_threshold(),
        zero_count: if is_float { histogram.zero_count_float() } else { histogram.zero_count() as f64 },
        count: if is_float { histogram.sample_count_float() } else { histogram.sample_count() as f64 },
        sum: if histogram.sample_sum().is_nan() { NORMAL_NAN } else { histogram.sample_sum() },
        positive_spans: spans(&histogram.positive_span),
        positive_buckets: buckets(&histogram.positive_count, &histogram.positive_delta),
        negative_spans: spans(&histogram.negative_span),
        negative_buckets: buckets(&histogram.negative_count, &histogram.negative_delta),
        ..Histogram::default()
    };
    native.validate().map_err(|e| e.to_string())?;
    Ok(native)
}

fn spans(spans: &[client::BucketSpan]) -> Vec<Span> {
    spans.iter().map(|span| Span { offset: span.offset(), length: span.length() }).collect()
}

/// Absolute counts from deltas.
fn running_sums(deltas: &[i64]) -> Vec<f64> {
    let sums = deltas.iter().scan(0i64, |sum, delta| {
        *sum = sum.wrapping_add(*delta);
        Some(*sum as f64)
    });
    sums.collect()
}

#[cfg(test)]
mod tests;
