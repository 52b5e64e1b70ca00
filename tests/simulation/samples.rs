//! The samples of a run and compact sets of them. A sample is a (shard, series, timestamp), numbered in the order of
//! creation.

use std::collections::BTreeMap;

use super::{SHARDS, WINDOW_MS};

/// The number of a sample, in the order of creation.
pub type SampleId = u32;

/// A sample without a value, because a series has only one value per timestamp.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The shard of the series.
    pub shard: u32,
    /// The number of the series within the shard.
    pub series: u32,
    /// The timestamp, in milliseconds since the epoch.
    pub t: i64,
}

impl Sample {
    /// Returns a unique hash of the series.
    pub fn series_hash(&self) -> u64 {
        u64::from(self.shard) << 32 | u64::from(self.series)
    }

    /// Returns the start of the sample's window, in milliseconds since the epoch.
    pub fn window(&self) -> i64 {
        self.t.div_euclid(WINDOW_MS) * WINDOW_MS
    }
}

/// A set of samples, stored as a bitmap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleSet(Vec<u64>);

impl SampleSet {
    /// Adds a sample. Returns whether it is new.
    pub fn insert(&mut self, id: SampleId) -> bool {
        let (word, bit) = (id as usize / 64, 1 << (id % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }

    /// Removes a sample if it is present.
    pub fn remove(&mut self, id: SampleId) {
        if let Some(word) = self.0.get_mut(id as usize / 64) {
            *word &= !(1 << (id % 64));
        }
    }

    /// Returns whether the set contains a sample.
    pub fn contains(&self, id: SampleId) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Adds all samples of another set.
    pub fn add_all(&mut self, other: &SampleSet) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    /// Returns the samples of this set that are in neither `a` nor `b`, in ascending order.
    pub fn missing_from<'a>(&'a self, a: &'a SampleSet, b: &'a SampleSet) -> impl Iterator<Item = SampleId> + 'a {
        self.0.iter().enumerate().flat_map(move |(at, word)| {
            let there = a.0.get(at).copied().unwrap_or(0) | b.0.get(at).copied().unwrap_or(0);
            bits(at, word & !there)
        })
    }

    /// Returns all samples of the set, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = SampleId> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| bits(at, *word))
    }
}

fn bits(at: usize, mut rest: u64) -> impl Iterator<Item = SampleId> {
    std::iter::from_fn(move || {
        let bit = (rest != 0).then(|| rest.trailing_zeros())?;
        rest &= rest - 1;
        Some(at as u32 * 64 + bit)
    })
}

/// All samples of a run and the acknowledgements of them.
#[derive(Default)]
pub struct Samples {
    all: Vec<Sample>,
    /// Sample numbers by series hash and timestamp.
    known: BTreeMap<(u64, i64), SampleId>,
    /// Acknowledged samples by shard.
    acknowledged: Vec<SampleSet>,
    /// Acknowledged samples by shard, in the order of acknowledgement. Each has the shard's epoch in meta at that time.
    history: Vec<Vec<(u64, SampleId)>>,
}

impl Samples {
    /// Creates an empty registry.
    pub fn new() -> Self {
        let shards = SHARDS as usize;
        let (acknowledged, history) = (vec![SampleSet::default(); shards], vec![Vec::new(); shards]);
        Samples { all: Vec::new(), known: BTreeMap::new(), acknowledged, history }
    }

    /// Returns the number of a sample, and creates the sample if it is new.
    pub fn add(&mut self, sample: Sample) -> SampleId {
        let next = self.all.len() as u32;
        let id = *self.known.entry((sample.series_hash(), sample.t)).or_insert(next);
        if id == next {
            self.all.push(sample);
        }
        id
    }

    /// Returns the sample with a number.
    pub fn get(&self, id: SampleId) -> Sample {
        self.all[id as usize]
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Records that a sample was acknowledged while its shard was at `epoch` in meta.
    pub fn acknowledge(&mut self, id: SampleId, epoch: u64) {
        let shard = self.get(id).shard as usize;
        if self.acknowledged[shard].insert(id) {
            self.history[shard].push((epoch, id));
        }
    }

    /// Returns the acknowledged samples of a shard.
    pub fn acknowledged(&self, shard: u32) -> &SampleSet {
        &self.acknowledged[shard as usize]
    }

    /// Returns the samples of a shard that were acknowledged while its epoch was at most `epoch`.
    pub fn acknowledged_upto(&self, shard: u32, epoch: u64) -> SampleSet {
        let mut set = SampleSet::default();
        for (_, id) in self.history[shard as usize].iter().take_while(|(at, _)| *at <= epoch) {
            set.insert(*id);
        }
        set
    }

    /// Returns the number of acknowledged samples.
    pub fn count_acknowledged(&self) -> usize {
        self.history.iter().map(Vec::len).sum()
    }
}
