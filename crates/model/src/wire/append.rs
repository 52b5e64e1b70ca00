//! The encoding of appends: a record declares series, and its samples refer to them.
//!
//! A record has five sections, each a count and its entries: declared series (canonical labels after their length),
//! floats, histograms, exemplars and metadata. A float is a byte of flags, whatever differs from the previous float
//! (series, time, start time), and its value: the bytes of a small integer or the upper bytes of a double. Writer and
//! reader agree on what a reference to a series means.

use crate::labels::Labels;
use crate::sample::{Exemplar, Metadata, MetricType, Sample};
use crate::write::HistogramSample;
use pharos_histogram::Histogram;

use super::{Malformed, Reader, histogram, put_bytes, put_uvarint, put_varint, unzigzag, zigzag};

const NEXT_SERIES: u8 = 0x80;
const SAME_SERIES: u8 = 0x40;
const SAME_TIME: u8 = 0x20;
const SAME_START: u8 = 0x10;

/// Appends the metadata of a metric family.
pub fn put_metadata(out: &mut Vec<u8>, family: &str, metadata: &Metadata) {
    put_bytes(out, family.as_bytes());
    put_bytes(out, metadata.kind.as_str().as_bytes());
    put_bytes(out, metadata.unit.as_bytes());
    put_bytes(out, metadata.help.as_bytes());
}

/// Reads what [`put_metadata`] wrote.
///
/// # Errors
/// The bytes end early, are not UTF-8, or name an unknown type.
pub fn read_metadata(r: &mut Reader<'_>) -> Result<(String, Metadata), Malformed> {
    let family = r.text()?.to_string();
    let kind = MetricType::parse(r.text()?).ok_or(Malformed("unknown metric type"))?;
    Ok((family, Metadata { kind, unit: r.text()?.to_string(), help: r.text()?.to_string() }))
}

/// Collects the parts of append records.
#[derive(Debug, Default)]
pub struct AppendEncoder {
    series: Section,
    samples: Section,
    histograms: Section,
    exemplars: Section,
    metadata: Section,
    last: Last,
}

#[derive(Debug, Default)]
struct Section {
    bytes: Vec<u8>,
    count: u64,
}

impl Section {
    fn put(&self, out: &mut Vec<u8>) {
        put_uvarint(out, self.count);
        out.extend_from_slice(&self.bytes);
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }
}

/// The previous float, against which the next one is coded.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    series: u32,
    t: i64,
    st: i64,
}

impl AppendEncoder {
    /// Declares a series by its canonical labels. Series are numbered in the order of their declaration.
    pub fn series(&mut self, canonical: &[u8]) {
        put_bytes(&mut self.series.bytes, canonical);
        self.series.count += 1;
    }

    /// Adds a float of a series.
    #[inline]
    pub fn sample(&mut self, series: u32, s: &Sample) {
        let out = &mut self.samples.bytes;
        let (value, code) = short_value(s.v);
        let flags_at = out.len();
        let mut flags = code;
        out.push(0);
        if series == self.last.series.wrapping_add(1) {
            flags |= NEXT_SERIES;
        } else if series == self.last.series {
            flags |= SAME_SERIES;
        } else {
            put_uvarint(out, u64::from(series));
        }
        if s.t == self.last.t {
            flags |= SAME_TIME;
        } else {
            put_varint(out, s.t.wrapping_sub(self.last.t));
        }
        if s.st == self.last.st {
            flags |= SAME_START;
        } else {
            put_varint(out, s.st.wrapping_sub(self.last.st));
        }
        out.extend_from_slice(&value.to_le_bytes()[..value_len(code)]);
        out[flags_at] = flags;
        self.last = Last { series, t: s.t, st: s.st };
        self.samples.count += 1;
    }

    /// Adds a histogram of a series.
    pub fn histogram(&mut self, series: u32, s: &HistogramSample) {
        let out = &mut self.histograms.bytes;
        put_uvarint(out, u64::from(series));
        put_varint(out, s.t);
        put_varint(out, s.st);
        histogram::encode(None, &s.h, out);
        self.histograms.count += 1;
    }

    /// Adds an exemplar of a series.
    pub fn exemplar(&mut self, series: u32, e: &Exemplar) {
        let out = &mut self.exemplars.bytes;
        put_uvarint(out, u64::from(series));
        put_varint(out, e.t);
        out.extend_from_slice(&e.value.to_bits().to_le_bytes());
        put_bytes(out, e.labels.as_bytes());
        self.exemplars.count += 1;
    }

    /// Adds the metadata of a metric family.
    pub fn metadata(&mut self, family: &str, metadata: &Metadata) {
        put_metadata(&mut self.metadata.bytes, family, metadata);
        self.metadata.count += 1;
    }

    /// The size of the declarations so far, bytes.
    pub fn declared_bytes(&self) -> usize {
        self.series.bytes.len()
    }

    /// The size of everything so far, bytes.
    pub fn bytes(&self) -> usize {
        self.sections().iter().map(|s| s.bytes.len()).sum()
    }

    fn sections(&self) -> [&Section; 5] {
        [&self.series, &self.samples, &self.histograms, &self.exemplars, &self.metadata]
    }

    /// Whether nothing was added since the last [`AppendEncoder::finish`].
    pub fn is_empty(&self) -> bool {
        self.sections().iter().all(|s| s.count == 0)
    }

    /// Appends the sections to `out` and starts the next record.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.sections().iter().for_each(|s| s.put(out));
        for section in
            [&mut self.series, &mut self.samples, &mut self.histograms, &mut self.exemplars, &mut self.metadata]
        {
            section.clear();
        }
        self.last = Last::default();
    }
}

/// Receives the parts of a record. Each method may refuse its part, which ends the reading.
pub trait AppendVisitor {
    /// Takes the declaration of a series.
    ///
    /// # Errors
    /// The labels are malformed.
    fn series(&mut self, canonical: &[u8]) -> Result<(), Malformed>;
    /// Takes a float of a series.
    ///
    /// # Errors
    /// The series is unknown.
    fn sample(&mut self, series: u32, s: &Sample) -> Result<(), Malformed>;
    /// Whether the histograms of a series are wanted.
    ///
    /// # Errors
    /// The series is unknown.
    fn wants(&self, series: u32) -> Result<bool, Malformed>;
    /// Takes a histogram of a series.
    ///
    /// # Errors
    /// The series is unknown.
    fn histogram(&mut self, series: u32, s: HistogramSample) -> Result<(), Malformed>;
    /// Takes an exemplar of a series.
    ///
    /// # Errors
    /// The series is unknown.
    fn exemplar(&mut self, series: u32, e: Exemplar) -> Result<(), Malformed>;
    /// Takes the metadata of a metric family.
    fn metadata(&mut self, family: String, metadata: Metadata);
}

/// Reads a record to its end.
///
/// # Errors
/// The bytes are malformed, or the visitor refused a part.
pub fn read_append(mut r: Reader<'_>, visitor: &mut impl AppendVisitor) -> Result<(), Malformed> {
    for _ in 0..r.count(1)? {
        visitor.series(r.prefixed()?)?;
    }
    let mut last = Last::default();
    for _ in 0..r.count(1)? {
        let s = read_sample(&mut r, &mut last)?;
        visitor.sample(last.series, &s)?;
    }
    for _ in 0..r.count(4)? {
        let series = r.u32()?;
        let t = r.varint()?;
        let st = r.varint()?;
        let h: Histogram = histogram::decode(None, &mut r)?;
        if visitor.wants(series)? {
            visitor.histogram(series, HistogramSample { t, st, h: h.into() })?;
        }
    }
    for _ in 0..r.count(11)? {
        let series = r.u32()?;
        let t = r.varint()?;
        let value = r.f64()?;
        let labels = Labels::from_canonical(r.prefixed()?).map_err(|_| Malformed("bad exemplar labels"))?;
        visitor.exemplar(series, Exemplar { labels, value, t })?;
    }
    for _ in 0..r.count(4)? {
        let (family, metadata) = read_metadata(&mut r)?;
        visitor.metadata(family, metadata);
    }
    if r.is_empty() { Ok(()) } else { Err(Malformed("bytes after the end")) }
}

#[inline]
fn read_sample(r: &mut Reader<'_>, last: &mut Last) -> Result<Sample, Malformed> {
    let flags = r.byte()?;
    if flags & NEXT_SERIES != 0 {
        last.series = last.series.wrapping_add(1);
    } else if flags & SAME_SERIES == 0 {
        last.series = r.u32()?;
    }
    if flags & SAME_TIME == 0 {
        last.t = last.t.wrapping_add(r.varint()?);
    }
    if flags & SAME_START == 0 {
        last.st = last.st.wrapping_add(r.varint()?);
    }
    let code = flags & 0xf;
    let bytes = r.take(value_len(code))?;
    let value = bytes.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let v = if code > 8 { unzigzag(value) as f64 } else { f64::from_bits(value.wrapping_shl(64 - 8 * code as u32)) };
    Ok(Sample { t: last.t, v: if code == 0 { 0.0 } else { v }, st: last.st })
}

/// The shortest form of a value and its code: 9 to 15 for an integer of 1 to 7 bytes, 0 to 8 for the number of upper bytes
/// of a double.
#[inline]
fn short_value(v: f64) -> (u64, u8) {
    let bits = v.to_bits();
    let upper = 8 - (bits.trailing_zeros() / 8).min(8) as u8;
    let int = v as i64;
    if int.unsigned_abs() < 1 << 53 && (int as f64).to_bits() == bits {
        let z = zigzag(int);
        let len = (8 - z.leading_zeros() as u8 / 8).max(1);
        if len < upper {
            return (z, 8 + len);
        }
    }
    if upper == 0 { (0, 0) } else { (bits >> (64 - 8 * u32::from(upper)), upper) }
}

#[inline]
fn value_len(code: u8) -> usize {
    if code > 8 { code as usize - 8 } else { code as usize }
}

#[cfg(test)]
mod tests;
