//! Blocks that left the catalogue. A removal is recorded until the objects of its block are deleted.
//!
//! Records serve three readers. Garbage collection deletes the objects a fixed time after the recorded removal. Ingesters
//! drop samples from memory without a listed block only if the removal of that block is known. And a commit of a recorded
//! block is refused, because its objects may already be gone.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{BlockEntry, TenantCatalogue};

/// Shortest time from the removal of a block to the deletion of its objects, milliseconds. A restore lists blocks again that
/// were removed more recently than this.
pub const REMOVAL_DELAY_MS: i64 = 3_600_000;

/// Why a block was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemovalReason {
    /// Its samples are too old, or all blocks together are too large.
    #[default]
    Retention,
    /// It was uploaded and never committed.
    Uncommitted,
    /// It is damaged. Its objects are kept for a repair.
    Quarantine,
    /// The object store does not have it.
    Missing,
}

/// A block that was removed, or that may never be committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Its ULID.
    pub id: String,
    /// Start of its window, milliseconds since the epoch; 0 if it was never listed.
    #[serde(default)]
    pub window_start: i64,
    /// End of its window, exclusive; 0 if it was never listed.
    #[serde(default)]
    pub window_end: i64,
    /// The shards that it covered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<u32>,
    /// Whether it was a delta block.
    #[serde(default)]
    pub delta: bool,
    /// Time of the removal by the clock of meta's leader, milliseconds since the epoch.
    pub at_ms: i64,
    /// Why it was removed.
    #[serde(default)]
    pub reason: RemovalReason,
}

impl Removal {
    fn of(block: &BlockEntry, at_ms: i64, reason: RemovalReason) -> Removal {
        Removal {
            id: block.id.clone(),
            window_start: block.window_start,
            window_end: block.window_end,
            shards: block.shards.clone(),
            delta: block.delta,
            at_ms,
            reason,
        }
    }

    fn explains(&self, window_start: i64, window_end: i64, shard: u32) -> bool {
        self.reason == RemovalReason::Retention
            && !self.delta
            && self.window_start < window_end
            && window_start < self.window_end
            && self.shards.contains(&shard)
    }
}

impl TenantCatalogue {
    /// The recorded removal of a block.
    pub fn removal(&self, id: &str) -> Option<&Removal> {
        self.removed.iter().find(|removal| removal.id == id)
    }

    /// Whether a window of a shard has no listed block because its block was removed on purpose. Otherwise its block is missing,
    /// and samples in memory are the only copy.
    pub fn is_removal_known(&self, window_start: i64, window_end: i64, shard: u32) -> bool {
        self.removed_until.is_some_and(|until| window_end <= until)
            || self.removed.iter().any(|removal| removal.explains(window_start, window_end, shard))
    }

    /// Removes live blocks. Without a time, as in commands of earlier versions, no record remains.
    pub(super) fn remove(&mut self, ids: &[String], at_ms: i64, reason: RemovalReason) {
        let ids: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        for block in self.blocks.iter().filter(|block| ids.contains(block.id.as_str())) {
            if reason == RemovalReason::Retention && !block.delta {
                self.removed_until = self.removed_until.max(Some(block.window_end));
            }
            if at_ms != 0 {
                self.removed.push(Removal::of(block, at_ms, reason));
            }
        }
        self.blocks.retain(|block| !ids.contains(block.id.as_str()));
    }

    /// Records that blocks are never to be committed. Live ones stay live.
    pub(super) fn condemn(&mut self, ids: Vec<String>, at_ms: i64) {
        for id in ids {
            let is_known = self.removal(&id).is_some() || self.blocks.iter().any(|block| block.id == id);
            if !is_known {
                let reason = RemovalReason::Uncommitted;
                self.removed.push(Removal { id, at_ms, reason, ..Removal::default() });
            }
        }
    }
}

#[cfg(test)]
mod tests;
