//! Which samples of a replica are in blocks that others made. Pure: digests in, answers out.
//!
//! A leader says of each block what identifies the samples of each shard ([`BlockDigest`]). Whatever a replica has not marked as
//! flushed yet must be in the newest blocks of the shard and window, those that were committed since it last marked: when it equals
//! the sum of some of the newest blocks, it is in them, each sample of it, and they have nothing else.

use std::sync::Arc;

use pharos_cluster::{BlockEntry, TenantCatalogue};
use pharos_head::{HeldDigest, ShardWindow, WindowInfo};
use pharos_model::{BlockDigest, ShardDigest, ShardSet};

/// The live blocks of one window, in the order of their commits.
pub struct WindowBlocks<'a>(Vec<&'a BlockEntry>);

impl<'a> WindowBlocks<'a> {
    /// Those of exactly this window.
    pub fn of(catalogue: Option<&'a Arc<TenantCatalogue>>, window: &WindowInfo) -> Self {
        let blocks = catalogue.into_iter().flat_map(|tenant| &tenant.blocks).map(Arc::as_ref);
        let same =
            |b: &&BlockEntry| b.window_start == window.start && b.window_end == window.end && b.resolution_ms == 0;
        WindowBlocks(blocks.filter(same).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sequence of the newest one.
    pub fn newest(&self) -> u64 {
        self.0.last().map_or(0, |block| block.sequence)
    }

    /// The blocks, in the order of their commits.
    pub fn iter(&self) -> impl Iterator<Item = &'a BlockEntry> + '_ {
        self.0.iter().copied()
    }

    /// The shards that have a main block.
    pub fn covered(&self) -> ShardSet {
        self.0.iter().filter(|block| !block.delta).flat_map(|block| block.shards.iter().copied()).collect()
    }

    /// What the blocks say of a shard, newest first, up to one that does not say it.
    fn newest_first(&self, shard: u32) -> impl Iterator<Item = (u64, BlockDigest)> + '_ {
        let nothing = BlockDigest { shard, held: ShardDigest::default(), whole: None };
        let of_shard = self.0.iter().rev().filter(move |block| block.shards.contains(&shard));
        of_shard.map_while(move |block| {
            let known = block.digests.iter().find(|digest| digest.shard == shard).copied();
            let digest = known.or_else(|| (!block.digests.is_empty()).then_some(nothing))?;
            Some((block.sequence, digest))
        })
    }

    /// Whether by the number of samples a shard may be covered: then its digest is worth computing.
    pub fn may_cover(&self, held: &ShardWindow) -> bool {
        let mut samples = 0;
        held.unflushed_samples > 0
            && self.newest_first(held.shard).any(|(_, digest)| {
                samples += digest.held.samples;
                samples == held.unflushed_samples
                    || digest.whole.is_some_and(|w| w.samples == held.unflushed_samples + held.flushed_samples)
            })
    }

    /// Whether everything that a replica holds of a shard is in blocks; if so, the sequences of those that hold exactly what was
    /// not flushed.
    pub fn cover(&self, shard: u32, held: HeldDigest) -> Option<Vec<u64>> {
        let (mut sum, mut sequences) = (ShardDigest::default(), Vec::new());
        let mut in_whole = false;
        for (sequence, digest) in self.newest_first(shard) {
            in_whole |= digest.whole == Some(held.all);
            sum.absorb(digest.held);
            sequences.push(sequence);
            if sum == held.unflushed {
                return Some(sequences);
            }
        }
        in_whole.then(Vec::new)
    }
}

#[cfg(test)]
mod tests;
