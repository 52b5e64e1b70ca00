//! Samples in the simulation: (shard, series, timestamp), numbered in the order of their creation; and sets of such numbers.

use std::collections::BTreeMap;

use super::{SHARDS, WINDOW_MS};

/// The number of a sample.
pub type SampleId = u32;

/// One sample. Its value is of no interest: a series has one value a timestamp.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Its shard.
    pub shard: u32,
    /// Its series.
    pub series: u32,
    /// Milliseconds since the epoch.
    pub t: i64,
}

impl Sample {
    /// What identifies its series.
    pub fn series_hash(&self) -> u64 {
        u64::from(self.shard) << 32 | u64::from(self.series)
    }

    /// The start of its window.
    pub fn window(&self) -> i64 {
        self.t.div_euclid(WINDOW_MS) * WINDOW_MS
    }
}

/// A set of samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleSet(Vec<u64>);

impl SampleSet {
    /// Adds a sample; false if it was there.
    pub fn insert(&mut self, id: SampleId) -> bool {
        let (word, bit) = (id as usize / 64, 1 << (id % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }

    /// Takes a sample out.
    pub fn remove(&mut self, id: SampleId) {
        if let Some(word) = self.0.get_mut(id as usize / 64) {
            *word &= !(1 << (id % 64));
        }
    }

    /// Whether a sample is in it.
    pub fn contains(&self, id: SampleId) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// Adds all of another set.
    pub fn add_all(&mut self, other: &SampleSet) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    /// The samples of this set that are in neither of two others, ascending.
    pub fn missing_from<'a>(&'a self, a: &'a SampleSet, b: &'a SampleSet) -> impl Iterator<Item = SampleId> + 'a {
        self.0.iter().enumerate().flat_map(move |(at, word)| {
            let there = a.0.get(at).copied().unwrap_or(0) | b.0.get(at).copied().unwrap_or(0);
            bits(at, word & !there)
        })
    }

    /// All of them, ascending.
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

/// Every sample that was ever sent, and what was acknowledged.
#[derive(Default)]
pub struct Samples {
    all: Vec<Sample>,
    /// By series and time.
    known: BTreeMap<(u64, i64), SampleId>,
    /// By shard: the acknowledged ones.
    acknowledged: Vec<SampleSet>,
    /// By shard: those in the order of their acknowledgement, with the epoch that meta had for the shard then.
    history: Vec<Vec<(u64, SampleId)>>,
}

impl Samples {
    /// None yet.
    pub fn new() -> Self {
        let shards = SHARDS as usize;
        let (acknowledged, history) = (vec![SampleSet::default(); shards], vec![Vec::new(); shards]);
        Samples { all: Vec::new(), known: BTreeMap::new(), acknowledged, history }
    }

    /// Makes a sample, or finds it: of a series there is one at a time.
    pub fn add(&mut self, sample: Sample) -> SampleId {
        let next = self.all.len() as u32;
        let id = *self.known.entry((sample.series_hash(), sample.t)).or_insert(next);
        if id == next {
            self.all.push(sample);
        }
        id
    }

    /// One of them.
    pub fn get(&self, id: SampleId) -> Sample {
        self.all[id as usize]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// A sample was acknowledged while meta had this epoch for its shard.
    pub fn acknowledge(&mut self, id: SampleId, epoch: u64) {
        let shard = self.get(id).shard as usize;
        if self.acknowledged[shard].insert(id) {
            self.history[shard].push((epoch, id));
        }
    }

    /// What was acknowledged of a shard.
    pub fn acknowledged(&self, shard: u32) -> &SampleSet {
        &self.acknowledged[shard as usize]
    }

    /// What was acknowledged of a shard while its epoch was at most this.
    pub fn acknowledged_upto(&self, shard: u32, epoch: u64) -> SampleSet {
        let mut set = SampleSet::default();
        for (_, id) in self.history[shard as usize].iter().take_while(|(at, _)| *at <= epoch) {
            set.insert(*id);
        }
        set
    }

    /// How many were acknowledged.
    pub fn count_acknowledged(&self) -> usize {
        self.history.iter().map(Vec::len).sum()
    }
}
