//! The records of the log.
//!
//! | kind | payload |
//! |---|---|
//! | 1 tenant | number in this segment, name, newest timestamp, cuts and flushed cuts of its windows, metadata |
//! | 2 append | tenant number; series declared; samples; histograms; exemplars; metadata |
//! | 3 cut | tenant number, window, number of the cut |
//! | 4 flushed | as cut: the samples of that cut are in a block |
//! | 5 delete | tenant number, range, matchers |
//! | 6 dropped | as cut: the flushed samples of lower epochs were freed |
//!
//! Declared series are numbered 0, 1, 2… per tenant and segment. A sample is one byte of flags, what differs from the
//! sample before (series, time, start time), and its value: the bytes of a small integer or the upper bytes of a double.

use pharos_model::write::HistogramSample;
use pharos_model::{Exemplar, Histogram, Labels, MatchOp, Matcher, Metadata, MetricType, Sample, TenantId, TimeRange};

use crate::chunk::histogram;
use crate::varint::{Malformed, Reader, put_bytes, put_uvarint, put_varint, unzigzag, zigzag};

use super::segment::{begin_record, end_record};

const TENANT: u8 = 1;
const APPEND: u8 = 2;
const CUT: u8 = 3;
const FLUSHED: u8 = 4;
const DELETE: u8 = 5;
const DROPPED: u8 = 6;

/// An append record is ended when it has so many bytes.
pub(crate) const SPLIT_BYTES: usize = 1 << 20;

const NEXT_SERIES: u8 = 0x80;
const SAME_SERIES: u8 = 0x40;
const SAME_TIME: u8 = 0x20;
const SAME_START: u8 = 0x10;

/// The cuts of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowCuts {
    pub(crate) window: i64,
    pub(crate) cuts: u32,
    pub(crate) flushed: u32,
}

/// A tenant with the state that must outlive the segments before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TenantRecord {
    pub(crate) number: u32,
    pub(crate) tenant: TenantId,
    pub(crate) newest: Option<i64>,
    pub(crate) windows: Vec<WindowCuts>,
    pub(crate) metadata: Vec<(String, Metadata)>,
}

/// A record as replay reads it. Of appends, [`read_append`] reads the rest.
pub(crate) enum Record<'a> {
    Tenant(TenantRecord),
    Append { tenant: u32, body: Reader<'a> },
    Cut { tenant: u32, window: i64, cut: u32 },
    Flushed { tenant: u32, window: i64, cut: u32 },
    Dropped { tenant: u32, window: i64, cut: u32 },
    Delete { tenant: u32, range: TimeRange, matchers: Vec<Matcher> },
}

/// Whether a payload concerns all series of a tenant and must wait for what came before it.
pub(crate) fn is_control(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(&(CUT | FLUSHED | DROPPED | DELETE)))
}

/// Whether a payload declares a tenant.
pub(crate) fn is_tenant(payload: &[u8]) -> bool {
    payload.first() == Some(&TENANT)
}

/// Reads a payload.
pub(crate) fn read(payload: &[u8]) -> Result<Record<'_>, Malformed> {
    let mut r = Reader::new(payload);
    let kind = r.byte()?;
    let tenant = r.u32()?;
    Ok(match kind {
        TENANT => Record::Tenant(read_tenant(tenant, &mut r)?),
        APPEND => Record::Append { tenant, body: r },
        CUT => Record::Cut { tenant, window: r.varint()?, cut: r.u32()? },
        FLUSHED => Record::Flushed { tenant, window: r.varint()?, cut: r.u32()? },
        DROPPED => Record::Dropped { tenant, window: r.varint()?, cut: r.u32()? },
        DELETE => {
            let range = TimeRange::new(r.varint()?, r.varint()?);
            let matchers = (0..r.count(3)?).map(|_| read_matcher(&mut r)).collect::<Result<_, _>>()?;
            Record::Delete { tenant, range, matchers }
        }
        _ => return Err(Malformed("unknown kind of record")),
    })
}

/// Checks that a payload can be read to its end, without knowing what was declared before it.
pub(crate) fn check(payload: &[u8]) -> Result<(), Malformed> {
    struct Nothing;
    impl AppendVisitor for Nothing {
        fn series(&mut self, canonical: &[u8]) -> Result<(), Malformed> {
            pharos_model::labels::check_canonical(canonical).map_err(|_| Malformed("bad labels of a series"))
        }
        fn sample(&mut self, _: u32, _: &Sample) -> Result<(), Malformed> {
            Ok(())
        }
        fn wants(&self, _: u32) -> Result<bool, Malformed> {
            Ok(false)
        }
        fn histogram(&mut self, _: u32, _: HistogramSample) -> Result<(), Malformed> {
            Ok(())
        }
        fn exemplar(&mut self, _: u32, _: Exemplar) -> Result<(), Malformed> {
            Ok(())
        }
        fn metadata(&mut self, _: String, _: Metadata) {}
    }
    match read(payload)? {
        Record::Append { body, .. } => read_append(body, &mut Nothing),
        _ => Ok(()),
    }
}

/// Appends the record of a tenant.
pub(crate) fn put_tenant(out: &mut Vec<u8>, record: &TenantRecord) {
    framed(out, TENANT, record.number, |out| {
        put_bytes(out, record.tenant.as_str().as_bytes());
        out.push(u8::from(record.newest.is_some()));
        put_varint(out, record.newest.unwrap_or(0));
        put_uvarint(out, record.windows.len() as u64);
        for w in &record.windows {
            put_varint(out, w.window);
            put_uvarint(out, u64::from(w.cuts));
            put_uvarint(out, u64::from(w.flushed));
        }
        put_uvarint(out, record.metadata.len() as u64);
        record.metadata.iter().for_each(|(family, metadata)| put_metadata(out, family, metadata));
    });
}

/// What a record says of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It was made.
    Cut,
    /// It is in a block.
    Flushed,
    /// Its samples were freed.
    Dropped,
}

/// Appends the record of a step in the life of a cut.
pub(crate) fn put_step(out: &mut Vec<u8>, step: Step, tenant: u32, window: i64, cut: u32) {
    let kind = match step {
        Step::Cut => CUT,
        Step::Flushed => FLUSHED,
        Step::Dropped => DROPPED,
    };
    framed(out, kind, tenant, |out| {
        put_varint(out, window);
        put_uvarint(out, u64::from(cut));
    });
}

/// Appends the record of a deletion.
pub(crate) fn put_delete(out: &mut Vec<u8>, tenant: u32, range: TimeRange, matchers: &[Matcher]) {
    framed(out, DELETE, tenant, |out| {
        put_varint(out, range.start);
        put_varint(out, range.end);
        put_uvarint(out, matchers.len() as u64);
        for m in matchers {
            out.push(match m.op {
                MatchOp::Equal => 0,
                MatchOp::NotEqual => 1,
                MatchOp::Regex => 2,
                MatchOp::NotRegex => 3,
            });
            put_bytes(out, m.name.as_bytes());
            put_bytes(out, m.value.as_bytes());
        }
    });
}

fn framed(out: &mut Vec<u8>, kind: u8, tenant: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = begin_record(out);
    out.push(kind);
    put_uvarint(out, u64::from(tenant));
    write(out);
    end_record(out, start);
}

fn read_tenant(number: u32, r: &mut Reader<'_>) -> Result<TenantRecord, Malformed> {
    let tenant = TenantId::new(r.text()?).map_err(|_| Malformed("bad tenant name"))?;
    let known = r.byte()? != 0;
    let newest = r.varint()?;
    let windows = (0..r.count(3)?)
        .map(|_| Ok(WindowCuts { window: r.varint()?, cuts: r.u32()?, flushed: r.u32()? }))
        .collect::<Result<_, _>>()?;
    let metadata = (0..r.count(4)?).map(|_| read_metadata(r)).collect::<Result<_, _>>()?;
    Ok(TenantRecord { number, tenant, newest: known.then_some(newest), windows, metadata })
}

fn read_matcher(r: &mut Reader<'_>) -> Result<Matcher, Malformed> {
    let op = match r.byte()? {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        _ => return Err(Malformed("unknown matcher")),
    };
    Matcher::new(op, r.text()?, r.text()?).map_err(|_| Malformed("bad matcher"))
}

fn put_metadata(out: &mut Vec<u8>, family: &str, metadata: &Metadata) {
    put_bytes(out, family.as_bytes());
    put_bytes(out, metadata.kind.as_str().as_bytes());
    put_bytes(out, metadata.unit.as_bytes());
    put_bytes(out, metadata.help.as_bytes());
}

fn read_metadata(r: &mut Reader<'_>) -> Result<(String, Metadata), Malformed> {
    let family = r.text()?.to_string();
    let kind = MetricType::parse(r.text()?).ok_or(Malformed("unknown metric type"))?;
    Ok((family, Metadata { kind, unit: r.text()?.to_string(), help: r.text()?.to_string() }))
}

/// Collects the parts of append records.
#[derive(Debug, Default)]
pub(crate) struct AppendEncoder {
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

/// The sample before, against which the next one is coded.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    series: u32,
    t: i64,
    st: i64,
}

impl AppendEncoder {
    pub(crate) fn series(&mut self, canonical: &[u8]) {
        put_bytes(&mut self.series.bytes, canonical);
        self.series.count += 1;
    }

    #[inline]
    pub(crate) fn sample(&mut self, series: u32, s: &Sample) {
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

    pub(crate) fn histogram(&mut self, series: u32, s: &HistogramSample) {
        let out = &mut self.histograms.bytes;
        put_uvarint(out, u64::from(series));
        put_varint(out, s.t);
        put_varint(out, s.st);
        histogram::encode(None, &s.h, out);
        self.histograms.count += 1;
    }

    pub(crate) fn exemplar(&mut self, series: u32, e: &Exemplar) {
        let out = &mut self.exemplars.bytes;
        put_uvarint(out, u64::from(series));
        put_varint(out, e.t);
        out.extend_from_slice(&e.value.to_bits().to_le_bytes());
        put_bytes(out, e.labels.as_bytes());
        self.exemplars.count += 1;
    }

    pub(crate) fn metadata(&mut self, family: &str, metadata: &Metadata) {
        put_metadata(&mut self.metadata.bytes, family, metadata);
        self.metadata.count += 1;
    }

    /// The bytes of series declarations so far.
    pub(crate) fn declared_bytes(&self) -> usize {
        self.series.bytes.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.sections().iter().map(|s| s.bytes.len()).sum()
    }

    fn sections(&self) -> [&Section; 5] {
        [&self.series, &self.samples, &self.histograms, &self.exemplars, &self.metadata]
    }

    /// Appends the record to `out`, if there is anything to say, and begins anew.
    pub(crate) fn finish(&mut self, tenant: u32, out: &mut Vec<u8>) {
        if self.sections().iter().all(|s| s.count == 0) {
            return;
        }
        framed(out, APPEND, tenant, |out| self.sections().iter().for_each(|s| s.put(out)));
        for section in
            [&mut self.series, &mut self.samples, &mut self.histograms, &mut self.exemplars, &mut self.metadata]
        {
            section.clear();
        }
        self.last = Last::default();
    }
}

/// What reads the parts of an append record.
pub(crate) trait AppendVisitor {
    fn series(&mut self, canonical: &[u8]) -> Result<(), Malformed>;
    fn sample(&mut self, series: u32, s: &Sample) -> Result<(), Malformed>;
    /// Whether the histograms of a series are wanted.
    fn wants(&self, series: u32) -> Result<bool, Malformed>;
    fn histogram(&mut self, series: u32, s: HistogramSample) -> Result<(), Malformed>;
    fn exemplar(&mut self, series: u32, e: Exemplar) -> Result<(), Malformed>;
    fn metadata(&mut self, family: String, metadata: Metadata);
}

/// Reads the rest of an append record.
pub(crate) fn read_append(mut r: Reader<'_>, visitor: &mut impl AppendVisitor) -> Result<(), Malformed> {
    for _ in 0..r.count(1)? {
        visitor.series(r.prefixed()?)?;
    }
    let mut last = Last::default();
    for _ in 0..r.count(1)? {
        let s = read_sample(&mut r, &mut last)?;
        visitor.sample(last.series, &s)?;
    }
    for _ in 0..r.count(4)? {
        let (series, t, st) = (r.u32()?, r.varint()?, r.varint()?);
        let h: Histogram = histogram::decode(None, &mut r)?;
        if visitor.wants(series)? {
            visitor.histogram(series, HistogramSample { t, st, h: h.into() })?;
        }
    }
    for _ in 0..r.count(11)? {
        let (series, t, value) = (r.u32()?, r.varint()?, r.f64()?);
        let labels = Labels::from_canonical(r.prefixed()?).map_err(|_| Malformed("bad exemplar labels"))?;
        visitor.exemplar(series, Exemplar { labels, value, t })?;
    }
    for _ in 0..r.count(4)? {
        let (family, metadata) = read_metadata(&mut r)?;
        visitor.metadata(family, metadata);
    }
    if r.is_empty() { Ok(()) } else { Err(Malformed("bytes behind the end")) }
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

/// The shortest form of a value and its code: 9 to 15 for integers of 1 to 7 bytes, 0 to 8 for the upper bytes of a double.
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
#[path = "record_tests.rs"]
mod tests;
