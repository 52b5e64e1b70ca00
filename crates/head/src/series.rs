//! One series: its labels, and its samples of every window in memory.
//!
//! Samples newer than all others go into the open chunk. Late samples go into small sorted buffers, one a window and
//! generation, which are sealed into chunks of their own when they are full. A timestamp occurs at most once in a series,
//! floats and histograms taken together.

mod run;

use parking_lot::Mutex;
use pharos_model::wire::histogram::same_sample;
use pharos_model::write::{HistogramSample, SampleIndex};
use pharos_model::{Labels, Sample, TimeRange, is_stale_nan};

use crate::chunk::{self, Chunk, ChunkKind, ChunkRef, OpenFloats, OpenHistograms};
pub(crate) use run::{LateBuffer, SampleRun, float_samples};

/// A buffer of late samples is sealed when it holds this many.
const MAX_LATE_SAMPLES: usize = 48;

#[derive(Debug)]
pub(crate) struct Series {
    /// The number of the series within the tenant. Numbers are never reused.
    pub(crate) id: u32,
    /// The shard that the hash falls into.
    pub(crate) shard: u16,
    pub(crate) hash: u64,
    pub(crate) labels: Labels,
    pub(crate) data: Mutex<SeriesData>,
}

/// A window and its current generation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowGeneration {
    /// First millisecond of the window.
    pub(crate) start: i64,
    pub(crate) generation: u32,
}

/// The result of inserting a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insert {
    /// The sample is new; the series grew by this many bytes.
    Added(isize),
    /// The series holds the same sample already.
    Same,
    /// The series holds another sample with that timestamp.
    Conflict,
}

/// The sample that a series holds at a timestamp, compared with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Same,
    Other,
}

impl Stored {
    fn compare(is_same: bool) -> Self {
        if is_same { Stored::Same } else { Stored::Other }
    }
}

/// The samples of a series.
#[derive(Debug)]
pub(crate) struct SeriesData {
    /// The log segment in which the series was declared last, and its reference there.
    pub(crate) wal_segment: u32,
    pub(crate) wal_ref: u32,
    newest: i64,
    chunks: Vec<Chunk>,
    open: Open,
    #[allow(clippy::box_collection, reason = "few series have late samples: 8 bytes a series instead of 24")]
    late: Option<Box<Vec<LateBuffer>>>,
}

#[derive(Debug)]
enum Open {
    None,
    Floats(OpenFloats),
    Histograms(Box<OpenHistograms>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum AnySample<'a> {
    Float(&'a Sample),
    Histogram(&'a HistogramSample),
}

impl AnySample<'_> {
    pub(crate) fn t(&self) -> i64 {
        match self {
            AnySample::Float(s) => s.t,
            AnySample::Histogram(s) => s.t,
        }
    }

    /// Whether it says that the series has ended.
    pub(crate) fn is_stale(&self) -> bool {
        match self {
            AnySample::Float(s) => is_stale_nan(s.v),
            AnySample::Histogram(s) => s.h.is_stale(),
        }
    }

    /// Names the sample at a position of the column of its kind.
    pub(crate) fn index(&self, at: u32) -> SampleIndex {
        SampleIndex { is_histogram: matches!(self, AnySample::Histogram(_)), at }
    }
}

impl SeriesData {
    pub(crate) fn new() -> Self {
        SeriesData { wal_segment: 0, wal_ref: 0, newest: i64::MIN, chunks: Vec::new(), open: Open::None, late: None }
    }

    /// Whether a timestamp is later than all that the series has had.
    #[inline]
    pub(crate) fn is_newer(&self, t: i64) -> bool {
        t > self.newest
    }

    /// Inserts a sample unless its timestamp is taken.
    #[inline]
    pub(crate) fn insert(&mut self, sample: AnySample<'_>, window: WindowGeneration) -> Insert {
        let t = sample.t();
        if self.is_newer(t) {
            self.newest = t;
            return Insert::Added(self.append(sample, window));
        }
        if let (AnySample::Float(s), Open::Floats(open)) = (sample, &self.open)
            && open.encoder.t == t
        {
            return if open.encoder.bits == s.v.to_bits() { Insert::Same } else { Insert::Conflict };
        }
        match self.find(sample) {
            Some(Stored::Same) => Insert::Same,
            Some(Stored::Other) => Insert::Conflict,
            None => Insert::Added(self.insert_late(sample, window)),
        }
    }

    /// Inserts a sample whose timestamp another value holds, and removes that one; returns by how many bytes the series grew.
    /// Calls `removed` with the generation of the removed value.
    pub(crate) fn replace(
        &mut self,
        sample: AnySample<'_>,
        window: WindowGeneration,
        removed: impl FnMut(u32, u64),
    ) -> isize {
        let freed = self.remove(sample.t(), removed);
        // `newest` still covers the timestamp, so the sample is not appended to the open chunk.
        self.insert_late(sample, window) - freed
    }

    /// Removes the sample at a timestamp; returns how many bytes that freed. Calls `removed` with its generation and a count
    /// of 1, and may call it with a count of 0.
    pub(crate) fn remove(&mut self, t: i64, mut removed: impl FnMut(u32, u64)) -> isize {
        let before = self.heap_bytes() as isize;
        self.remove_samples(TimeRange::new(t, t), |_, generation, count| removed(generation, count));
        before - self.heap_bytes() as isize
    }

    #[inline]
    fn append(&mut self, sample: AnySample<'_>, window: WindowGeneration) -> isize {
        match (&mut self.open, sample) {
            (Open::Floats(open), AnySample::Float(s)) if open.takes(window.start, window.generation) => {
                open.append(s) as isize
            }
            (Open::Histograms(open), AnySample::Histogram(s)) if open.takes(window.start, window.generation) => {
                let before = open.heap_bytes();
                open.append(s);
                open.heap_bytes() as isize - before as isize
            }
            _ => self.append_to_new(sample, window),
        }
    }

    #[inline(never)]
    fn append_to_new(&mut self, sample: AnySample<'_>, window: WindowGeneration) -> isize {
        let before = self.heap_bytes();
        self.seal();
        self.open = match sample {
            AnySample::Float(s) => Open::Floats(OpenFloats::new(s, window.generation)),
            AnySample::Histogram(s) => Open::Histograms(Box::new(OpenHistograms::new(s, window.generation))),
        };
        self.heap_bytes() as isize - before as isize
    }

    /// Seals the open chunk.
    fn seal(&mut self) {
        let sealed = match std::mem::replace(&mut self.open, Open::None) {
            Open::None => return,
            Open::Floats(open) => open.seal(),
            Open::Histograms(open) => open.seal(),
        };
        if self.chunks.len() == self.chunks.capacity() {
            self.chunks.reserve_exact(1 + self.chunks.len() / 4);
        }
        self.chunks.push(sealed);
    }

    /// Looks up the timestamp of a sample.
    pub(crate) fn find(&self, sample: AnySample<'_>) -> Option<Stored> {
        self.locate(sample).map(|(stored, _)| stored)
    }

    /// Like [`SeriesData::find`], with the generation of the run that holds the timestamp.
    pub(crate) fn locate(&self, sample: AnySample<'_>) -> Option<(Stored, u32)> {
        let t = sample.t();
        let mut found = None;
        self.for_each_run(|run| match run {
            SampleRun::Chunk(chunk) if chunk.min_t <= t && t <= chunk.max_t && found.is_none() => {
                found = find_in_chunk(chunk, sample).map(|stored| (stored, chunk.generation));
            }
            SampleRun::Late(late) if found.is_none() => {
                let float = late.floats.binary_search_by_key(&t, |s| s.t).ok().map(|i| &late.floats[i]);
                let histogram = late.histograms.binary_search_by_key(&t, |s| s.t).ok().map(|i| &late.histograms[i]);
                let stored = match (sample, float, histogram) {
                    (_, None, None) => None,
                    (AnySample::Float(s), Some(had), _) => Some(Stored::compare(s.v.to_bits() == had.v.to_bits())),
                    (AnySample::Histogram(s), _, Some(had)) => Some(Stored::compare(same_sample(&s.h, &had.h))),
                    _ => Some(Stored::Other),
                };
                found = stored.map(|stored| (stored, late.generation));
            }
            _ => {}
        });
        found
    }

    #[inline(never)]
    fn insert_late(&mut self, sample: AnySample<'_>, window: WindowGeneration) -> isize {
        let before = self.heap_bytes();
        let buffers = self.late.get_or_insert_default();
        let at = match buffers.iter().position(|b| b.window == window.start && b.generation == window.generation) {
            Some(at) => at,
            None => {
                buffers.push(LateBuffer {
                    window: window.start,
                    generation: window.generation,
                    floats: Vec::new(),
                    histograms: Vec::new(),
                });
                buffers.len() - 1
            }
        };
        let buffer = &mut buffers[at];
        match sample {
            AnySample::Float(s) => {
                let at = buffer.floats.partition_point(|had| had.t < s.t);
                buffer.floats.insert(at, *s);
            }
            AnySample::Histogram(s) => {
                let at = buffer.histograms.partition_point(|had| had.t < s.t);
                buffer.histograms.insert(at, s.clone());
            }
        }
        if buffer.len() >= MAX_LATE_SAMPLES {
            let full = buffers.swap_remove(at);
            chunk::seal_floats(&full.floats, full.generation, &mut self.chunks);
            chunk::seal_histograms(&full.histograms, full.generation, &mut self.chunks);
        }
        if self.late.as_ref().is_some_and(|late| late.is_empty()) {
            self.late = None;
        }
        self.heap_bytes() as isize - before as isize
    }

    /// Calls `each` for every run, in no particular order.
    pub(crate) fn for_each_run<'a>(&'a self, mut each: impl FnMut(SampleRun<'a>)) {
        for chunk in &self.chunks {
            each(SampleRun::Chunk(chunk.view()));
        }
        match &self.open {
            Open::None => {}
            Open::Floats(open) => each(SampleRun::Chunk(open.view())),
            Open::Histograms(open) => each(SampleRun::Chunk(open.view())),
        }
        for buffer in self.late.iter().flat_map(|late| late.iter()) {
            each(SampleRun::Late(buffer));
        }
    }

    /// Evicts the runs that `evict` selects; returns by how many bytes the series shrank.
    pub(crate) fn evict_runs(&mut self, mut evict: impl FnMut(&SampleRun<'_>) -> bool) -> usize {
        let before = self.heap_bytes();
        self.chunks.retain(|chunk| !evict(&SampleRun::Chunk(chunk.view())));
        self.chunks.shrink_to_fit();
        let evict_open = match &self.open {
            Open::None => false,
            Open::Floats(open) => evict(&SampleRun::Chunk(open.view())),
            Open::Histograms(open) => evict(&SampleRun::Chunk(open.view())),
        };
        if evict_open {
            self.open = Open::None;
        }
        if let Some(late) = &mut self.late {
            late.retain(|buffer| !evict(&SampleRun::Late(buffer)));
            if late.is_empty() {
                self.late = None;
            }
        }
        before.saturating_sub(self.heap_bytes())
    }

    /// Removes the samples in a range. Calls `removed` for every run that the range touches, with a timestamp in the window
    /// of the run, its generation and the number of samples removed.
    pub(crate) fn remove_samples(&mut self, range: TimeRange, mut removed: impl FnMut(i64, u32, u64)) {
        let overlaps = |c: &ChunkRef<'_>| c.min_t <= range.end && range.start <= c.max_t;
        let mut touched = false;
        self.for_each_run(|run| touched |= !matches!(run, SampleRun::Chunk(chunk) if !overlaps(&chunk)));
        if !touched {
            return;
        }
        self.seal();
        let mut kept = Vec::with_capacity(self.chunks.len());
        for sealed in std::mem::take(&mut self.chunks) {
            let chunk = sealed.view();
            if !overlaps(&chunk) {
                kept.push(sealed);
                continue;
            }
            if range.start <= chunk.min_t && chunk.max_t <= range.end {
                removed(chunk.min_t, chunk.generation, chunk.count.into());
                continue;
            }
            let count = if chunk.kind == ChunkKind::Histogram {
                let mut samples = Vec::new();
                chunk.histograms(|s| samples.extend((!range.contains(s.t)).then_some(s)));
                chunk::seal_histograms(&samples, chunk.generation, &mut kept);
                chunk.count as usize - samples.len()
            } else {
                let samples: Vec<Sample> = float_samples(chunk).into_iter().filter(|s| !range.contains(s.t)).collect();
                chunk::seal_floats(&samples, chunk.generation, &mut kept);
                chunk.count as usize - samples.len()
            };
            removed(chunk.min_t, chunk.generation, count as u64);
        }
        kept.shrink_to_fit();
        self.chunks = kept;
        if let Some(late) = &mut self.late {
            for buffer in late.iter_mut() {
                let before = buffer.len();
                buffer.floats.retain(|s| !range.contains(s.t));
                buffer.histograms.retain(|s| !range.contains(s.t));
                removed(buffer.window, buffer.generation, (before - buffer.len()) as u64);
            }
            late.retain(|buffer| buffer.len() > 0);
            if late.is_empty() {
                self.late = None;
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && matches!(self.open, Open::None) && self.late.is_none()
    }

    /// The heap memory of the series data, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let open = match &self.open {
            Open::None => 0,
            Open::Floats(open) => open.heap_bytes(),
            Open::Histograms(open) => open.heap_bytes() + size_of::<OpenHistograms>(),
        };
        let late: usize = self.late.iter().flat_map(|late| late.iter()).map(LateBuffer::bytes).sum();
        let sealed: usize = self.chunks.iter().map(Chunk::heap_bytes).sum();
        sealed + self.chunks.capacity() * size_of::<Chunk>() + open + late
    }
}

fn find_in_chunk(chunk: ChunkRef<'_>, sample: AnySample<'_>) -> Option<Stored> {
    let t = sample.t();
    if chunk.kind == ChunkKind::Histogram {
        let mut found = None;
        chunk.histograms(|had| {
            if had.t == t {
                let is_same = matches!(sample, AnySample::Histogram(s) if same_sample(&s.h, &had.h));
                found = Some(Stored::compare(is_same));
            }
        });
        return found;
    }
    let mut times = Vec::new();
    let mut values = Vec::new();
    chunk.floats(&mut times, &mut values, None);
    let at = times.binary_search(&t).ok()?;
    Some(Stored::compare(matches!(sample, AnySample::Float(s) if s.v.to_bits() == values[at].to_bits())))
}

#[cfg(test)]
mod tests;
