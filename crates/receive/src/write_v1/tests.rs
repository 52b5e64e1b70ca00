//! Tests of the decoder of remote write 1.0 against a generated encoder and against hostile bytes.

use pharos_model::{CounterReset, Labels, RejectReason, Span, TenantId, WriteBatch, WriteOutcome, series_hash};
use pharos_transport::prometheus as proto;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::testing::unlimited;

fn decode_bytes(bytes: &[u8]) -> Result<(WriteBatch, WriteOutcome), DecodeError> {
    let tenant = TenantId::default();
    let mut batch = WriteBatch::default();
    let hold = unlimited();
    let mut decoder = Decoder::new(&tenant, &mut batch, 64 << 20, &hold);
    decode(bytes, &mut decoder)?;
    let refused = decoder.rejections;
    Ok((batch, refused))
}

fn label(name: &str, value: &str) -> proto::Label {
    proto::Label { name: name.into(), value: value.into() }
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> proto::TimeSeries {
    proto::TimeSeries {
        labels: labels.iter().map(|(n, v)| label(n, v)).collect(),
        samples: samples.iter().map(|&(timestamp, value)| proto::Sample { value, timestamp }).collect(),
        ..Default::default()
    }
}

fn request(timeseries: Vec<proto::TimeSeries>) -> Vec<u8> {
    proto::WriteRequest { timeseries, metadata: vec![] }.encode_to_vec()
}

#[test]
fn valid_series_are_decoded_and_the_first_bad_one_is_named() {
    let bytes = request(vec![
        series(&[("__name__", "up"), ("job", "a")], &[(1, 1.0), (2, 0.0)]),
        series(&[("job", "nameless")], &[(1, 1.0), (2, 2.0), (3, 3.0)]),
        series(&[("__name__", "up"), ("a", "1"), ("a", "2")], &[(1, 1.0)]),
        series(&[("job", "b"), ("__name__", "up")], &[(3, 3.0)]),
        series(&[("__name__", "without_samples")], &[]),
    ]);
    let (batch, refused) = decode_bytes(&bytes).unwrap();
    let shown: Vec<String> = batch.series().iter().map(|s| batch.display_labels(s).to_string()).collect();
    assert_eq!(shown, [r#"{__name__="up", job="a"}"#, r#"{__name__="up", job="b"}"#]);
    assert_eq!(batch.samples_of(&batch.series()[0]).len(), 2);
    assert_eq!(batch.samples_of(&batch.series()[1])[0].v, 3.0);
    let bad = &refused.rejected[&RejectReason::InvalidLabels];
    assert_eq!(bad.count, 4);
    assert_eq!(bad.first, r#"invalid metric name or labels, got {job="nameless"}"#);
}

#[test]
fn timestamps_and_the_bits_of_values_are_kept() {
    let year_9999 = 253_402_300_799_999;
    let bits = [0x7ff0_0000_0000_0002, 0x7ff8_0000_0000_0001, 0xfff8_dead_beef_0001, (-1.5f64).to_bits()];
    let samples: Vec<(i64, f64)> =
        [-1, year_9999, i64::MIN, i64::MAX].into_iter().zip(bits.map(f64::from_bits)).collect();
    let (batch, _) = decode_bytes(&request(vec![series(&[("__name__", "x")], &samples)])).unwrap();
    let read: Vec<(i64, u64)> = batch.samples.iter().map(|s| (s.t, s.v.to_bits())).collect();
    assert_eq!(read, [(-1, bits[0]), (year_9999, bits[1]), (i64::MIN, bits[2]), (i64::MAX, bits[3])]);
}

#[test]
fn labels_after_samples_and_unknown_fields_are_read() {
    let mut message = Vec::new();
    let mut part = |tag: u8, bytes: &[u8]| {
        message.push(tag);
        message.push(bytes.len() as u8);
        message.extend_from_slice(bytes);
    };
    part(2 << 3 | 2, &proto::Sample { value: 4.0, timestamp: 9 }.encode_to_vec());
    part(1 << 3 | 2, &label("job", "x").encode_to_vec());
    part(15 << 3 | 2, b"unknown");
    part(1 << 3 | 2, b"\x12\x02up\x0a\x08__name__");
    let mut bytes = vec![1 << 3 | 2, message.len() as u8];
    bytes.extend_from_slice(&message);
    bytes.extend_from_slice(&[14 << 3, 1, 13 << 3 | 5, 0, 0, 0, 0]);
    let (batch, refused) = decode_bytes(&bytes).unwrap();
    assert!(refused.rejected.is_empty());
    let only = &batch.series()[0];
    assert_eq!(batch.display_labels(only), Labels::from_pairs([("__name__", "up"), ("job", "x")]));
    assert_eq!(batch.samples_of(only)[0].t, 9);
}

#[test]
fn histogram_deltas_become_counts_and_invalid_histograms_are_rejected() {
    let good = proto::Histogram {
        count: Some(proto::histogram::Count::CountInt(6)),
        sum: 3.5,
        schema: 1,
        zero_count: Some(proto::histogram::ZeroCount::ZeroCountInt(1)),
        positive_spans: vec![proto::BucketSpan { offset: -2, length: 2 }, proto::BucketSpan { offset: 1, length: 1 }],
        positive_deltas: vec![1, 1, -1],
        negative_spans: vec![proto::BucketSpan { offset: 0, length: 1 }],
        negative_deltas: vec![1],
        reset_hint: 3,
        timestamp: 7,
        ..Default::default()
    };
    let bad = proto::Histogram { positive_deltas: vec![1, -5], ..good.clone() };
    let mut one = series(&[("__name__", "h")], &[]);
    one.histograms = vec![good, bad];
    let (batch, refused) = decode_bytes(&request(vec![one])).unwrap();
    let histograms = batch.histograms_of(&batch.series()[0]);
    assert_eq!(histograms.len(), 1);
    let h = &histograms[0].h;
    assert!(h.integer);
    assert_eq!(h.count, 6.0);
    assert_eq!(h.zero_count, 1.0);
    assert_eq!(h.counter_reset, CounterReset::Gauge);
    assert_eq!(h.positive_spans, [Span { offset: -2, length: 2 }, Span { offset: 1, length: 1 }]);
    assert_eq!(&h.positive_buckets[..], &[1.0, 2.0, 1.0][..]);
    assert_eq!(&h.negative_buckets[..], &[1.0][..]);
    let refusal = &refused.rejected[&RejectReason::InvalidHistogram];
    assert!(refusal.count == 1 && refusal.first.contains(r#"for series {__name__="h"}"#), "{}", refusal.first);
}

#[test]
fn float_histograms_custom_buckets_and_stale_markers_are_decoded() {
    let custom = proto::Histogram {
        count: Some(proto::histogram::Count::CountFloat(1.5)),
        schema: -53,
        positive_spans: vec![proto::BucketSpan { offset: 0, length: 2 }],
        positive_counts: vec![1.0, 0.5],
        custom_values: vec![0.1, 1.0],
        ..Default::default()
    };
    let stale = proto::Histogram { sum: pharos_model::STALE_NAN, timestamp: 5, ..Default::default() };
    let mut one = series(&[("__name__", "h")], &[]);
    one.histograms = vec![custom, stale];
    let (batch, refused) = decode_bytes(&request(vec![one])).unwrap();
    assert!(refused.rejected.is_empty(), "{refused:?}");
    let [custom, stale] = &batch.histograms[..] else { panic!("two histograms") };
    assert!(!custom.h.integer && custom.h.has_custom_buckets());
    assert_eq!(&custom.h.custom_values[..], [0.1, 1.0]);
    assert!(stale.h.is_stale() && stale.t == 5);
}

#[test]
fn a_histogram_that_is_too_fine_is_checked_before_it_is_reduced() {
    let overlapping = proto::Histogram {
        count: Some(proto::histogram::Count::CountFloat(3.0)),
        schema: 9,
        positive_spans: vec![proto::BucketSpan { offset: 0, length: 2 }, proto::BucketSpan { offset: -2, length: 1 }],
        positive_counts: vec![1.0; 3],
        ..Default::default()
    };
    let apart = proto::BucketSpan { offset: 2, length: 1 };
    let fine = proto::Histogram { positive_spans: vec![overlapping.positive_spans[0], apart], ..overlapping.clone() };
    let mut one = series(&[("__name__", "h")], &[]);
    one.histograms = vec![overlapping, fine];
    let (batch, refused) = decode_bytes(&request(vec![one])).unwrap();
    assert!(refused.rejected[&RejectReason::InvalidHistogram].first.contains("negative"), "{refused:?}");
    assert_eq!(batch.histograms.len(), 1);
    assert_eq!(batch.histograms[0].h.schema, 8);
}

#[test]
fn spans_of_absurd_length_allocate_nothing() {
    let mut one = series(&[("__name__", "h")], &[]);
    one.histograms = vec![proto::Histogram {
        positive_spans: vec![proto::BucketSpan { offset: i32::MAX, length: u32::MAX }; 3],
        positive_deltas: vec![i64::MAX, i64::MAX],
        ..Default::default()
    }];
    let (batch, refused) = decode_bytes(&request(vec![one])).unwrap();
    assert!(batch.histograms.is_empty());
    assert_eq!(refused.rejected[&RejectReason::InvalidHistogram].count, 1);
}

#[test]
fn exemplars_and_metadata_are_decoded() {
    let mut one = series(&[("__name__", "c_total")], &[(1, 1.0)]);
    one.exemplars = vec![
        proto::Exemplar { labels: vec![label("trace_id", "abc")], value: 1.0, timestamp: 3 },
        proto::Exemplar { labels: vec![label("a", "1"), label("a", "2")], value: 1.0, timestamp: 3 },
    ];
    let metadata = proto::MetricMetadata {
        r#type: proto::metric_metadata::MetricType::Counter.into(),
        metric_family_name: "c".into(),
        help: "Counts.".into(),
        unit: "bytes".into(),
    };
    let bytes = proto::WriteRequest { timeseries: vec![one], metadata: vec![metadata] }.encode_to_vec();
    let (batch, refused) = decode_bytes(&bytes).unwrap();
    assert_eq!(batch.exemplars.len(), 1);
    assert_eq!(batch.exemplars[0].labels.to_string(), r#"{trace_id="abc"}"#);
    assert_eq!(refused.rejected[&RejectReason::InvalidExemplar].count, 1);
    let (family, said) = &batch.metadata[0];
    assert_eq!(family.as_str(), "c");
    assert_eq!(said.help.as_str(), "Counts.");
    assert_eq!(said.unit.as_str(), "bytes");
    assert_eq!(said.kind, pharos_model::MetricType::Counter);
}

#[test]
fn decoded_requests_have_a_memory_limit() {
    let bytes = request(vec![series(&[("__name__", "up")], &[(1, 1.0); 100])]);
    let (tenant, mut batch) = (TenantId::default(), WriteBatch::default());
    let result = decode(&bytes, &mut Decoder::new(&tenant, &mut batch, 1000, &unlimited()));
    assert_eq!(result, Err(DecodeError::TooLarge { limit: 1000 }));
}

#[test]
fn a_truncated_request_is_an_error_or_a_shorter_request() {
    let bytes = request(vec![series(&[("__name__", "up"), ("job", "node")], &[(1, 1.0)])]);
    for end in 1..bytes.len() {
        assert!(decode_bytes(&bytes[..end]).is_err(), "cut at {end}");
    }
}

/// Labels and samples, values as bits.
type AnySeries = (Vec<(String, String)>, Vec<(i64, u64)>);

fn any_series() -> impl Strategy<Value = AnySeries> {
    let labels = proptest::collection::btree_map("[a-z_]{1,12}|é{1,3}|[a-z]{130}", ".{0,20}|[a-z]{128,200}", 0..8);
    (labels.prop_map(|l| l.into_iter().collect()), proptest::collection::vec(any::<(i64, u64)>(), 1..4))
}

proptest! {
    #[test]
    fn encoded_requests_decode_to_the_same_series(input in proptest::collection::vec(any_series(), 0..6), shuffle: bool) {
        let mut sent = Vec::new();
        for (labels, samples) in &input {
            let mut pairs: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            pairs.push(("__name__", "metric"));
            if shuffle { pairs.reverse() } else { pairs.sort_unstable() }
            let samples: Vec<(i64, f64)> = samples.iter().map(|&(t, bits)| (t, f64::from_bits(bits))).collect();
            sent.push(series(&pairs, &samples));
        }
        let (batch, refused) = decode_bytes(&request(sent)).unwrap();
        prop_assert!(refused.rejected.is_empty());
        prop_assert_eq!(batch.series().len(), input.len());
        for (series, (labels, samples)) in batch.series().iter().zip(&input) {
            let mut pairs = labels.clone();
            pairs.push(("__name__".into(), "metric".into()));
            let expected = Labels::from_pairs(pairs);
            prop_assert_eq!(batch.labels_of(series), expected.as_bytes());
            prop_assert_eq!(series.hash, series_hash(&TenantId::default(), expected.as_bytes()));
            let read: Vec<(i64, u64)> = batch.samples_of(series).iter().map(|s| (s.t, s.v.to_bits())).collect();
            prop_assert_eq!(&read, samples);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_bytes(&bytes);
    }

    #[test]
    fn damaged_requests_are_decoded_or_rejected(at in 0usize..80, byte: u8) {
        let mut bytes = request(vec![
            series(&[("__name__", "up"), ("job", "node")], &[(1, 1.0)]),
            series(&[("__name__", "down"), ("instance", "x")], &[(1, 1.0), (2, 2.0)]),
        ]);
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok((batch, _)) = decode_bytes(&bytes) {
            for series in batch.series() {
                prop_assert!(Labels::from_canonical(batch.labels_of(series)).is_ok());
            }
        }
    }
}
