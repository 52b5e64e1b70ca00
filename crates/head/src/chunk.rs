//! Compressed runs of samples of one series, of one kind, in one window.
//!
//! An open chunk is appended to; sealed ones never change. The `epoch` of a chunk is the number of cuts that its
//! window had when the chunk was begun: all its samples belong to the cut of that number (see `window.rs`).

pub(crate) mod float;

use std::sync::Arc;

use pharos_model::write::HistogramSample;
use pharos_model::{Histogram, Sample};

use float::FloatEncoder;
use pharos_model::wire::{Reader, histogram, put_varint};

/// A chunk is full when it has this many bytes of floats...
const FLOAT_BYTES: usize = 512;
/// ... or of histograms ...
const HISTOGRAM_BYTES: usize = 2048;
/// ... or this many samples.
const MAX_SAMPLES: u16 = 960;

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkKind {
    /// Floats without start timestamps.
    Float,
    /// Floats, some with start timestamps.
    FloatStarted,
    /// Histograms, with start timestamps.
    Histogram,
}

/// A sealed chunk.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    bytes: Box<[u8]>,
    min_t: i64,
    max_t: i64,
    epoch: u32,
    count: u16,
    kind: ChunkKind,
}

/// A sealed or an open chunk, to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkRef<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) min_t: i64,
    pub(crate) max_t: i64,
    pub(crate) epoch: u32,
    pub(crate) count: u16,
    pub(crate) kind: ChunkKind,
}

impl Chunk {
    pub(crate) fn view(&self) -> ChunkRef<'_> {
        ChunkRef {
            bytes: &self.bytes,
            min_t: self.min_t,
            max_t: self.max_t,
            epoch: self.epoch,
            count: self.count,
            kind: self.kind,
        }
    }

    /// The memory behind the chunk, bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl ChunkRef<'_> {
    /// Decodes floats behind the end of the columns.
    pub(crate) fn floats(&self, t: &mut Vec<i64>, v: &mut Vec<f64>, st: Option<&mut Vec<i64>>) {
        float::decode(self.bytes, self.count as usize, self.min_t, t, v, st);
    }

    /// Decodes histograms in order.
    pub(crate) fn histograms(&self, mut each: impl FnMut(HistogramSample)) {
        let mut reader = Reader::new(self.bytes);
        let mut before: Option<Arc<Histogram>> = None;
        let (mut t, mut delta, mut st) = (self.min_t, 0i64, 0i64);
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

/// A chunk of floats that is appended to.
#[derive(Debug)]
pub(crate) struct OpenFloats {
    bytes: Vec<u8>,
    pub(crate) encoder: FloatEncoder,
    min_t: i64,
    pub(crate) epoch: u32,
    count: u16,
    started: bool,
}

impl OpenFloats {
    pub(crate) fn new(s: &Sample, epoch: u32) -> Self {
        let mut open = OpenFloats {
            bytes: Vec::new(),
            encoder: FloatEncoder::new(s.t),
            min_t: s.t,
            epoch,
            count: 0,
            started: false,
        };
        open.append(s);
        open
    }

    /// Whether a sample of the window that begins at `window`, in this epoch, may be appended.
    #[inline]
    pub(crate) fn takes(&self, window: i64, epoch: u32) -> bool {
        self.min_t >= window && self.epoch == epoch && self.count < MAX_SAMPLES && self.bytes.len() < FLOAT_BYTES
    }

    /// Appends a sample that is newer than all before; returns by how many bytes the chunk grew.
    #[inline]
    pub(crate) fn append(&mut self, s: &Sample) -> usize {
        let before = self.bytes.capacity();
        if before - self.bytes.len() < 24 {
            // Small steps: most chunks are sealed long before doubling would pay.
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
            epoch: self.epoch,
            count: self.count,
            kind: if self.started { ChunkKind::FloatStarted } else { ChunkKind::Float },
        }
    }

    pub(crate) fn seal(self) -> Chunk {
        let ChunkRef { min_t, max_t, epoch, count, kind, .. } = self.view();
        Chunk { bytes: self.bytes.into_boxed_slice(), min_t, max_t, epoch, count, kind }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// A chunk of histograms that is appended to.
#[derive(Debug)]
pub(crate) struct OpenHistograms {
    bytes: Vec<u8>,
    pub(crate) last: HistogramSample,
    delta: i64,
    min_t: i64,
    pub(crate) epoch: u32,
    count: u16,
}

impl OpenHistograms {
    pub(crate) fn new(s: &HistogramSample, epoch: u32) -> Self {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 0);
        put_varint(&mut bytes, s.st);
        histogram::encode(None, &s.h, &mut bytes);
        OpenHistograms { bytes, last: s.clone(), delta: 0, min_t: s.t, epoch, count: 1 }
    }

    pub(crate) fn takes(&self, window: i64, epoch: u32) -> bool {
        self.min_t >= window && self.epoch == epoch && self.count < MAX_SAMPLES && self.bytes.len() < HISTOGRAM_BYTES
    }

    /// Appends a histogram that is newer than all before.
    pub(crate) fn append(&mut self, s: &HistogramSample) {
        let delta = s.t.wrapping_sub(self.last.t);
        put_varint(&mut self.bytes, delta.wrapping_sub(self.delta));
        put_varint(&mut self.bytes, s.st.wrapping_sub(self.last.st));
        histogram::encode(Some(&self.last.h), &s.h, &mut self.bytes);
        (self.delta, self.last) = (delta, s.clone());
        self.count += 1;
    }

    pub(crate) fn view(&self) -> ChunkRef<'_> {
        ChunkRef {
            bytes: &self.bytes,
            min_t: self.min_t,
            max_t: self.last.t,
            epoch: self.epoch,
            count: self.count,
            kind: ChunkKind::Histogram,
        }
    }

    pub(crate) fn seal(self) -> Chunk {
        let ChunkRef { min_t, max_t, epoch, count, kind, .. } = self.view();
        Chunk { bytes: self.bytes.into_boxed_slice(), min_t, max_t, epoch, count, kind }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.last.h.bytes()
    }
}

/// Seals samples in ascending order, of one window, into as few chunks as their size allows.
pub(crate) fn seal_floats(samples: &[Sample], epoch: u32, chunks: &mut Vec<Chunk>) {
    let mut open: Option<OpenFloats> = None;
    for s in samples {
        match &mut open {
            Some(chunk) if chunk.takes(i64::MIN, epoch) => {
                chunk.append(s);
            }
            _ => chunks.extend(open.replace(OpenFloats::new(s, epoch)).map(OpenFloats::seal)),
        }
    }
    chunks.extend(open.map(OpenFloats::seal));
}

/// As [`seal_floats`], for histograms.
pub(crate) fn seal_histograms(samples: &[HistogramSample], epoch: u32, chunks: &mut Vec<Chunk>) {
    let mut open: Option<OpenHistograms> = None;
    for s in samples {
        match &mut open {
            Some(chunk) if chunk.takes(i64::MIN, epoch) => chunk.append(s),
            _ => chunks.extend(open.replace(OpenHistograms::new(s, epoch)).map(OpenHistograms::seal)),
        }
    }
    chunks.extend(open.map(OpenHistograms::seal));
}
