//! Pushed requests: remote write 1.0 and 2.0 and OTLP, through the HTTP handlers.
//!
//! The first byte holds protocol and compression, the rest is the body. The body is compressed here, so that it gets past the
//! decompressor, unless [`AS_SENT`] says that the bytes are the compressed body.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use pharos_model::clock::ManualClock;
use pharos_model::labels::check_canonical;
use pharos_model::{MemoryAccount, TenantId, WriteBatch, WriteError, WriteOutcome, series_hash};
use pharos_receive::{ReceiveConfig, Receiver, router};
use pharos_transport::Ingest;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// Checks that batches satisfy what the head relies on.
struct Checking;

#[async_trait]
impl Ingest for Checking {
    async fn append(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        let mut outcome = WriteOutcome::default();
        for series in batch.series() {
            let labels = batch.labels_of(series);
            check_canonical(labels).expect("labels are canonical");
            assert_eq!(series.hash, series_hash(tenant, labels));
            outcome.samples += batch.samples_of(series).len() as u64;
            for sample in batch.histograms_of(series) {
                sample.h.validate().expect("histograms are valid");
                outcome.histograms += 1;
            }
            outcome.exemplars += batch.exemplars_of(series).len() as u64;
        }
        Ok(outcome)
    }
}

fn service() -> &'static (Runtime, Router) {
    static SERVICE: OnceLock<(Runtime, Router)> = OnceLock::new();
    SERVICE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let config = ReceiveConfig {
            max_body_bytes: 1 << 20,
            max_decompressed_bytes: 4 << 20,
            max_decoded_bytes: 32 << 20,
            ..ReceiveConfig::default()
        };
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let receiver =
            Receiver::new(config, Arc::new(Checking), MemoryAccount::unlimited(), clock, &prometheus::Registry::new());
        (runtime, router(receiver.expect("a receiver")))
    })
}

const V1: u8 = 0;
const V2: u8 = 1;
const OTLP: u8 = 2;
const OTLP_JSON: u8 = 3;
/// The bytes are the body as it is sent, compressed already.
const AS_SENT: u8 = 4;
const GZIP: u8 = 8;

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let (runtime, router) = service();
    let (path, content_type) = match choice & 3 {
        V1 => ("/api/v1/write", "application/x-protobuf"),
        V2 => ("/api/v1/write", "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
        OTLP => ("/api/v1/otlp/v1/metrics", "application/x-protobuf"),
        _ => ("/api/v1/otlp/v1/metrics", "application/json"),
    };
    let is_otlp = choice & 3 >= OTLP;
    let (encoding, body) = match (is_otlp, choice & AS_SENT != 0, choice & GZIP != 0) {
        (false, true, _) => ("snappy", bytes.to_vec()),
        (false, false, _) => ("snappy", snap::raw::Encoder::new().compress_vec(bytes).expect("it is short")),
        (true, true, true) => ("gzip", bytes.to_vec()),
        (true, false, true) => ("gzip", stored_gzip(bytes)),
        (true, _, false) => ("identity", bytes.to_vec()),
    };
    let request = Request::post(path).header("content-type", content_type).header("content-encoding", encoding);
    let request = request.body(Body::from(body)).expect("a request");
    let response = runtime.block_on(router.clone().oneshot(request)).expect("the handlers answer");
    let status = response.status().as_u16();
    assert!(matches!(status, 200 | 204 | 400 | 413 | 415), "status {status}");
}

/// Gzip of stored blocks, which needs no compressor. The checksum is valid, since decoders verify it.
fn stored_gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut parts = bytes.chunks(0xffff).peekable();
    if bytes.is_empty() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(part) = parts.next() {
        let length = part.len() as u16;
        out.push(u8::from(parts.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.write_all(part).expect("memory");
    }
    out.extend(crc32fast::hash(bytes).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out
}

/// Valid inputs.
pub fn seeds() -> Vec<Vec<u8>> {
    let v1 = messages::v1();
    let v2 = messages::v2();
    let otlp = messages::otlp();
    let compressed = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).expect("it is short");
    vec![
        [&[V1][..], &v1].concat(),
        [&[V2][..], &v2].concat(),
        [&[OTLP][..], &otlp].concat(),
        [&[OTLP_JSON][..], messages::OTLP_JSON.as_bytes()].concat(),
        [&[V1 | AS_SENT][..], &compressed(&v1)].concat(),
        [&[V2 | AS_SENT][..], &compressed(&v2)].concat(),
        [&[OTLP | GZIP][..], &otlp].concat(),
        [&[OTLP | GZIP | AS_SENT][..], &stored_gzip(&otlp)].concat(),
    ]
}

mod messages {
    //! A valid message of each protocol.

    use pharos_transport::otlp::common::v1::any_value::Value;
    use pharos_transport::otlp::{
        collector::metrics::v1::ExportMetricsServiceRequest, common::v1 as common, metrics::v1 as otel,
        resource::v1::Resource,
    };
    use pharos_transport::{prometheus as v1, write_v2 as v2};
    use prost::Message;

    const NOW: i64 = 1_700_000_000_000;

    pub(super) fn v1() -> Vec<u8> {
        let label = |name: &str, value: &str| v1::Label { name: name.into(), value: value.into() };
        let histogram = v1::Histogram {
            count: Some(v1::histogram::Count::CountInt(5)),
            sum: 3.5,
            schema: 1,
            zero_threshold: 0.001,
            zero_count: Some(v1::histogram::ZeroCount::ZeroCountInt(1)),
            positive_spans: vec![v1::BucketSpan { offset: 0, length: 2 }],
            positive_deltas: vec![1, 2],
            timestamp: NOW,
            ..Default::default()
        };
        let series = v1::TimeSeries {
            labels: vec![label("__name__", "m"), label("job", "a")],
            samples: vec![v1::Sample { value: 1.5, timestamp: NOW }, v1::Sample { value: 2.0, timestamp: NOW + 1 }],
            exemplars: vec![v1::Exemplar { labels: vec![label("trace", "x")], value: 1.0, timestamp: NOW }],
            histograms: vec![histogram],
        };
        let metadata =
            v1::MetricMetadata { r#type: 1, metric_family_name: "m".into(), help: "h".into(), unit: "s".into() };
        v1::WriteRequest { timeseries: vec![series], metadata: vec![metadata] }.encode_to_vec()
    }

    pub(super) fn v2() -> Vec<u8> {
        let symbols = ["", "__name__", "m", "job", "a", "help", "unit", "trace", "x"].map(String::from).to_vec();
        let histogram = v2::Histogram {
            count: Some(v2::histogram::Count::CountFloat(4.0)),
            sum: 3.5,
            schema: -53,
            custom_values: vec![0.5, 1.0],
            positive_spans: vec![v2::BucketSpan { offset: 0, length: 3 }],
            positive_counts: vec![1.0, 2.0, 1.0],
            timestamp: NOW,
            ..Default::default()
        };
        let series = v2::TimeSeries {
            labels_refs: vec![1, 2, 3, 4],
            samples: vec![v2::Sample { value: 1.5, timestamp: NOW, start_timestamp: NOW - 1000 }],
            histograms: vec![histogram],
            exemplars: vec![v2::Exemplar { labels_refs: vec![7, 8], value: 1.0, timestamp: NOW }],
            metadata: Some(v2::Metadata { r#type: 1, help_ref: 5, unit_ref: 6 }),
        };
        v2::Request { symbols, timeseries: vec![series] }.encode_to_vec()
    }

    pub(super) fn otlp() -> Vec<u8> {
        let resource = Resource {
            attributes: vec![attribute("service.name", Value::StringValue("s".into()))],
            ..Default::default()
        };
        let scope = otel::ScopeMetrics { metrics: metrics(), ..Default::default() };
        let resource_metrics =
            vec![otel::ResourceMetrics { resource: Some(resource), scope_metrics: vec![scope], ..Default::default() }];
        ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
    }

    fn any(value: Value) -> Option<common::AnyValue> {
        Some(common::AnyValue { value: Some(value) })
    }

    fn attribute(key: &str, value: Value) -> common::KeyValue {
        common::KeyValue { key: key.into(), value: any(value) }
    }

    /// A number with attributes of several kinds and an exemplar.
    fn number(time: u64) -> otel::NumberDataPoint {
        let attributes = vec![
            attribute("a.b", Value::StringValue("c".into())),
            attribute("n", Value::IntValue(-5)),
            attribute(
                "l",
                Value::ArrayValue(common::ArrayValue { values: any(Value::BoolValue(true)).into_iter().collect() }),
            ),
        ];
        otel::NumberDataPoint {
            attributes,
            time_unix_nano: time,
            start_time_unix_nano: time - 1_000_000_000,
            value: Some(otel::number_data_point::Value::AsDouble(1.5)),
            exemplars: vec![otel::Exemplar {
                time_unix_nano: time,
                trace_id: vec![1; 16],
                span_id: vec![2; 8],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// A metric of each kind.
    fn metrics() -> Vec<otel::Metric> {
        use otel::metric::Data;
        let time = NOW as u64 * 1_000_000;
        let buckets = otel::exponential_histogram_data_point::Buckets { offset: -1, bucket_counts: vec![1, 0, 3] };
        let exponential = otel::ExponentialHistogramDataPoint {
            time_unix_nano: time,
            count: 6,
            sum: Some(4.0),
            scale: 2,
            zero_count: 2,
            positive: Some(buckets),
            ..Default::default()
        };
        let classic = otel::HistogramDataPoint {
            time_unix_nano: time,
            count: 3,
            sum: Some(4.0),
            bucket_counts: vec![1, 2, 0],
            explicit_bounds: vec![1.0, 2.0],
            ..Default::default()
        };
        let summary = otel::SummaryDataPoint {
            time_unix_nano: time,
            count: 2,
            sum: 3.0,
            quantile_values: vec![otel::summary_data_point::ValueAtQuantile { quantile: 0.5, value: 1.0 }],
            ..Default::default()
        };
        let metric = |name: &str, data| otel::Metric {
            name: name.into(),
            unit: "ms".into(),
            data: Some(data),
            ..Default::default()
        };
        vec![
            metric("g", Data::Gauge(otel::Gauge { data_points: vec![number(time)] })),
            metric(
                "s",
                Data::Sum(otel::Sum {
                    data_points: vec![number(time)],
                    aggregation_temporality: 2,
                    is_monotonic: true,
                }),
            ),
            metric("h", Data::Histogram(otel::Histogram { data_points: vec![classic], aggregation_temporality: 2 })),
            metric(
                "e",
                Data::ExponentialHistogram(otel::ExponentialHistogram {
                    data_points: vec![exponential],
                    aggregation_temporality: 2,
                }),
            ),
            metric("q", Data::Summary(otel::Summary { data_points: vec![summary] })),
        ]
    }

    pub(super) const OTLP_JSON: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},
"scopeMetrics":[{"scope":{"name":"n","version":"1"},"metrics":[{"name":"g","unit":"ms","gauge":{"dataPoints":[{"timeUnixNano":"1700000000000000000",
"asInt":"7","attributes":[{"key":"l","value":{"arrayValue":{"values":[{"boolValue":true},{"doubleValue":"NaN"},{"intValue":"-3"}]}}}]}]}},
{"name":"h","histogram":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","dataPoints":[{"timeUnixNano":1700000000000000000,"count":"3",
"sum":4.5,"bucketCounts":["1",2,"0"],"explicitBounds":[1,2],"exemplars":[{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","asDouble":1}]}]}},
{"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"1700000000000000000","count":"6","scale":2,"zeroCount":"2",
"positive":{"offset":-1,"bucketCounts":["1","0","3"]}}]}}]}]}]}"#;
}
