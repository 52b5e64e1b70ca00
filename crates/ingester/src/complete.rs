//! From which time on the head alone has everything, so that blocks need not be asked. Pure: facts in, a timestamp out.
//!
//! A block's samples are all in memory when it was made of cuts of this head, none of what those cuts flushed has been
//! dropped (then memory holds as many flushed samples of the window as its blocks), and the grace period, after which the
//! policy drops them, ends no earlier than the asking query. Behind the last block of which this is not so the head has everything.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_head::WindowInfo;
use pharos_meta::BlockEntry;

/// What is the same for all blocks of a tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// Who this ingester is, as its cuts are named in the catalogue.
    pub(crate) identity: &'a str,
    /// Milliseconds since the epoch.
    pub(crate) now_ms: i64,
    /// For how long the answer must hold.
    pub(crate) lasting: Duration,
    /// How long flushed samples stay in memory.
    pub(crate) grace: Duration,
}

/// The blocks of one window.
struct WindowBlocks {
    max_t: i64,
    made: i64,
    /// Samples of those that are marked as flushed; nothing when a block is not of this head.
    flushed: Option<u64>,
}

/// When a block was made, milliseconds since the epoch, from its ULID.
pub(crate) fn made_ms(block: &BlockEntry) -> i64 {
    ulid::Ulid::from_string(&block.id).map_or(0, |id| id.timestamp_ms() as i64)
}

/// The first timestamp from which on memory holds every sample of a tenant whose live blocks and windows in
/// memory are these; `i64::MIN` for all time, `i64::MAX` for none.
pub(crate) fn complete_from<'a>(
    facts: Facts<'_>,
    blocks: impl IntoIterator<Item = &'a BlockEntry>,
    windows: &[WindowInfo],
) -> i64 {
    // What is in no block yet may be shipped the next moment, and dropped a grace period later.
    if facts.lasting >= facts.grace {
        return i64::MAX;
    }
    let in_memory: BTreeMap<i64, &WindowInfo> = windows.iter().map(|w| (w.start, w)).collect();
    let mut from = i64::MIN;
    let mut by_window: BTreeMap<i64, WindowBlocks> = BTreeMap::new();
    for block in blocks {
        let Some(window) = in_memory.get(&block.window_start).filter(|w| w.end == block.window_end) else {
            from = from.max(block.max_t.saturating_add(1));
            continue;
        };
        let nothing = WindowBlocks { max_t: i64::MIN, made: i64::MIN, flushed: Some(0) };
        let known = by_window.entry(block.window_start).or_insert(nothing);
        known.max_t = known.max_t.max(block.max_t);
        known.made = known.made.max(made_ms(block));
        known.flushed = match &block.cut {
            Some(cut) if cut.ingester == facts.identity && is_marked(window, block, cut.number) => {
                known.flushed.map(|samples| samples.saturating_add(block.samples))
            }
            // Committed and not marked yet: its samples count as unflushed in memory.
            Some(cut) if cut.ingester == facts.identity && cut.number <= window.cuts => known.flushed,
            _ => None,
        };
    }
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let until = facts.now_ms.saturating_add(ms(facts.lasting));
    for (start, blocks) in by_window {
        let stays = until < blocks.made.saturating_add(ms(facts.grace));
        let is_whole = blocks.flushed.is_some_and(|flushed| in_memory[&start].flushed_samples >= flushed);
        if !(stays && is_whole) {
            from = from.max(blocks.max_t.saturating_add(1));
        }
    }
    from
}

/// Whether the head knows that a cut is in a block: all shards of the block are marked.
fn is_marked(window: &WindowInfo, block: &BlockEntry, cut: u32) -> bool {
    window.shards.iter().filter(|s| block.shards.contains(&s.shard)).all(|s| cut <= s.flushed)
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
