//! One series: its labels and its samples of all windows that the head holds.
//!
//! Samples that are newer than all before go into the open chunk; late ones into small sorted buffers, one a window and
//! epoch, that are sealed into chunks of their own. A timestamp occurs at most once in a series, floats and histograms together.

use parking_lot::Mutex;
use pharos_model::shards::histogram_value;
use pharos_model::wire::histogram::same_sample;
use pharos_model::write::HistogramSample;
use pharos_model::{Labels, Sample};

use crate::chunk::{self, Chunk, ChunkKind, ChunkRef, OpenFloats, OpenHistograms};

/// Late samples are sealed into a chunk when there are so many of a window.
const LATE_SAMPLES: usize = 48;

/// A series of a tenant.
#[derive(Debug)]
pub(crate) struct Series {
    /// Its number within the tenant; never used again.
    pub(crate) id: u32,
    /// The shard that its hash falls into.
    pub(crate) shard: u16,
    /// Its place in the hash space.
    pub(crate) hash: u64,
    pub(crate) labels: Labels,
    pub(crate) data: Mutex<SeriesData>,
}

/// The window of a sample, as appends need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowCtx {
    /// First millisecond.
    pub(crate) start: i64,
    /// How often the window has been cut.
    pub(crate) epoch: u32,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insert {
    /// It is new; the series grew by so many bytes.
    Added(isize),
    /// The series had it already.
    Same,
    /// The series has another sample at that timestamp.
    Conflict,
}

/// The samples of a series.
#[derive(Debug)]
pub(crate) struct SeriesData {
    /// The segment of the log in which the series was last declared, and its reference there.
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

/// Late samples of one window and epoch, each kind in ascending order.
#[derive(Debug)]
pub(crate) struct LateBuffer {
    pub(crate) window: i64,
    pub(crate) epoch: u32,
    pub(crate) floats: Vec<Sample>,
    pub(crate) histograms: Vec<HistogramSample>,
}

/// A piece of a series' samples.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    Chunk(ChunkRef<'a>),
    Late(&'a LateBuffer),
}

impl Part<'_> {
    /// Visits the timestamps of its samples with what stands for their values in digests.
    pub(crate) fn values(&self, mut each: impl FnMut(i64, u64)) {
        match self {
            Part::Chunk(chunk) if chunk.kind == ChunkKind::Histogram => {
                chunk.histograms(|s| each(s.t, histogram_value(&s.h)));
            }
            Part::Chunk(chunk) => {
                let (mut times, mut values) = (Vec::new(), Vec::new());
                chunk.floats(&mut times, &mut values, None);
                times.iter().zip(&values).for_each(|(t, v)| each(*t, v.to_bits()));
            }
            Part::Late(late) => {
                late.floats.iter().for_each(|s| each(s.t, s.v.to_bits()));
                late.histograms.iter().for_each(|s| each(s.t, histogram_value(&s.h)));
            }
        }
    }
}

/// A sample of either kind.
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
}

impl SeriesData {
    pub(crate) fn new() -> Self {
        SeriesData { wal_segment: 0, wal_ref: 0, newest: i64::MIN, chunks: Vec::new(), open: Open::None, late: None }
    }

    /// Adds a sample unless its timestamp is taken.
    #[inline]
    pub(crate) fn insert(&mut self, sample: AnySample<'_>, window: WindowCtx) -> Insert {
        let t = sample.t();
        if t > self.newest {
            self.newest = t;
            return Insert::Added(self.append(sample, window));
        }
        if let (AnySample::Float(s), Open::Floats(open)) = (sample, &self.open)
            && open.encoder.t == t
        {
            return if open.encoder.bits == s.v.to_bits() { Insert::Same } else { Insert::Conflict };
        }
        match self.find(sample) {
            Some(true) => Insert::Same,
            Some(false) => Insert::Conflict,
            None => Insert::Added(self.insert_late(sample, window)),
        }
    }

    #[inline]
    fn append(&mut self, sample: AnySample<'_>, window: WindowCtx) -> isize {
        match (&mut self.open, sample) {
            (Open::Floats(open), AnySample::Float(s)) if open.takes(window.start, window.epoch) => {
                open.append(s) as isize
            }
            (Open::Histograms(open), AnySample::Histogram(s)) if open.takes(window.start, window.epoch) => {
                let before = open.heap_bytes();
                open.append(s);
                open.heap_bytes() as isize - before as isize
            }
            _ => self.append_to_new(sample, window),
        }
    }

    #[inline(never)]
    fn append_to_new(&mut self, sample: AnySample<'_>, window: WindowCtx) -> isize {
        let before = self.heap_bytes();
        self.seal();
        self.open = match sample {
            AnySample::Float(s) => Open::Floats(OpenFloats::new(s, window.epoch)),
            AnySample::Histogram(s) => Open::Histograms(Box::new(OpenHistograms::new(s, window.epoch))),
        };
        self.heap_bytes() as isize - before as isize
    }

    /// Closes the open chunk.
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

    /// Whether there is a sample at that timestamp, and if so, whether it is the same one.
    pub(crate) fn find(&self, sample: AnySample<'_>) -> Option<bool> {
        let t = sample.t();
        let mut found = None;
        self.parts(|part| match part {
            Part::Chunk(chunk) if chunk.min_t <= t && t <= chunk.max_t && found.is_none() => {
                found = find_in_chunk(chunk, sample);
            }
            Part::Late(late) if found.is_none() => {
                let float = late.floats.binary_search_by_key(&t, |s| s.t).ok().map(|i| &late.floats[i]);
                let histogram = late.histograms.binary_search_by_key(&t, |s| s.t).ok().map(|i| &late.histograms[i]);
                found = match (sample, float, histogram) {
                    (_, None, None) => None,
                    (AnySample::Float(s), Some(had), _) => Some(s.v.to_bits() == had.v.to_bits()),
                    (AnySample::Histogram(s), _, Some(had)) => Some(same_sample(&s.h, &had.h)),
                    _ => Some(false),
                };
            }
            _ => {}
        });
        found
    }

    #[inline(never)]
    fn insert_late(&mut self, sample: AnySample<'_>, window: WindowCtx) -> isize {
        let before = self.heap_bytes();
        let buffers = self.late.get_or_insert_default();
        let at = match buffers.iter().position(|b| b.window == window.start && b.epoch == window.epoch) {
            Some(at) => at,
            None => {
                let (floats, histograms) = (Vec::new(), Vec::new());
                buffers.push(LateBuffer { window: window.start, epoch: window.epoch, floats, histograms });
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
        if buffer.floats.len() + buffer.histograms.len() >= LATE_SAMPLES {
            let full = buffers.swap_remove(at);
            chunk::seal_floats(&full.floats, full.epoch, &mut self.chunks);
            chunk::seal_histograms(&full.histograms, full.epoch, &mut self.chunks);
        }
        if self.late.as_ref().is_some_and(|late| late.is_empty()) {
            self.late = None;
        }
        self.heap_bytes() as isize - before as isize
    }

    /// Visits all samples, in no particular order.
    pub(crate) fn parts<'a>(&'a self, mut each: impl FnMut(Part<'a>)) {
        for chunk in &self.chunks {
            each(Part::Chunk(chunk.view()));
        }
        match &self.open {
            Open::None => {}
            Open::Floats(open) => each(Part::Chunk(open.view())),
            Open::Histograms(open) => each(Part::Chunk(open.view())),
        }
        for buffer in self.late.iter().flat_map(|late| late.iter()) {
            each(Part::Late(buffer));
        }
    }

    /// Drops whole parts for which `drop` holds; returns by how many bytes the series shrank.
    pub(crate) fn drop_parts(&mut self, mut drop: impl FnMut(&Part<'_>) -> bool) -> usize {
        let before = self.heap_bytes();
        self.chunks.retain(|chunk| !drop(&Part::Chunk(chunk.view())));
        self.chunks.shrink_to_fit();
        let drop_open = match &self.open {
            Open::None => false,
            Open::Floats(open) => drop(&Part::Chunk(open.view())),
            Open::Histograms(open) => drop(&Part::Chunk(open.view())),
        };
        if drop_open {
            self.open = Open::None;
        }
        if let Some(late) = &mut self.late {
            late.retain(|buffer| !drop(&Part::Late(buffer)));
            if late.is_empty() {
                self.late = None;
            }
        }
        before.saturating_sub(self.heap_bytes())
    }

    /// Removes the samples in a range; tells of each piece a timestamp in its window, its epoch and how many went.
    pub(crate) fn remove_samples(&mut self, range: pharos_model::TimeRange, mut gone: impl FnMut(i64, u32, u64)) {
        let overlaps = |c: &ChunkRef<'_>| c.min_t <= range.end && range.start <= c.max_t;
        let mut touched = false;
        self.parts(|part| touched |= !matches!(part, Part::Chunk(chunk) if !overlaps(&chunk)));
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
            let removed = if chunk.kind == ChunkKind::Histogram {
                let mut samples = Vec::new();
                chunk.histograms(|s| samples.extend((!range.contains(s.t)).then_some(s)));
                chunk::seal_histograms(&samples, chunk.epoch, &mut kept);
                chunk.count as usize - samples.len()
            } else {
                let samples: Vec<Sample> = float_samples(chunk).into_iter().filter(|s| !range.contains(s.t)).collect();
                chunk::seal_floats(&samples, chunk.epoch, &mut kept);
                chunk.count as usize - samples.len()
            };
            gone(chunk.min_t, chunk.epoch, removed as u64);
        }
        kept.shrink_to_fit();
        self.chunks = kept;
        if let Some(late) = &mut self.late {
            for buffer in late.iter_mut() {
                let before = buffer.floats.len() + buffer.histograms.len();
                buffer.floats.retain(|s| !range.contains(s.t));
                buffer.histograms.retain(|s| !range.contains(s.t));
                let removed = before - buffer.floats.len() - buffer.histograms.len();
                gone(buffer.window, buffer.epoch, removed as u64);
            }
            late.retain(|buffer| !buffer.floats.is_empty() || !buffer.histograms.is_empty());
            if late.is_empty() {
                self.late = None;
            }
        }
    }

    /// Whether there are no samples.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && matches!(self.open, Open::None) && self.late.is_none()
    }

    /// The memory behind the struct, bytes.
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

impl LateBuffer {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.floats.capacity() * size_of::<Sample>()
            + self.histograms.iter().map(|s| size_of::<HistogramSample>() + s.h.bytes()).sum::<usize>()
    }
}

/// The floats of a chunk.
pub(crate) fn float_samples(chunk: ChunkRef<'_>) -> Vec<Sample> {
    let (mut t, mut v, mut st) = (Vec::new(), Vec::new(), Vec::new());
    chunk.floats(&mut t, &mut v, Some(&mut st));
    t.iter().zip(&v).zip(&st).map(|((&t, &v), &st)| Sample { t, v, st }).collect()
}

fn find_in_chunk(chunk: ChunkRef<'_>, sample: AnySample<'_>) -> Option<bool> {
    let t = sample.t();
    if chunk.kind == ChunkKind::Histogram {
        let mut found = None;
        chunk.histograms(|had| {
            if had.t == t {
                found = Some(matches!(sample, AnySample::Histogram(s) if same_sample(&s.h, &had.h)));
            }
        });
        return found;
    }
    let (mut times, mut values) = (Vec::new(), Vec::new());
    chunk.floats(&mut times, &mut values, None);
    let at = times.binary_search(&t).ok()?;
    Some(matches!(sample, AnySample::Float(s) if s.v.to_bits() == values[at].to_bits()))
}
