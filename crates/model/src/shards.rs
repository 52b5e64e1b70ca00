//! Shards: a set of them as a compact bitmap, and digests of the samples that a shard holds.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::hash::SeriesHash;
use pharos_histogram::Histogram;

/// No cluster has more shards.
pub const MAX_SHARDS: u32 = 4096;

/// A set of shards. Sets of up to 128 shards take no memory besides their own 24 bytes.
///
/// As text, and so in JSON, it is its ranges in ascending order: `0-15,40,42-63`; the empty set is the empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ShardSet {
    /// One bit a shard; the last word is never 0, so that equal sets are equal values.
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

    /// The set of one shard.
    pub fn of(shard: u32) -> Self {
        std::iter::once(shard).collect()
    }

    /// Adds a shard; false if it was there already or is beyond [`MAX_SHARDS`].
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

    /// Takes a shard out; false if it was not there.
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

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// How many there are.
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

    /// The shards as ranges, ascending, each as long as can be.
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

    /// The shards of either.
    pub fn union(&self, other: &ShardSet) -> ShardSet {
        let (longer, shorter) = if self.words.len() < other.words.len() { (other, self) } else { (self, other) };
        let mut union = longer.clone();
        union.words.iter_mut().zip(&shorter.words).for_each(|(a, b)| *a |= b);
        union
    }

    /// The shards of both.
    pub fn intersection(&self, other: &ShardSet) -> ShardSet {
        let words = self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect();
        let mut both = ShardSet { words };
        both.trim();
        both
    }

    /// The shards that `other` does not have.
    pub fn difference(&self, other: &ShardSet) -> ShardSet {
        let mut left = self.clone();
        left.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
        left.trim();
        left
    }

    /// Whether no shard is in both.
    pub fn is_disjoint(&self, other: &ShardSet) -> bool {
        self.words.iter().zip(&other.words).all(|(a, b)| a & b == 0)
    }

    /// Whether all of its shards are in `other`.
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

/// A text that is no set of shards.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no set of shards like \"0-15,40\" with numbers below {MAX_SHARDS}")]
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
            let (first, last) = (number(first)?, number(last)?);
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

/// What identifies a set of samples: how many there are, and the wrapping sum of a hash of each one's series, timestamp
/// and value. It does not depend on the order, and digests of disjoint sets add up to that of their union.
/// Stable for ever: it is stored in blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ShardDigest {
    /// Samples, floats and histograms.
    pub samples: u64,
    /// The wrapping sum.
    pub sum: u64,
}

impl ShardDigest {
    /// Adds the sample of a series at a timestamp. `value` are the bits of a float, or [`histogram_value`].
    #[inline]
    pub fn add(&mut self, series: SeriesHash, t: i64, value: u64) {
        self.samples += 1;
        self.sum = self.sum.wrapping_add(hash_of(series, t, value));
    }

    /// Adds floats of a series.
    pub fn add_floats(&mut self, series: SeriesHash, timestamps: &[i64], values: &[f64]) {
        timestamps.iter().zip(values).for_each(|(&t, v)| self.add(series, t, v.to_bits()));
    }

    /// Adds the samples of a disjoint set.
    pub fn absorb(&mut self, other: ShardDigest) {
        self.samples = self.samples.wrapping_add(other.samples);
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// What stands for a histogram's value in a digest: a hash of its sum and counts, since what is known of resets depends on who asks.
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

/// Spreads a number over all bits: the finaliser of SplitMix64.
#[inline]
fn spread(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What a block says of the samples of one shard. In JSON a list: shard, samples, sum, and where `whole` is known its
/// samples and sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDigest {
    /// The shard.
    pub shard: u32,
    /// The samples of the shard that the block holds.
    pub held: ShardDigest,
    /// All samples of the shard and window that the block's maker had in memory when it made it, each of which is in this
    /// block or an earlier one. Given where it is not plain from `held`: in blocks made because replicas differed.
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
