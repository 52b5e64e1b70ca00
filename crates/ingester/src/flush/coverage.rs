//! Which samples of a replica are in blocks. Pure: digests go in, answers come out.
//!
//! The catalogue lists a digest of each shard in each block ([`BlockDigest`]). Samples that a replica has not marked as
//! flushed belong to the newest blocks of the shard and window, those committed since its last mark. If their digest
//! equals the sum of the newest blocks, then those blocks contain exactly these samples.
//!
//! Windows change their width, so a block may overlap a window without being of it. Such a block covers the shard: what
//! comes now is late. But digests of different windows cannot be compared.
//!
//! A deletion ends this: a block that it masks contains nothing of what was written after it, even if that is the same again.

use std::sync::Arc;

use pharos_cluster::{BlockEntry, TenantCatalogue};
use pharos_head::{HeldDigest, ShardWindow, WindowInfo};
use pharos_model::{BlockDigest, ShardDigest, ShardSet};

/// The live blocks of raw samples that overlap one window, in commit order.
pub struct WindowBlocks<'a> {
    blocks: Vec<WindowBlock<'a>>,
    start: i64,
    end: i64,
}

/// One of them.
#[derive(Clone, Copy)]
struct WindowBlock<'a> {
    entry: &'a BlockEntry,
    /// Whether a deletion masks it.
    is_masked: bool,
}

impl<'a> WindowBlocks<'a> {
    /// The blocks that overlap a window.
    pub fn of(catalogue: Option<&'a Arc<TenantCatalogue>>, window: &WindowInfo) -> Self {
        let (start, end) = (window.start, window.end);
        let overlaps = |b: &&BlockEntry| b.window_start < end && start < b.window_end && b.resolution_ms == 0;
        let blocks = catalogue.into_iter().flat_map(|tenant| &tenant.blocks).map(Arc::as_ref);
        let is_masked = |entry: &BlockEntry| catalogue.is_some_and(|tenant| tenant.is_masked(entry));
        let with_mask = |entry| WindowBlock { entry, is_masked: is_masked(entry) };
        WindowBlocks { blocks: blocks.filter(overlaps).map(with_mask).collect(), start, end }
    }

    /// Whether the window has no block.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The sequence of the newest block; 0 if there is none.
    pub fn newest(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.entry.sequence)
    }

    /// The blocks in commit order, also those of other windows.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a BlockEntry> + '_ {
        self.blocks.iter().map(|block| block.entry)
    }

    /// The blocks that contain any of these shards, in commit order.
    pub fn with_some_of(&self, shards: &ShardSet) -> Vec<&'a BlockEntry> {
        self.iter().filter(|block| block.shards.iter().any(|shard| shards.contains(*shard))).collect()
    }

    /// The blocks of exactly this window, in commit order.
    pub fn of_same_window(&self) -> impl DoubleEndedIterator<Item = &'a BlockEntry> + '_ {
        self.iter().filter(|block| self.is_of_window(block))
    }

    fn is_of_window(&self, block: &BlockEntry) -> bool {
        block.window_start == self.start && block.window_end == self.end
    }

    /// The shards with a main block. Their other samples are late.
    pub fn covered(&self) -> ShardSet {
        self.iter().filter(|block| !block.delta).flat_map(|block| block.shards.iter().copied()).collect()
    }

    /// The digests of a shard, newest block first, up to a block that lists none or is masked.
    fn newest_first(&self, shard: u32) -> impl Iterator<Item = (u64, BlockDigest)> + '_ {
        let nothing = BlockDigest { shard, held: ShardDigest::default(), whole: None };
        let is_wanted = move |b: &&WindowBlock<'_>| self.is_of_window(b.entry) && b.entry.shards.contains(&shard);
        let of_shard = self.blocks.iter().rev().filter(is_wanted).take_while(|block| !block.is_masked);
        of_shard.map_while(move |WindowBlock { entry: block, .. }| {
            let known = block.digests.iter().find(|digest| digest.shard == shard).copied();
            let digest = known.or_else(|| (!block.digests.is_empty()).then_some(nothing))?;
            Some((block.sequence, digest))
        })
    }

    /// Whether the sample counts allow that a shard is covered, so that its digest is worth computing.
    pub fn may_cover(&self, held: &ShardWindow) -> bool {
        let (unflushed, all) = (held.unflushed_samples, held.unflushed_samples + held.flushed_samples);
        let mut samples = 0;
        unflushed > 0
            && self.newest_first(held.shard).any(|(_, digest)| {
                samples += digest.held.samples;
                samples == unflushed || digest.whole.is_some_and(|w| w.samples == unflushed || w.samples == all)
            })
    }

    /// If blocks contain everything that a replica holds of a shard and has not flushed, the sequences of the blocks that
    /// contain exactly these samples. None if they do not.
    pub fn cover(&self, shard: u32, held: HeldDigest) -> Option<Vec<u64>> {
        let (mut sum, mut sequences) = (ShardDigest::default(), Vec::new());
        let mut in_whole = false;
        for (sequence, digest) in self.newest_first(shard) {
            in_whole |= digest.whole.is_some_and(|whole| whole == held.all || whole == held.unflushed);
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
