//! Responses of type SAMPLES, each a single snappy-compressed `ReadResponse`.

use pharos_histogram::Histogram;
use pharos_model::{CounterReset, Labels, SeriesView};
use pharos_transport::prometheus as proto;
use pharos_transport::prometheus::histogram::{Count, ZeroCount};
use prost::encoding::{WireType, encode_key, encode_varint, message};

/// A `ReadResponse` under construction, encoded series by series.
#[derive(Default)]
pub(super) struct SamplesResponse {
    response: Vec<u8>,
    result: Vec<u8>,
}

impl SamplesResponse {
    /// Appends a series to the result of the current query.
    pub(super) fn push(&mut self, labels: &[proto::Label], series: &SeriesView<'_>) {
        let samples = series.t.iter().zip(series.v).map(|(&timestamp, &value)| proto::Sample { value, timestamp });
        let histograms = series.ht.iter().zip(series.h).map(|(&t, h)| histogram(t, h));
        let series = proto::TimeSeries {
            labels: labels.to_vec(),
            samples: samples.collect(),
            histograms: histograms.collect(),
            exemplars: Vec::new(),
        };
        // Field 1 of QueryResult.
        message::encode(1, &series, &mut self.result);
    }

    /// Ends the result of the current query.
    pub(super) fn end_query(&mut self) {
        // Field 1 of ReadResponse.
        encode_key(1, WireType::LengthDelimited, &mut self.response);
        encode_varint(self.result.len() as u64, &mut self.response);
        self.response.append(&mut self.result);
    }

    /// Returns the number of bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.response.len() + self.result.len()
    }

    /// Returns the encoded `ReadResponse`, not yet compressed.
    pub(super) fn finish(self) -> Vec<u8> {
        self.response
    }
}

/// Merges the labels of a series with the external ones. The series' own labels take precedence.
pub(super) fn labels(series: &Labels, external: &Labels) -> Vec<proto::Label> {
    let label = |(name, value): (&str, &str)| proto::Label { name: name.into(), value: value.into() };
    if external.is_empty() {
        return series.iter().map(label).collect();
    }
    let mut builder = pharos_model::LabelsBuilder::from_labels(external);
    for (name, value) in series.iter() {
        builder.set(name, value);
    }
    builder.build().iter().map(label).collect()
}

fn histogram(timestamp: i64, h: &Histogram) -> proto::Histogram {
    let spans = |spans: &[pharos_model::Span]| -> Vec<proto::BucketSpan> {
        spans.iter().map(|s| proto::BucketSpan { offset: s.offset, length: s.length }).collect()
    };
    let reset_hint = match h.counter_reset {
        CounterReset::Unknown => proto::histogram::ResetHint::Unknown,
        CounterReset::Reset => proto::histogram::ResetHint::Yes,
        CounterReset::NotReset => proto::histogram::ResetHint::No,
        CounterReset::Gauge => proto::histogram::ResetHint::Gauge,
    };
    let mut sent = proto::Histogram {
        sum: h.sum,
        schema: h.schema,
        zero_threshold: h.zero_threshold,
        positive_spans: spans(&h.positive_spans),
        negative_spans: spans(&h.negative_spans),
        custom_values: h.custom_values.to_vec(),
        reset_hint: reset_hint.into(),
        timestamp,
        ..Default::default()
    };
    if h.integer {
        sent.count = Some(Count::CountInt(h.count as u64));
        sent.zero_count = Some(ZeroCount::ZeroCountInt(h.zero_count as u64));
        sent.positive_deltas = super::chunks::deltas(&h.positive_buckets).collect();
        sent.negative_deltas = super::chunks::deltas(&h.negative_buckets).collect();
    } else {
        sent.count = Some(Count::CountFloat(h.count));
        sent.zero_count = Some(ZeroCount::ZeroCountFloat(h.zero_count));
        sent.positive_counts.clone_from(&h.positive_buckets);
        sent.negative_counts.clone_from(&h.negative_buckets);
    }
    sent
}
