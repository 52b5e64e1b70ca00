//! From which time on the head alone has everything of some shards, so that blocks need not be asked. Pure: context in, a
//! timestamp out.
//!
//! A block's samples of a shard are all in memory when it was made of a cut of this head, or was found to hold what this head has
//! ([`crate::flush::reconcile`]); none of what is flushed has been dropped, so that memory holds as many flushed samples of the
//! shard and window as those blocks; and the grace period of the shard's newest block there, after which the policy drops them, ends no
//! earlier than the asking query.
//! Behind the last block of which this is not so the head has everything.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_cluster::BlockEntry;
use pharos_head::{ShardWindow, WindowInfo};
use pharos_model::ShardSet;

/// Blocks of others, by start of the window and sequence, with the shards whose samples in them were found in memory.
pub(crate) type Verified = BTreeMap<i64, BTreeMap<u64, ShardSet>>;

/// What is the same for all blocks of a tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// Who this ingester is, as its cuts are named in the catalogue.
    pub(crate) identity: &'a str,
    /// Milliseconds since the epoch.
    pub(crate) now_ms: i64,
    /// For how long the answer must hold.
    pub(crate) lasting: Duration,
    /// How long flushed samples stay in memory.
    pub(crate) grace: Duration,
    /// The shards that are asked for; none for all.
    pub(crate) shards: Option<&'a ShardSet>,
    /// What was found of blocks of others.
    pub(crate) verified: Option<&'a Verified>,
}

/// The blocks of one window.
struct WindowBlocks {
    max_t: i64,
    /// By shard with samples; nothing when they are not known to be in memory.
    shards: Option<BTreeMap<u32, ShardBlocks>>,
}

/// What the blocks of one window hold of one shard.
#[derive(Default)]
struct ShardBlocks {
    /// Samples that are marked as flushed.
    flushed: u64,
    /// When the newest of them was made: a grace period later the shard's samples may leave memory.
    made: i64,
}

/// Where the samples of a block of a shard are.
enum Location {
    /// Among the flushed samples in memory, so many.
    Flushed(u64),
    /// Among the unflushed samples in memory: the block is committed and not marked yet.
    Unflushed,
    /// Not known to be in memory.
    Elsewhere,
}

/// When a block was made, milliseconds since the epoch, from its ULID.
pub(crate) fn made_ms(block: &BlockEntry) -> i64 {
    ulid::Ulid::from_string(&block.id).map_or(0, |id| id.timestamp_ms() as i64)
}

impl Context<'_> {
    fn is_asked(&self, shard: u32) -> bool {
        self.shards.is_none_or(|shards| shards.contains(shard))
    }

    fn locate(&self, window: &WindowInfo, block: &BlockEntry, shard: u32) -> Location {
        let digest = block.digests.iter().find(|digest| digest.shard == shard);
        let samples = match digest {
            Some(digest) => digest.held.samples,
            None if block.digests.is_empty() => return Location::Elsewhere, // An entry of before.
            None => return Location::Flushed(0),
        };
        let verified = self.verified.and_then(|windows| windows.get(&window.start)?.get(&block.sequence));
        match &block.cut {
            _ if verified.is_some_and(|shards| shards.contains(shard)) => Location::Flushed(samples),
            Some(cut) if cut.ingester != self.identity || cut.number > window.newest_cut => Location::Elsewhere,
            Some(cut) if cut.number <= window.flushed_cut(shard) => Location::Flushed(samples),
            Some(_) => Location::Unflushed,
            None => Location::Elsewhere,
        }
    }
}

/// The first timestamp from which on memory holds every sample of the asked shards of a tenant whose live blocks and windows in
/// memory are these; `i64::MIN` for all time, `i64::MAX` for none.
pub(crate) fn complete_from<'a>(
    context: Context<'_>,
    blocks: impl IntoIterator<Item = &'a BlockEntry>,
    windows: &[WindowInfo],
) -> i64 {
    // What is in no block yet may be shipped the next moment, and dropped a grace period later.
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
                // Nothing of it can leave memory.
                Location::Flushed(0) => continue,
                Location::Flushed(samples) => samples,
                // It may be marked, and leave, any moment.
                Location::Unflushed => 0,
                Location::Elsewhere => {
                    known.shards = None;
                    break;
                }
            };
            if let Some(shards) = &mut known.shards {
                let of_shard = shards.entry(shard).or_default();
                of_shard.flushed += flushed;
                of_shard.made = of_shard.made.max(made_ms(block));
            }
        }
    }
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let until = context.now_ms.saturating_add(ms(context.lasting));
    for (start, blocks) in by_window {
        let stays = |(shard, blocks): (u32, ShardBlocks)| {
            let is_whole = flushed_in(in_memory[&start], shard) >= blocks.flushed;
            is_whole && until < blocks.made.saturating_add(ms(context.grace))
        };
        if !blocks.shards.is_some_and(|shards| shards.into_iter().all(stays)) {
            from = from.max(blocks.max_t.saturating_add(1));
        }
    }
    from
}

/// Flushed samples of a shard in memory.
fn flushed_in(window: &WindowInfo, shard: u32) -> u64 {
    let at = window.shards.binary_search_by_key(&shard, |s: &ShardWindow| s.shard);
    at.map_or(0, |at| window.shards[at].flushed_samples)
}

#[cfg(test)]
mod tests;
