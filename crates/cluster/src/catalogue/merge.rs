//! Merges two catalogues that have diverged: that of an export, and that of the cluster into which it is restored.
//!
//! What either of them knows stays: blocks, deletions, and how far tenants are flushed. Sequences are never assigned twice, not
//! even those of a history that is lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{BlockEntry, Catalogue, REMOVAL_DELAY_MS, Removal, RemovalReason, TenantCatalogue, shared_cover};

/// How far sequences advance: beyond any that the lost history can have assigned.
const SEQUENCE_JUMP: u64 = 1 << 20;

/// How two catalogues are merged.
pub(crate) struct Merge<'a> {
    /// The catalogue that knows best: its entries win.
    pub(crate) primary: &'a Catalogue,
    /// The other one.
    pub(crate) secondary: &'a Catalogue,
    /// Whether both number commits in one history. Otherwise those of `secondary` are considered later.
    pub(crate) one_history: bool,
    /// Time of the merge, milliseconds since the epoch.
    pub(crate) at_ms: i64,
}

impl Merge<'_> {
    /// The merged catalogue.
    pub(crate) fn merged(&self) -> Catalogue {
        let secondary = match self.one_history {
            true => self.secondary.clone(),
            false => self.secondary.shifted_by(self.primary.sequence),
        };
        let mut merged = self.primary.clone();
        merged.keep_deletions_of(&secondary);
        for (name, theirs) in &secondary.tenants {
            self.merge_blocks(merged.tenant_mut(name), theirs);
        }
        merged.sequence = merged.sequence.max(secondary.sequence) + SEQUENCE_JUMP;
        merged.rebuilt_ms = merged.rebuilt_ms.max(secondary.rebuilt_ms).max(self.at_ms);
        merged
    }

    fn merge_blocks(&self, ours: &mut TenantCatalogue, theirs: &TenantCatalogue) {
        let listed: BTreeSet<String> = ours.blocks.iter().map(|block| block.id.clone()).collect();
        for block in theirs.blocks.iter().filter(|block| !listed.contains(&block.id)) {
            if ours.removal(&block.id).is_some_and(|removal| self.stays_removed(removal)) {
                continue;
            }
            let taken = |other: &Arc<BlockEntry>| shared_cover(block, other).is_some();
            let delta = block.delta || ours.blocks.iter().any(taken);
            ours.blocks.push(Arc::new(BlockEntry { delta, ..BlockEntry::clone(block) }));
        }
        ours.blocks.sort_by(|a, b| (a.sequence, &a.id).cmp(&(b.sequence, &b.id)));
        for removal in &theirs.removed {
            if ours.removal(&removal.id).is_none() {
                ours.removed.push(removal.clone());
            }
        }
        let listed: BTreeSet<&str> = ours.blocks.iter().map(|block| block.id.as_str()).collect();
        ours.removed.retain(|removal| !listed.contains(removal.id.as_str()));
        ours.flushed_until = ours.flushed_until.max(theirs.flushed_until);
        ours.removed_until = ours.removed_until.max(theirs.removed_until);
    }

    /// Whether the objects of a removed block may be gone, or must not be read.
    fn stays_removed(&self, removal: &Removal) -> bool {
        let is_recent = self.at_ms.saturating_sub(removal.at_ms) < REMOVAL_DELAY_MS;
        removal.reason != RemovalReason::Retention || !is_recent
    }
}

impl Catalogue {
    /// The same catalogue, as if all of its commits and deletions had come `by` sequences later.
    fn shifted_by(&self, by: u64) -> Catalogue {
        let shift = |number: u64| if number == 0 { 0 } else { number + by };
        let mut shifted = self.clone();
        shifted.sequence += by;
        for tenant in shifted.tenants.values_mut().map(Arc::make_mut) {
            for block in tenant.blocks.iter_mut().map(Arc::make_mut) {
                block.sequence += by;
                // It was written after everything that happened before.
                block.deletions_seen = block.deletions_seen.map(|seen| seen + by);
            }
            tenant.deletions.iter_mut().for_each(|deletion| deletion.sequence += by);
            tenant.newest_unlisted = shift(tenant.newest_unlisted);
            tenant.newest_forgotten = shift(tenant.newest_forgotten);
        }
        shifted
    }
}

#[cfg(test)]
mod tests;
