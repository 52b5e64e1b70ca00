//! What a tenant's blocks mean for its samples in memory: how long this node has known them, which of them have vanished, and
//! which blocks of other nodes were found in memory.
//!
//! Grace periods count from the moment at which this node saw a block, on its monotonic clock. The date in a block's name
//! comes from another node's clock and may be years off. It is used only for blocks that were there when the process
//! started, whose grace period may be over already, and never counts for more than that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use pharos_cluster::{BlockEntry, RemovalReason, TenantCatalogue};
use pharos_head::WindowInfo;
use pharos_model::ShardSet;

use super::policy::{Blocks, ShardBlocks};

/// Blocks of other nodes whose samples were found in memory: by start of the window and id of the block, the shards.
pub(crate) type Verified = BTreeMap<i64, BTreeMap<String, ShardSet>>;

/// What flushing has found out about a tenant and queries need to know.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) listing: Listing,
    pub(crate) verified: Verified,
}

/// The blocks that overlap windows in memory.
#[derive(Default)]
pub(crate) struct Listing {
    blocks: BTreeMap<String, SeenBlock>,
    /// The last catalogue and windows that were noted, which need not be noted again.
    noted: Option<(Option<Arc<TenantCatalogue>>, Vec<i64>)>,
}

/// A block that was listed at some time since the process started.
struct SeenBlock {
    start: i64,
    end: i64,
    shards: ShardSet,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is listed, and was first seen at this time on the monotonic clock.
    Listed(Duration),
    /// It was removed on purpose.
    Removed,
    /// It is not listed any more, and nobody removed it.
    Missing,
}

/// Creation time of a block, milliseconds since the epoch, from its ULID.
pub(crate) fn made_ms(block: &BlockEntry) -> i64 {
    ulid::Ulid::from_string(&block.id).map_or(0, |id| id.timestamp_ms() as i64)
}

impl Listing {
    /// Notes the blocks that are listed when the process starts, with their age by the wall clock, at most `grace`.
    pub(crate) fn begin(
        &mut self,
        now: Duration,
        now_ms: i64,
        grace: Duration,
        catalogue: Option<&Arc<TenantCatalogue>>,
        windows: &[WindowInfo],
    ) {
        self.note(now, catalogue, windows);
        let Some(catalogue) = catalogue else { return };
        for block in &catalogue.blocks {
            if let Some(seen) = self.blocks.get_mut(&block.id) {
                let age = u64::try_from(now_ms.saturating_sub(made_ms(block))).unwrap_or(0);
                seen.state = State::Listed(now.saturating_sub(Duration::from_millis(age).min(grace)));
            }
        }
    }

    /// Notes which blocks a catalogue lists over windows in memory, which ascend. Returns the ids of blocks that have vanished
    /// since without a recorded removal.
    pub(crate) fn note(
        &mut self,
        now: Duration,
        catalogue: Option<&Arc<TenantCatalogue>>,
        windows: &[WindowInfo],
    ) -> Vec<String> {
        let is_noted = self.noted.as_ref().is_some_and(|(last, starts)| {
            let same = match (last, catalogue) {
                (Some(last), Some(catalogue)) => Arc::ptr_eq(last, catalogue),
                (last, catalogue) => last.is_none() && catalogue.is_none(),
            };
            same && starts.iter().eq(windows.iter().map(|w| &w.start))
        });
        if is_noted {
            return Vec::new();
        }
        self.noted = Some((catalogue.cloned(), windows.iter().map(|w| w.start).collect()));
        let is_in_memory = |start: i64, end: i64| {
            let first = windows.partition_point(|w| w.end <= start);
            windows.get(first).is_some_and(|w| w.start < end)
        };
        let blocks = catalogue.into_iter().flat_map(|known| &known.blocks);
        let listed: HashMap<&str, &BlockEntry> = blocks
            .filter(|block| block.resolution_ms == 0 && is_in_memory(block.window_start, block.window_end))
            .map(|block| (block.id.as_str(), block.as_ref()))
            .collect();
        self.blocks.retain(|_, seen| is_in_memory(seen.start, seen.end));
        let mut vanished = Vec::new();
        for (id, seen) in self.blocks.iter_mut().filter(|(id, _)| !listed.contains_key(id.as_str())) {
            if seen.state == State::Removed {
                continue;
            }
            if catalogue.is_some_and(|known| is_removed(known, id, seen)) {
                seen.state = State::Removed;
            } else if seen.state != State::Missing {
                seen.state = State::Missing;
                vanished.push(id.clone());
            }
        }
        for (id, block) in listed {
            match self.blocks.get_mut(id) {
                Some(SeenBlock { state: State::Listed(_), .. }) => {}
                Some(seen) => seen.state = State::Listed(now),
                None => {
                    let shards = block.shards.iter().copied().collect();
                    let (start, end, state) = (block.window_start, block.window_end, State::Listed(now));
                    self.blocks.insert(id.to_string(), SeenBlock { start, end, shards, state });
                }
            }
        }
        vanished
    }

    /// What is known about the blocks of each shard of some windows with flushed samples, by the last catalogue noted.
    pub(crate) fn of_windows(&self, windows: &[WindowInfo]) -> Blocks {
        let mut blocks = Blocks::new();
        let catalogue = self.noted.as_ref().and_then(|(catalogue, _)| catalogue.as_ref());
        for seen in self.blocks.values() {
            let first = windows.partition_point(|w| w.end <= seen.start);
            for window in windows[first..].iter().take_while(|w| w.start < seen.end) {
                for shard in seen.shards.iter() {
                    let entry = blocks.entry((window.start, shard)).or_default();
                    match seen.state {
                        State::Listed(since) => entry.newest_seen = entry.newest_seen.max(Some(since)),
                        State::Removed => {}
                        State::Missing => entry.is_missing = true,
                    }
                }
            }
        }
        for window in windows {
            for shard in window.evictable().iter() {
                blocks.entry((window.start, shard)).or_insert_with(|| {
                    let is_removed = catalogue.is_some_and(|known| is_removal_known(known, window, shard));
                    ShardBlocks { newest_seen: None, is_missing: !is_removed }
                });
            }
        }
        blocks
    }

    /// How much longer samples of a block stay in memory at least, if they are there and nothing newer is flushed.
    pub(crate) fn stays(&self, block: &str, now: Duration, grace: Duration) -> Duration {
        match self.blocks.get(block) {
            Some(SeenBlock { state: State::Listed(since), .. }) => since.saturating_add(grace).saturating_sub(now),
            // It will be noted later than now.
            _ => grace,
        }
    }

    /// Forgets that blocks of some shards of a window are missing, because listed blocks have all of these samples.
    pub(crate) fn recovered(&mut self, window: &WindowInfo, shards: &ShardSet) {
        let is_over = |seen: &SeenBlock| seen.start < window.end && window.start < seen.end;
        for seen in self.blocks.values_mut().filter(|seen| seen.state == State::Missing && is_over(seen)) {
            seen.shards = seen.shards.difference(shards);
        }
        self.blocks.retain(|_, seen| !seen.shards.is_empty());
    }

    /// The state of a process that saw blocks at certain times.
    #[cfg(test)]
    pub(crate) fn seen_at<'a>(blocks: impl IntoIterator<Item = (&'a BlockEntry, Duration)>) -> Listing {
        let seen = |(block, since): (&BlockEntry, Duration)| {
            let shards = block.shards.iter().copied().collect();
            let (start, end, state) = (block.window_start, block.window_end, State::Listed(since));
            (block.id.clone(), SeenBlock { start, end, shards, state })
        };
        Listing { blocks: blocks.into_iter().map(seen).collect(), noted: None }
    }
}

/// Whether a block that is not listed any more was removed on purpose.
fn is_removed(catalogue: &TenantCatalogue, id: &str, block: &SeenBlock) -> bool {
    let is_recorded = catalogue.removal(id).is_some_and(|removal| removal.reason == RemovalReason::Retention);
    is_recorded || block.shards.iter().all(|shard| catalogue.is_removal_known(block.start, block.end, shard))
}

/// Whether the block of a shard of a window was removed on purpose.
fn is_removal_known(catalogue: &TenantCatalogue, window: &WindowInfo, shard: u32) -> bool {
    catalogue.is_removal_known(window.start, window.end, shard)
}

#[cfg(test)]
mod tests;
