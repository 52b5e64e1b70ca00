//! Pins field numbers: generated types read bytes that were written by hand from the specifications.

use prost::Message;

use super::*;

#[test]
fn remote_write_1_is_read() {
    let bytes = b"\x0a\x1b\x0a\x0e\x0a\x08__name__\x12\x02up\x12\x09\x09\0\0\0\0\0\0\xf0\x3f";
    let request = prometheus::WriteRequest::decode(&bytes[..]).unwrap();
    assert_eq!(request.timeseries[0].labels[0].value, "up");
    assert_eq!(request.timeseries[0].samples[0].value, 1.0);
}

#[test]
fn remote_write_2_is_read() {
    let bytes = b"\x22\x00\x22\x01a\x2a\x0c\x0a\x02\x01\x01\x12\x06\x10\x05\x18\x03\x20\x07";
    let request = write_v2::Request::decode(&bytes[..]).unwrap();
    assert_eq!(request.symbols, ["", "a"]);
    assert_eq!(request.timeseries[0].labels_refs, [1, 1]);
    let sample = &request.timeseries[0].samples[0];
    assert_eq!((sample.timestamp, sample.start_timestamp), (5, 3));
}

#[test]
fn exposition_families_are_read() {
    let bytes = b"\x0a\x02up\x18\x01\x22\x0b\x12\x09\x09\0\0\0\0\0\0\xf0\x3f";
    let family = client::MetricFamily::decode(&bytes[..]).unwrap();
    assert_eq!((family.name(), family.r#type()), ("up", client::MetricType::Gauge));
    assert_eq!(family.metric[0].gauge.as_ref().unwrap().value(), 1.0);
}

#[test]
fn otlp_points_are_read() {
    let point = b"\x19\x01\0\0\0\0\0\0\0\x31\x2a\0\0\0\0\0\0\0";
    let read = otlp::metrics::v1::NumberDataPoint::decode(&point[..]).unwrap();
    assert_eq!(read.time_unix_nano, 1);
    assert_eq!(read.value, Some(otlp::metrics::v1::number_data_point::Value::AsInt(42)));
}
