//! The encoding of the columns of fragment values: presence, floats, histograms, and rounding errors of partial sums.
//!
//! A row is `flags | rank | [presence] | floats | [lost floats, terms, special floats] | [histograms]`. Presence has one bit for each
//! step, and is omitted if every step has a float. Floats are little-endian doubles of the present steps. Labels are encoded
//! elsewhere.

use std::sync::Arc;

use super::{Malformed, Reader, histogram, put_uvarint};
use crate::fragment::{FragmentRow, PartialSum, Terms};

const FULL: u8 = 1;
const SUM: u8 = 2;
const HISTOGRAMS: u8 = 4;
const FLAGS: u8 = FULL | SUM | HISTOGRAMS;

/// Appends the columns of rows, after their number.
pub fn encode(rows: &[FragmentRow], out: &mut Vec<u8>) {
    put_uvarint(out, rows.len() as u64);
    rows.iter().for_each(|row| put_row(row, out));
}

fn put_row(row: &FragmentRow, out: &mut Vec<u8>) {
    let present: u32 = row.present.iter().map(|word| word.count_ones()).sum();
    let is_full = present as usize == row.values.len();
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    out.push(flag(is_full, FULL) | flag(row.sum.is_some(), SUM) | flag(!row.hists.is_empty(), HISTOGRAMS));
    put_uvarint(out, u64::from(row.rank));
    if !is_full {
        row.present.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }
    put_floats(row, &row.values, is_full, out);
    if let Some(sum) = &row.sum {
        put_floats(row, &sum.lost, is_full, out);
        put_uvarint(out, sum.terms.count);
        put_f64(out, sum.terms.magnitude);
        put_f64(out, sum.terms.smallest);
        put_uvarint(out, sum.special.len() as u64);
        for (step, value) in &sum.special {
            put_uvarint(out, u64::from(*step));
            put_f64(out, *value);
        }
    }
    if !row.hists.is_empty() {
        put_uvarint(out, row.hists.len() as u64);
        let mut before = None;
        for (step, h) in &row.hists {
            put_uvarint(out, u64::from(*step));
            histogram::encode(before, h, out);
            before = Some(h);
        }
    }
}

fn put_f64(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_floats(row: &FragmentRow, values: &[f64], is_full: bool, out: &mut Vec<u8>) {
    if is_full {
        out.reserve(8 * values.len());
        values.iter().for_each(|value| put_f64(out, *value));
    } else {
        values.iter().enumerate().filter(|(step, _)| row.has(*step)).for_each(|(_, value)| put_f64(out, *value));
    }
}

/// Decodes the columns of rows over `steps` steps. The rows have no labels yet.
///
/// `take` gets the memory of each row in bytes before it is allocated. An error from it ends decoding.
///
/// # Errors
/// The bytes are malformed, or `take` failed.
pub fn decode<E: From<Malformed>>(
    bytes: &[u8],
    steps: usize,
    mut take: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<FragmentRow>, E> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(1)?;
    let mut rows = Vec::new();
    for _ in 0..count {
        rows.push(read_row(&mut reader, steps, &mut take)?);
    }
    if reader.is_empty() { Ok(rows) } else { Err(Malformed("bytes behind the last row").into()) }
}

fn read_row<E: From<Malformed>>(
    reader: &mut Reader<'_>,
    steps: usize,
    take: &mut impl FnMut(usize) -> Result<(), E>,
) -> Result<FragmentRow, E> {
    let flags = reader.byte()?;
    if flags & !FLAGS != 0 {
        return Err(Malformed("unknown flags of a row").into());
    }
    let columns = if flags & SUM != 0 { 2 } else { 1 };
    take(size_of::<FragmentRow>().saturating_add(steps.saturating_mul(8 * columns)))?;
    let mut row = FragmentRow { rank: reader.u32()?, ..FragmentRow::default() };
    row.present = read_presence(reader, steps, flags & FULL != 0)?;
    row.values = read_floats(reader, &row, steps)?;
    if flags & SUM != 0 {
        let lost = read_floats(reader, &row, steps)?;
        let terms = Terms { count: reader.uvarint()?, magnitude: reader.f64()?, smallest: reader.f64()? };
        let mut special = Vec::new();
        for _ in 0..reader.count(9)? {
            special.push((read_step(reader, steps, special.last().map(|(step, _)| *step))?, reader.f64()?));
        }
        row.sum = Some(Box::new(PartialSum { lost, terms, special }));
    }
    if flags & HISTOGRAMS != 0 {
        for _ in 0..reader.count(2)? {
            let step = read_step(reader, steps, row.hists.last().map(|(step, _)| *step))?;
            let h = histogram::decode(row.hists.last().map(|(_, h)| &**h), reader)?;
            take(16 + h.bytes())?;
            row.hists.push((step, Arc::new(h)));
        }
    }
    Ok(row)
}

fn read_presence(reader: &mut Reader<'_>, steps: usize, is_full: bool) -> Result<Vec<u64>, Malformed> {
    let words = steps.div_ceil(64);
    let tail = steps % 64;
    let in_last = if tail == 0 { u64::MAX } else { (1 << tail) - 1 };
    let mut present = vec![u64::MAX; words];
    if !is_full {
        let bytes = reader.take(words * 8)?;
        present.iter_mut().zip(bytes.as_chunks().0).for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
        if present.last().is_some_and(|last| last & !in_last != 0) {
            return Err(Malformed("a row has a step past the last one"));
        }
    } else if let Some(last) = present.last_mut() {
        *last = in_last;
    }
    Ok(present)
}

fn read_floats(reader: &mut Reader<'_>, row: &FragmentRow, steps: usize) -> Result<Vec<f64>, Malformed> {
    let present: usize = row.present.iter().map(|word| word.count_ones() as usize).sum();
    let mut floats = reader.take(present * 8)?.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
    if present == steps {
        return Ok(floats.collect());
    }
    let mut values = vec![0.0; steps];
    for (word, &bits) in row.present.iter().enumerate() {
        let mut rest = bits;
        while rest != 0 {
            values[word * 64 + rest.trailing_zeros() as usize] = floats.next().unwrap_or(0.0);
            rest &= rest - 1;
        }
    }
    Ok(values)
}

fn read_step(reader: &mut Reader<'_>, steps: usize, before: Option<u32>) -> Result<u32, Malformed> {
    let step = reader.u32()?;
    if step as usize >= steps || before.is_some_and(|before| before >= step) {
        return Err(Malformed("steps of a row are not ascending, or past the last one"));
    }
    Ok(step)
}

#[cfg(test)]
mod tests;
