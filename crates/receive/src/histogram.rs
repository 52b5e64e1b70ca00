//! Decodes the native histograms of remote write 1.0 and 2.0, which share their fields. [`check`] makes sure that a histogram
//! is safe to store.

use std::sync::Arc;

use pharos_histogram::{EXPONENTIAL_SCHEMA_MAX, Histogram, Span};
use pharos_model::CounterReset;
use pharos_model::write::HistogramSample;

use crate::wire::{Reader, WireError, zigzag};

/// The highest schema that is accepted. Those above [`EXPONENTIAL_SCHEMA_MAX`] are reduced to it.
const RESERVED_SCHEMA_MAX: i32 = 52;

/// Decodes a histogram message, with absolute counts. The result is not yet checked.
pub(super) fn decode(message: &[u8]) -> Result<HistogramSample, WireError> {
    let mut h = Histogram { integer: true, ..Histogram::default() };
    let mut t = 0;
    let mut st = 0;
    let mut positive = Buckets::default();
    let mut negative = Buckets::default();
    let mut custom_values = Vec::new();
    let mut reader = Reader::new(message);
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => (h.count, h.integer) = (reader.number(field, kind)? as f64, true),
            2 => (h.count, h.integer) = (reader.double(field, kind)?, false),
            3 => h.sum = reader.double(field, kind)?,
            4 => h.schema = zigzag(reader.number(field, kind)?) as i32,
            5 => h.zero_threshold = reader.double(field, kind)?,
            6 => h.zero_count = reader.number(field, kind)? as f64,
            7 => h.zero_count = reader.double(field, kind)?,
            8 => negative.spans.push(span(reader.chunk(field, kind)?)?),
            9 => reader.numbers(field, kind, |raw| negative.push_delta(zigzag(raw)))?,
            10 => reader.doubles(field, kind, &mut negative.counts)?,
            11 => positive.spans.push(span(reader.chunk(field, kind)?)?),
            12 => reader.numbers(field, kind, |raw| positive.push_delta(zigzag(raw)))?,
            13 => reader.doubles(field, kind, &mut positive.counts)?,
            14 => h.counter_reset = reset_hint(reader.number(field, kind)?),
            15 => t = reader.number(field, kind)? as i64,
            16 => reader.doubles(field, kind, &mut custom_values)?,
            17 => st = reader.number(field, kind)? as i64,
            _ => reader.skip(kind)?,
        }
    }
    (h.positive_spans, h.positive_buckets) = positive.of_kind(h.integer);
    (h.negative_spans, h.negative_buckets) = negative.of_kind(h.integer);
    if !custom_values.is_empty() {
        h.custom_values = Arc::from(custom_values);
    }
    Ok(HistogramSample { t, st, h: Arc::new(h) })
}

/// Rejects an invalid histogram, and reduces one that is too fine to the finest supported schema.
pub(super) fn check(sample: &mut HistogramSample) -> Result<(), String> {
    if (EXPONENTIAL_SCHEMA_MAX + 1..=RESERVED_SCHEMA_MAX).contains(&sample.h.schema) {
        let h = Arc::make_mut(&mut sample.h);
        // Faults of fine buckets would not show in coarse ones.
        let schema = std::mem::replace(&mut h.schema, EXPONENTIAL_SCHEMA_MAX);
        h.validate().map_err(|error| error.to_string())?;
        h.schema = schema;
        h.reduce_resolution(EXPONENTIAL_SCHEMA_MAX).map_err(|error| error.to_string())?;
    }
    sample.h.validate().map_err(|error| error.to_string())
}

/// The buckets of one side, as deltas or as counts.
#[derive(Default)]
struct Buckets {
    spans: Vec<Span>,
    last: i64,
    from_deltas: Vec<f64>,
    counts: Vec<f64>,
}

impl Buckets {
    fn push_delta(&mut self, delta: i64) {
        // A sum that wraps becomes negative, which `check` rejects.
        self.last = self.last.wrapping_add(delta);
        self.from_deltas.push(self.last as f64);
    }

    /// The spans with the counts of an integer or a float histogram.
    fn of_kind(self, integer: bool) -> (Vec<Span>, Vec<f64>) {
        (self.spans, if integer { self.from_deltas } else { self.counts })
    }
}

fn span(message: &[u8]) -> Result<Span, WireError> {
    let mut span = Span { offset: 0, length: 0 };
    let mut reader = Reader::new(message);
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => span.offset = zigzag(reader.number(field, kind)?) as i32,
            2 => span.length = reader.number(field, kind)? as u32,
            _ => reader.skip(kind)?,
        }
    }
    Ok(span)
}

fn reset_hint(number: u64) -> CounterReset {
    match number {
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    }
}
