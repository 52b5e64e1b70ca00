//! Sets of shards as compact bitmaps, and digests of the samples that a shard holds.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::hash::SeriesHash;
use pharos_histogram::Histogram;

/// The largest number of shards of a cluster.
pub const MAX_SHARDS: u32 = 4096;

/// A set of shards. Sets of shards below 128 take no memory besides their own 24 bytes.
///
/// The text form, which JSON uses too, lists ranges in ascending order: `0-15,40,42-63`. The empty set is the empty string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ShardSet {
    /// One bit for each shard. The last word is never 0, so that equal sets are equal values.
    words: SmallVec<[u64; 2]>,
}

impl ShardSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// All shards of a cluster of `total`, at most [`MAX_SHARDS`].
    pub fn all(total: u32) -> Self {
        (0..total.min(MAX_SHARDS)).collect()
    }

    /// The set that consists of one shard.
    pub fn of(shard: u32) -> Self {
        std::iter::once(shard).collect()
    }

    /// Adds a shard. Returns false if it is already in the set or not below [`MAX_SHARDS`].
    pub fn insert(&mut self, shard: u32) -> bool {
        if shard >= MAX_SHARDS || self.contains(shard) {
            return false;
        }
        let word = shard as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (shard % 64);
        true
    }

    /// Removes a shard. Returns false if the set did not have it.
    pub fn remove(&mut self, shard: u32) -> bool {
        let was_there = self.contains(shard);
        if was_there {
            self.words[shard as usize / 64] &= !(1 << (shard % 64));
            self.trim();
        }
        was_there
    }

    /// Whether a shard is in the set.
    #[inline]
    pub fn contains(&self, shard: u32) -> bool {
        self.words.get(shard as usize / 64).is_some_and(|word| word >> (shard % 64) & 1 == 1)
    }

    /// Whether the set has no shards.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The number of shards.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The shards, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(at as u32 * 64 + bit)
            })
        })
    }

    /// The shards as ascending ranges, each as long as possible.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u32>> + '_ {
        let mut shards = self.iter().peekable();
        std::iter::from_fn(move || {
            let first = shards.next()?;
            let mut last = first;
            while let Some(next) = shards.next_if_eq(&(last + 1)) {
                last = next;
            }
            Some(first..=last)
        })
    }

    /// The shards that either set has.
    pub fn union(&self, other: &ShardSet) -> ShardSet {
        let (longer, shorter) = if self.words.len() < other.words.len() { (other, self) } else { (self, other) };
        let mut union = longer.clone();
        union.words.iter_mut().zip(&shorter.words).for_each(|(a, b)| *a |= b);
        union
    }

    /// The shards that both sets have.
    pub fn intersection(&self, other: &ShardSet) -> ShardSet {
        let words = self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect();
        let mut both = ShardSet { words };
        both.trim();
        both
    }

    /// The shards that this set has and `other` does not.
    pub fn difference(&self, other: &ShardSet) -> ShardSet {
        let mut left = self.clone();
        left.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
        left.trim();
        left
    }

    /// Whether the sets have no shard in common.
    pub fn is_disjoint(&self, other: &ShardSet) -> bool {
        self.words.iter().zip(&other.words).all(|(a, b)| a & b == 0)
    }

    /// Whether `other` has all shards of this set.
    pub fn is_subset(&self, other: &ShardSet) -> bool {
        self.iter().all(|shard| other.contains(shard))
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }
}

impl FromIterator<u32> for ShardSet {
    fn from_iter<I: IntoIterator<Item = u32>>(shards: I) -> Self {
        let mut set = ShardSet::new();
        set.extend(shards);
        set
    }
}

impl Extend<u32> for ShardSet {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, shards: I) {
        for shard in shards {
            self.insert(shard);
        }
    }
}

impl fmt::Display for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.ranges().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// A text that is not a set of shards.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a set of shards such as \"0-15,40\" with numbers below {MAX_SHARDS}")]
pub struct BadShardSet(String);

impl FromStr for ShardSet {
    type Err = BadShardSet;

    fn from_str(text: &str) -> Result<Self, BadShardSet> {
        let bad = || BadShardSet(text.chars().take(100).collect());
        let mut set = ShardSet::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |digits: &str| {
                let plain = digits.bytes().all(|b| b.is_ascii_digit());
                digits.parse::<u32>().ok().filter(|n| plain && *n < MAX_SHARDS).ok_or_else(bad)
            };
            let first = number(first)?;
            let last = number(last)?;
            if first > last {
                return Err(bad());
            }
            set.extend(first..=last);
        }
        Ok(set)
    }
}

impl Serialize for ShardSet {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ShardSet {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Identifies a set of samples by their number and the wrapping sum of a hash of the series, timestamp and value of each.
///
/// The order of the samples does not matter, and digests of disjoint sets add up to the digest of their union. Blocks
/// store digests, so the hash never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ShardDigest {
    /// The number of floats and histograms.
    pub samples: u64,
    /// The wrapping sum of the hashes.
    pub sum: u64,
}

impl ShardDigest {
    /// Adds a sample. `value` is the bits of a float, or [`histogram_value`].
    #[inline]
    pub fn add(&mut self, series: SeriesHash, t: i64, value: u64) {
        self.samples += 1;
        self.sum = self.sum.wrapping_add(hash_of(series, t, value));
    }

    /// Adds the floats of a series.
    pub fn add_floats(&mut self, series: SeriesHash, timestamps: &[i64], values: &[f64]) {
        timestamps.iter().zip(values).for_each(|(&t, v)| self.add(series, t, v.to_bits()));
    }

    /// Adds the digest of a disjoint set.
    pub fn absorb(&mut self, other: ShardDigest) {
        self.samples = self.samples.wrapping_add(other.samples);
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// The value of a histogram in a digest: a hash of its sum and counts. The counter-reset hint is not part of it, because
/// replicas may disagree about resets.
pub fn histogram_value(h: &Histogram) -> u64 {
    let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
    let numbers = [h.sum, h.count, h.zero_count];
    numbers.iter().chain(buckets).fold(0, |hash, number| spread(hash ^ number.to_bits()))
}

#[inline]
fn hash_of(series: SeriesHash, t: i64, value: u64) -> u64 {
    let at = spread(series ^ (t as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    spread(at ^ value)
}

/// The finaliser of SplitMix64, which lets every bit of a number affect all bits of the result.
#[inline]
fn spread(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A block's digest of one shard's samples. In JSON it is a list: shard, samples, sum, and the samples and sum of `whole`
/// if it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDigest {
    /// The number of the shard.
    pub shard: u32,
    /// The samples of the shard that the block holds.
    pub held: ShardDigest,
    /// The samples of the shard and window that the block's writer compared with earlier blocks: each of them is in this block
    /// or an earlier one. Present in blocks that were written because replicas differed.
    pub whole: Option<ShardDigest>,
}

impl Serialize for BlockDigest {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let BlockDigest { shard, held, whole } = self;
        match whole {
            None => (shard, held.samples, held.sum).serialize(out),
            Some(whole) => (shard, held.samples, held.sum, whole.samples, whole.sum).serialize(out),
        }
    }
}

impl<'de> Deserialize<'de> for BlockDigest {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let numbers = Vec::<u64>::deserialize(input)?;
        let (shard, held, whole) = match numbers[..] {
            [shard, samples, sum] => (shard, ShardDigest { samples, sum }, None),
            [shard, samples, sum, of_whole, whole] => {
                (shard, ShardDigest { samples, sum }, Some(ShardDigest { samples: of_whole, sum: whole }))
            }
            _ => return Err(serde::de::Error::invalid_length(numbers.len(), &"3 or 5 numbers")),
        };
        let shard = u32::try_from(shard).map_err(serde::de::Error::custom)?;
        Ok(BlockDigest { shard, held, whole })
    }
}

#[cfg(test)]
mod tests;
