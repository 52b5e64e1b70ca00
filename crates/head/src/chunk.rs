//! Chunks: compressed runs of samples of one series, kind, window and generation (see `window.rs`).
//!
//! An open chunk is appended to. A sealed chunk never changes.

pub(crate) mod float;

use std::sync::Arc;

use pharos_model::write::HistogramSample;
use pharos_model::{Histogram, Sample};

use float::FloatEncoder;
use pharos_model::wire::{Reader, histogram, put_varint};

/// A chunk is full when it has this many bytes of floats, ...
const MAX_FLOAT_BYTES: usize = 512;
/// ... this many bytes of histograms, ...
const MAX_HISTOGRAM_BYTES: usize = 2048;
/// ... or this many samples.
const MAX_SAMPLES: u16 = 960;

/// The kind of samples in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkKind {
    /// Floats without start timestamps.
    Float,
    /// Floats of which some have start timestamps.
    FloatStarted,
    /// Histograms with start timestamps.
    Histogram,
}

/// A sealed chunk.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    bytes: Box<[u8]>,
    min_t: i64,
    max_t: i64,
    generation: u32,
    count: u16,
    kind: ChunkKind,
}

/// A view of a sealed or open chunk, for reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkRef<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) min_t: i64,
    pub(crate) max_t: i64,
    pub(crate) generation: u32,
    pub(crate) count: u16,
    pub(crate) kind: ChunkKind,
}

impl Chunk {
    pub(crate) fn view(&self) -> ChunkRef<'_> {
        ChunkRef {
            bytes: &self.bytes,
            min_t: self.min_t,
            max_t: self.max_t,
            generation: self.generation,
            count: self.count,
            kind: self.kind,
        }
    }

    /// The heap memory of the chunk, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl ChunkRef<'_> {
    /// Appends the floats to the columns.
    pub(crate) fn floats(&self, t: &mut Vec<i64>, v: &mut Vec<f64>, st: Option<&mut Vec<i64>>) {
        float::decode(self.bytes, self.count as usize, self.min_t, t, v, st);
    }

    /// Calls `each` for every histogram, in order.
    pub(crate) fn histograms(&self, mut each: impl FnMut(HistogramSample)) {
        let mut reader = Reader::new(self.bytes);
        let mut before: Option<Arc<Histogram>> = None;
        let mut t = self.min_t;
        let mut delta = 0i64;
        let mut st = 0i64;
        for _ in 0..self.count {
            let (Ok(change), Ok(start)) = (reader.varint(), reader.varint()) else { return };
            let Ok(h) = histogram::decode(before.as_deref(), &mut reader) else { return };
            delta = delta.wrapping_add(change);
            t = t.wrapping_add(delta);
            st = st.wrapping_add(start);
            let h = Arc::new(h);
            before = Some(h.clone());
            each(HistogramSample { t, st, h });
        }
    }
}

/// An open chunk of floats.
#[derive(Debug)]
pub(crate) struct OpenFloats {
    bytes: Vec<u8>,
    pub(crate) encoder: FloatEncoder,
    min_t: i64,
    pub(crate) generation: u32,
    count: u16,
    started: bool,
}

impl OpenFloats {
    pub(crate) fn new(s: &Sample, generation: u32) -> Self {
        let mut open = OpenFloats {
            bytes: Vec::new(),
            encoder: FloatEncoder::new(s.t),
            min_t: s.t,
            generation,
            count: 0,
            started: false,
        };
        open.append(s);
        open
    }

    /// Whether a sample of the window that starts at `window`, and of this generation, fits into the chunk.
    #[inline]
    pub(crate) fn takes(&self, window: i64, generation: u32) -> bool {
        self.min_t >= window
            && self.generation == generation
            && self.count < MAX_SAMPLES
            && self.bytes.len() < MAX_FLOAT_BYTES
    }

    /// Appends a sample that is newer than all others; returns by how many bytes the chunk grew.
    #[inline]
    pub(crate) fn append(&mut self, s: &Sample) -> usize {
        let before = self.bytes.capacity();
        if before - self.bytes.len() < 24 {
            // In small steps, since most chunks are sealed before doubling would pay off.
            self.bytes.reserve_exact(before / 4 + 32);
        }
        self.encoder.append(&mut self.bytes, s.t, s.v, s.st);
        self.started |= s.st != 0;
        self.count += 1;
        self.bytes.capacity() - before
    }

    pub(crate) fn view(&self) -> ChunkRef<'_> {
        ChunkRef {
            bytes: &self.bytes,
            min_t: self.min_t,
            max_t: self.encoder.t,
            generation: self.generation,
            count: self.count,
            kind: if self.started { ChunkKind::FloatStarted } else { ChunkKind::Float },
        }
    }

    pub(crate) fn seal(self) -> Chunk {
        let ChunkRef { min_t, max_t, generation, count, kind, .. } = self.view();
        Chunk { bytes: self.bytes.into_boxed_slice(), min_t, max_t, generation, count, kind }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// An open chunk of histograms.
#[derive(Debug)]
pub(crate) struct OpenHistograms {
    bytes: Vec<u8>,
    pub(crate) last: HistogramSample,
    delta: i64,
    min_t: i64,
    pub(crate) generation: u32,
    count: u16,
}

impl OpenHistograms {
    pub(crate) fn new(s: &HistogramSample, generation: u32) -> Self {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 0);
        put_varint(&mut bytes, s.st);
        histogram::encode(None, &s.h, &mut bytes);
        OpenHistograms { bytes, last: s.clone(), delta: 0, min_t: s.t, generation, count: 1 }
    }

    pub(crate) fn takes(&self, window: i64, generation: u32) -> bool {
        self.min_t >= window
            && self.generation == generation
            && self.count < MAX_SAMPLES
            && self.bytes.len() < MAX_HISTOGRAM_BYTES
    }

    /// Appends a histogram that is newer than all others.
    pub(crate) fn append(&mut self, s: &HistogramSample) {
        let delta = s.t.wrapping_sub(self.last.t);
        put_varint(&mut self.bytes, delta.wrapping_sub(self.delta));
        put_varint(&mut self.bytes, s.st.wrapping_sub(self.last.st));
        histogram::encode(Some(&self.last.h), &s.h, &mut self.bytes);
        self.delta = delta;
        self.last = s.clone();
        self.count += 1;
    }

    pub(crate) fn view(&self) -> ChunkRef<'_> {
        ChunkRef {
            bytes: &self.bytes,
            min_t: self.min_t,
            max_t: self.last.t,
            generation: self.generation,
            count: self.count,
            kind: ChunkKind::Histogram,
        }
    }

    pub(crate) fn seal(self) -> Chunk {
        let ChunkRef { min_t, max_t, generation, count, kind, .. } = self.view();
        Chunk { bytes: self.bytes.into_boxed_slice(), min_t, max_t, generation, count, kind }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.last.h.bytes()
    }
}

/// Seals ascending samples of one window into as few chunks as the limits allow.
pub(crate) fn seal_floats(samples: &[Sample], generation: u32, chunks: &mut Vec<Chunk>) {
    let mut open: Option<OpenFloats> = None;
    for s in samples {
        match &mut open {
            Some(chunk) if chunk.takes(i64::MIN, generation) => {
                chunk.append(s);
            }
            _ => chunks.extend(open.replace(OpenFloats::new(s, generation)).map(OpenFloats::seal)),
        }
    }
    chunks.extend(open.map(OpenFloats::seal));
}

/// Like [`seal_floats`], for histograms.
pub(crate) fn seal_histograms(samples: &[HistogramSample], generation: u32, chunks: &mut Vec<Chunk>) {
    let mut open: Option<OpenHistograms> = None;
    for s in samples {
        match &mut open {
            Some(chunk) if chunk.takes(i64::MIN, generation) => chunk.append(s),
            _ => chunks.extend(open.replace(OpenHistograms::new(s, generation)).map(OpenHistograms::seal)),
        }
    }
    chunks.extend(open.map(OpenHistograms::seal));
}

#[cfg(test)]
mod tests;
