//! Tests of the 2.0 decoder.

use pharos_model::write::Rejected;
use pharos_model::{Labels, RejectReason, TenantId, WriteBatch, WriteOutcome};
use pharos_transport::write_v2 as proto;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::testing::unlimited;

fn decode_bytes(bytes: &[u8], limit: usize) -> Result<(WriteBatch, WriteOutcome), DecodeError> {
    let tenant = TenantId::default();
    let mut batch = WriteBatch::default();
    let hold = unlimited();
    let mut decoder = Decoder::new(&tenant, &mut batch, limit, &hold);
    decode(bytes, &mut decoder)?;
    let refused = decoder.rejections;
    Ok((batch, refused))
}

fn decoded(request: &proto::Request) -> (WriteBatch, WriteOutcome) {
    decode_bytes(&request.encode_to_vec(), 64 << 20).unwrap()
}

fn symbols(symbols: &[&str]) -> Vec<String> {
    symbols.iter().map(|s| s.to_string()).collect()
}

fn sample(timestamp: i64, value: f64, start_timestamp: i64) -> proto::Sample {
    proto::Sample { value, timestamp, start_timestamp }
}

#[test]
fn samples_with_start_timestamps_exemplars_and_metadata() {
    let request = proto::Request {
        symbols: symbols(&["", "__name__", "h_bucket", "le", "1", "trace_id", "abc", "Help.", "seconds"]),
        timeseries: vec![proto::TimeSeries {
            labels_refs: vec![1, 2, 3, 4],
            samples: vec![sample(10, 1.5, 3)],
            histograms: vec![proto::Histogram {
                count: Some(proto::histogram::Count::CountInt(0)),
                timestamp: 11,
                start_timestamp: 4,
                ..Default::default()
            }],
            exemplars: vec![proto::Exemplar { labels_refs: vec![5, 6], value: 0.5, timestamp: 9 }],
            metadata: Some(proto::Metadata { r#type: 3, help_ref: 7, unit_ref: 8 }),
        }],
    };
    let (batch, refused) = decoded(&request);
    assert!(refused.rejected.is_empty(), "{refused:?}");
    let series = &batch.series()[0];
    assert_eq!(batch.display_labels(series).to_string(), r#"{__name__="h_bucket", le="1"}"#);
    assert_eq!(batch.samples_of(series)[0], pharos_model::Sample { t: 10, v: 1.5, st: 3 });
    assert_eq!(batch.histograms[0].t, 11);
    assert_eq!(batch.histograms[0].st, 4);
    assert_eq!(batch.exemplars_of(series)[0].labels.to_string(), r#"{trace_id="abc"}"#);
    let metadata = Metadata { kind: MetricType::Histogram, unit: "seconds".into(), help: "Help.".into() };
    assert_eq!(batch.metadata, [("h".to_string(), metadata)]);
}

fn series(labels_refs: Vec<u32>, samples: usize) -> proto::TimeSeries {
    proto::TimeSeries { labels_refs, samples: vec![sample(1, 1.0, 0); samples], ..Default::default() }
}

/// The rejection of a series, which must not affect a valid one after it.
fn rejection(bad: proto::TimeSeries) -> Rejected {
    let good = series(vec![1, 2], 1);
    let request = proto::Request { symbols: symbols(&["", "__name__", "up", "a", "1"]), timeseries: vec![bad, good] };
    let (batch, rejections) = decoded(&request);
    assert_eq!(batch.series().len(), 1);
    assert_eq!(batch.samples_of(&batch.series()[0]).len(), 1);
    rejections.rejected[&RejectReason::InvalidLabels].clone()
}

#[test]
fn all_samples_of_a_bad_series_are_rejected() {
    assert_eq!(rejection(series(vec![1, 2, 3], 2)).count, 2);
}

#[test]
fn an_odd_number_of_references_is_rejected() {
    let first = rejection(series(vec![1, 2, 3], 1)).first;
    assert_eq!(first, "parsing labels for series: invalid labelRefs length 3");
}

#[test]
fn references_beyond_the_table_are_rejected() {
    let first = rejection(series(vec![1, u32::MAX], 1)).first;
    let expected =
        "parsing labels for series: labelRefs 1 (name) = 4294967295 (value) outside of symbols table (size 5)";
    assert_eq!(first, expected);
}

#[test]
fn a_series_without_samples_is_rejected() {
    let rejected = rejection(series(vec![1, 2], 0));
    assert_eq!(rejected.count, 1);
    let expected = r#"TimeSeries must contain at least one sample or histogram for series {__name__="up"}"#;
    assert_eq!(rejected.first, expected);
}

#[test]
fn a_series_without_a_name_is_rejected() {
    let first = rejection(series(vec![3, 4], 1)).first;
    assert_eq!(first, r#"invalid metric name or labels, got {a="1"}"#);
}

#[test]
fn a_series_with_a_repeated_label_is_rejected() {
    let first = rejection(series(vec![1, 2, 3, 4, 3, 4], 1)).first;
    assert!(first.ends_with("duplicated label a"), "{first}");
}

#[test]
fn a_series_with_a_bad_metadata_reference_is_rejected() {
    let metadata = Some(proto::Metadata { r#type: 1, help_ref: 99, unit_ref: 0 });
    let first = rejection(proto::TimeSeries { metadata, ..series(vec![1, 2], 1) }).first;
    assert!(first.contains("metadata help_ref 99 outside of symbols table (size 5)"), "{first}");
}

#[test]
fn a_bad_exemplar_does_not_affect_its_series() {
    let request = proto::Request {
        symbols: symbols(&["", "__name__", "up"]),
        timeseries: vec![proto::TimeSeries {
            labels_refs: vec![1, 2],
            samples: vec![sample(1, 1.0, 0)],
            exemplars: vec![proto::Exemplar { labels_refs: vec![7, 8], value: 1.0, timestamp: 1 }],
            ..Default::default()
        }],
    };
    let (batch, refused) = decoded(&request);
    assert_eq!(batch.samples.len(), 1);
    assert_eq!(batch.exemplars.len(), 0);
    assert_eq!(refused.rejected[&RejectReason::InvalidExemplar].count, 1);
}

#[test]
fn repeated_long_symbols_do_not_expand_beyond_the_limit() {
    let long = "x".repeat(100_000);
    let request = proto::Request {
        symbols: symbols(&["", "__name__", &long]),
        timeseries: vec![
            proto::TimeSeries {
                labels_refs: vec![1, 2],
                samples: vec![sample(1, 1.0, 0)],
                ..Default::default()
            };
            1000
        ],
    };
    let error = decode_bytes(&request.encode_to_vec(), 10 << 20).unwrap_err();
    assert_eq!(error, DecodeError::TooLarge { limit: 10 << 20 });
}

#[test]
fn symbols_may_come_last_and_references_may_be_unpacked() {
    let series = b"\x08\x01\x08\x02\x12\x02\x10\x05";
    let mut bytes = vec![5 << 3 | 2, series.len() as u8];
    bytes.extend_from_slice(series);
    for symbol in ["", "__name__", "up"] {
        bytes.extend_from_slice(&[4 << 3 | 2, symbol.len() as u8]);
        bytes.extend_from_slice(symbol.as_bytes());
    }
    let (batch, _) = decode_bytes(&bytes, 1 << 20).unwrap();
    assert_eq!(batch.display_labels(&batch.series()[0]).to_string(), r#"{__name__="up"}"#);
    assert_eq!(batch.samples[0].t, 5);
}

/// Ten symbols of a megabyte in each of many series take no memory: the series is not copied.
#[test]
fn labels_longer_than_a_series_may_have_are_rejected_before_they_are_copied() {
    let symbols = vec![String::new(), "__name__".into(), "m".into(), "a".into(), "b".into(), "x".repeat(600_000)];
    let long = proto::TimeSeries {
        labels_refs: vec![1, 2, 3, 5, 4, 5],
        samples: vec![sample(1, 1.0, 0)],
        ..Default::default()
    };
    let short = proto::TimeSeries { labels_refs: vec![1, 2], samples: vec![sample(1, 1.0, 0)], ..Default::default() };
    let request = proto::Request { symbols, timeseries: vec![long; 20].into_iter().chain([short]).collect() };
    let (batch, refused) = decode_bytes(&request.encode_to_vec(), 1 << 20).unwrap();
    assert_eq!(batch.series().len(), 1);
    let rejected = &refused.rejected[&RejectReason::InvalidLabels];
    assert_eq!(rejected.count, 20);
    assert!(
        rejected.first.starts_with("labels take 1200017 bytes, more than 1048576, series {__name__=\"m\""),
        "{}",
        rejected.first
    );
}

proptest! {
    #[test]
    fn encoded_requests_decode_to_the_same_series(
        input in proptest::collection::vec(
            (proptest::collection::btree_map("[a-z]{1,4}", "[a-zé]{1,5}", 0..5),
             proptest::collection::vec(any::<(i64, u64, i64)>(), 1..4)), 0..6),
    ) {
        let mut table = vec![String::new(), "__name__".into(), "metric".into()];
        let mut timeseries = Vec::new();
        for (labels, samples) in &input {
            let mut labels_refs = vec![1, 2];
            for text in labels.iter().flat_map(|(n, v)| [n, v]) {
                labels_refs.push(table.len() as u32);
                table.push(text.clone());
            }
            let samples = samples.iter().map(|&(t, bits, st)| sample(t, f64::from_bits(bits), st)).collect();
            timeseries.push(proto::TimeSeries { labels_refs, samples, ..Default::default() });
        }
        let (batch, refused) = decoded(&proto::Request { symbols: table, timeseries });
        prop_assert!(refused.rejected.is_empty());
        prop_assert_eq!(batch.series().len(), input.len());
        for (series, (labels, samples)) in batch.series().iter().zip(&input) {
            let mut labels = labels.clone();
            labels.insert("__name__".into(), "metric".into());
            prop_assert_eq!(batch.display_labels(series), Labels::from_pairs(&labels));
            let read: Vec<_> = batch.samples_of(series).iter().map(|s| (s.t, s.v.to_bits(), s.st)).collect();
            prop_assert_eq!(&read, samples);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_bytes(&bytes, 1 << 20);
    }
}
