//! Tests of remote write over HTTP: negotiation, status codes, headers, partial writes, limits.

use axum::body::Body;
use pharos_model::memory::MemoryLimits;
use pharos_model::write::Rejected;
use pharos_model::{MemoryAccount, WriteError};
use pharos_transport::{prometheus as v1, write_v2 as v2};
use prost::Message as _;

use super::*;
use crate::ReceiveConfig;
use crate::testing::{Recorder, receiver, receiver_within, send};

const V2_TYPE: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

fn compress(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

fn v1_series(name: &str) -> v1::TimeSeries {
    let label = v1::Label { name: "__name__".into(), value: name.into() };
    v1::TimeSeries { labels: vec![label], samples: vec![v1::Sample { value: 1.0, timestamp: 5 }], ..Default::default() }
}

fn v1_body(names: &[&str]) -> Vec<u8> {
    let timeseries = names.iter().map(|name| v1_series(name)).collect();
    compress(&v1::WriteRequest { timeseries, metadata: vec![] }.encode_to_vec())
}

fn v2_body(names: &[&str]) -> Vec<u8> {
    let mut symbols = vec![String::new(), "__name__".to_string()];
    let mut timeseries = Vec::new();
    for name in names {
        let samples = vec![v2::Sample { value: 1.0, timestamp: 5, start_timestamp: 0 }];
        timeseries.push(v2::TimeSeries { labels_refs: vec![1, symbols.len() as u32], samples, ..Default::default() });
        symbols.push(name.to_string());
    }
    compress(&v2::Request { symbols, timeseries }.encode_to_vec())
}

fn post(path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Request {
    let mut request = axum::http::Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).unwrap()
}

fn written(response: &axum::http::Response<()>) -> Option<&str> {
    response.headers().get("x-prometheus-remote-write-samples-written").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn both_versions_are_appended_for_their_tenant() {
    let recorder = Arc::new(Recorder::default());
    let receiver = receiver(&recorder, ReceiveConfig::default());
    let (code, response, _) = send(&receiver, post("/api/v1/write", &[], v1_body(&["a", "b"]))).await;
    assert_eq!(code, 204);
    assert_eq!(written(&response), None);
    let headers = [("content-type", V2_TYPE), ("content-encoding", "snappy"), ("x-scope-orgid", "team")];
    let (code, response, _) = send(&receiver, post("/api/v1/push", &headers, v2_body(&["c"]))).await;
    assert_eq!(code, 204);
    assert_eq!(written(&response), Some("1"));
    let batches = recorder.batches.lock().unwrap();
    let seen: Vec<(&str, usize)> = batches.iter().map(|(t, b)| (t.as_str(), b.series().len())).collect();
    assert_eq!(seen, [("anonymous", 2), ("team", 1)]);
    assert_eq!(receiver.memory.held(), 0);
}

#[tokio::test]
async fn headers_decide_whether_a_request_is_accepted() {
    let recorder = Arc::new(Recorder::default());
    let receiver = receiver(&recorder, ReceiveConfig::default());
    for (headers, expected) in [
        (("content-type", "application/json"), 415),
        (("content-type", "application/x-protobuf;proto=other.Message"), 415),
        (("content-type", "application/x-protobuf;proto"), 415),
        (("content-encoding", "zstd"), 415),
        (("x-scope-orgid", "a/b"), 400),
        (("content-type", "application/x-protobuf;proto=prometheus.WriteRequest"), 204),
        (("content-type", "application/x-protobuf; charset=utf-8"), 204),
    ] {
        let (code, _, body) = send(&receiver, post("/api/v1/write", &[headers], v1_body(&["a"]))).await;
        assert_eq!(code, expected, "{headers:?}: {}", String::from_utf8_lossy(&body));
    }
}

#[tokio::test]
async fn a_malformed_body_is_a_bad_request() {
    let recorder = Arc::new(Recorder::default());
    let receiver = receiver(&recorder, ReceiveConfig::default());
    let (code, ..) = send(&receiver, post("/api/v1/write", &[], b"not snappy".to_vec())).await;
    assert_eq!(code, 400);
    let (code, ..) = send(&receiver, post("/api/v1/write", &[], compress(b"\x0a\xff\xff\x03not protobuf"))).await;
    assert_eq!(code, 400);
    let (code, response, _) = send(&receiver, post("/api/v1/write", &[("content-type", V2_TYPE)], b"x".to_vec())).await;
    assert_eq!(code, 400);
    assert_eq!(written(&response), Some("0"));
}

#[tokio::test]
async fn valid_samples_are_appended_even_if_others_are_rejected() {
    let recorder = Arc::new(Recorder::default());
    let receiver = receiver(&recorder, ReceiveConfig::default());
    let (code, _, body) = send(&receiver, post("/api/v1/write", &[], v1_body(&["a", "", "b"]))).await;
    assert_eq!(code, 400);
    assert_eq!(String::from_utf8(body).unwrap(), "invalid metric name or labels, got {__name__=\"\"}\n");
    let headers = [("content-type", V2_TYPE)];
    let (code, response, _) = send(&receiver, post("/api/v1/write", &headers, v2_body(&["a", "", "b"]))).await;
    assert_eq!(code, 400);
    assert_eq!(written(&response), Some("2"));
    assert!(recorder.batches.lock().unwrap().iter().all(|(_, batch)| batch.series().len() == 2));
}

#[tokio::test]
async fn a_rejection_by_the_store_is_a_bad_request() {
    let mut also = WriteOutcome::default();
    also.rejected.insert(RejectReason::TooOld, Rejected { count: 1, first: "too old sample for series x".into() });
    let recorder = Arc::new(Recorder { also, ..Recorder::default() });
    let (code, _, body) =
        send(&receiver(&recorder, ReceiveConfig::default()), post("/api/v1/write", &[], v1_body(&["a"]))).await;
    assert_eq!(code, 400);
    assert_eq!(body, b"too old sample for series x\n");
}

#[tokio::test]
async fn a_rejected_exemplar_only_fails_version_2() {
    let mut also = WriteOutcome::default();
    also.rejected.insert(RejectReason::InvalidExemplar, Rejected { count: 1, first: "exemplar".into() });
    let recorder = Arc::new(Recorder { also, ..Recorder::default() });
    let exemplars = receiver(&recorder, ReceiveConfig::default());
    assert_eq!(send(&exemplars, post("/api/v1/write", &[], v1_body(&["a"]))).await.0, 204);
    assert_eq!(send(&exemplars, post("/api/v1/write", &[("content-type", V2_TYPE)], v2_body(&["a"]))).await.0, 400);
}

#[tokio::test]
async fn a_failed_append_tells_the_sender_when_to_retry() {
    for (fail, expected) in
        [(WriteError::Overloaded("head is full".into()), 429), (WriteError::Unavailable("disk is full".into()), 503)]
    {
        let recorder = Arc::new(Recorder { fail: Some(fail), ..Recorder::default() });
        let receiver = receiver(&recorder, ReceiveConfig::default());
        let (code, response, _) = send(&receiver, post("/api/v1/write", &[], v1_body(&["a"]))).await;
        assert_eq!(code, expected);
        assert_eq!(response.headers()["retry-after"], "5");
    }
}

#[tokio::test]
async fn requests_beyond_a_limit_are_rejected() {
    let recorder = Arc::new(Recorder::default());
    let names: Vec<String> = (0..1000).map(|i| format!("metric_{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (config, expected) in [
        (ReceiveConfig { max_body_bytes: 1000, ..Default::default() }, 413),
        (ReceiveConfig { max_decompressed_bytes: 1000, ..Default::default() }, 400),
        (ReceiveConfig { max_decoded_bytes: 1000, ..Default::default() }, 400),
    ] {
        let receiver = receiver(&recorder, config);
        let (code, ..) = send(&receiver, post("/api/v1/write", &[], v1_body(&names))).await;
        assert_eq!(code, expected);
        assert_eq!(receiver.memory.held(), 0);
    }
    assert!(recorder.batches.lock().unwrap().is_empty());
}

#[tokio::test]
async fn large_requests_are_decoded_on_another_thread() {
    let recorder = Arc::new(Recorder::default());
    let receiver = receiver(&recorder, ReceiveConfig::default());
    let names: Vec<String> = (0..40_000).map(|i| format!("metric_with_a_long_name_{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (code, ..) = send(&receiver, post("/api/v1/write", &[], v1_body(&names))).await;
    assert_eq!(code, 204);
    assert_eq!(recorder.batches.lock().unwrap()[0].1.series().len(), 40_000);
}

#[tokio::test]
async fn a_disabled_protocol_has_no_route() {
    let recorder = Arc::new(Recorder::default());
    let receiver = receiver(&recorder, ReceiveConfig { remote_write: false, ..Default::default() });
    for path in ["/api/v1/write", "/api/v1/push"] {
        let (code, ..) = send(&receiver, post(path, &[], v1_body(&["a"]))).await;
        assert_eq!(code, 404, "{path}");
    }
}

#[tokio::test]
async fn messages_are_limited_in_length() {
    let mut also = WriteOutcome::default();
    also.rejected.insert(RejectReason::TooOld, Rejected { count: 1, first: "é".repeat(100_000) });
    let recorder = Arc::new(Recorder { also, ..Recorder::default() });
    let receiver = receiver(&recorder, ReceiveConfig::default());
    let (_, _, body) = send(&receiver, post("/api/v1/write", &[], v1_body(&["a"]))).await;
    let text = String::from_utf8(body).unwrap();
    assert!(text.ends_with("...\n"));
    assert!(text.len() < 20_000, "{} bytes", text.len());
}

#[tokio::test]
async fn requests_are_counted_by_protocol_and_status() {
    let recorder = Arc::new(Recorder::default());
    let registry = prometheus::Registry::new();
    let clock = Arc::new(pharos_model::clock::ManualClock::at(0));
    let receiver =
        Receiver::new(ReceiveConfig::default(), recorder, MemoryAccount::unlimited(), clock, &registry).unwrap();
    send(&receiver, post("/api/v1/write", &[], v1_body(&["a", "b"]))).await;
    send(&receiver, post("/api/v1/write", &[("content-encoding", "zstd")], Vec::new())).await;
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        r#"pharos_receive_requests_total{code="204",protocol="remote_write_v1"} 1"#,
        r#"pharos_receive_requests_total{code="415",protocol="remote_write_v1"} 1"#,
        r#"pharos_receive_samples_total{kind="float",protocol="remote_write_v1"} 2"#,
        "pharos_receive_inflight_bytes 0",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[test]
fn sizes_beyond_what_a_batch_can_address_are_reduced() {
    let config = ReceiveConfig { max_body_bytes: usize::MAX, max_decoded_bytes: 1, ..Default::default() }.bounded();
    assert_eq!(config.max_body_bytes, 1 << 30);
    assert_eq!(config.max_decoded_bytes, 1);
}

#[tokio::test]
async fn pushes_draw_on_the_memory_of_all_requests_and_of_their_tenant() {
    let recorder = Arc::new(Recorder::default());
    let names: Vec<String> = (0..1000).map(|i| format!("metric_{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (limits, code, name) in [
        (MemoryLimits { pushes: 20_000, ..MemoryLimits::unlimited() }, 429, "max_inflight_requests_size"),
        (MemoryLimits { of_a_tenant: 20_000, ..MemoryLimits::unlimited() }, 429, "max_request_memory of the tenant"),
        (MemoryLimits { all: 20_000, ..MemoryLimits::unlimited() }, 503, "max_request_memory, 20000 bytes"),
    ] {
        let receiver = receiver_within(&recorder, ReceiveConfig::default(), limits);
        let (status, _, text) = send(&receiver, post("/api/v1/write", &[], v1_body(&names))).await;
        let text = String::from_utf8_lossy(&text);
        assert!(status == code && text.contains(name), "{status}: {text}");
        assert_eq!(receiver.memory.held(), 0);
    }
}

/// References repeat a symbol, so that a short request becomes a long batch. It counts while it grows, not afterwards.
#[tokio::test]
async fn a_batch_counts_as_in_flight_while_it_is_decoded() {
    let recorder = Arc::new(Recorder::default());
    let limits = MemoryLimits { pushes: 4 << 20, ..MemoryLimits::unlimited() };
    let receiver = receiver_within(&recorder, ReceiveConfig::default(), limits);
    let symbols = vec![String::new(), "__name__".into(), "m".into(), "a".into(), "x".repeat(100_000)];
    let samples = vec![v2::Sample { value: 1.0, timestamp: 5, start_timestamp: 0 }];
    let series = v2::TimeSeries { labels_refs: vec![1, 2, 3, 4], samples, ..Default::default() };
    let body = |count| {
        let request = v2::Request { symbols: symbols.clone(), timeseries: vec![series.clone(); count] };
        compress(&request.encode_to_vec())
    };
    let headers = [("content-type", V2_TYPE)];
    let (code, _, text) = send(&receiver, post("/api/v1/write", &headers, body(100))).await;
    assert_eq!(code, 429, "{}", String::from_utf8_lossy(&text));
    assert!(String::from_utf8_lossy(&text).contains("max_inflight_requests_size"));
    assert_eq!(receiver.memory.held(), 0);
    let (code, _, text) = send(&receiver, post("/api/v1/write", &headers, body(10))).await;
    assert_eq!(code, 204, "{}", String::from_utf8_lossy(&text));
}
