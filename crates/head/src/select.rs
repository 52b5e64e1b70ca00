//! Reading: the series that matchers select, and their samples decoded into columns.

use std::sync::Arc;

use pharos_model::batch::SeriesColumns;
use pharos_model::write::HistogramSample;
use pharos_model::{
    Histogram, Labels, Matcher, Sample, SelectError, SelectRequest, SeriesBatch, SeriesSet, ShardSet, TimeRange,
};
use smallvec::SmallVec;

use crate::chunk::{ChunkKind, ChunkRef};
use crate::series::{SampleRun, Series, SeriesData, float_samples};
use crate::tenant::Tenant;

/// The part of `range` that a run may have samples in.
fn served_range(run: &SampleRun<'_>, range: TimeRange) -> TimeRange {
    match run {
        SampleRun::Chunk(chunk) => range.intersect(&TimeRange::new(chunk.min_t, chunk.max_t)),
        SampleRun::Late(_) => range,
    }
}

/// Whether a series may have samples in a range. A chunk that merely spans the range counts.
pub(crate) fn may_have_samples(series: &Series, range: TimeRange) -> bool {
    let mut found = false;
    series.data.lock().for_each_run(|run| {
        found = found
            || match run {
                SampleRun::Chunk(_) => !served_range(&run, range).is_empty(),
                SampleRun::Late(late) => late.timestamps().any(|t| range.contains(t)),
            };
    });
    found
}

/// The series of a tenant that satisfy matchers, may have samples in a range and are of some shards, by ascending labels.
pub(crate) fn series_with_samples(
    tenant: &Tenant,
    matchers: &[Matcher],
    range: TimeRange,
    shards: Option<&ShardSet>,
) -> Vec<Arc<Series>> {
    let is_asked = |series: &Series| shards.is_none_or(|shards| shards.contains(series.shard.into()));
    matching_series(tenant, matchers, |series| is_asked(series) && may_have_samples(series, range))
}

/// The series of a tenant that satisfy matchers and a predicate, by ascending labels.
fn matching_series(tenant: &Tenant, matchers: &[Matcher], mut keep: impl FnMut(&Series) -> bool) -> Vec<Arc<Series>> {
    let index = tenant.index.read();
    let ids = index.matching(matchers);
    let mut series: Vec<Arc<Series>> = ids.iter().filter_map(|&id| index.get(id).cloned()).collect();
    drop(index);
    series.retain(|s| keep(s));
    series.sort_by(|a, b| compare_canonical(a.labels.as_bytes(), b.labels.as_bytes()));
    series
}

/// Compares canonical label sets in the order of [`Labels`]: pair by pair, name before value.
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

/// The series that a selector matched in the head.
pub(crate) struct HeadSet {
    labels: Vec<Labels>,
    series: Vec<Arc<Series>>,
}

impl HeadSet {
    pub(crate) fn select(
        tenant: &Tenant,
        request: &SelectRequest,
        shards: Option<&ShardSet>,
    ) -> Result<Self, SelectError> {
        let series = series_with_samples(tenant, &request.matchers, request.range, shards);
        request.check_series(series.len())?;
        Ok(HeadSet { labels: series.iter().map(|s| s.labels.clone()).collect(), series })
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
            read_series(&series.data.lock(), out, |run| served_range(&run, range));
        }
        Ok(())
    }
}

/// Appends one series to `out`, taking from each run the samples in the range that `served` returns for it.
pub(crate) fn read_series(data: &SeriesData, out: &mut SeriesBatch, served: impl Fn(SampleRun<'_>) -> TimeRange) {
    let mut floats: SmallVec<[(ChunkRef<'_>, TimeRange); 8]> = SmallVec::new();
    let mut histograms: SmallVec<[(ChunkRef<'_>, TimeRange); 8]> = SmallVec::new();
    let mut late_floats = Vec::new();
    let mut late_histograms = Vec::new();
    data.for_each_run(|run| {
        let range = served(run);
        match run {
            _ if range.is_empty() => {}
            SampleRun::Chunk(chunk) if chunk.kind == ChunkKind::Histogram => histograms.push((chunk, range)),
            SampleRun::Chunk(chunk) => floats.push((chunk, range)),
            SampleRun::Late(late) => {
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

/// Appends floats; returns where their start timestamps begin, or `None` without start timestamps.
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

/// Trims the samples decoded from position `from` on to a range. All columns of the batch end with those samples.
fn clip(out: &mut SeriesBatch, from: usize, st_from: Option<usize>, range: TimeRange) {
    let times = &out.t[from..];
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return };
    if range.start <= first && last <= range.end {
        return;
    }
    let decoded = times.len();
    let keep = range.positions(times);
    let values_from = out.v.len() - decoded;
    keep_only(&mut out.t, from, &keep);
    keep_only(&mut out.v, values_from, &keep);
    if let Some(st_from) = st_from {
        keep_only(&mut out.st, st_from, &keep);
    }
}

/// Keeps the positions `keep` of the elements from `from` on.
fn keep_only<T: Copy>(column: &mut Vec<T>, from: usize, keep: &std::ops::Range<usize>) {
    column.copy_within(from + keep.start..from + keep.end, from);
    column.truncate(from + keep.len());
}

/// Sets the counter-reset hint of a histogram from its predecessor in the chunk.
fn note_reset(h: &mut Arc<Histogram>, before: Option<&Histogram>) {
    let hint = h.hint_when_read(before);
    if !h.is_stale() && hint != h.counter_reset {
        Arc::make_mut(h).counter_reset = hint;
    }
}

/// Appends histograms; returns where their start timestamps begin, or `None` without start timestamps.
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

#[cfg(test)]
mod tests;
