//! The catalogue as a state machine: live blocks, how far each tenant is flushed, and [`deletions`].
//!
//! Invariants: a block exists if it is listed here. A tenant, shard and window have one main block and any number of delta
//! blocks with late samples. `flushed_until` never moves back. Sequences only grow, and of two samples at one timestamp the
//! one that was committed later wins.

mod deletions;
mod merge;
mod removal;

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_model::BlockDigest;
use serde::{Deserialize, Serialize};

pub use deletions::Deletion;
pub(crate) use merge::Merge;
pub use removal::{REMOVAL_DELAY_MS, Removal, RemovalReason};

/// A live block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockEntry {
    /// Its ULID, which is also the name of its folder.
    pub id: String,
    /// Start of its window, milliseconds since the epoch.
    pub window_start: i64,
    /// End of its window, exclusive.
    pub window_end: i64,
    /// Timestamp of the first sample, milliseconds.
    pub min_t: i64,
    /// Timestamp of the last sample, milliseconds.
    pub max_t: i64,
    /// The shards that it covers.
    pub shards: Vec<u32>,
    /// Whether it holds late samples of a window that already had a main block.
    pub delta: bool,
    /// Position in the order of commits, assigned by the catalogue. At equal timestamps the higher sequence wins.
    pub sequence: u64,
    /// Size of all of its files.
    pub bytes: u64,
    /// Number of series.
    pub series: u64,
    /// Number of samples.
    pub samples: u64,
    /// Milliseconds between samples of a downsampled block; 0 for raw samples.
    pub resolution_ms: i64,
    /// The cut of an ingester's head that it was made of; none for rebuilt entries.
    #[serde(default)]
    pub cut: Option<CutId>,
    /// A digest of each shard with samples, from which replicas conclude that theirs are in this block. Empty in entries of
    /// versions without digests, and in rebuilt ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<BlockDigest>,
    /// The number of the tenant's newest deletion before the samples were cut; newer ones mask the block. None in entries of
    /// versions that refused a block unless it had seen every deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletions_seen: Option<u64>,
    /// The block's metadata as encoded by the block crate; opaque here.
    pub meta: String,
}

/// Identifies a cut of a window of a head, so that an ingester that crashed between commit and mark can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutId {
    /// Identity of the ingester.
    pub ingester: String,
    /// Number of the cut, ascending within a window.
    pub number: u32,
}

/// The blocks and deletions of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TenantCatalogue {
    /// Live blocks, ascending by sequence.
    pub blocks: Vec<Arc<BlockEntry>>,
    /// Everything before this time is flushed, except for late samples. None until the first flush.
    #[serde(rename = "boundary")]
    pub flushed_until: Option<i64>,
    /// Deletions, ascending by sequence.
    pub deletions: Vec<Deletion>,
    /// The number of the newest deletion that is not listed any more, because it was forgotten or because the catalogue was
    /// restored from before it; 0 if there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub newest_unlisted: u64,
    /// The number of the newest deletion that was forgotten; 0 if none was. A block must have seen it, since nothing would
    /// mask its samples.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub newest_forgotten: u64,
    /// The ids of the latest deletions, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent_ids: Vec<String>,
    /// Blocks that were removed and whose objects may still exist, in order of their removal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Removal>,
    /// End of the newest window whose main block retention has removed. Outlives the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_until: Option<i64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The blocks and deletions of all tenants. Cheap to clone, because blocks are shared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The last sequence that was assigned.
    pub sequence: u64,
    /// When the catalogue was rebuilt from the bucket, milliseconds since the epoch; 0 if it never was. Unlisted blocks from
    /// before may be damaged ones that can still be repaired, so they are not garbage.
    #[serde(default)]
    pub rebuilt_ms: i64,
    /// By tenant name.
    pub tenants: BTreeMap<String, Arc<TenantCatalogue>>,
}

/// A change of the catalogue. Every command is idempotent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CatalogueCommand {
    /// Makes blocks live and advances `flushed_until`, atomically.
    CommitBlocks {
        /// Name of the tenant.
        tenant: String,
        /// The uploaded blocks. The catalogue assigns their sequences.
        blocks: Vec<BlockEntry>,
        /// Everything before this time is flushed; none leaves it unchanged.
        #[serde(rename = "boundary")]
        flushed_until: Option<i64>,
    },
    /// Removes blocks, for example because their retention has passed.
    RemoveBlocks {
        /// Name of the tenant.
        tenant: String,
        /// Ids of the blocks.
        ids: Vec<String>,
        /// Time of the removal, milliseconds since the epoch; 0 in commands of versions that recorded no removals.
        #[serde(default)]
        at_ms: i64,
        /// Why they are removed.
        #[serde(default)]
        reason: RemovalReason,
    },
    /// Rules that blocks which are not listed are never committed, so that their objects can be deleted.
    CondemnBlocks {
        /// Name of the tenant.
        tenant: String,
        /// Ids of the blocks. Live ones stay live.
        ids: Vec<String>,
        /// Time of the ruling, milliseconds since the epoch.
        at_ms: i64,
    },
    /// Forgets the removal of blocks whose objects are deleted.
    ForgetRemovals {
        /// Name of the tenant.
        tenant: String,
        /// Ids of the blocks.
        ids: Vec<String>,
    },
    /// Deletes series in a range of time. The same deletion again replaces the previous one.
    Delete {
        /// Name of the tenant.
        tenant: String,
        /// The series, as a selector printed by PromQL.
        selector: String,
        /// First deleted millisecond.
        start: i64,
        /// Last deleted millisecond.
        end: i64,
        /// Unique to the request. The same id again changes nothing. Empty in commands of versions without ids.
        #[serde(default)]
        id: String,
    },
    /// Forgets deletions that mask no block any more.
    ForgetDeletions {
        /// Name of the tenant.
        tenant: String,
        /// Every replica has applied the deletions up to this number.
        applied: u64,
    },
    /// Raises a tenant's deletion number, after a head knew a higher one than a restored catalogue.
    RaiseDeletions {
        /// Name of the tenant.
        tenant: String,
        /// The number that the head knows.
        number: u64,
    },
    /// Records that the catalogue was rebuilt from the bucket.
    Rebuilt {
        /// Time of the rebuild, milliseconds since the epoch.
        at_ms: i64,
        /// A sequence above all that the lost catalogue can have assigned. Later ones are higher; 0 in commands of earlier
        /// versions.
        #[serde(default)]
        sequence: u64,
    },
}

impl CatalogueCommand {
    /// As [`crate::Command::protocol`].
    pub(crate) fn protocol(&self) -> u32 {
        match self {
            CatalogueCommand::CondemnBlocks { .. }
            | CatalogueCommand::ForgetRemovals { .. }
            | CatalogueCommand::ForgetDeletions { .. }
            | CatalogueCommand::RaiseDeletions { .. } => 1,
            // Earlier versions would assign other sequences.
            CatalogueCommand::Rebuilt { sequence: 1.., .. } => 1,
            // Earlier versions would delete the objects of a quarantined block.
            CatalogueCommand::RemoveBlocks { reason, .. } if *reason != RemovalReason::Retention => 1,
            _ => 0,
        }
    }

    /// Whether it carries a time, for which the leader's clock counts.
    pub(crate) fn has_time(&self) -> bool {
        matches!(self, CatalogueCommand::RemoveBlocks { .. } | CatalogueCommand::CondemnBlocks { .. })
    }
}

/// Why a command was refused. The catalogue did not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// Another main block covers a shard of the window.
    #[error("block {by} already covers shard {shard} of window {window_start} of tenant {tenant}")]
    Covered {
        /// Name of the tenant.
        tenant: String,
        /// The covered shard.
        shard: u32,
        /// Start of the covered window.
        window_start: i64,
        /// Id of the block that covers it.
        by: String,
    },
    /// An invalid entry.
    #[error("invalid block {id} of tenant {tenant}: {reason}")]
    Malformed {
        /// Name of the tenant.
        tenant: String,
        /// Id of the block.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Catalogue {
    /// Applies a command, or refuses it and changes nothing.
    pub fn apply(&mut self, command: CatalogueCommand) -> Result<(), Refusal> {
        match command {
            CatalogueCommand::CommitBlocks { tenant, blocks, flushed_until } => {
                self.commit(&tenant, blocks, flushed_until)
            }
            CatalogueCommand::RemoveBlocks { tenant, ids, at_ms, reason } => {
                self.tenant_mut(&tenant).remove(&ids, at_ms, reason);
                Ok(())
            }
            CatalogueCommand::CondemnBlocks { tenant, ids, at_ms } => {
                self.tenant_mut(&tenant).condemn(ids, at_ms);
                Ok(())
            }
            CatalogueCommand::ForgetRemovals { tenant, ids } => {
                self.tenant_mut(&tenant).removed.retain(|removal| !ids.contains(&removal.id));
                Ok(())
            }
            CatalogueCommand::Delete { tenant, selector, start, end, id } => {
                self.delete(&tenant, Deletion { selector, start, end, sequence: 0 }, id);
                Ok(())
            }
            CatalogueCommand::ForgetDeletions { tenant, applied } => {
                self.forget_deletions(&tenant, applied);
                Ok(())
            }
            CatalogueCommand::RaiseDeletions { tenant, number } => {
                self.raise_deletions(&tenant, number);
                Ok(())
            }
            CatalogueCommand::Rebuilt { at_ms, sequence } => {
                self.rebuilt_ms = self.rebuilt_ms.max(at_ms);
                self.sequence = self.sequence.max(sequence);
                Ok(())
            }
        }
    }

    /// Whether all of these blocks are live. Refused if one has the id of a different block.
    pub(crate) fn has_all(&self, tenant: &str, blocks: &[BlockEntry]) -> Result<bool, Refusal> {
        let live = |id: &str| self.tenant(tenant).and_then(|known| known.blocks.iter().find(|block| block.id == id));
        let mut has_all = true;
        for block in blocks {
            match live(&block.id) {
                None => has_all = false,
                // An entry that was found in the bucket does not know its cut.
                Some(other) if other.cut == block.cut || other.cut.is_none() => {}
                Some(_) => {
                    let reason = "its id belongs to another block".into();
                    return Err(Refusal::Malformed { tenant: tenant.into(), id: block.id.clone(), reason });
                }
            }
        }
        Ok(has_all)
    }

    /// A live block of the same or a later cut by the same node, of the same window and a common shard.
    pub(crate) fn later_cut(&self, tenant: &str, block: &BlockEntry) -> Option<&Arc<BlockEntry>> {
        let cut = block.cut.as_ref()?;
        self.tenant(tenant)?.blocks.iter().find(|live| {
            let is_later = |other: &CutId| other.ingester == cut.ingester && other.number >= cut.number;
            live.window_start == block.window_start
                && live.cut.as_ref().is_some_and(is_later)
                && live.shards.iter().any(|shard| block.shards.contains(shard))
        })
    }

    /// The blocks and deletions of a tenant.
    pub fn tenant(&self, tenant: &str) -> Option<&Arc<TenantCatalogue>> {
        self.tenants.get(tenant)
    }

    fn tenant_mut(&mut self, tenant: &str) -> &mut TenantCatalogue {
        Arc::make_mut(self.tenants.entry(tenant.to_string()).or_default())
    }

    fn commit(&mut self, tenant: &str, blocks: Vec<BlockEntry>, flushed_until: Option<i64>) -> Result<(), Refusal> {
        let known = self.tenants.get(tenant);
        let is_live = |id: &str| known.is_some_and(|k| k.blocks.iter().any(|b| b.id == id));
        let fresh: Vec<BlockEntry> = blocks.into_iter().filter(|block| !is_live(&block.id)).collect();
        for (at, block) in fresh.iter().enumerate() {
            check(tenant, block)?;
            if let Some(removal) = known.and_then(|known| known.removal(&block.id)) {
                let reason = format!("it was removed ({:?}); its objects may be gone", removal.reason);
                return Err(Refusal::Malformed { tenant: tenant.into(), id: block.id.clone(), reason });
            }
            let live = known.iter().flat_map(|k| k.blocks.iter().map(Arc::as_ref));
            let covering =
                live.chain(&fresh[..at]).find_map(|other| shared_cover(block, other).map(|shard| (shard, other)));
            if let Some((shard, other)) = covering {
                let by = other.id.clone();
                return Err(Refusal::Covered { tenant: tenant.into(), shard, window_start: block.window_start, by });
            }
        }
        for mut block in fresh {
            // A rebuilt catalogue never assigns a number that a block has seen.
            self.sequence = self.sequence.max(block.deletions_seen.unwrap_or(0)) + 1;
            block.sequence = self.sequence;
            self.tenant_mut(tenant).blocks.push(Arc::new(block));
        }
        let tenant = self.tenant_mut(tenant);
        tenant.flushed_until = tenant.flushed_until.max(flushed_until);
        Ok(())
    }
}

fn check(tenant: &str, block: &BlockEntry) -> Result<(), Refusal> {
    let refuse =
        |reason: &str| Err(Refusal::Malformed { tenant: tenant.into(), id: block.id.clone(), reason: reason.into() });
    if block.id.is_empty() || block.id.len() > 64 || !block.id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return refuse("its id is not a ULID");
    }
    if block.window_end <= block.window_start {
        return refuse("its window is empty");
    }
    if block.min_t < block.window_start || block.max_t >= block.window_end || block.max_t < block.min_t {
        return refuse("its samples are outside its window");
    }
    Ok(())
}

/// A shard for which both blocks claim to be the main block of an overlapping window.
fn shared_cover(a: &BlockEntry, b: &BlockEntry) -> Option<u32> {
    let same_kind = !a.delta && !b.delta && a.resolution_ms == b.resolution_ms;
    if !same_kind || a.window_start >= b.window_end || b.window_start >= a.window_end {
        return None;
    }
    a.shards.iter().copied().find(|shard| b.shards.contains(shard))
}

#[cfg(test)]
mod tests;
