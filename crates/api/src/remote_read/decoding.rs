//! Decoders of chunks and frames for tests. They follow the format's documentation and share no code with the encoders.

use std::sync::Arc;

use pharos_histogram::{Histogram, Span};
use pharos_model::CounterReset;
use pharos_transport::prometheus::Chunk;
use pharos_transport::prometheus::chunk::Encoding;

/// Reads bits, most significant bit first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bits(&mut self, width: u32) -> u64 {
        let mut value = 0;
        for _ in 0..width {
            let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
            value = value << 1 | u64::from(bit);
            self.at += 1;
        }
        value
    }

    fn ones(&mut self, most: u32) -> u32 {
        (0..most).take_while(|_| self.bits(1) == 1).count() as u32
    }

    fn float(&mut self) -> f64 {
        f64::from_bits(self.bits(64))
    }

    fn signed(&mut self, width: u32) -> i64 {
        let raw = self.bits(width) as i64;
        if width < 64 && raw > 1 << (width - 1) { raw - (1 << width) } else { raw }
    }

    fn varbit(&mut self) -> i64 {
        match self.ones(8) {
            0 => 0,
            8 => self.bits(64) as i64,
            n => self.signed([3, 6, 9, 12, 18, 25, 56][n as usize - 1]),
        }
    }

    fn varbit_unsigned(&mut self) -> u64 {
        match self.ones(8) {
            0 => 0,
            8 => self.bits(64),
            n => self.bits([3, 6, 9, 12, 18, 25, 56][n as usize - 1]),
        }
    }

    fn time_step(&mut self) -> i64 {
        match self.ones(4) {
            0 => 0,
            4 => self.bits(64) as i64,
            n => self.signed([14, 17, 20][n as usize - 1]),
        }
    }

    fn leb128(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.bits(8);
            value |= (byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }
}

/// Decodes floats that are encoded as the XOR with the previous float.
struct XorReader {
    bits: u64,
    leading: u32,
    width: u32,
}

impl XorReader {
    fn new(first: f64) -> Self {
        XorReader { bits: first.to_bits(), leading: 0, width: 0 }
    }

    fn next(&mut self, from: &mut Bits<'_>) -> f64 {
        if from.bits(1) == 1 {
            if from.bits(1) == 1 {
                self.leading = from.bits(5) as u32;
                self.width = match from.bits(6) as u32 {
                    0 => 64,
                    width => width,
                };
            }
            self.bits ^= from.bits(self.width) << (64 - self.leading - self.width);
        }
        f64::from_bits(self.bits)
    }
}

pub(super) fn floats(chunk: &Chunk) -> Vec<(i64, f64)> {
    assert_eq!(chunk.r#type(), Encoding::Xor);
    let mut from = Bits { bytes: &chunk.data, at: 0 };
    let count = from.bits(16);
    let raw = from.leb128();
    let mut t = (raw >> 1) as i64 ^ -((raw & 1) as i64);
    let first = from.float();
    let (mut samples, mut xor, mut step) = (vec![(t, first)], XorReader::new(first), 0i64);
    for i in 1..count {
        step = if i == 1 { from.leb128() as i64 } else { step.wrapping_add(from.time_step()) };
        t = t.wrapping_add(step);
        samples.push((t, xor.next(&mut from)));
    }
    samples
}

fn zero_threshold(from: &mut Bits<'_>) -> f64 {
    match from.bits(8) {
        0 => 0.0,
        255 => from.float(),
        byte => 2f64.powi(byte as i32 - 244),
    }
}

fn spans(from: &mut Bits<'_>) -> Vec<Span> {
    let count = from.varbit_unsigned();
    (0..count)
        .map(|_| {
            let length = from.varbit_unsigned() as u32;
            Span { length, offset: from.varbit() as i32 }
        })
        .collect()
}

fn bounds(from: &mut Bits<'_>) -> Arc<[f64]> {
    let count = from.varbit_unsigned();
    (0..count)
        .map(|_| match from.varbit_unsigned() {
            0 => from.float(),
            number => (number - 1) as f64 / 1000.0,
        })
        .collect()
}

/// Decodes the histograms of a chunk. None but the first can be a counter reset, unless they are gauges.
pub(super) fn histograms(chunk: &Chunk) -> Vec<(i64, Histogram)> {
    let mut from = Bits { bytes: &chunk.data, at: 0 };
    let count = from.bits(16);
    let counter_reset = match from.bits(8) >> 6 {
        0 => CounterReset::Unknown,
        1 => CounterReset::NotReset,
        2 => CounterReset::Reset,
        _ => CounterReset::Gauge,
    };
    let mut h = Histogram { counter_reset, integer: chunk.r#type() == Encoding::Histogram, ..Default::default() };
    h.zero_threshold = zero_threshold(&mut from);
    h.schema = from.varbit() as i32;
    h.positive_spans = spans(&mut from);
    h.negative_spans = spans(&mut from);
    if h.schema == -53 {
        h.custom_values = bounds(&mut from);
    }
    let samples = if h.integer { integers(&mut from, &h, count) } else { float_samples(&mut from, &h, count) };
    let follow = if counter_reset == CounterReset::Gauge { CounterReset::Gauge } else { CounterReset::NotReset };
    samples
        .into_iter()
        .enumerate()
        .map(|(i, (t, h))| (t, Histogram { counter_reset: if i == 0 { counter_reset } else { follow }, ..h }))
        .collect()
}

fn buckets(spans: &[Span]) -> usize {
    spans.iter().map(|s| s.length as usize).sum()
}

fn integers(from: &mut Bits<'_>, layout: &Histogram, count: u64) -> Vec<(i64, Histogram)> {
    let (positive, negative) = (buckets(&layout.positive_spans), buckets(&layout.negative_spans));
    let mut numbers = vec![from.varbit(), from.varbit_unsigned() as i64, from.varbit_unsigned() as i64];
    let first_sum = from.float();
    let (mut sum, mut value) = (XorReader::new(first_sum), first_sum);
    numbers.extend((0..positive + negative).map(|_| from.varbit()).collect::<Vec<_>>());
    let mut steps = vec![0i64; numbers.len()];
    let mut samples = Vec::new();
    for i in 0..count {
        if i > 0 {
            for n in 0..numbers.len() {
                if n == 3 {
                    value = sum.next(from);
                }
                steps[n] = steps[n].wrapping_add(from.varbit());
                numbers[n] = numbers[n].wrapping_add(steps[n]);
            }
            if numbers.len() == 3 {
                value = sum.next(from);
            }
        }
        let absolute = |deltas: &[i64]| {
            deltas
                .iter()
                .scan(0i64, |last, delta| {
                    *last += delta;
                    Some(*last as f64)
                })
                .collect::<Vec<f64>>()
        };
        let h = Histogram {
            count: numbers[1] as f64,
            zero_count: numbers[2] as f64,
            sum: value,
            positive_buckets: absolute(&numbers[3..3 + positive]),
            negative_buckets: absolute(&numbers[3 + positive..]),
            ..layout.clone()
        };
        samples.push((numbers[0], h));
    }
    samples
}

fn float_samples(from: &mut Bits<'_>, layout: &Histogram, count: u64) -> Vec<(i64, Histogram)> {
    let (positive, negative) = (buckets(&layout.positive_spans), buckets(&layout.negative_spans));
    let (mut t, mut step) = (from.varbit(), 0i64);
    let mut values: Vec<f64> = (0..3 + positive + negative).map(|_| from.float()).collect();
    let mut readers: Vec<XorReader> = values.iter().map(|v| XorReader::new(*v)).collect();
    let mut samples = Vec::new();
    for i in 0..count {
        if i > 0 {
            step = step.wrapping_add(from.varbit());
            t = t.wrapping_add(step);
            values = readers.iter_mut().map(|reader| reader.next(from)).collect();
        }
        let h = Histogram {
            count: values[0],
            zero_count: values[1],
            sum: values[2],
            positive_buckets: values[3..3 + positive].to_vec(),
            negative_buckets: values[3 + positive..].to_vec(),
            ..layout.clone()
        };
        samples.push((t, h));
    }
    samples
}
