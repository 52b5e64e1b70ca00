//! Reading: the series that a selector matched, and their samples in columns.

use std::sync::Arc;

use pharos_model::batch::SeriesColumns;
use pharos_model::write::HistogramSample;
use pharos_model::{
    Histogram, Labels, Matcher, Sample, SelectError, SelectRequest, SeriesBatch, SeriesSet, ShardSet, TimeRange,
};
use smallvec::SmallVec;

use crate::chunk::{ChunkKind, ChunkRef};
use crate::series::{Part, Series, SeriesData, float_samples};
use crate::tenant::Tenant;
use crate::window::FlushMap;

/// Which samples of the head a query is to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadFilter {
    /// All samples from this timestamp on, flushed or not.
    pub from: i64,
    /// Also the samples before it that are not flushed yet.
    pub late: bool,
    /// Of these shards only; nothing for all of them, which costs nothing.
    pub shards: Option<Arc<ShardSet>>,
}

impl HeadFilter {
    /// Everything in memory.
    pub const ALL: HeadFilter = HeadFilter { from: i64::MIN, late: true, shards: None };
}

/// Says for each piece of a series which time of it is served.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) filter: HeadFilter,
    pub(crate) flush: FlushMap,
}

impl View {
    fn range_of(&self, t: i64, shard: u16, epoch: u32, range: TimeRange) -> TimeRange {
        let unflushed_too = self.filter.late && !self.flush.is_flushed(t, shard, epoch);
        if unflushed_too { range } else { TimeRange::new(range.start.max(self.filter.from), range.end) }
    }

    /// The part of a chunk's time that is served.
    fn chunk(&self, shard: u16, chunk: &ChunkRef<'_>, range: TimeRange) -> TimeRange {
        self.range_of(chunk.min_t, shard, chunk.epoch, range).intersect(&TimeRange::new(chunk.min_t, chunk.max_t))
    }

    /// Whether a series has a sample, or may have one, that is served.
    pub(crate) fn has_samples(&self, series: &Series, range: TimeRange) -> bool {
        if self.filter.shards.as_ref().is_some_and(|shards| !shards.contains(series.shard.into())) {
            return false;
        }
        let mut found = false;
        series.data.lock().parts(|part| {
            found = found
                || match part {
                    Part::Chunk(chunk) => !self.chunk(series.shard, &chunk, range).is_empty(),
                    Part::Late(late) => {
                        let range = self.range_of(late.window, series.shard, late.epoch, range);
                        late.floats
                            .iter()
                            .map(|s| s.t)
                            .chain(late.histograms.iter().map(|s| s.t))
                            .any(|t| range.contains(t))
                    }
                };
        });
        found
    }
}

/// The series of a tenant that satisfy matchers and have samples that are served, by ascending labels.
pub(crate) fn matching_series(
    tenant: &Tenant,
    matchers: &[Matcher],
    mut served: impl FnMut(&Series) -> bool,
) -> Vec<Arc<Series>> {
    let index = tenant.index.read();
    let ids = index.matching(matchers);
    let mut series: Vec<Arc<Series>> = ids.iter().filter_map(|&id| index.get(id).cloned()).collect();
    drop(index);
    series.retain(|s| served(s));
    series.sort_by(|a, b| compare_canonical(a.labels.as_bytes(), b.labels.as_bytes()));
    series
}

/// Orders label sets by their canonical bytes as [`Labels`] orders them: pairwise, name then value.
pub(crate) fn compare_canonical(mut a: &[u8], mut b: &[u8]) -> std::cmp::Ordering {
    loop {
        match (split_string(a), split_string(b)) {
            (Some((left, rest_a)), Some((right, rest_b))) => {
                match left.cmp(right) {
                    std::cmp::Ordering::Equal => {}
                    other => return other,
                }
                (a, b) = (rest_a, rest_b);
            }
            _ => return a.len().cmp(&b.len()),
        }
    }
}

#[inline]
fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return rest.split_at_checked(first as usize);
    }
    let (len, used) = pharos_model::labels::read_uvarint(bytes)?;
    bytes[used..].split_at_checked(usize::try_from(len).ok()?)
}

/// What a selector matched in the head.
pub(crate) struct HeadSet {
    labels: Vec<Labels>,
    series: Vec<Arc<Series>>,
    view: View,
}

impl HeadSet {
    pub(crate) fn select(tenant: &Tenant, request: &SelectRequest, filter: HeadFilter) -> Result<Self, SelectError> {
        let view = View { filter, flush: tenant.flush.read().clone() };
        let series = matching_series(tenant, &request.matchers, |series| view.has_samples(series, request.range));
        if request.max_series > 0 && series.len() > request.max_series {
            return Err(SelectError::Series { limit: request.max_series });
        }
        Ok(HeadSet { labels: series.iter().map(|s| s.labels.clone()).collect(), series, view })
    }
}

impl SeriesSet for HeadSet {
    fn labels(&self) -> &[Labels] {
        &self.labels
    }

    fn fetch(
        &self,
        series: std::ops::Range<usize>,
        range: TimeRange,
        out: &mut SeriesBatch,
    ) -> Result<(), SelectError> {
        for series in &self.series[series] {
            read_series(&series.data.lock(), out, |chunk_or_late| match chunk_or_late {
                Part::Chunk(chunk) => self.view.chunk(series.shard, &chunk, range),
                Part::Late(late) => self.view.range_of(late.window, series.shard, late.epoch, range),
            });
        }
        Ok(())
    }
}

/// Appends one series to `out`: of each piece, the time that `served` says.
pub(crate) fn read_series(data: &SeriesData, out: &mut SeriesBatch, served: impl Fn(Part<'_>) -> TimeRange) {
    let mut floats: SmallVec<[(ChunkRef<'_>, TimeRange); 8]> = SmallVec::new();
    let mut histograms: SmallVec<[(ChunkRef<'_>, TimeRange); 8]> = SmallVec::new();
    let (mut late_floats, mut late_histograms) = (Vec::new(), Vec::new());
    data.parts(|part| {
        let range = served(part);
        match part {
            _ if range.is_empty() => {}
            Part::Chunk(chunk) if chunk.kind == ChunkKind::Histogram => histograms.push((chunk, range)),
            Part::Chunk(chunk) => floats.push((chunk, range)),
            Part::Late(late) => {
                late_floats.extend(late.floats.iter().filter(|s| range.contains(s.t)));
                late_histograms.extend(late.histograms.iter().filter(|s| range.contains(s.t)).cloned());
            }
        }
    });
    let mut columns = SeriesColumns {
        t: out.t.len()..out.t.len(),
        v: out.v.len(),
        st: None,
        ht: out.ht.len()..out.ht.len(),
        h: out.h.len(),
        hst: None,
    };
    if !floats.is_empty() || !late_floats.is_empty() {
        columns.st = read_floats(&mut floats, late_floats, out);
    }
    if !histograms.is_empty() || !late_histograms.is_empty() {
        columns.hst = read_histograms(&histograms, late_histograms, out);
    }
    columns.t.end = out.t.len();
    columns.ht.end = out.ht.len();
    out.series.push(columns);
}

/// Appends floats; returns where their start timestamps begin, if there are any.
fn read_floats(
    chunks: &mut [(ChunkRef<'_>, TimeRange)],
    mut late: Vec<Sample>,
    out: &mut SeriesBatch,
) -> Option<usize> {
    chunks.sort_by_key(|(chunk, _)| chunk.min_t);
    let st_from = out.st.len();
    let disjoint = chunks.windows(2).all(|pair| pair[0].0.max_t < pair[1].0.min_t);
    if late.is_empty() && disjoint {
        let started = chunks.iter().any(|(chunk, _)| chunk.kind == ChunkKind::FloatStarted);
        for (chunk, range) in chunks.iter() {
            let from = out.t.len();
            let st_at = out.st.len();
            chunk.floats(&mut out.t, &mut out.v, started.then_some(&mut out.st));
            clip(out, from, started.then_some(st_at), *range);
        }
        return started.then_some(st_from);
    }
    for (chunk, range) in chunks.iter() {
        late.extend(float_samples(*chunk).into_iter().filter(|s| range.contains(s.t)));
    }
    late.sort_by_key(|s| s.t);
    let started = late.iter().any(|s| s.st != 0);
    out.t.extend(late.iter().map(|s| s.t));
    out.v.extend(late.iter().map(|s| s.v));
    if started {
        out.st.extend(late.iter().map(|s| s.st));
    }
    started.then_some(st_from)
}

/// Cuts what was decoded behind `from` to a range. Values end where timestamps do, start timestamps likewise.
fn clip(out: &mut SeriesBatch, from: usize, st_from: Option<usize>, range: TimeRange) {
    let times = &out.t[from..];
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return };
    if range.start <= first && last <= range.end {
        return;
    }
    let decoded = times.len();
    let keep = times.partition_point(|&t| t < range.start)..times.partition_point(|&t| t <= range.end);
    let values_from = out.v.len() - decoded;
    keep_only(&mut out.t, from, &keep);
    keep_only(&mut out.v, values_from, &keep);
    if let Some(st_from) = st_from {
        keep_only(&mut out.st, st_from, &keep);
    }
}

/// Of what is behind `from`, keeps the positions `keep`.
fn keep_only<T: Copy>(column: &mut Vec<T>, from: usize, keep: &std::ops::Range<usize>) {
    column.copy_within(from + keep.start..from + keep.end.max(keep.start), from);
    column.truncate(from + keep.len());
}

/// Gives a histogram the counter-reset hint that the one before in its chunk tells.
fn note_reset(h: &mut Arc<Histogram>, before: Option<&Histogram>) {
    let hint = h.hint_when_read(before);
    if !h.is_stale() && hint != h.counter_reset {
        Arc::make_mut(h).counter_reset = hint;
    }
}

/// Appends histograms; returns where their start timestamps begin, if there are any.
fn read_histograms(
    chunks: &[(ChunkRef<'_>, TimeRange)],
    mut all: Vec<HistogramSample>,
    out: &mut SeriesBatch,
) -> Option<usize> {
    for (chunk, range) in chunks {
        let mut before: Option<Arc<Histogram>> = None;
        chunk.histograms(|mut s| {
            let as_stored = s.h.clone();
            if range.contains(s.t) {
                note_reset(&mut s.h, before.as_deref());
                all.push(s);
            }
            before = Some(as_stored);
        });
    }
    all.sort_by_key(|s| s.t);
    let st_from = out.hst.len();
    let started = all.iter().any(|s| s.st != 0);
    for s in all {
        out.ht.push(s.t);
        out.h.push(s.h);
        if started {
            out.hst.push(s.st);
        }
    }
    started.then_some(st_from)
}
