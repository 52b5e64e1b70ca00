//! The catalogue as a state machine: which blocks are live, up to where each tenant is flushed, what was deleted.
//!
//! Invariants: a block exists when it is listed here; of a (tenant, shard, window) there is one main block and any
//! number of deltas with late samples; the flushed_until of a tenant never moves back; sequences only grow, so that of two
//! samples at one timestamp that of the later commit wins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pharos_model::{BlockDigest, Matcher, TenantId, TimeRange};
use serde::{Deserialize, Serialize};

/// A live block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockEntry {
    /// Its ULID, which is also its folder's name.
    pub id: String,
    /// Start of its window, milliseconds since the epoch.
    pub window_start: i64,
    /// End of its window, excluded.
    pub window_end: i64,
    /// First sample, milliseconds.
    pub min_t: i64,
    /// Last sample, milliseconds.
    pub max_t: i64,
    /// The shards that it holds samples of.
    pub shards: Vec<u32>,
    /// Whether it holds late samples of a window that has its main block already.
    pub delta: bool,
    /// Order of commits; of two samples at one timestamp that of the higher sequence wins. Given by the catalogue.
    pub sequence: u64,
    /// Size of all its files.
    pub bytes: u64,
    /// Number of series.
    pub series: u64,
    /// Number of samples.
    pub samples: u64,
    /// Milliseconds between samples of a downsampled block; 0 for raw samples.
    pub resolution_ms: i64,
    /// The cut of an ingester's head that it was made of; none for merged blocks.
    #[serde(default)]
    pub cut: Option<CutId>,
    /// What identifies the samples of each shard that has some, by which replicas find out that theirs are in this block;
    /// none in entries of before, and of merged blocks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<BlockDigest>,
    /// The block's own description as the block crate encodes it; opaque here.
    pub meta: String,
}

/// Names a cut of a window of a head, so that an ingester that died between commit and its own note of it finds out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutId {
    /// The ingester's identity.
    pub ingester: String,
    /// The number of the cut, ascending within a window.
    pub number: u32,
}

/// Series and time that were deleted. It masks the blocks whose sequence is not above its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deletion {
    /// The selector, as PromQL prints it; all of its matchers must hold.
    pub selector: String,
    /// First deleted millisecond.
    pub start: i64,
    /// Last deleted millisecond.
    pub end: i64,
    /// The catalogue's sequence when it was made.
    pub sequence: u64,
}

/// What the catalogue holds of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TenantCatalogue {
    /// Live blocks in the order of their sequences.
    pub blocks: Vec<Arc<BlockEntry>>,
    /// Everything before it is flushed, but for late samples; none while nothing was flushed.
    #[serde(rename = "boundary")]
    pub flushed_until: Option<i64>,
    /// Deletions that no rewrite has made true yet.
    pub deletions: Vec<Deletion>,
}

/// The state. Cloning is cheap enough to publish every change: blocks are shared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The last sequence that was given out.
    pub sequence: u64,
    /// When the catalogue was rebuilt from the bucket, milliseconds since the epoch; 0 if it never was. Blocks from before that it
    /// does not list may be damaged ones that somebody can still save.
    #[serde(default)]
    pub rebuilt_ms: i64,
    /// By tenant name.
    pub tenants: BTreeMap<String, Arc<TenantCatalogue>>,
}

/// A change. Every command may be sent again: what is done already changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CatalogueCommand {
    /// Makes blocks live and moves the flushed_until, at once.
    CommitBlocks {
        /// Whose.
        tenant: String,
        /// What was uploaded; their sequences are given by the catalogue.
        blocks: Vec<BlockEntry>,
        /// Everything before it is flushed now.
        #[serde(rename = "boundary")]
        flushed_until: Option<i64>,
    },
    /// Takes blocks out, for example when their retention has passed or a merge replaced them.
    RemoveBlocks {
        /// Whose.
        tenant: String,
        /// Which.
        ids: Vec<String>,
    },
    /// Masks series. The same again takes the place of the one before.
    Delete {
        /// Whose.
        tenant: String,
        /// Which series, as PromQL prints the selector.
        selector: String,
        /// First millisecond.
        start: i64,
        /// Last millisecond.
        end: i64,
    },
    /// Notes that the catalogue was rebuilt from the bucket.
    Rebuilt {
        /// When, milliseconds since the epoch.
        at_ms: i64,
    },
}

impl CatalogueCommand {
    /// Masks the series that all matchers match.
    pub fn delete(tenant: &TenantId, matchers: &[Matcher], range: TimeRange) -> CatalogueCommand {
        let selector = matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        CatalogueCommand::Delete {
            tenant: tenant.as_str().to_string(),
            selector: format!("{{{selector}}}"),
            start: range.start,
            end: range.end,
        }
    }
}

/// Why a command was refused; the state is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// Another block covers the same.
    #[error("shard {shard} of window {window_start} of tenant {tenant} is covered by block {by} already")]
    Covered {
        /// Whose.
        tenant: String,
        /// The shard that is covered.
        shard: u32,
        /// The window that is covered.
        window_start: i64,
        /// The block that covers it.
        by: String,
    },
    /// A block that cannot be right.
    #[error("block {id} of tenant {tenant} is malformed: {reason}")]
    Malformed {
        /// Whose.
        tenant: String,
        /// Which.
        id: String,
        /// What is wrong.
        reason: String,
    },
}

impl Catalogue {
    /// Carries out a command, or refuses it and leaves the state as it was.
    pub fn apply(&mut self, command: CatalogueCommand) -> Result<(), Refusal> {
        match command {
            CatalogueCommand::CommitBlocks { tenant, blocks, flushed_until } => {
                self.commit(&tenant, blocks, flushed_until)
            }
            CatalogueCommand::RemoveBlocks { tenant, ids } => {
                let ids: BTreeSet<String> = ids.into_iter().collect();
                self.tenant_mut(&tenant).blocks.retain(|block| !ids.contains(&block.id));
                Ok(())
            }
            CatalogueCommand::Delete { tenant, selector, start, end } => {
                self.sequence += 1;
                let sequence = self.sequence;
                let deletions = &mut self.tenant_mut(&tenant).deletions;
                // Made again, or sent again, it also means what came in between.
                deletions.retain(|known| (&known.selector, known.start, known.end) != (&selector, start, end));
                deletions.push(Deletion { selector, start, end, sequence });
                Ok(())
            }
            CatalogueCommand::Rebuilt { at_ms } => {
                self.rebuilt_ms = self.rebuilt_ms.max(at_ms);
                Ok(())
            }
        }
    }

    /// The sequence of a tenant's newest deletion, 0 for none.
    pub fn newest_deletion(&self, tenant: &str) -> u64 {
        self.tenant(tenant).and_then(|known| known.deletions.last()).map_or(0, |deletion| deletion.sequence)
    }

    /// Whether all of these blocks are live; refused if one has the name of another.
    pub(crate) fn has_all(&self, tenant: &str, blocks: &[BlockEntry]) -> Result<bool, Refusal> {
        let live = |id: &str| self.tenant(tenant).and_then(|known| known.blocks.iter().find(|block| block.id == id));
        let mut has_all = true;
        for block in blocks {
            match live(&block.id) {
                None => has_all = false,
                Some(other) if other.cut == block.cut => {}
                Some(_) => {
                    let reason = "its id is that of another block".into();
                    return Err(Refusal::Malformed { tenant: tenant.into(), id: block.id.clone(), reason });
                }
            }
        }
        Ok(has_all)
    }

    /// A live block of a later cut of the same node, window and shard.
    pub(crate) fn later_cut(&self, tenant: &str, block: &BlockEntry) -> Option<&Arc<BlockEntry>> {
        let cut = block.cut.as_ref()?;
        self.tenant(tenant)?.blocks.iter().find(|live| {
            let is_later = |other: &CutId| other.ingester == cut.ingester && other.number >= cut.number;
            live.window_start == block.window_start
                && live.cut.as_ref().is_some_and(is_later)
                && live.shards.iter().any(|shard| block.shards.contains(shard))
        })
    }

    /// What is known of a tenant.
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
            let live = known.iter().flat_map(|k| k.blocks.iter().map(Arc::as_ref));
            let covering =
                live.chain(&fresh[..at]).find_map(|other| shared_cover(block, other).map(|shard| (shard, other)));
            if let Some((shard, other)) = covering {
                let by = other.id.clone();
                return Err(Refusal::Covered { tenant: tenant.into(), shard, window_start: block.window_start, by });
            }
        }
        for mut block in fresh {
            self.sequence += 1;
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

/// A shard of which both blocks claim to be the main block of the same window.
fn shared_cover(a: &BlockEntry, b: &BlockEntry) -> Option<u32> {
    let same_kind = !a.delta && !b.delta && a.resolution_ms == b.resolution_ms;
    if !same_kind || a.window_start >= b.window_end || b.window_start >= a.window_end {
        return None;
    }
    a.shards.iter().copied().find(|shard| b.shards.contains(shard))
}

#[cfg(test)]
mod tests;
