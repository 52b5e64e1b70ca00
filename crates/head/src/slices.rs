//! Digests of unflushed samples by shard and slice of time: by which two heads find out what one of them lacks, so that only
//! that is copied.

use std::collections::{BTreeMap, HashSet};

use pharos_model::{ShardDigest, ShardSet, TenantId};

use crate::cut::place;
use crate::head::Head;

/// Digests of the unflushed samples of some shards of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSlices {
    slice_ms: i64,
    /// By shard and number of the slice, which is its start divided by its width.
    digests: BTreeMap<(u32, i64), ShardDigest>,
}

/// Slices of time of which two heads have the same samples.
#[derive(Clone, Debug, Default)]
pub struct SameSlices {
    slice_ms: i64,
    slices: HashSet<(u32, i64)>,
}

impl HeldSlices {
    /// Nothing, in slices of so many milliseconds.
    pub fn new(slice_ms: i64) -> Self {
        HeldSlices { slice_ms: slice_ms.max(1), digests: BTreeMap::new() }
    }

    /// Says what is held of a slice of a shard.
    pub fn set(&mut self, shard: u32, slice: i64, digest: ShardDigest) {
        self.digests.insert((shard, slice), digest);
    }

    /// All that is held: shard, slice and digest, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, i64, ShardDigest)> + '_ {
        self.digests.iter().map(|((shard, slice), digest)| (*shard, *slice, *digest))
    }

    /// The slices that are the same here and there.
    pub fn same_as(&self, other: &HeldSlices) -> SameSlices {
        let same = |at: &(u32, i64), digest: &ShardDigest| other.digests.get(at) == Some(digest);
        let slices = match self.slice_ms == other.slice_ms {
            true => self.digests.iter().filter(|(at, digest)| same(at, digest)).map(|(at, _)| *at).collect(),
            false => HashSet::new(),
        };
        SameSlices { slice_ms: self.slice_ms, slices }
    }
}

impl SameSlices {
    /// Whether the sample of a shard is in one of them.
    pub(crate) fn contains(&self, shard: u16, t: i64) -> bool {
        !self.slices.is_empty() && self.slices.contains(&(shard.into(), t.div_euclid(self.slice_ms)))
    }
}

impl Head {
    /// Digests the unflushed samples of some shards by slices of so many milliseconds. What is appended meanwhile may or may
    /// not be in it.
    pub fn slices(&self, tenant: &TenantId, shards: &ShardSet, slice_ms: i64) -> HeldSlices {
        let mut held = HeldSlices::new(slice_ms);
        let Some(tenant) = self.tenants.get(tenant) else { return held };
        let flush = tenant.flush.read().clone();
        let width = held.slice_ms;
        for series in tenant.series_of(shards) {
            // Samples of a series come mostly in order: the digest at hand is put away when another slice begins.
            let (mut at, mut digest) = (i64::MIN, ShardDigest::default());
            let mut put_away = |at: i64, digest: ShardDigest| {
                if digest.samples > 0 {
                    held.digests.entry((series.shard.into(), at)).or_default().absorb(digest);
                }
            };
            let mut add = |t: i64, value: u64| {
                let slice = t.div_euclid(width);
                if slice != at {
                    put_away(at, std::mem::take(&mut digest));
                    at = slice;
                }
                digest.add(series.hash, t, value);
            };
            series.data.lock().parts(|part| {
                let (t, epoch) = place(part);
                if flush.is_flushed(t, series.shard, epoch) {
                    return;
                }
                part.values(&mut add);
            });
            put_away(at, digest);
        }
        held
    }
}
