//! Digests of the samples in memory by shard and time interval. Two heads compare theirs to copy only what one of them lacks.

use std::collections::{BTreeMap, HashSet};

use pharos_model::{ShardDigest, ShardSet, TenantId};

use crate::head::Head;

/// Digests of the samples in memory of some shards of a tenant, one a shard and interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeDigests {
    interval_ms: i64,
    /// Keyed by shard and interval, which is numbered by its start divided by its width.
    digests: BTreeMap<(u32, i64), ShardDigest>,
}

/// Intervals of shards, such as those in which two heads hold the same samples.
#[derive(Clone, Debug, Default)]
pub struct Intervals {
    interval_ms: i64,
    intervals: HashSet<(u32, i64)>,
}

impl TimeDigests {
    /// No digests yet, in intervals of `interval_ms` milliseconds, at least one.
    pub fn new(interval_ms: i64) -> Self {
        TimeDigests { interval_ms: interval_ms.max(1), digests: BTreeMap::new() }
    }

    /// Sets the digest of an interval of a shard.
    pub fn set(&mut self, shard: u32, interval: i64, digest: ShardDigest) {
        self.digests.insert((shard, interval), digest);
    }

    /// Shard, interval and digest, ascending by shard and interval.
    pub fn iter(&self) -> impl Iterator<Item = (u32, i64, ShardDigest)> + '_ {
        self.digests.iter().map(|((shard, interval), digest)| (*shard, *interval, *digest))
    }

    /// The intervals whose digests are equal on both sides; none when the widths differ.
    pub fn matching(&self, other: &TimeDigests) -> Intervals {
        let same_width = self.interval_ms == other.interval_ms;
        let matches = |at: &(u32, i64), digest: &ShardDigest| same_width && other.digests.get(at) == Some(digest);
        let matching = self.digests.iter().filter(|(at, digest)| matches(at, digest));
        Intervals { interval_ms: self.interval_ms, intervals: matching.map(|(at, _)| *at).collect() }
    }
}

impl Intervals {
    /// Whether timestamp `t` of a shard lies in one of the intervals.
    pub(crate) fn contains(&self, shard: u16, t: i64) -> bool {
        !self.intervals.is_empty() && self.intervals.contains(&(shard.into(), t.div_euclid(self.interval_ms)))
    }
}

impl Head {
    /// Digests the samples of some shards in memory, flushed or not, in intervals of `interval_ms` milliseconds. Samples that are
    /// appended concurrently may or may not be included.
    pub fn time_digests(&self, tenant: &TenantId, shards: &ShardSet, interval_ms: i64) -> TimeDigests {
        let mut digests = TimeDigests::new(interval_ms);
        let Some(tenant) = self.tenants.get(tenant) else { return digests };
        let width = digests.interval_ms;
        for series in tenant.series_of(shards) {
            // Samples of a series are mostly in order, so the map is touched once an interval and not once a sample.
            let mut interval = i64::MIN;
            let mut digest = ShardDigest::default();
            let mut store = |interval: i64, digest: ShardDigest| {
                if digest.samples > 0 {
                    digests.digests.entry((series.shard.into(), interval)).or_default().absorb(digest);
                }
            };
            let mut add = |t: i64, value: u64| {
                let of_sample = t.div_euclid(width);
                if of_sample != interval {
                    store(interval, std::mem::take(&mut digest));
                    interval = of_sample;
                }
                digest.add(series.hash, t, value);
            };
            series.data.lock().for_each_run(|run| run.values(&mut add));
            store(interval, digest);
        }
        digests
    }
}

#[cfg(test)]
mod tests;
