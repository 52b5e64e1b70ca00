//! From which time on the head has every sample of some shards, so that no block is needed. Pure: blocks and windows go in, a
//! timestamp comes out.
//!
//! The samples of a shard in a block are all in memory if three conditions hold. The block was made of a cut of this memory,
//! not of an earlier life of it ([`WindowInfo::has_cut`]), or reconciliation found its samples here
//! ([`crate::flush::reconcile`]). None of them was dropped: memory has as many
//! flushed samples of the shard and window as the blocks. And they stay until the query is over: the grace period of the
//! shard's newest block, counted from when this node saw it, ends later. The head is complete after the last block for
//! which this is not so.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_cluster::BlockEntry;
use pharos_head::{ShardWindow, WindowInfo};
use pharos_model::ShardSet;

use crate::flush::known::Known;

/// What is the same for all blocks of one call.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// Identity of this ingester, as the catalogue names it in cuts.
    pub(crate) identity: &'a str,
    /// Time on the monotonic clock.
    pub(crate) now: Duration,
    /// How long the answer must hold.
    pub(crate) lasting: Duration,
    /// How long flushed samples stay in memory.
    pub(crate) grace: Duration,
    /// The shards of the query; none for all.
    pub(crate) shards: Option<&'a ShardSet>,
    /// What flushing has found out about the blocks.
    pub(crate) known: &'a Known,
}

/// The blocks of one window together.
struct WindowBlocks {
    max_t: i64,
    /// By shard; none if a block is not known to be in memory.
    shards: Option<BTreeMap<u32, ShardBlocks>>,
}

/// The samples of one shard in the blocks of a window.
#[derive(Default)]
struct ShardBlocks {
    /// Number of samples that are marked as flushed.
    flushed: u64,
    /// How long they stay in memory at least, once they are flushed.
    stay: Duration,
}

/// Where the samples of a block of a shard are.
enum Location {
    /// Among the flushed samples in memory; this many.
    Flushed(u64),
    /// Among the unflushed samples in memory, because the block is committed but not marked yet.
    Unflushed,
    /// Not known to be in memory.
    Elsewhere,
}

impl Context<'_> {
    fn is_asked(&self, shard: u32) -> bool {
        self.shards.is_none_or(|shards| shards.contains(shard))
    }

    fn locate(&self, window: &WindowInfo, block: &BlockEntry, shard: u32) -> Location {
        let digest = block.digests.iter().find(|digest| digest.shard == shard);
        let samples = match digest {
            Some(digest) => digest.held.samples,
            None if block.digests.is_empty() => return Location::Elsewhere, // An entry of a version without digests.
            None => return Location::Flushed(0),
        };
        let verified = self.known.verified.get(&window.start).and_then(|blocks| blocks.get(&block.id));
        match &block.cut {
            _ if verified.is_some_and(|shards| shards.contains(shard)) => Location::Flushed(samples),
            Some(cut) if cut.ingester != self.identity || !window.has_cut(shard, cut.number) => Location::Elsewhere,
            Some(cut) if cut.number <= window.flushed_cut(shard) => Location::Flushed(samples),
            Some(_) => Location::Unflushed,
            None => Location::Elsewhere,
        }
    }
}

/// The timestamp from which on memory has every sample of the queried shards, given a tenant's live blocks and windows in
/// memory: `i64::MIN` if it has all samples, `i64::MAX` if nothing can be promised.
pub(crate) fn complete_from<'a>(
    context: Context<'_>,
    blocks: impl IntoIterator<Item = &'a BlockEntry>,
    windows: &[WindowInfo],
) -> i64 {
    // Unflushed samples may be flushed the next moment and dropped a grace period later.
    if context.lasting >= context.grace {
        return i64::MAX;
    }
    let in_memory: BTreeMap<i64, &WindowInfo> = windows.iter().map(|w| (w.start, w)).collect();
    let mut from = i64::MIN;
    let mut by_window: BTreeMap<i64, WindowBlocks> = BTreeMap::new();
    for block in blocks {
        if !block.shards.iter().any(|shard| context.is_asked(*shard)) {
            continue;
        }
        let Some(window) = in_memory.get(&block.window_start).filter(|w| w.end == block.window_end) else {
            from = from.max(block.max_t.saturating_add(1));
            continue;
        };
        let nothing = || WindowBlocks { max_t: i64::MIN, shards: Some(BTreeMap::new()) };
        let known = by_window.entry(block.window_start).or_insert_with(nothing);
        known.max_t = known.max_t.max(block.max_t);
        for shard in block.shards.iter().copied().filter(|shard| context.is_asked(*shard)) {
            let flushed = match context.locate(window, block, shard) {
                // There is nothing that could leave memory.
                Location::Flushed(0) => continue,
                Location::Flushed(samples) => samples,
                // It may be marked any moment and then be dropped.
                Location::Unflushed => 0,
                Location::Elsewhere => {
                    known.shards = None;
                    break;
                }
            };
            if let Some(shards) = &mut known.shards {
                let of_shard = shards.entry(shard).or_default();
                of_shard.flushed += flushed;
                of_shard.stay = of_shard.stay.max(context.known.listing.stays(&block.id, context.now, context.grace));
            }
        }
    }
    for (start, blocks) in by_window {
        let stays = |(shard, blocks): (u32, ShardBlocks)| {
            let is_whole = flushed_in(in_memory[&start], shard) >= blocks.flushed;
            is_whole && context.lasting < blocks.stay
        };
        if !blocks.shards.is_some_and(|shards| shards.into_iter().all(stays)) {
            from = from.max(blocks.max_t.saturating_add(1));
        }
    }
    from
}

/// Number of flushed samples of a shard in memory.
fn flushed_in(window: &WindowInfo, shard: u32) -> u64 {
    let at = window.shards.binary_search_by_key(&shard, |s: &ShardWindow| s.shard);
    at.map_or(0, |at| window.shards[at].flushed_samples)
}

#[cfg(test)]
mod tests;
