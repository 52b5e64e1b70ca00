//! Deletions of a tenant: their numbers, the blocks that they mask, and how the catalogue forgets them.
//!
//! The sequence of a deletion is its **number**. Numbers ascend within a tenant and are never reused, not even after the
//! deletion was replaced or forgotten. Writes, cuts and copies name the newest number that they have seen, so that each
//! sample lies on one side of each deletion. A deletion masks the blocks that have not seen it.

use pharos_model::{Matcher, TenantId, TimeRange};
use serde::{Deserialize, Serialize};

use super::{BlockEntry, Catalogue, CatalogueCommand, TenantCatalogue};

/// How many ids of deletions a tenant remembers, so that a command that arrives again late deletes nothing.
const MAX_RECENT_IDS: usize = 1024;

/// A deletion of series in a range of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deletion {
    /// The selector as printed by PromQL; all of its matchers must match.
    pub selector: String,
    /// First deleted millisecond.
    pub start: i64,
    /// Last deleted millisecond.
    pub end: i64,
    /// Its number: the sequence of the catalogue when it was made.
    pub sequence: u64,
}

impl Deletion {
    /// The deleted time.
    pub fn range(&self) -> TimeRange {
        TimeRange::new(self.start, self.end)
    }

    /// Whether it deletes time of a block whose samples were written before it.
    pub fn masks(&self, block: &BlockEntry) -> bool {
        let is_newer = match block.deletions_seen {
            Some(seen) => self.sequence > seen,
            // Such a block was refused unless its cut had seen every deletion before its commit.
            None => self.sequence >= block.sequence,
        };
        is_newer && self.range().overlaps(&TimeRange::new(block.min_t, block.max_t))
    }
}

impl CatalogueCommand {
    /// The command that deletes the series that all matchers match. `id` is unique to the request: a command that is sent
    /// again has the same one.
    pub fn delete(id: String, tenant: &TenantId, matchers: &[Matcher], range: TimeRange) -> CatalogueCommand {
        let selector = matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        CatalogueCommand::Delete {
            tenant: tenant.as_str().to_string(),
            selector: format!("{{{selector}}}"),
            start: range.start,
            end: range.end,
            id,
        }
    }
}

impl TenantCatalogue {
    /// The number of the newest deletion, listed or not; 0 if there was none.
    pub fn newest_deletion(&self) -> u64 {
        self.deletions.last().map_or(0, |newest| newest.sequence).max(self.newest_unlisted)
    }

    /// The deletions with a higher number than `number`, ascending.
    pub fn deletions_after(&self, number: u64) -> impl Iterator<Item = &Deletion> {
        self.deletions.iter().filter(move |deletion| deletion.sequence > number)
    }

    /// Whether a deletion affects a block.
    pub fn is_masked(&self, block: &BlockEntry) -> bool {
        self.deletions.iter().any(|deletion| deletion.masks(block))
    }

    /// The deletions that mask no block any more.
    pub fn forgettable(&self) -> impl Iterator<Item = &Deletion> {
        self.deletions.iter().filter(|deletion| !self.blocks.iter().any(|block| deletion.masks(block)))
    }

    /// Records that numbers up to this one may have been assigned to deletions that are not listed.
    fn raise_newest(&mut self, number: u64) {
        self.newest_unlisted = self.newest_unlisted.max(number);
    }

    fn remember_id(&mut self, id: String) {
        if !id.is_empty() && !self.recent_ids.contains(&id) {
            let surplus = (self.recent_ids.len() + 1).saturating_sub(MAX_RECENT_IDS);
            self.recent_ids.drain(..surplus);
            self.recent_ids.push(id);
        }
    }
}

impl Catalogue {
    /// The number of a tenant's newest deletion; 0 if there was none.
    pub fn newest_deletion(&self, tenant: &str) -> u64 {
        self.tenant(tenant).map_or(0, |known| known.newest_deletion())
    }

    pub(super) fn delete(&mut self, tenant: &str, deletion: Deletion, id: String) {
        if !id.is_empty() && self.tenant(tenant).is_some_and(|known| known.recent_ids.contains(&id)) {
            return;
        }
        self.sequence += 1;
        let deletion = Deletion { sequence: self.sequence, ..deletion };
        let known = self.tenant_mut(tenant);
        // The new one covers what the same one covered before.
        let same =
            |of: &Deletion| (&of.selector, of.start, of.end) == (&deletion.selector, deletion.start, deletion.end);
        known.deletions.retain(|of| !same(of));
        known.deletions.push(deletion);
        known.remember_id(id);
    }

    pub(super) fn forget_deletions(&mut self, tenant: &str, applied: u64) {
        let Some(known) = self.tenant(tenant) else { return };
        let forgotten: Vec<u64> =
            known.forgettable().map(|deletion| deletion.sequence).filter(|number| *number <= applied).collect();
        let Some(newest) = forgotten.last().copied() else { return };
        let known = self.tenant_mut(tenant);
        known.deletions.retain(|deletion| !forgotten.contains(&deletion.sequence));
        known.newest_forgotten = known.newest_forgotten.max(newest);
        known.raise_newest(newest);
    }

    pub(super) fn raise_deletions(&mut self, tenant: &str, number: u64) {
        self.sequence = self.sequence.max(number);
        self.tenant_mut(tenant).raise_newest(number);
    }

    /// Keeps the deletions of a catalogue that this one replaces, and never assigns their numbers again: they mask blocks
    /// that this catalogue lists.
    pub(crate) fn keep_deletions_of(&mut self, replaced: &Catalogue) {
        self.sequence = self.sequence.max(replaced.sequence);
        for (tenant, before) in replaced.tenants.iter().filter(|(_, before)| before.newest_deletion() > 0) {
            let known = self.tenant_mut(tenant);
            known.raise_newest(before.newest_deletion());
            known.newest_forgotten = known.newest_forgotten.max(before.newest_forgotten);
            let missing: Vec<Deletion> =
                before.deletions.iter().filter(|deletion| !known.deletions.contains(deletion)).cloned().collect();
            known.deletions.extend(missing);
            known.deletions.sort_by_key(|deletion| deletion.sequence);
            before.recent_ids.iter().for_each(|id| known.remember_id(id.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
