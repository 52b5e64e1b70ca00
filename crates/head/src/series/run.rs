//! Runs: the pieces in which a series holds its samples, each of one window and generation.

use pharos_model::Sample;
use pharos_model::shards::histogram_value;
use pharos_model::write::HistogramSample;

use crate::chunk::{ChunkKind, ChunkRef};

/// Late samples of one window and generation, each kind in ascending order.
#[derive(Debug)]
pub(crate) struct LateBuffer {
    pub(crate) window: i64,
    pub(crate) generation: u32,
    pub(crate) floats: Vec<Sample>,
    pub(crate) histograms: Vec<HistogramSample>,
}

impl LateBuffer {
    pub(crate) fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// The timestamps of all samples: floats first, then histograms.
    pub(crate) fn timestamps(&self) -> impl Iterator<Item = i64> + '_ {
        self.floats.iter().map(|s| s.t).chain(self.histograms.iter().map(|s| s.t))
    }

    /// The memory of the buffer, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.floats.capacity() * size_of::<Sample>()
            + self.histograms.iter().map(|s| size_of::<HistogramSample>() + s.h.bytes()).sum::<usize>()
    }
}

/// A run of samples of one series, all of one window and generation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SampleRun<'a> {
    Chunk(ChunkRef<'a>),
    Late(&'a LateBuffer),
}

impl SampleRun<'_> {
    /// A timestamp in the window of the run.
    pub(crate) fn window_t(&self) -> i64 {
        match self {
            SampleRun::Chunk(chunk) => chunk.min_t,
            SampleRun::Late(late) => late.window,
        }
    }

    /// The generation of its window in which the run was begun.
    pub(crate) fn generation(&self) -> u32 {
        match self {
            SampleRun::Chunk(chunk) => chunk.generation,
            SampleRun::Late(late) => late.generation,
        }
    }

    /// Calls `each` with the timestamp of every sample and the number that stands for its value in digests.
    pub(crate) fn values(&self, mut each: impl FnMut(i64, u64)) {
        match self {
            SampleRun::Chunk(chunk) if chunk.kind == ChunkKind::Histogram => {
                chunk.histograms(|s| each(s.t, histogram_value(&s.h)));
            }
            SampleRun::Chunk(chunk) => {
                let mut times = Vec::new();
                let mut values = Vec::new();
                chunk.floats(&mut times, &mut values, None);
                times.iter().zip(&values).for_each(|(t, v)| each(*t, v.to_bits()));
            }
            SampleRun::Late(late) => {
                late.floats.iter().for_each(|s| each(s.t, s.v.to_bits()));
                late.histograms.iter().for_each(|s| each(s.t, histogram_value(&s.h)));
            }
        }
    }
}

/// Decodes the floats of a chunk, with their start timestamps.
pub(crate) fn float_samples(chunk: ChunkRef<'_>) -> Vec<Sample> {
    let mut t = Vec::new();
    let mut v = Vec::new();
    let mut st = Vec::new();
    chunk.floats(&mut t, &mut v, Some(&mut st));
    t.iter().zip(&v).zip(&st).map(|((&t, &v), &st)| Sample { t, v, st }).collect()
}
