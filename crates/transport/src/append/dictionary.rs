//! The numbers that a sender assigns to the series of a tenant and shard. All of its streams use the same numbers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hashbrown::HashTable;
use pharos_model::wire::append::{AppendEncoder, AppendVisitor, read_append};
use pharos_model::wire::{Malformed, Reader, put_bytes};
use pharos_model::write::{BatchSeries, HistogramSample};
use pharos_model::{Exemplar, Metadata, Sample, WriteBatch};

/// A dictionary whose labels exceed this size starts a new generation, which drops series that are no longer written.
const MAX_BYTES: usize = 16 << 20;

/// The numbered series of a tenant and shard.
#[derive(Default)]
pub struct Dictionary {
    current: Mutex<Arc<Generation>>,
}

/// The number of the next generation. Numbers are unique in this process, so a stream never confuses two generations.
static NEXT_GENERATION: AtomicU32 = AtomicU32::new(1);

/// Allocates a generation number that is higher than all previous ones.
pub(super) fn next_generation() -> u32 {
    NEXT_GENERATION.fetch_add(1, Ordering::Relaxed)
}

/// One numbering of series. It only grows, and each [`EncodedShard`] that refers to it keeps it alive.
struct Generation {
    number: u32,
    series: Mutex<Numbered>,
}

#[derive(Default)]
struct Numbered {
    /// The hash of each series and the end of its entry in `bytes`, indexed by number.
    entries: Vec<(u64, u32)>,
    /// The canonical labels of all series in the order of their numbers, each prefixed with its length.
    bytes: Vec<u8>,
    by_hash: HashTable<u32>,
}

/// The samples of one shard, encoded once for all replicas.
#[derive(Clone)]
pub struct EncodedShard {
    /// The shard's number.
    pub shard: u32,
    generation: Arc<Generation>,
    /// The samples refer only to series below this number.
    series: u32,
    samples: Bytes,
}

/// The samples of one shard in a generation of their own, which contains only their series.
pub(super) struct Alone {
    /// The number of the generation.
    pub(super) generation: u32,
    /// The number of series.
    pub(super) series: u32,
    /// The declarations of all series.
    pub(super) declared: Bytes,
    /// The encoded samples.
    pub(super) samples: Bytes,
}

impl Default for Generation {
    fn default() -> Self {
        Generation { number: next_generation(), series: Mutex::default() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dictionary {
    /// Encodes the samples of `series`, which belong to `batch`. They follow whatever the encoder already holds.
    pub fn encode<'a>(
        &self,
        shard: u32,
        batch: &WriteBatch,
        series: impl Iterator<Item = &'a BatchSeries>,
        encoder: &mut AppendEncoder,
    ) -> EncodedShard {
        let generation = self.generation();
        let mut numbered = lock(&generation.series);
        for entry in series {
            let number = numbered.number_of(entry.hash, batch.labels_of(entry));
            batch.samples_of(entry).iter().for_each(|s| encoder.sample(number, s));
            batch.histograms_of(entry).iter().for_each(|s| encoder.histogram(number, s));
            batch.exemplars_of(entry).iter().for_each(|e| encoder.exemplar(number, e));
        }
        let series = numbered.entries.len() as u32;
        drop(numbered);
        let mut samples = Vec::with_capacity(encoder.bytes() + 16);
        encoder.finish(&mut samples);
        EncodedShard { shard, generation, series, samples: samples.into() }
    }

    /// Returns the current generation, after replacing it if it has grown too large.
    fn generation(&self) -> Arc<Generation> {
        let mut current = lock(&self.current);
        if lock(&current.series).bytes.len() > MAX_BYTES {
            *current = Arc::default();
        }
        current.clone()
    }

    /// Approximate memory use, bytes.
    pub fn bytes(&self) -> usize {
        let generation = lock(&self.current).clone();
        let numbered = lock(&generation.series);
        numbered.bytes.capacity() + numbered.entries.capacity() * 16 + numbered.by_hash.capacity() * 5
    }
}

impl Numbered {
    fn number_of(&mut self, hash: u64, canonical: &[u8]) -> u32 {
        let (entries, bytes) = (&self.entries, &self.bytes);
        let same = |number: &u32| {
            let labels = Reader::new(&bytes[span(entries, *number)]).prefixed();
            entries[*number as usize].0 == hash && labels == Ok(canonical)
        };
        if let Some(number) = self.by_hash.find(hash, same) {
            return *number;
        }
        let number = self.entries.len() as u32;
        put_bytes(&mut self.bytes, canonical);
        self.entries.push((hash, self.bytes.len() as u32));
        let entries = &self.entries;
        self.by_hash.insert_unique(hash, number, |n| entries[*n as usize].0);
        number
    }
}

/// The range of a series' entry in [`Numbered::bytes`].
fn span(entries: &[(u64, u32)], number: u32) -> std::ops::Range<usize> {
    let start = number.checked_sub(1).map_or(0, |before| entries[before as usize].1);
    start as usize..entries[number as usize].1 as usize
}

impl EncodedShard {
    /// The number of the generation that the samples refer to.
    pub fn generation(&self) -> u32 {
        self.generation.number
    }

    /// The upper bound of the series numbers that the samples refer to, exclusive.
    pub fn series(&self) -> u32 {
        self.series
    }

    /// The encoded samples. Cloning them is cheap.
    pub fn samples(&self) -> Bytes {
        self.samples.clone()
    }

    /// The declarations of the series from number `from` up to [`EncodedShard::series()`].
    pub fn declarations(&self, from: u32) -> Bytes {
        if from >= self.series {
            return Bytes::new();
        }
        let numbered = lock(&self.generation.series);
        let start = span(&numbered.entries, from).start;
        let end = span(&numbered.entries, self.series - 1).end;
        Bytes::copy_from_slice(&numbered.bytes[start..end])
    }

    /// Encodes the samples again in a generation of their own, for a stream that must not declare this one.
    pub(super) fn alone(&self) -> Result<Alone, Malformed> {
        let numbered = lock(&self.generation.series);
        let mut anew = Renumbering {
            numbered: &numbered,
            numbers: HashMap::new(),
            declared: Vec::new(),
            encoder: AppendEncoder::default(),
        };
        read_append(Reader::new(&self.samples), &mut anew)?;
        let Renumbering { numbers, declared, mut encoder, .. } = anew;
        drop(numbered);
        let mut samples = Vec::with_capacity(encoder.bytes() + 16);
        encoder.finish(&mut samples);
        let (series, declared, samples) = (numbers.len() as u32, declared.into(), samples.into());
        Ok(Alone { generation: next_generation(), series, declared, samples })
    }
}

/// Encodes samples again and numbers their series in the order of appearance.
struct Renumbering<'a> {
    numbered: &'a Numbered,
    /// The new number of each series, by its old number.
    numbers: HashMap<u32, u32>,
    declared: Vec<u8>,
    encoder: AppendEncoder,
}

impl Renumbering<'_> {
    fn number_of(&mut self, series: u32) -> Result<u32, Malformed> {
        if let Some(number) = self.numbers.get(&series) {
            return Ok(*number);
        }
        let Numbered { entries, bytes, .. } = self.numbered;
        if series as usize >= entries.len() {
            return Err(Malformed("names a series that has no number"));
        }
        self.declared.extend_from_slice(&bytes[span(entries, series)]);
        let number = self.numbers.len() as u32;
        self.numbers.insert(series, number);
        Ok(number)
    }
}

impl AppendVisitor for Renumbering<'_> {
    fn series(&mut self, _: &[u8]) -> Result<(), Malformed> {
        Err(Malformed("declares a series among samples"))
    }

    fn sample(&mut self, series: u32, s: &Sample) -> Result<(), Malformed> {
        let number = self.number_of(series)?;
        self.encoder.sample(number, s);
        Ok(())
    }

    fn wants(&self, _: u32) -> Result<bool, Malformed> {
        Ok(true)
    }

    fn histogram(&mut self, series: u32, s: HistogramSample) -> Result<(), Malformed> {
        let number = self.number_of(series)?;
        self.encoder.histogram(number, &s);
        Ok(())
    }

    fn exemplar(&mut self, series: u32, e: Exemplar) -> Result<(), Malformed> {
        let number = self.number_of(series)?;
        self.encoder.exemplar(number, &e);
        Ok(())
    }

    fn metadata(&mut self, family: String, metadata: Metadata) {
        self.encoder.metadata(&family, &metadata);
    }
}
