//! The records of the log.
//!
//! | kind | payload |
//! |---|---|
//! | 1 tenant | number in this segment, name, shards of the cluster, newest timestamp, newest and flushed cuts of its windows, metadata (none since version 3), number of the last deletion |
//! | 2 append | tenant number, series declarations, samples, histograms, exemplars, metadata |
//! | 3 cut | tenant number, window, number of the cut. The first one of a window holds its first generation |
//! | 4 flushed | like cut, and the shards whose samples of that cut are in a block |
//! | 5 delete | tenant number, range, matchers, number of the deletion |
//! | 6 evicted | like flushed: the samples of these shards and of lower generations left memory |
//! | 7 forget | tenant number, and the shards whose samples were all removed |
//! | 8 opening | the schedule of windows and their greatest generation: the first record of a segment |
//! | 9 durable | the offset of this record: everything before it was durable when it was written |
//! | 10 survivors | tenant number, a generation, then like append: samples of that generation that are only in an older segment otherwise |
//! | 11 replaced | like append: samples that replace what the series hold at their timestamps |
//! | 12 retracted | like append: samples that are removed where the series hold exactly them |
//! | 13 yielded | like append: at the timestamps of these samples, what the series hold is removed where it is something else |
//!
//! Kinds from 8 on exist since version 3. Opening and durable records belong to no tenant and have 0 as its number.
//!
//! A record stays far below [`MAX_RECORD_BYTES`](super::segment::MAX_RECORD_BYTES). A tenant with many windows is declared
//! by several tenant records in a row, and appends are closed when they reach [`SPLIT_BYTES`].
//!
//! A set of shards is encoded as its ascending ranges: their number, then for each the distance from the end of the previous
//! one and its length.
//!
//! Declared series are numbered 0, 1, 2… within a tenant and segment. [`pharos_model::wire::append`] defines the encoding of
//! appends.

use pharos_model::shards::MAX_SHARDS;
use pharos_model::write::HistogramSample;
use pharos_model::{Exemplar, MatchOp, Matcher, Metadata, Sample, ShardSet, TenantId, TimeRange};

use pharos_model::wire::append::{AppendEncoder, AppendVisitor, read_append, read_metadata};
use pharos_model::wire::{Malformed, Reader, put_bytes, put_uvarint, put_varint};

use super::segment::{FRAME_BYTES, MAX_RECORD_BYTES, begin_record, end_record};
use crate::window::WindowSchedule;

const TENANT: u8 = 1;
const APPEND: u8 = 2;
const CUT: u8 = 3;
const FLUSHED: u8 = 4;
const DELETE: u8 = 5;
const EVICTED: u8 = 6;
const FORGET: u8 = 7;
const OPENING: u8 = 8;
const DURABLE: u8 = 9;
const SURVIVORS: u8 = 10;
const REPLACED: u8 = 11;
const RETRACTED: u8 = 12;
const YIELDED: u8 = 13;

/// The length of a durable record with its frame.
pub(crate) const DURABLE_BYTES: usize = FRAME_BYTES + 10;
/// The size at which a record is closed, unless it is of a kind that is always small.
pub(crate) const SPLIT_BYTES: usize = 1 << 20;

/// The newest cut and the flushed cuts of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WindowCuts {
    pub(crate) window: i64,
    pub(crate) newest: u32,
    /// Flushed cuts, each with the shards whose newest flushed cut it is.
    pub(crate) flushed: Vec<(u32, ShardSet)>,
}

/// A tenant with the state that must outlive earlier segments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TenantRecord {
    pub(crate) number: u32,
    pub(crate) tenant: TenantId,
    pub(crate) shards: u32,
    pub(crate) newest: Option<i64>,
    pub(crate) windows: Vec<WindowCuts>,
    /// In records of version 2. Since then metadata has records of its own.
    pub(crate) metadata: Vec<(String, Metadata)>,
    /// The number of the newest deletion that was applied; 0 for none.
    pub(crate) last_deletion: u64,
}

/// A decoded record. Bodies with samples are left to `read_append`.
pub(crate) enum Record<'a> {
    Tenant(TenantRecord),
    Append { tenant: u32, body: Reader<'a> },
    Survivors { tenant: u32, generation: u32, body: Reader<'a> },
    Replaced { tenant: u32, body: Reader<'a> },
    Retracted { tenant: u32, body: Reader<'a> },
    Yielded { tenant: u32, body: Reader<'a> },
    Opening { schedule: WindowSchedule, newest_generation: u32 },
    Durable,
    Cut { tenant: u32, window: i64, cut: u32 },
    Flushed { tenant: u32, window: i64, cut: u32, shards: ShardSet },
    Evicted { tenant: u32, window: i64, cut: u32, shards: ShardSet },
    Forget { tenant: u32, shards: ShardSet },
    Delete { tenant: u32, range: TimeRange, matchers: Vec<Matcher>, number: u64 },
}

/// Whether a record concerns all series of a tenant, so that replay applies it after everything before it.
pub(crate) fn is_control(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(&(CUT | FLUSHED | EVICTED | DELETE | FORGET)))
}

/// Whether a record belongs to no tenant.
pub(crate) fn is_of_segment(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(&(OPENING | DURABLE)))
}

/// Whether a record declares a tenant.
pub(crate) fn is_tenant(payload: &[u8]) -> bool {
    payload.first() == Some(&TENANT)
}

/// Decodes the payload of a record.
pub(crate) fn read(payload: &[u8]) -> Result<Record<'_>, Malformed> {
    let mut r = Reader::new(payload);
    let kind = r.byte()?;
    let tenant = r.u32()?;
    Ok(match kind {
        TENANT => Record::Tenant(read_tenant(tenant, &mut r)?),
        APPEND => Record::Append { tenant, body: r },
        SURVIVORS => Record::Survivors { tenant, generation: r.u32()?, body: r },
        OPENING => read_opening(&mut r)?,
        DURABLE => Record::Durable,
        REPLACED => Record::Replaced { tenant, body: r },
        RETRACTED => Record::Retracted { tenant, body: r },
        YIELDED => Record::Yielded { tenant, body: r },
        CUT => Record::Cut { tenant, window: r.varint()?, cut: r.u32()? },
        FLUSHED => Record::Flushed { tenant, window: r.varint()?, cut: r.u32()?, shards: read_shards(&mut r)? },
        EVICTED => Record::Evicted { tenant, window: r.varint()?, cut: r.u32()?, shards: read_shards(&mut r)? },
        FORGET => Record::Forget { tenant, shards: read_shards(&mut r)? },
        DELETE => {
            let range = TimeRange::new(r.varint()?, r.varint()?);
            let matchers = (0..r.count(3)?).map(|_| read_matcher(&mut r)).collect::<Result<_, _>>()?;
            Record::Delete { tenant, range, matchers, number: read_number(&mut r)? }
        }
        _ => return Err(Malformed("record is of an unknown kind")),
    })
}

/// Checks that a payload can be decoded to its end, regardless of what is declared before it.
pub(crate) fn check(payload: &[u8]) -> Result<(), Malformed> {
    struct Nothing;
    impl AppendVisitor for Nothing {
        fn series(&mut self, canonical: &[u8]) -> Result<(), Malformed> {
            pharos_model::labels::check_canonical(canonical).map_err(|_| Malformed("series has malformed labels"))
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
        Record::Append { body, .. }
        | Record::Survivors { body, .. }
        | Record::Replaced { body, .. }
        | Record::Retracted { body, .. }
        | Record::Yielded { body, .. } => read_append(body, &mut Nothing),
        _ => Ok(()),
    }
}

/// Appends the records that declare a tenant to `out`. Its metadata is not among them.
pub(crate) fn put_tenant(out: &mut Vec<u8>, record: &TenantRecord) {
    let mut rest = &record.windows[..];
    loop {
        let (windows, others) = rest.split_at(windows_of_a_record(rest));
        framed(out, TENANT, record.number, |out| {
            put_bytes(out, record.tenant.as_str().as_bytes());
            put_uvarint(out, u64::from(record.shards));
            out.push(u8::from(record.newest.is_some()));
            put_varint(out, record.newest.unwrap_or(0));
            put_uvarint(out, windows.len() as u64);
            for w in windows {
                put_varint(out, w.window);
                put_uvarint(out, u64::from(w.newest));
                put_uvarint(out, w.flushed.len() as u64);
                for (cut, shards) in &w.flushed {
                    put_uvarint(out, u64::from(*cut));
                    put_shards(out, shards);
                }
            }
            put_uvarint(out, 0);
            put_uvarint(out, record.last_deletion);
        });
        if others.is_empty() {
            return;
        }
        rest = others;
    }
}

/// How many of these windows go into one record: at least one, and no more than fit.
fn windows_of_a_record(windows: &[WindowCuts]) -> usize {
    const LONGEST_NUMBER: usize = 10;
    let mut bytes = 0;
    let fits = |w: &&WindowCuts| {
        bytes += w
            .flushed
            .iter()
            .fold(3 * LONGEST_NUMBER, |bytes, (_, shards)| bytes + (2 + 2 * shards.ranges().count()) * LONGEST_NUMBER);
        bytes <= SPLIT_BYTES
    };
    windows.iter().take_while(fits).count().max(1).min(windows.len())
}

/// Appends an opening record to `out`.
pub(crate) fn put_opening(out: &mut Vec<u8>, schedule: &WindowSchedule, newest_generation: u32) {
    framed(out, OPENING, 0, |out| {
        put_uvarint(out, schedule.widths().len() as u64);
        for (from, width) in schedule.widths() {
            put_varint(out, *from);
            put_varint(out, *width);
        }
        put_uvarint(out, u64::from(newest_generation));
    });
}

fn read_opening<'a>(r: &mut Reader<'_>) -> Result<Record<'a>, Malformed> {
    let widths = (0..r.count(2)?).map(|_| Ok((r.varint()?, r.varint()?))).collect::<Result<_, _>>()?;
    let schedule = WindowSchedule::from_widths(widths).ok_or(Malformed("schedule of windows is not in order"))?;
    Ok(Record::Opening { schedule, newest_generation: r.u32()? })
}

/// Appends a durable record that is written at `offset` of its segment to `out`.
pub(crate) fn put_durable(out: &mut Vec<u8>, offset: u64) {
    framed(out, DURABLE, 0, |out| out.extend_from_slice(&offset.to_le_bytes()));
}

/// A step in the life of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The cut was made.
    Cut,
    /// Its samples are in a committed block.
    Flushed,
    /// Its samples left memory.
    Evicted,
}

/// Appends a cut, flushed or evicted record to `out`. A cut concerns all shards, so `shards` is ignored for it.
pub(crate) fn put_step(out: &mut Vec<u8>, step: Step, tenant: u32, window: i64, cut: u32, shards: &ShardSet) {
    let kind = match step {
        Step::Cut => CUT,
        Step::Flushed => FLUSHED,
        Step::Evicted => EVICTED,
    };
    framed(out, kind, tenant, |out| {
        put_varint(out, window);
        put_uvarint(out, u64::from(cut));
        if step != Step::Cut {
            put_shards(out, shards);
        }
    });
}

/// Appends a forget record to `out`.
pub(crate) fn put_forget(out: &mut Vec<u8>, tenant: u32, shards: &ShardSet) {
    framed(out, FORGET, tenant, |out| put_shards(out, shards));
}

fn put_shards(out: &mut Vec<u8>, shards: &ShardSet) {
    put_uvarint(out, shards.ranges().count() as u64);
    let mut end = 0;
    for range in shards.ranges() {
        put_uvarint(out, u64::from(range.start() - end));
        end = range.end() + 1;
        put_uvarint(out, u64::from(end - range.start()));
    }
}

fn read_shards(r: &mut Reader<'_>) -> Result<ShardSet, Malformed> {
    let mut shards = ShardSet::new();
    let mut end = 0u32;
    for _ in 0..r.count(2)? {
        let start = end.saturating_add(r.u32()?);
        end = start.saturating_add(r.u32()?);
        if end > MAX_SHARDS {
            return Err(Malformed("shard is out of range"));
        }
        shards.extend(start..end);
    }
    Ok(shards)
}

/// Appends a delete record to `out`.
pub(crate) fn put_delete(out: &mut Vec<u8>, tenant: u32, range: TimeRange, matchers: &[Matcher], number: u64) {
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
        put_uvarint(out, number);
    });
}

/// Reads the number of a deletion. Records of earlier versions end before it, which means 0.
fn read_number(r: &mut Reader<'_>) -> Result<u64, Malformed> {
    if r.is_empty() { Ok(0) } else { r.uvarint() }
}

/// Appends an append record with what the encoder has collected, if anything, and resets the encoder.
pub(crate) fn put_append(out: &mut Vec<u8>, tenant: u32, encoder: &mut AppendEncoder) {
    put_collected(out, APPEND, tenant, encoder);
}

/// Like [`put_append`], for samples that replace others. Their series are declared in an append record before.
pub(crate) fn put_replaced(out: &mut Vec<u8>, tenant: u32, encoder: &mut AppendEncoder) {
    put_collected(out, REPLACED, tenant, encoder);
}

/// Like [`put_replaced`], for samples that were removed.
pub(crate) fn put_retracted(out: &mut Vec<u8>, tenant: u32, encoder: &mut AppendEncoder) {
    put_collected(out, RETRACTED, tenant, encoder);
}

/// Like [`put_replaced`], for samples before which others were removed.
pub(crate) fn put_yielded(out: &mut Vec<u8>, tenant: u32, encoder: &mut AppendEncoder) {
    put_collected(out, YIELDED, tenant, encoder);
}

fn put_collected(out: &mut Vec<u8>, kind: u8, tenant: u32, encoder: &mut AppendEncoder) {
    if !encoder.is_empty() {
        framed(out, kind, tenant, |out| encoder.finish(out));
    }
}

/// Like [`put_append`], for samples of a generation that are repeated from an older segment.
pub(crate) fn put_survivors(out: &mut Vec<u8>, tenant: u32, generation: u32, encoder: &mut AppendEncoder) {
    if !encoder.is_empty() {
        framed(out, SURVIVORS, tenant, |out| {
            put_uvarint(out, u64::from(generation));
            encoder.finish(out);
        });
    }
}

/// Frames a record. Every record passes through here, and none may be longer than replay reads: callers close records in
/// time, since what is in one entry of a record is bounded.
fn framed(out: &mut Vec<u8>, kind: u8, tenant: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = begin_record(out);
    out.push(kind);
    put_uvarint(out, u64::from(tenant));
    write(out);
    debug_assert!(out.len() - start <= MAX_RECORD_BYTES, "record of kind {kind} has {} bytes", out.len() - start);
    end_record(out, start);
}

fn read_tenant(number: u32, r: &mut Reader<'_>) -> Result<TenantRecord, Malformed> {
    let tenant = TenantId::new(r.text()?).map_err(|_| Malformed("tenant name is malformed"))?;
    let shards = r.u32()?;
    let has_newest = r.byte()? != 0;
    let newest = r.varint()?;
    let windows = (0..r.count(3)?).map(|_| read_window(r)).collect::<Result<_, _>>()?;
    let metadata = (0..r.count(4)?).map(|_| read_metadata(r)).collect::<Result<_, _>>()?;
    let last_deletion = read_number(r)?;
    Ok(TenantRecord { number, tenant, shards, newest: has_newest.then_some(newest), windows, metadata, last_deletion })
}

fn read_window(r: &mut Reader<'_>) -> Result<WindowCuts, Malformed> {
    let window = r.varint()?;
    let newest = r.u32()?;
    let flushed = (0..r.count(2)?).map(|_| Ok((r.u32()?, read_shards(r)?))).collect::<Result<_, _>>()?;
    Ok(WindowCuts { window, newest, flushed })
}

fn read_matcher(r: &mut Reader<'_>) -> Result<Matcher, Malformed> {
    let op = match r.byte()? {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        _ => return Err(Malformed("matcher is of an unknown kind")),
    };
    Matcher::new(op, r.text()?, r.text()?).map_err(|_| Malformed("matcher is malformed"))
}

#[cfg(test)]
mod tests;
