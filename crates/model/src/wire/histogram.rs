//! The encoding of native histograms: complete in the write-ahead log, as changes to the previous one in chunks.
//!
//! A histogram is `flags | [layout] | numbers`. The layout (schema, zero threshold, spans, custom bounds) is omitted if it
//! equals that of the previous histogram. Counts are zigzag differences if all are whole numbers, else XORs of their bits.
//! The sum is always an XOR.

use std::sync::Arc;

use pharos_histogram::{CounterReset, Histogram, Span};

use super::{Malformed, Reader, put_uvarint, put_varint};

const SAME_LAYOUT: u8 = 1;
const INTEGER: u8 = 2;
const WHOLE: u8 = 4;
const RESET_SHIFT: u8 = 3;
/// Doubles beyond this have no exact `i64` neighbourhood.
const MAX_WHOLE: f64 = (1u64 << 53) as f64;

/// Appends a histogram. `before` is the previous one, which the decoder will have.
pub fn encode(before: Option<&Histogram>, h: &Histogram, out: &mut Vec<u8>) {
    let same = before.filter(|b| same_layout(b, h));
    let whole = counts(h).all(is_whole) && same.is_none_or(|b| counts(b).all(is_whole));
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    out.push(
        flag(same.is_some(), SAME_LAYOUT)
            | flag(h.integer, INTEGER)
            | flag(whole, WHOLE)
            | (h.counter_reset as u8) << RESET_SHIFT,
    );
    if same.is_none() {
        put_layout(h, out);
    }
    put_bits(out, same.map_or(0.0, |b| b.sum), h.sum);
    let mut earlier = same.map(counts);
    for value in counts(h) {
        let base = earlier.as_mut().and_then(Iterator::next).unwrap_or(0.0);
        if whole { put_varint(out, value as i64 - base as i64) } else { put_bits(out, base, value) }
    }
}

/// Reads a histogram that [`encode`] wrote with the same `before`.
///
/// # Errors
/// The bytes are malformed, or `before` is missing.
pub fn decode(before: Option<&Histogram>, reader: &mut Reader<'_>) -> Result<Histogram, Malformed> {
    let flags = reader.byte()?;
    let same = flags & SAME_LAYOUT != 0;
    let mut h = match before {
        Some(before) if same => before.clone(),
        None if same => return Err(Malformed("histogram without its predecessor")),
        _ => read_layout(reader)?,
    };
    h.integer = flags & INTEGER != 0;
    h.counter_reset = match flags >> RESET_SHIFT {
        0 => CounterReset::Unknown,
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => return Err(Malformed("unknown histogram flags")),
    };
    h.sum = read_bits(reader, h.sum)?;
    let whole = flags & WHOLE != 0;
    let number = |base: f64, reader: &mut Reader<'_>| match whole {
        true => Ok((base as i64).wrapping_add(reader.varint()?) as f64),
        false => read_bits(reader, base),
    };
    h.count = number(h.count, reader)?;
    h.zero_count = number(h.zero_count, reader)?;
    for bucket in h.positive_buckets.iter_mut().chain(&mut h.negative_buckets) {
        *bucket = number(*bucket, reader)?;
    }
    Ok(h)
}

fn counts(h: &Histogram) -> impl Iterator<Item = f64> {
    [h.count, h.zero_count]
        .into_iter()
        .chain(h.positive_buckets.iter().copied())
        .chain(h.negative_buckets.iter().copied())
}

fn is_whole(value: f64) -> bool {
    value.abs() < MAX_WHOLE && (value as i64 as f64).to_bits() == value.to_bits()
}

fn same_layout(a: &Histogram, b: &Histogram) -> bool {
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.positive_buckets.len() == b.positive_buckets.len()
        && a.negative_buckets.len() == b.negative_buckets.len()
        && same_bounds(&a.custom_values, &b.custom_values)
}

fn same_bounds(a: &Arc<[f64]>, b: &Arc<[f64]>) -> bool {
    Arc::ptr_eq(a, b) || (a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.to_bits() == b.to_bits()))
}

fn put_layout(h: &Histogram, out: &mut Vec<u8>) {
    put_varint(out, i64::from(h.schema));
    put_bits(out, 0.0, h.zero_threshold);
    for spans in [&h.positive_spans, &h.negative_spans] {
        put_uvarint(out, spans.len() as u64);
        for span in spans {
            put_varint(out, i64::from(span.offset));
            put_uvarint(out, u64::from(span.length));
        }
    }
    put_uvarint(out, h.positive_buckets.len() as u64);
    put_uvarint(out, h.negative_buckets.len() as u64);
    put_uvarint(out, h.custom_values.len() as u64);
    for bound in h.custom_values.iter() {
        put_bits(out, 0.0, *bound);
    }
}

fn read_layout(reader: &mut Reader<'_>) -> Result<Histogram, Malformed> {
    let schema = i32::try_from(reader.varint()?).map_err(|_| Malformed("histogram schema out of range"))?;
    let zero_threshold = read_bits(reader, 0.0)?;
    let mut spans = || -> Result<Vec<Span>, Malformed> {
        (0..reader.count(2)?)
            .map(|_| {
                let offset = i32::try_from(reader.varint()?).map_err(|_| Malformed("span offset out of range"))?;
                Ok(Span { offset, length: reader.u32()? })
            })
            .collect()
    };
    let positive_spans = spans()?;
    let negative_spans = spans()?;
    let positive = reader.count(1)?;
    let negative = reader.count(1)?;
    let bounds = reader.count(1)?;
    let custom_values = (0..bounds).map(|_| read_bits(reader, 0.0)).collect::<Result<Arc<[f64]>, _>>()?;
    if positive + negative > reader.rest().len() {
        return Err(Malformed("buckets past the end"));
    }
    Ok(Histogram {
        schema,
        zero_threshold,
        positive_spans,
        negative_spans,
        positive_buckets: vec![0.0; positive],
        negative_buckets: vec![0.0; negative],
        custom_values,
        ..Histogram::default()
    })
}

/// Appends the XOR of two doubles with its bytes reversed, so that the trailing zeros of short mantissas cost nothing.
fn put_bits(out: &mut Vec<u8>, base: f64, value: f64) {
    put_uvarint(out, (base.to_bits() ^ value.to_bits()).swap_bytes());
}

fn read_bits(reader: &mut Reader<'_>, base: f64) -> Result<f64, Malformed> {
    Ok(f64::from_bits(reader.uvarint()?.swap_bytes() ^ base.to_bits()))
}

/// Whether two histograms are the same sample, to the bits of a NaN. The counter-reset hint does not matter.
pub fn same_sample(a: &Histogram, b: &Histogram) -> bool {
    same_layout(a, b)
        && a.sum.to_bits() == b.sum.to_bits()
        && counts(a).zip(counts(b)).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[cfg(test)]
mod tests;
