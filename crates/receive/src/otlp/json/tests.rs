use pharos_transport::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use pharos_transport::otlp::common::v1::any_value::Value;
use pharos_transport::otlp::metrics::v1::{exemplar, metric::Data, number_data_point};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::testing::pushes;

fn transcode(json: &str) -> Result<ExportMetricsServiceRequest, ReceiveError> {
    let hold = pushes(64 << 20);
    let bytes = to_protobuf(json.as_bytes(), 1 << 20, &hold)?;
    Ok(ExportMetricsServiceRequest::decode(&bytes[..]).unwrap())
}

/// A request with one metric of this JSON.
fn metric(json: &str) -> Result<Data, ReceiveError> {
    let request = format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m",{json}}}]}}]}}]}}"#);
    let mut request = transcode(&request)?;
    let metric = request.resource_metrics.remove(0).scope_metrics.remove(0).metrics.remove(0);
    Ok(metric.data.unwrap())
}

#[test]
fn every_kind_of_value_is_converted() {
    let json = r#"{"resourceMetrics":[{"schemaUrl":"u","unknown":{"a":[1,{"b":null}]},"resource":{"attributes":[
        {"key":"s","value":{"stringValue":"é\n"}},{"key":"i","value":{"intValue":"-9223372036854775808"}},
        {"key":"n","value":{"intValue":7}},{"key":"d","value":{"doubleValue":1.5}},{"key":"b","value":{"boolValue":true}},
        {"key":"y","value":{"bytesValue":"AQI="}},{"key":"l","value":{"arrayValue":{"values":[{"intValue":1},{}]}}},
        {"key":"k","value":{"kvlistValue":{"values":[{"key":"x","value":null}]}}}]}}]}"#;
    let request = transcode(json).unwrap();
    let resource = &request.resource_metrics[0];
    assert_eq!(resource.schema_url, "u");
    let values: Vec<Value> = resource
        .resource
        .as_ref()
        .unwrap()
        .attributes
        .iter()
        .map(|a| a.value.clone().unwrap().value.unwrap())
        .collect();
    let expected = [
        Value::StringValue("é\n".into()),
        Value::IntValue(i64::MIN),
        Value::IntValue(7),
        Value::DoubleValue(1.5),
        Value::BoolValue(true),
        Value::BytesValue(vec![1, 2]),
    ];
    assert_eq!(values[..6], expected);
    assert!(matches!(&values[6], Value::ArrayValue(list) if list.values.len() == 2));
    assert!(matches!(&values[7], Value::KvlistValue(list) if list.values[0].key == "x"));
}

#[test]
fn points_of_every_kind_of_metric_are_converted() {
    let Data::Sum(sum) = metric(
        r#""sum":{"isMonotonic":true,"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","dataPoints":[
        {"timeUnixNano":"1700000000000000001","startTimeUnixNano":5,"asInt":"-3","flags":1,"exemplars":[
        {"traceId":"0102AbcD","spanId":"ff","asDouble":0.5,"timeUnixNano":"9"}]},{"asDouble":"NaN"},{"asDouble":"-Infinity"}]}"#,
    )
    .unwrap() else {
        panic!("another kind")
    };
    assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
    let point = &sum.data_points[0];
    assert_eq!(point.time_unix_nano, 1_700_000_000_000_000_001);
    assert_eq!(point.start_time_unix_nano, 5);
    assert_eq!(point.flags, 1);
    assert_eq!(point.value, Some(number_data_point::Value::AsInt(-3)));
    let exemplar = &point.exemplars[0];
    assert_eq!(&exemplar.trace_id[..], &[1, 2, 0xab, 0xcd][..]);
    assert_eq!(&exemplar.span_id[..], &[0xff][..]);
    assert_eq!(exemplar.value, Some(exemplar::Value::AsDouble(0.5)));
    assert_eq!(exemplar.time_unix_nano, 9);
    assert!(matches!(sum.data_points[1].value, Some(number_data_point::Value::AsDouble(v)) if v.is_nan()));
    assert_eq!(sum.data_points[2].value, Some(number_data_point::Value::AsDouble(f64::NEG_INFINITY)));

    let Data::Histogram(h) = metric(
        r#""histogram":{"aggregationTemporality":1,"dataPoints":[{"count":"3","sum":4,"bucketCounts":["1",2,"0"],"explicitBounds":[1,"2.5"],"min":0,"max":2}]}"#,
    )
    .unwrap() else {
        panic!("another kind")
    };
    let point = &h.data_points[0];
    assert_eq!(h.aggregation_temporality, 1);
    assert_eq!(point.count, 3);
    assert_eq!(point.sum, Some(4.0));
    assert_eq!(&point.bucket_counts[..], &[1, 2, 0][..]);
    assert_eq!(&point.explicit_bounds[..], &[1.0, 2.5][..]);
    assert_eq!(point.min, Some(0.0));
    assert_eq!(point.max, Some(2.0));

    let Data::ExponentialHistogram(h) = metric(
        r#""exponentialHistogram":{"dataPoints":[{"scale":-2,"zeroCount":1e0,"positive":{"offset":-7,"bucketCounts":["300",0]},"zeroThreshold":0.25}]}"#,
    )
    .unwrap() else {
        panic!("another kind")
    };
    let point = &h.data_points[0];
    assert_eq!(point.scale, -2);
    assert_eq!(point.zero_count, 1);
    assert_eq!(point.zero_threshold, 0.25);
    let positive = point.positive.as_ref().unwrap();
    assert_eq!(positive.offset, -7);
    assert_eq!(&positive.bucket_counts[..], &[300, 0][..]);

    let Data::Summary(s) =
        metric(r#""summary":{"dataPoints":[{"count":1,"sum":2,"quantileValues":[{"quantile":0.5,"value":2}]}]}"#)
            .unwrap()
    else {
        panic!("another kind")
    };
    assert_eq!(s.data_points[0].quantile_values[0].quantile, 0.5);
    assert_eq!(s.data_points[0].sum, 2.0);
}

#[test]
fn values_that_do_not_fit_are_rejected_by_name() {
    let refused = |json: &str| match metric(json) {
        Err(ReceiveError::BadRequest(text)) => text,
        other => panic!("{other:?}"),
    };
    for (json, said) in [
        (r#""gauge":{"dataPoints":{}}"#, "dataPoints is not a list"),
        (r#""gauge":[]"#, "gauge is a list"),
        (r#""gauge":{"dataPoints":[{"asInt":"x"}]}"#, "asInt has the value \"x\""),
        (r#""gauge":{"dataPoints":[{"asInt":1.5}]}"#, "asInt is a number with a fraction"),
        (r#""gauge":{"dataPoints":[{"timeUnixNano":-1}]}"#, "timeUnixNano -1 is out of range"),
        (r#""gauge":{"dataPoints":[{"asInt":"9223372036854775808"}]}"#, "out of range"),
        (r#""gauge":{"dataPoints":[{"flags":4294967296}]}"#, "flags 4294967296 is out of range"),
        (r#""gauge":{"dataPoints":[{"asDouble":"inf"}]}"#, "asDouble has the value"),
        (r#""gauge":{"dataPoints":[{"exemplars":[{"traceId":"abc"}]}]}"#, "traceId has the value"),
        (r#""gauge":{"dataPoints":[null]}"#, "dataPoints is null in a list"),
        (r#""sum":{"aggregationTemporality":"DELTA"}"#, "aggregationTemporality has the value"),
        (r#""unit":5"#, "unit is a number"),
        (r#""gauge":{"dataPoints":[{"asDouble":true}]}"#, "asDouble is a boolean"),
    ] {
        let text = refused(json);
        assert!(text.contains(said) && text.contains("line 1 column"), "{json}: {text}");
    }
    assert!(transcode("").is_err() && transcode("[]").is_err() && transcode("{} x").is_err());
}

#[test]
fn depth_and_size_have_limits() {
    let deep = |n: usize| format!("{}{}", r#"{"arrayValue":{"values":["#.repeat(n), "]}}".repeat(n));
    let request =
        |value: &str| format!(r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"value":{value}}}]}}}}]}}"#);
    assert!(transcode(&request(&deep(20))).is_ok());
    assert!(transcode(&request(&deep(100_000))).is_err());
    let numbers = format!(r#""histogram":{{"dataPoints":[{{"bucketCounts":[{}0]}}]}}"#, "0,".repeat(200_000));
    let refused = metric(&numbers).unwrap_err();
    assert!(matches!(&refused, ReceiveError::BadRequest(text) if text.contains("1048576 bytes limit")), "{refused:?}");
    let hold = pushes(100);
    let overloaded = to_protobuf(br#"{"resourceMetrics":[{}]}"#, 1 << 20, &hold);
    assert!(matches!(overloaded, Err(ReceiveError::Overloaded(_))));
}

proptest! {
    #[test]
    fn any_json_is_converted_or_rejected(text in r#"(\{|\}|\[|\]|,|:|"resourceMetrics"|"scopeMetrics"|"metrics"|"gauge"|"dataPoints"|"asInt"|"1"|2|null|true){0,40}"#) {
        let hold = pushes(64 << 20);
        if let Ok(bytes) = to_protobuf(text.as_bytes(), 1 << 20, &hold) {
            prop_assert!(ExportMetricsServiceRequest::decode(&bytes[..]).is_ok());
        }
    }

    #[test]
    fn integers_and_doubles_are_kept_exactly(int in any::<i64>(), nanos in any::<u64>(), double in any::<f64>()) {
        let json = format!(r#""gauge":{{"dataPoints":[{{"asInt":"{int}","timeUnixNano":{nanos}}},{{"asDouble":"{double}"}}]}}"#);
        prop_assume!(double.is_finite());
        let Data::Gauge(gauge) = metric(&json).unwrap() else { panic!("another kind") };
        prop_assert_eq!(&gauge.data_points[0].value, &Some(number_data_point::Value::AsInt(int)));
        prop_assert_eq!(gauge.data_points[0].time_unix_nano, nanos);
        prop_assert_eq!(&gauge.data_points[1].value, &Some(number_data_point::Value::AsDouble(double)));
    }
}
