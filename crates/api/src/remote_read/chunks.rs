//! Encodes samples as Prometheus's chunks: `XOR` for floats, `HISTOGRAM` and `FLOAT_HISTOGRAM` for histograms.
//!
//! A chunk has at most [`MAX_SAMPLES`] samples. All samples of a histogram chunk have the same bucket layout, and none
//! is a counter reset relative to the previous one. A change of layout or a reset starts a new chunk.

use std::sync::Arc;

use pharos_histogram::{CUSTOM_BUCKETS_SCHEMA, Histogram, Span};
use pharos_model::{CounterReset, SeriesView};
use pharos_transport::prometheus::Chunk;
use pharos_transport::prometheus::chunk::Encoding;

use super::bits::{BitWriter, Xor};

/// Maximum number of samples in a chunk.
pub(super) const MAX_SAMPLES: usize = 120;

/// Encodes a series as chunks in time order. Each switch between floats and histograms starts a new chunk.
pub(super) fn encode_series(series: &SeriesView<'_>, mut each: impl FnMut(Chunk)) {
    let (mut floats, mut histograms) = (0, 0);
    while floats < series.t.len() || histograms < series.ht.len() {
        let next_histogram = series.ht.get(histograms).copied();
        let until = series.t[floats..].partition_point(|t| next_histogram.is_none_or(|next| *t <= next));
        for at in (floats..floats + until).step_by(MAX_SAMPLES) {
            let end = (at + MAX_SAMPLES).min(floats + until);
            each(floats_chunk(&series.t[at..end], &series.v[at..end]));
        }
        floats += until;
        let next_float = series.t.get(floats).copied();
        let until = series.ht[histograms..].partition_point(|t| next_float.is_none_or(|next| *t < next));
        let end = histograms + until;
        while histograms < end {
            let len = histogram_run(&series.h[histograms..end]);
            let part = histograms..histograms + len;
            each(histograms_chunk(&series.ht[part.clone()], &series.h[part]));
            histograms += len;
        }
    }
}

fn chunk(encoding: Encoding, times: &[i64], data: BitWriter) -> Chunk {
    Chunk {
        r#type: encoding.into(),
        min_time_ms: times.first().copied().unwrap_or(0),
        max_time_ms: times.last().copied().unwrap_or(0),
        data: data.finish(),
    }
}

fn floats_chunk(times: &[i64], values: &[f64]) -> Chunk {
    let mut out = BitWriter::new(&(times.len() as u16).to_be_bytes());
    let mut xor = Xor::from(0.0);
    let (mut previous, mut step) = (0i64, 0i64);
    for (i, (&t, &v)) in times.iter().zip(values).enumerate() {
        let new_step = t.wrapping_sub(previous);
        match i {
            0 => {
                out.leb128(((t << 1) ^ (t >> 63)) as u64);
                out.float(v);
                xor = Xor::from(v);
            }
            1 => {
                out.leb128(new_step as u64);
                xor.write(&mut out, v);
            }
            _ => {
                out.time_step(new_step.wrapping_sub(step));
                xor.write(&mut out, v);
            }
        }
        (previous, step) = (t, new_step);
    }
    chunk(Encoding::Xor, times, out)
}

/// Returns how many of the leading histograms fit in one chunk, which is at least one.
fn histogram_run(histograms: &[Arc<Histogram>]) -> usize {
    let follows = |pair: &&[Arc<Histogram>]| continues(&pair[0], &pair[1]);
    let run = 1 + histograms.windows(2).take_while(follows).count();
    run.min(MAX_SAMPLES).min(histograms.len())
}

/// Returns whether `b` may follow `a` in a chunk, which implies that `b` is not a counter reset.
fn continues(a: &Histogram, b: &Histogram) -> bool {
    let same_layout = a.integer == b.integer
        && a.schema == b.schema
        && a.zero_threshold == b.zero_threshold
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.custom_values == b.custom_values
        && a.positive_buckets.len() == b.positive_buckets.len()
        && a.negative_buckets.len() == b.negative_buckets.len();
    let grown = || {
        let pairs = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a <= b);
        a.count <= b.count
            && a.zero_count <= b.zero_count
            && pairs(&a.positive_buckets, &b.positive_buckets)
            && pairs(&a.negative_buckets, &b.negative_buckets)
    };
    // A stale marker has no layout and stands alone.
    same_layout
        && !a.is_stale()
        && !b.is_stale()
        && match (a.counter_reset, b.counter_reset) {
            (CounterReset::Gauge, CounterReset::Gauge) => true,
            (CounterReset::Gauge, _) | (_, CounterReset::Gauge | CounterReset::Reset) => false,
            (_, CounterReset::NotReset) => true,
            (_, CounterReset::Unknown) => grown(),
        }
}

fn histograms_chunk(times: &[i64], histograms: &[Arc<Histogram>]) -> Chunk {
    let Some(first) = histograms.first() else { return Chunk::default() };
    // A stale marker consists of nothing but its sum.
    let marker = Histogram { integer: first.integer, sum: first.sum, ..Histogram::default() };
    let layout = if first.is_stale() { &marker } else { &**first };
    let [high, low] = (times.len() as u16).to_be_bytes();
    let reset = match first.counter_reset {
        CounterReset::Unknown => 0b00,
        CounterReset::NotReset => 0b01,
        CounterReset::Reset => 0b10,
        CounterReset::Gauge => 0b11,
    };
    let mut out = BitWriter::new(&[high, low, reset << 6]);
    write_layout(&mut out, layout);
    if layout.integer {
        write_integers(&mut out, times, histograms, layout);
        chunk(Encoding::Histogram, times, out)
    } else {
        write_floats(&mut out, times, histograms, layout);
        chunk(Encoding::FloatHistogram, times, out)
    }
}

fn write_layout(out: &mut BitWriter, h: &Histogram) {
    write_zero_threshold(out, h.zero_threshold);
    out.varbit(i64::from(h.schema));
    for spans in [&h.positive_spans, &h.negative_spans] {
        write_spans(out, spans);
    }
    if h.schema == CUSTOM_BUCKETS_SCHEMA {
        out.varbit_unsigned(h.custom_values.len() as u64);
        for bound in h.custom_values.iter() {
            write_bound(out, *bound);
        }
    }
}

fn write_spans(out: &mut BitWriter, spans: &[Span]) {
    out.varbit_unsigned(spans.len() as u64);
    for span in spans {
        out.varbit_unsigned(u64::from(span.length));
        out.varbit(i64::from(span.offset));
    }
}

/// Appends a zero threshold. Zero and the powers of two from 2^-243 to 2^10 take one byte, other values nine.
fn write_zero_threshold(out: &mut BitWriter, threshold: f64) {
    let bits = threshold.to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    let is_power = bits << 12 == 0 && (-243..=10).contains(&exponent);
    match () {
        () if threshold == 0.0 => out.bits(0, 8),
        () if is_power => out.bits((exponent + 244) as u64, 8),
        () => {
            out.bits(255, 8);
            out.float(threshold);
        }
    }
}

/// Appends a custom bound. Whole thousandths up to 33554.43 are written as an integer, other values as a float.
fn write_bound(out: &mut BitWriter, bound: f64) {
    let thousandths = bound * 1000.0;
    let whole = thousandths.round();
    if (0.0..=33_554_430.0).contains(&thousandths) && whole / 1000.0 == bound {
        out.varbit_unsigned(whole as u64 + 1);
    } else {
        out.bits(0, 1);
        out.float(bound);
    }
}

/// Encodes a series of integers as the differences between successive changes.
#[derive(Clone, Copy)]
struct Change {
    last: i64,
    step: i64,
}

impl Change {
    fn write(&mut self, out: &mut BitWriter, number: i64) {
        let step = number.wrapping_sub(self.last);
        out.varbit(step.wrapping_sub(self.step));
        (self.last, self.step) = (number, step);
    }
}

/// Appends integer samples: time, count, zero count, sum, and the differences between adjacent buckets.
fn write_integers(out: &mut BitWriter, times: &[i64], histograms: &[Arc<Histogram>], layout: &Histogram) {
    let buckets = |h: &Histogram| deltas(&h.positive_buckets).chain(deltas(&h.negative_buckets)).collect::<Vec<i64>>();
    let start = |last| Change { last, step: 0 };
    let t = times.first().copied().unwrap_or(0);
    out.varbit(t);
    out.varbit_unsigned(layout.count as u64);
    out.varbit_unsigned(layout.zero_count as u64);
    out.float(layout.sum);
    let mut heads = [t, layout.count as i64, layout.zero_count as i64].map(start);
    let mut sum = Xor::from(layout.sum);
    let mut tails: Vec<Change> = buckets(layout).into_iter().map(start).collect();
    for tail in &tails {
        out.varbit(tail.last);
    }
    for (&t, h) in times.iter().zip(histograms).skip(1) {
        for (head, number) in heads.iter_mut().zip([t, h.count as i64, h.zero_count as i64]) {
            head.write(out, number);
        }
        sum.write(out, h.sum);
        for (tail, number) in tails.iter_mut().zip(buckets(h)) {
            tail.write(out, number);
        }
    }
}

pub(super) fn deltas(buckets: &[f64]) -> impl Iterator<Item = i64> {
    let mut last = 0i64;
    buckets.iter().map(move |count| {
        let count = *count as i64;
        let delta = count.wrapping_sub(last);
        last = count;
        delta
    })
}

/// Appends float samples: time, then count, zero count, sum and buckets, each as the XOR with the previous sample's.
fn write_floats(out: &mut BitWriter, times: &[i64], histograms: &[Arc<Histogram>], layout: &Histogram) {
    fn values(h: &Histogram) -> impl Iterator<Item = f64> {
        let buckets = h.positive_buckets.iter().chain(&h.negative_buckets).copied();
        [h.count, h.zero_count, h.sum].into_iter().chain(buckets)
    }
    let t = times.first().copied().unwrap_or(0);
    out.varbit(t);
    let mut time = Change { last: t, step: 0 };
    let mut xors: Vec<Xor> = values(layout).map(Xor::from).collect();
    for value in values(layout) {
        out.float(value);
    }
    for (&t, h) in times.iter().zip(histograms).skip(1) {
        time.write(out, t);
        for (xor, value) in xors.iter_mut().zip(values(h)) {
            xor.write(out, value);
        }
    }
}

#[cfg(test)]
mod tests;
