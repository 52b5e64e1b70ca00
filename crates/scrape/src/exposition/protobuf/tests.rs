use pharos_transport::client;
use prost::Message;

use super::*;
use crate::exposition::collect::{Collect, read};
use crate::exposition::{Format, SampleIndex};

fn pair(name: &str, value: &str) -> client::LabelPair {
    client::LabelPair { name: Some(name.into()), value: Some(value.into()) }
}

fn native() -> client::Histogram {
    client::Histogram {
        sample_count: Some(6),
        sample_sum: Some(12.5),
        schema: Some(1),
        zero_threshold: Some(0.001),
        zero_count: Some(1),
        positive_span: vec![client::BucketSpan { offset: Some(0), length: Some(2) }],
        positive_delta: vec![2, 1],
        bucket: vec![client::Bucket { cumulative_count: Some(4), upper_bound: Some(1.0), ..Default::default() }],
        created_timestamp: Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }),
        ..Default::default()
    }
}

fn histogram_family(histogram: client::Histogram) -> Vec<u8> {
    client::MetricFamily {
        name: Some("h".into()),
        help: Some("help".into()),
        r#type: Some(client::MetricType::Histogram as i32),
        metric: vec![client::Metric {
            label: vec![pair("z", "1"), pair("a", "2")],
            histogram: Some(histogram),
            ..Default::default()
        }],
        unit: None,
    }
    .encode_length_delimited_to_vec()
}

#[test]
fn a_native_histogram_precedes_its_classic_form() {
    let mut sink = Collect::default();
    let options = HistogramOptions { native: true, always_classic: true, classic_to_nhcb: false };
    parse_protobuf(&histogram_family(native()), options, &mut sink).unwrap();
    assert_eq!(
        sink.lines,
        [
            "# h Help(\"help\")",
            "# h Kind(Histogram)",
            r#"{__name__="h", a="2", z="1"} histogram st=1500"#,
            r#"{__name__="h_count", a="2", z="1"} 6 st=1500"#,
            r#"{__name__="h_sum", a="2", z="1"} 12.5 st=1500"#,
            r#"{__name__="h_bucket", a="2", le="1.0", z="1"} 4 st=1500"#,
            r#"{__name__="h_bucket", a="2", le="+Inf", z="1"} 6 st=1500"#,
        ]
    );
    let h = &sink.histograms[0];
    assert!(h.integer);
    assert_eq!(h.positive_buckets, [2.0, 3.0]);
    assert_eq!(h.zero_count, 1.0);
    assert_eq!(h.count, 6.0);
}

#[test]
fn buckets_behind_that_of_infinity_are_ignored() {
    let bucket =
        |bound, count| client::Bucket { cumulative_count: Some(count), upper_bound: Some(bound), ..Default::default() };
    let bucket = vec![bucket(1.0, 3), bucket(f64::INFINITY, 4), bucket(2.0, 5)];
    let found = lines(HistogramOptions::default(), client::Histogram { bucket, ..Default::default() });
    let buckets: Vec<_> = found.iter().filter(|line| line.contains("h_bucket")).collect();
    assert_eq!(
        buckets,
        [r#"{__name__="h_bucket", a="2", le="1.0", z="1"} 3"#, r#"{__name__="h_bucket", a="2", le="+Inf", z="1"} 4"#]
    );
}

fn lines(options: HistogramOptions, histogram: client::Histogram) -> Vec<String> {
    let mut sink = Collect::default();
    parse_protobuf(&histogram_family(histogram), options, &mut sink).unwrap();
    sink.lines.split_off(2)
}

#[test]
fn only_the_native_form_is_read_unless_the_classic_one_is_wanted() {
    let options = HistogramOptions { native: true, ..HistogramOptions::default() };
    assert_eq!(lines(options, native()), [r#"{__name__="h", a="2", z="1"} histogram st=1500"#]);
}

#[test]
fn only_the_classic_form_is_read_when_native_histograms_are_disabled() {
    let lines = lines(HistogramOptions::default(), native());
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| !line.contains("histogram")), "{lines:?}");
}

/// A family with one metric.
fn family(kind: client::MetricType, metric: client::Metric) -> Vec<u8> {
    client::MetricFamily {
        name: Some("m".into()),
        r#type: Some(kind as i32),
        metric: vec![metric],
        ..Default::default()
    }
    .encode_length_delimited_to_vec()
}

fn samples(kind: client::MetricType, metric: client::Metric) -> Vec<String> {
    read(Format::Protobuf, &family(kind, metric)).unwrap().split_off(2)
}

#[test]
fn a_counter_has_its_exemplar_and_start() {
    let exemplar = client::Exemplar { label: vec![pair("t", "x")], value: Some(2.0), timestamp: None };
    let created_timestamp = Some(prost_types::Timestamp { seconds: 3, nanos: 0 });
    let counter = client::Counter { value: Some(1.0), exemplar: Some(exemplar), created_timestamp };
    let metric = client::Metric { counter: Some(counter), timestamp_ms: Some(5), ..Default::default() };
    assert_eq!(samples(client::MetricType::Counter, metric), [r#"{__name__="m"} 1 @5 st=3000 # {t="x"} 2"#]);
}

#[test]
fn a_summary_has_a_series_for_each_quantile() {
    let quantile = vec![client::Quantile { quantile: Some(0.5), value: Some(7.0) }];
    let summary = client::Summary { sample_count: Some(2), sample_sum: Some(3.0), quantile, created_timestamp: None };
    let metric = client::Metric { summary: Some(summary), ..Default::default() };
    assert_eq!(
        samples(client::MetricType::Summary, metric),
        [r#"{__name__="m_count"} 2"#, r#"{__name__="m_sum"} 3"#, r#"{__name__="m", quantile="0.5"} 7"#]
    );
}

/// Records the bits of floats and forgets everything else.
#[derive(Default)]
struct Bits(Vec<u64>);
impl Sink for Bits {
    fn metadata(&mut self, _: &str, _: MetadataField<'_>) {}
    fn float(&mut self, _: SeriesKey<'_>, v: f64, _: SampleInfo<'_>) -> Result<SampleIndex, ExpositionError> {
        self.0.push(v.to_bits());
        Ok(None)
    }
    fn histogram(&mut self, _: SeriesKey<'_>, _: Histogram, _: SampleInfo<'_>) -> Result<(), ExpositionError> {
        Ok(())
    }
    fn set_start(&mut self, _: SampleIndex, _: i64) {}
}

#[test]
fn a_gauge_with_a_stale_marker_has_an_ordinary_nan() {
    let gauge = client::Gauge { value: Some(pharos_model::STALE_NAN) };
    let body = family(client::MetricType::Gauge, client::Metric { gauge: Some(gauge), ..Default::default() });
    let mut sink = Bits::default();
    parse_protobuf(&body, HistogramOptions::default(), &mut sink).unwrap();
    assert_eq!(sink.0, [NORMAL_NAN.to_bits()]);
}

#[test]
fn a_metric_without_the_value_of_its_type_has_the_default_value() {
    let gauge = client::Metric { gauge: Some(client::Gauge { value: Some(5.0) }), ..Default::default() };
    for (kind, expected) in [
        (client::MetricType::Counter, "m 0"),
        (client::MetricType::Untyped, "m 0"),
        (client::MetricType::Gauge, "m 5"),
        (client::MetricType::Summary, "m_count 0 m_sum 0"),
        (client::MetricType::Histogram, "m_count 0 m_sum 0 m_bucket 0"),
    ] {
        let lines = read(Format::Protobuf, &family(kind, gauge.clone())).unwrap();
        let samples: Vec<_> = lines.iter().filter(|line| !line.starts_with('#')).collect();
        let names: Vec<_> = expected.split(' ').step_by(2).collect();
        assert_eq!(samples.len(), names.len(), "{kind:?}: {lines:?}");
        for (line, name) in samples.iter().zip(names) {
            assert!(line.starts_with(&format!("{{__name__=\"{name}\"")), "{kind:?}: {line}");
        }
        assert!(samples[0].ends_with(expected.split(' ').nth(1).unwrap()), "{kind:?}: {samples:?}");
    }
}

#[test]
fn a_timestamp_of_zero_is_none() {
    let at = |t| {
        let gauge = Some(client::Gauge { value: Some(1.0) });
        let metric = client::Metric { gauge, timestamp_ms: Some(t), ..Default::default() };
        read(Format::Protobuf, &family(client::MetricType::Gauge, metric)).unwrap().pop()
    };
    assert_eq!(at(0).unwrap(), "{__name__=\"m\"} 1");
    assert_eq!(at(7).unwrap(), "{__name__=\"m\"} 1 @7");
}

#[test]
fn an_exemplar_with_a_label_twice_is_left_out() {
    let exemplar = client::Exemplar { label: vec![pair("a", "1"), pair("a", "2")], ..Default::default() };
    let counter = client::Counter { value: Some(1.0), exemplar: Some(exemplar), ..Default::default() };
    let metric = client::Metric { counter: Some(counter), ..Default::default() };
    let lines = read(Format::Protobuf, &family(client::MetricType::Counter, metric)).unwrap();
    assert_eq!(lines.last().unwrap(), "{__name__=\"m\"} 1");
}

#[test]
fn a_family_without_a_name_is_refused_unless_it_is_empty() {
    let empty = client::MetricFamily::default();
    assert!(read(Format::Protobuf, &empty.encode_length_delimited_to_vec()).unwrap().is_empty());
    let nameless = client::MetricFamily { metric: vec![client::Metric::default()], ..empty };
    let error = read(Format::Protobuf, &nameless.encode_length_delimited_to_vec()).unwrap_err();
    assert!(error.ends_with("metric family without a name"), "{error}");
}

#[test]
fn a_repeated_label_is_refused() {
    let gauge = Some(client::Gauge { value: Some(1.0) });
    let metric = client::Metric { label: vec![pair("a", "1"), pair("a", "2")], gauge, ..Default::default() };
    let error = read(Format::Protobuf, &family(client::MetricType::Gauge, metric)).unwrap_err();
    assert!(error.ends_with("label name \"a\" is not unique"), "{error}");
}

#[test]
fn exemplars_of_a_native_histogram_need_a_timestamp() {
    let at = |seconds| client::Exemplar {
        label: vec![],
        value: Some(1.0),
        timestamp: Some(prost_types::Timestamp { seconds, nanos: 0 }),
    };
    let timeless = client::Exemplar { timestamp: None, ..at(0) };
    let histogram = client::Histogram { exemplars: vec![at(7), timeless], ..native() };
    let options = HistogramOptions { native: true, ..HistogramOptions::default() };
    assert_eq!(lines(options, histogram), [r#"{__name__="h", a="2", z="1"} histogram st=1500 # {} 1 @7000"#]);
}

#[test]
fn a_truncated_body_is_refused() {
    let good = histogram_family(native());
    for length in 1..good.len() {
        assert!(read(Format::Protobuf, &good[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_length_beyond_the_body_is_refused() {
    let huge = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], b"x"].concat();
    let error = read(Format::Protobuf, &huge).unwrap_err();
    assert!(error.contains("is truncated"), "{error}");
}

#[test]
fn a_length_that_never_ends_is_refused() {
    assert!(read(Format::Protobuf, &[0xff; 20]).is_err());
}

#[test]
fn spans_without_buckets_are_refused() {
    let histogram = client::Histogram {
        positive_span: vec![client::BucketSpan { offset: Some(0), length: Some(u32::MAX) }],
        ..native()
    };
    let error = read(Format::Protobuf, &histogram_family(histogram)).unwrap_err();
    assert!(error.contains("native histogram"), "{error}");
}

#[test]
fn a_metric_has_as_few_labels_as_in_the_text_formats() {
    let labelled = |count: usize| {
        let label = (0..count).map(|i| pair(&format!("l{i}"), "v")).collect();
        let gauge = Some(client::Gauge { value: Some(1.0) });
        read(
            Format::Protobuf,
            &family(client::MetricType::Gauge, client::Metric { label, gauge, ..Default::default() }),
        )
    };
    assert_eq!(labelled(MAX_LABELS).unwrap().len(), 3);
    let error = labelled(50_000).unwrap_err();
    assert!(error.ends_with("more than 2048 labels"), "{error}");
}

#[test]
fn a_metric_of_many_megabytes_is_refused() {
    let label = vec![client::LabelPair::default(); 2 << 20];
    let error =
        read(Format::Protobuf, &family(client::MetricType::Gauge, client::Metric { label, ..Default::default() }));
    let error = error.unwrap_err();
    assert!(error.ends_with("a metric of 4194304 bytes, the limit is 2097152"), "{error}");
}

#[test]
fn labels_that_every_bucket_repeats_are_bounded() {
    let bucket = |i: i32| client::Bucket { upper_bound: Some(f64::from(i)), ..Default::default() };
    let histogram = client::Histogram { bucket: (0..500).map(bucket).collect(), ..Default::default() };
    let label = vec![pair("long", &"x".repeat(1 << 20))];
    let body = family(
        client::MetricType::Histogram,
        client::Metric { label, histogram: Some(histogram), ..Default::default() },
    );
    let mut sink = Bits::default();
    let error = parse_protobuf(&body, HistogramOptions::default(), &mut sink).unwrap_err().reason;
    assert!(error.ends_with("labels of all series take more than 268435456 bytes"), "{error}");
    assert_eq!(sink.0.len(), 255);
}

#[test]
fn metrics_may_come_before_the_name_of_their_family() {
    let gauge = Some(client::Gauge { value: Some(1.0) });
    let metric =
        client::MetricFamily { metric: vec![client::Metric { gauge, ..Default::default() }], ..Default::default() };
    let head = client::MetricFamily {
        name: Some("m".into()),
        r#type: Some(client::MetricType::Gauge as i32),
        ..Default::default()
    };
    let message = [metric.encode_to_vec(), head.encode_to_vec()].concat();
    let mut body = Vec::new();
    prost::encode_length_delimiter(message.len(), &mut body).unwrap();
    body.extend(message);
    assert_eq!(read(Format::Protobuf, &body).unwrap().pop().unwrap(), "{__name__=\"m\"} 1");
}
