//! Tests of OTLP: translation of every kind of point, rejections, HTTP.

use axum::body::Body;
use pharos_config::{OtlpConfig, TranslationStrategy};
use pharos_model::{CounterReset, TenantId, WriteBatch, is_stale_nan};
use pharos_transport::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use pharos_transport::otlp::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use pharos_transport::otlp::metrics::v1 as proto;
use pharos_transport::otlp::metrics::v1::metric::Data;
use pharos_transport::otlp::resource::v1::Resource;
use proptest::prelude::*;

use super::*;
use crate::ReceiveConfig;
use crate::decode::DecodeError;
use crate::testing::{Recorder, receiver, send, unlimited};

const SECOND: u64 = 1_000_000_000;

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) }) }
}

fn export(metrics: Vec<proto::Metric>) -> ExportMetricsServiceRequest {
    let attributes = vec![
        attribute("service.name", "shop"),
        attribute("service.namespace", "prod"),
        attribute("service.instance.id", "i1"),
        attribute("host.name", "h1"),
    ];
    let scope = InstrumentationScope { name: "lib".into(), version: "1.2".into(), ..Default::default() };
    let scope_metrics = vec![proto::ScopeMetrics { scope: Some(scope), metrics, schema_url: "https://x".into() }];
    let resource = Some(Resource { attributes, ..Default::default() });
    ExportMetricsServiceRequest {
        resource_metrics: vec![proto::ResourceMetrics { resource, scope_metrics, ..Default::default() }],
    }
}

fn metric(name: &str, unit: &str, data: Data) -> proto::Metric {
    proto::Metric {
        name: name.into(),
        unit: unit.into(),
        description: "Help.".into(),
        data: Some(data),
        ..Default::default()
    }
}

fn number(value: f64) -> proto::NumberDataPoint {
    proto::NumberDataPoint {
        start_time_unix_nano: 5 * SECOND,
        time_unix_nano: 10 * SECOND,
        value: Some(proto::number_data_point::Value::AsDouble(value)),
        attributes: vec![attribute("http.route", "/a")],
        ..Default::default()
    }
}

fn sum(points: Vec<proto::NumberDataPoint>, temporality: i32, is_monotonic: bool) -> Data {
    Data::Sum(proto::Sum { data_points: points, aggregation_temporality: temporality, is_monotonic })
}

fn translated_bytes(config: &OtlpConfig, bytes: &[u8]) -> Result<(WriteBatch, WriteOutcome), DecodeError> {
    let tenant = TenantId::default();
    let mut batch = WriteBatch::default();
    let hold = unlimited();
    let mut decoder = Decoder::new(&tenant, &mut batch, 64 << 20, &hold);
    translate::translate(config, bytes, &mut decoder)?;
    let refused = decoder.rejections;
    Ok((batch, refused))
}

fn translated(config: &OtlpConfig, metrics: Vec<proto::Metric>) -> (WriteBatch, WriteOutcome) {
    translated_bytes(config, &export(metrics).encode_to_vec()).unwrap()
}

/// Each series with its floats, as `labels => value@time`.
fn shown(batch: &WriteBatch) -> Vec<String> {
    let floats = |series| batch.samples_of(series).iter().map(|s| format!("{}@{}", s.v, s.t)).collect::<Vec<_>>();
    batch.series().iter().map(|s| format!("{} => {}", batch.display_labels(s), floats(s).join(" "))).collect()
}

#[test]
fn numbers_become_samples_with_target_info() {
    let metrics = vec![
        metric("http.requests", "{request}", sum(vec![number(3.0)], 2, true)),
        metric("queue.size", "By", sum(vec![number(4.0)], 2, false)),
        metric("cpu", "1", Data::Gauge(proto::Gauge { data_points: vec![number(0.5)] })),
    ];
    let (batch, refused) = translated(&OtlpConfig::default(), metrics);
    assert!(refused.rejected.is_empty());
    let labels = r#"http_route="/a", instance="i1", job="prod/shop"}"#;
    assert_eq!(
        shown(&batch),
        [
            format!(r#"{{__name__="http_requests_total", {labels} => 3@10000"#),
            format!(r#"{{__name__="queue_size_bytes", {labels} => 4@10000"#),
            format!(r#"{{__name__="cpu_ratio", {labels} => 0.5@10000"#),
            r#"{__name__="target_info", host_name="h1", instance="i1", job="prod/shop"} => 1@10000"#.to_string(),
        ]
    );
    assert_eq!(batch.samples[0].st, 5000);
    let said: Vec<String> = batch.metadata.iter().map(|(f, m)| format!("{f} {} {}", m.kind.as_str(), m.unit)).collect();
    assert_eq!(
        said,
        ["http_requests_total counter ", "queue_size_bytes gauge bytes", "cpu_ratio gauge ", "target_info gauge "]
    );
}

#[test]
fn attributes_are_promoted_as_configured() {
    let config = OtlpConfig {
        promote_resource_attributes: vec!["host.name".into()],
        promote_scope_metadata: true,
        translation_strategy: TranslationStrategy::NoTranslation,
        keep_identifying_resource_attributes: true,
        ..OtlpConfig::default()
    };
    let (batch, _) = translated(&config, vec![metric("m.x", "s", sum(vec![number(1.0)], 2, true))]);
    let expected = [
        r#"{__name__="m.x", "host.name"="h1", "http.route"="/a", instance="i1", job="prod/shop", "#,
        r#"otel_scope_name="lib", otel_scope_schema_url="https://x", otel_scope_version="1.2"} => 1@10000"#,
    ];
    assert_eq!(shown(&batch)[0], expected.concat());
    assert!(shown(&batch)[1].contains(r#""service.instance.id"="i1""#));
}

#[test]
fn attributes_with_the_same_label_name_are_joined() {
    let mut point = number(1.0);
    point.attributes = vec![attribute("a.b", "2"), attribute("a-b", "1"), attribute("__name__", "evil")];
    let (batch, _) = translated(&OtlpConfig::default(), vec![metric("m", "", sum(vec![point], 2, true))]);
    assert!(shown(&batch)[0].starts_with(r#"{__name__="m_total", a_b="1;2", instance"#));
}

#[test]
fn explicit_histograms_become_classic_ones_or_get_custom_buckets() {
    let exemplar = |value| proto::Exemplar {
        value: Some(proto::exemplar::Value::AsDouble(value)),
        trace_id: vec![0xab; 16],
        ..Default::default()
    };
    let point = proto::HistogramDataPoint {
        time_unix_nano: 10 * SECOND,
        count: 6,
        sum: Some(7.5),
        explicit_bounds: vec![0.1, 5.0],
        bucket_counts: vec![1, 2, 3],
        exemplars: vec![exemplar(0.05), exemplar(9.0)],
        ..Default::default()
    };
    let histogram = Data::Histogram(proto::Histogram { data_points: vec![point], aggregation_temporality: 2 });
    let metrics = vec![metric("lat", "s", histogram)];
    let (batch, _) = translated(&OtlpConfig::default(), metrics.clone());
    let ids = r#"instance="i1", job="prod/shop""#;
    assert_eq!(
        shown(&batch)[..5],
        [
            format!(r#"{{__name__="lat_seconds_sum", {ids}}} => 7.5@10000"#),
            format!(r#"{{__name__="lat_seconds_count", {ids}}} => 6@10000"#),
            format!(r#"{{__name__="lat_seconds_bucket", {ids}, le="0.1"}} => 1@10000"#),
            format!(r#"{{__name__="lat_seconds_bucket", {ids}, le="5"}} => 3@10000"#),
            format!(r#"{{__name__="lat_seconds_bucket", {ids}, le="+Inf"}} => 6@10000"#),
        ]
    );
    let exemplars: Vec<usize> = batch.series().iter().map(|s| batch.exemplars_of(s).len()).collect();
    assert_eq!(exemplars, [0, 0, 1, 0, 1, 0]);
    assert_eq!(batch.exemplars[0].labels.get("trace_id"), Some("ab".repeat(16).as_str()));
    assert_eq!(batch.exemplars[0].t, 10_000);

    let config = OtlpConfig { convert_histograms_to_nhcb: true, ..OtlpConfig::default() };
    let (batch, refused) = translated(&config, metrics);
    assert!(refused.rejected.is_empty(), "{refused:?}");
    let h = &batch.histograms[0].h;
    assert_eq!(&h.custom_values[..], &[0.1, 5.0][..]);
    assert_eq!(&h.positive_buckets[..], &[1.0, 2.0, 3.0][..]);
    assert_eq!(h.count, 6.0);
}

#[test]
fn exponential_histograms_become_native_and_bad_ones_are_rejected() {
    let buckets = |counts| Some(proto::exponential_histogram_data_point::Buckets { offset: 0, bucket_counts: counts });
    let good = proto::ExponentialHistogramDataPoint {
        time_unix_nano: 10 * SECOND,
        count: 4,
        sum: Some(5.0),
        scale: 1,
        zero_count: 1,
        positive: buckets(vec![1, 2]),
        ..Default::default()
    };
    let bad = proto::ExponentialHistogramDataPoint { count: 9, ..good.clone() };
    let coarse = proto::ExponentialHistogramDataPoint { scale: -20, ..good.clone() };
    let histogram = proto::ExponentialHistogram { data_points: vec![good, bad, coarse], aggregation_temporality: 2 };
    let metrics = vec![metric("lat", "s", Data::ExponentialHistogram(histogram))];
    let (batch, refused) = translated(&OtlpConfig::default(), metrics);
    assert_eq!(batch.histograms.len(), 1);
    let h = &batch.histograms[0].h;
    assert_eq!(h.schema, 1);
    assert_eq!(h.positive_spans[0].offset, 1);
    assert_eq!(&h.positive_buckets[..], &[1.0, 2.0][..]);
    assert_eq!(h.zero_count, 1.0);
    assert_eq!(h.counter_reset, CounterReset::Unknown);
    assert!(h.integer);
    assert_eq!(refused.rejected[&RejectReason::InvalidHistogram].count, 2);
}

#[test]
fn summaries_and_stale_points_are_translated() {
    let quantile = |quantile, value| proto::summary_data_point::ValueAtQuantile { quantile, value };
    let point = proto::SummaryDataPoint {
        time_unix_nano: 10 * SECOND,
        count: 2,
        sum: 3.0,
        quantile_values: vec![quantile(0.5, 1.0), quantile(1.0, 2.0)],
        flags: 1,
        ..Default::default()
    };
    let summary = Data::Summary(proto::Summary { data_points: vec![point] });
    let (batch, _) = translated(&OtlpConfig::default(), vec![metric("s", "", summary)]);
    assert_eq!(batch.series().len(), 5);
    assert!(batch.samples[..4].iter().all(|s| is_stale_nan(s.v)));
    assert!(shown(&batch)[2].contains(r#"__name__="s", instance="i1", job="prod/shop", quantile="0.5"}"#));
}

#[test]
fn delta_temporality_is_rejected_and_the_rest_is_translated() {
    let metrics = vec![
        metric("delta", "", sum(vec![number(1.0), number(2.0)], 1, true)),
        metric("...", "", sum(vec![number(1.0)], 2, false)),
        metric("good", "", sum(vec![number(1.0)], 2, false)),
    ];
    let (batch, refused) = translated(&OtlpConfig::default(), metrics);
    assert_eq!(batch.series().len(), 2);
    let rejected = &refused.rejected[&RejectReason::InvalidLabels];
    assert_eq!(
        (rejected.count, rejected.first.as_str()),
        (3, r#"invalid temporality and type combination for metric "delta""#)
    );
}

#[test]
fn target_info_is_repeated_a_limited_number_of_times() {
    let at = |time_unix_nano| proto::NumberDataPoint { time_unix_nano, ..number(1.0) };
    let gauge = |points| vec![metric("g", "", Data::Gauge(proto::Gauge { data_points: points }))];
    let (batch, _) = translated(&OtlpConfig::default(), gauge(vec![at(0), at(400 * SECOND)]));
    let times: Vec<i64> = batch.samples.iter().skip(2).map(|s| s.t).collect();
    assert_eq!(times, [0, 150_000, 300_000, 400_000]);
    let (batch, _) = translated(&OtlpConfig::default(), gauge(vec![at(0), at(u64::MAX)]));
    assert!(batch.samples.len() <= 10_002 + 1);
}

#[test]
fn deep_nesting_is_rejected() {
    let mut value = AnyValue { value: Some(any_value::Value::IntValue(1)) };
    for _ in 0..200 {
        let array = pharos_transport::otlp::common::v1::ArrayValue { values: vec![value] };
        value = AnyValue { value: Some(any_value::Value::ArrayValue(array)) };
    }
    let mut point = number(1.0);
    point.attributes = vec![KeyValue { key: "deep".into(), value: Some(value) }];
    let bytes = export(vec![metric("m", "", sum(vec![point], 2, true))]).encode_to_vec();
    assert!(matches!(translated_bytes(&OtlpConfig::default(), &bytes), Err(DecodeError::Message(_))));
}

fn post(headers: &[(&str, &str)], body: Vec<u8>) -> axum::http::Request<Body> {
    let mut request = axum::http::Request::post("/api/v1/otlp/v1/metrics");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn responses_describe_rejected_points() {
    let recorder = Arc::new(Recorder::default());
    let receiver = receiver(&recorder, ReceiveConfig::default());
    let protobuf = ("content-type", "application/x-protobuf");
    let good = metric("good", "", sum(vec![number(1.0)], 2, false));
    let bad = metric("bad", "", sum(vec![number(1.0)], 1, false));
    let bytes = export(vec![good.clone(), bad.clone()]).encode_to_vec();
    let (code, _, body) = send(&receiver, post(&[protobuf], bytes.clone())).await;
    let partial = ExportMetricsServiceResponse::decode(&body[..]).unwrap().partial_success.unwrap();
    assert_eq!(code, 200);
    assert_eq!(partial.rejected_data_points, 1);

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &export(vec![good]).encode_to_vec()).unwrap();
    let headers = [protobuf, ("content-encoding", "gzip"), ("x-scope-orgid", "team")];
    let (code, _, body) = send(&receiver, post(&headers, encoder.finish().unwrap())).await;
    assert_eq!(code, 200);
    assert!(body.is_empty());

    let only_bad = export(vec![bad]).encode_to_vec();
    for (headers, body, expected) in [
        (vec![protobuf], only_bad, 400),
        (vec![protobuf], bytes[..bytes.len() - 1].to_vec(), 400),
        (vec![("content-type", "text/plain")], bytes.clone(), 400),
        (vec![("content-type", "application/json")], bytes.clone(), 400),
        (vec![("content-type", "application/json; charset=utf-8")], b"{}".to_vec(), 200),
        (vec![protobuf, ("content-encoding", "br")], bytes, 400),
    ] {
        assert_eq!(send(&receiver, post(&headers, body)).await.0, expected, "{headers:?}");
    }
    assert_eq!(recorder.batches.lock().unwrap().len(), 2);
    assert_eq!(receiver.memory.held(), 0);
}

#[tokio::test]
async fn the_body_of_a_failed_request_is_a_status_in_its_encoding() {
    let receiver = receiver(&Arc::new(Recorder::default()), ReceiveConfig::default());
    let content_type = |response: &axum::http::Response<()>| response.headers()["content-type"].clone();
    let protobuf = post(&[("content-type", "application/x-protobuf")], vec![10, 255]);
    let (code, response, body) = send(&receiver, protobuf).await;
    assert_eq!((code, content_type(&response)), (400, HeaderValue::from_static(PROTOBUF)));
    let status = status::Status::decode(&body[..]).unwrap();
    assert_eq!(status.code, 3);
    assert!(!status.message.is_empty());
    for headers in [[("content-type", "application/json")], [("content-type", "text/plain")]] {
        let (code, response, body) = send(&receiver, post(&headers, b"[]".to_vec())).await;
        assert_eq!((code, content_type(&response)), (400, HeaderValue::from_static(JSON)));
        let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status["code"], 3);
        assert!(status["message"].is_string());
    }
}

#[tokio::test]
async fn a_node_that_cannot_store_says_when_to_send_again() {
    let fail = Some(pharos_model::WriteError::Unavailable("no ingester".into()));
    let receiver = receiver(&Arc::new(Recorder { fail, ..Recorder::default() }), ReceiveConfig::default());
    let bytes = export(vec![metric("g", "", sum(vec![number(1.0)], 2, false))]).encode_to_vec();
    let (code, response, body) = send(&receiver, post(&[("content-type", "application/x-protobuf")], bytes)).await;
    assert_eq!(code, 503);
    assert!(response.headers().contains_key("retry-after"));
    let status = status::Status::decode(&body[..]).unwrap();
    assert_eq!(status, status::Status { code: 14, message: "no ingester".into() });
}

proptest! {
    #[test]
    fn any_bytes_are_translated_or_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = translated_bytes(&OtlpConfig::default(), &bytes);
    }

    #[test]
    fn damaged_requests_are_translated_or_rejected(at in 0usize..300, byte: u8) {
        let metrics = vec![metric("m", "s", sum(vec![number(1.0)], 2, true))];
        let mut bytes = export(metrics).encode_to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok((batch, _)) = translated_bytes(&OtlpConfig::default(), &bytes) {
            for series in batch.series() {
                prop_assert!(pharos_model::Labels::from_canonical(batch.labels_of(series)).is_ok());
            }
        }
    }
}

/// Both take time in proportion to their size. They took minutes when each attribute was compared with all others.
#[test]
fn points_with_very_many_attributes_are_translated() {
    let point = |attributes: Vec<(String, String)>| {
        let attributes = attributes.iter().map(|(n, v)| attribute(n, v)).collect();
        let point = proto::NumberDataPoint { attributes, ..number(1.0) };
        Data::Gauge(proto::Gauge { data_points: vec![point] })
    };
    let distinct = (0..30_000).map(|n| (format!("a{n}"), "x".to_string())).collect();
    let (batch, _) = translated(&OtlpConfig::default(), vec![metric("m", "", point(distinct))]);
    let labels = batch.display_labels(&batch.series()[0]);
    assert_eq!(labels.iter().filter(|(name, _)| name.starts_with('a')).count(), 30_000);
    let same = vec![("a".to_string(), "x".repeat(30)); 15_000];
    let (batch, _) = translated(&OtlpConfig::default(), vec![metric("m", "", point(same))]);
    let labels = batch.display_labels(&batch.series()[0]);
    assert_eq!(labels.get("a").map(str::len), Some(15_000 * 31 - 1));
}
