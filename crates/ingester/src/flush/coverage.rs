//! Which samples of a replica are in blocks of other nodes. Pure: digests go in, answers come out.
//!
//! The catalogue lists a digest of each shard in each block ([`BlockDigest`]). Samples that a replica has not marked as
//! flushed belong to the newest blocks of the shard and window, those committed since its last mark. If their digest
//! equals the sum of the newest blocks, then those blocks contain exactly these samples.
//!
//! A deletion ends this: a block that it masks contains nothing of what was written after it, even if that is the same again.

use std::sync::Arc;

use pharos_cluster::{BlockEntry, TenantCatalogue};
use pharos_head::{HeldDigest, ShardWindow, WindowInfo};
use pharos_model::{BlockDigest, ShardDigest, ShardSet};

/// The live blocks of one window, in commit order.
pub struct WindowBlocks<'a>(Vec<WindowBlock<'a>>);

/// One of them.
#[derive(Clone, Copy)]
struct WindowBlock<'a> {
    entry: &'a BlockEntry,
    /// Whether a deletion masks it.
    is_masked: bool,
}

impl<'a> WindowBlocks<'a> {
    /// The blocks of exactly this window.
    pub fn of(catalogue: Option<&'a Arc<TenantCatalogue>>, window: &WindowInfo) -> Self {
        let blocks = catalogue.into_iter().flat_map(|tenant| &tenant.blocks).map(Arc::as_ref);
        let same =
            |b: &&BlockEntry| b.window_start == window.start && b.window_end == window.end && b.resolution_ms == 0;
        let is_masked = |entry: &BlockEntry| catalogue.is_some_and(|tenant| tenant.is_masked(entry));
        let with_mask = |entry| WindowBlock { entry, is_masked: is_masked(entry) };
        WindowBlocks(blocks.filter(same).map(with_mask).collect())
    }

    /// Whether the window has no block.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sequence of the newest block; 0 if there is none.
    pub fn newest(&self) -> u64 {
        self.0.last().map_or(0, |block| block.entry.sequence)
    }

    /// The blocks in commit order.
    pub fn iter(&self) -> impl Iterator<Item = &'a BlockEntry> + '_ {
        self.0.iter().map(|block| block.entry)
    }

    /// The shards with a main block.
    pub fn covered(&self) -> ShardSet {
        self.iter().filter(|block| !block.delta).flat_map(|block| block.shards.iter().copied()).collect()
    }

    /// The digests of a shard, newest block first, up to a block that lists none or is masked.
    fn newest_first(&self, shard: u32) -> impl Iterator<Item = (u64, BlockDigest)> + '_ {
        let nothing = BlockDigest { shard, held: ShardDigest::default(), whole: None };
        let of_shard = self.0.iter().rev().filter(move |block| block.entry.shards.contains(&shard));
        of_shard.take_while(|block| !block.is_masked).map_while(move |WindowBlock { entry: block, .. }| {
            let known = block.digests.iter().find(|digest| digest.shard == shard).copied();
            let digest = known.or_else(|| (!block.digests.is_empty()).then_some(nothing))?;
            Some((block.sequence, digest))
        })
    }

    /// Whether the sample counts allow that a shard is covered, so that its digest is worth computing.
    pub fn may_cover(&self, held: &ShardWindow) -> bool {
        let mut samples = 0;
        held.unflushed_samples > 0
            && self.newest_first(held.shard).any(|(_, digest)| {
                samples += digest.held.samples;
                samples == held.unflushed_samples
                    || digest.whole.is_some_and(|w| w.samples == held.unflushed_samples + held.flushed_samples)
            })
    }

    /// If blocks contain everything that a replica holds of a shard, the sequences of the blocks that contain exactly its
    /// unflushed samples. None if they do not.
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
