//! The restore of an export into a running cluster.
//!
//! An export is minutes or weeks old. What happened since is lost to the catalogue only if nobody remembers it, so the restore
//! merges: blocks and deletions that either side knows stay ([`crate::catalogue::Merge`]). The node that restores then looks in
//! the bucket for blocks that neither side knows. No number goes back, because nodes, logs and blocks hold numbers that the
//! export has never seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ClusterState, Lease, Member, MemberState, Refusal, Response, Settings};
use crate::catalogue::Merge;

/// How far epochs and other counters advance: beyond any that the lost state can have reached since the export.
const EPOCH_JUMP: u64 = 1 << 20;
/// Most identities of clusters whose exports were restored that are remembered.
pub(super) const MAX_FORMER: usize = 16;

impl ClusterState {
    /// Merges an export into this state. Current members stay; members that only the export knows become down. The cluster
    /// keeps its identity, by which its nodes know each other, and remembers that of the export.
    ///
    /// Of two states of one cluster the newer one knows which replicas are in sync. A cluster that was founded after the
    /// loss of the exported one knows nothing of that, so the export's shards are taken.
    pub(super) fn restore(&mut self, export: &ClusterState, at_ms: i64) -> Result<Response, Refusal> {
        export.check().map_err(|reason| Refusal::BadExport { reason })?;
        if let (Some(ours), Some(theirs)) = (&self.settings, &export.settings)
            && ours.shards != theirs.shards
        {
            let reason = format!("it has {} shards, this cluster has {}", theirs.shards, ours.shards);
            return Err(Refusal::BadExport { reason });
        }
        let one_history = self.is_same_cluster(export);
        let (primary, secondary) = match self.descends_from(export) {
            true => (&*self, export),
            false => (export, &*self),
        };
        let merge = Merge { primary: &primary.catalogue, secondary: &secondary.catalogue, one_history, at_ms };
        let (settings, former) = self.identity_after(export, primary);
        let mut restored = ClusterState {
            settings,
            former,
            version: self.version.max(export.version),
            incarnation: self.incarnation.max(export.incarnation) + 1,
            ownership_epoch: self.ownership_epoch.max(export.ownership_epoch) + EPOCH_JUMP,
            members: self.members_with(export),
            assignments: Arc::default(),
            ruler_epoch: self.ruler_epoch.max(export.ruler_epoch) + EPOCH_JUMP,
            ruler_assignments: Arc::default(),
            catalogue: Arc::new(merge.merged()),
            leases: advanced_leases(primary, secondary),
            window_ms: if primary.window_ms == 0 { secondary.window_ms } else { primary.window_ms },
            ..primary.clone()
        };
        restored.advance_epochs(secondary);
        restored.drop_removed_members();
        restored.check().map_err(|reason| Refusal::BadExport { reason })?;
        *self = restored;
        Ok(Response::Done)
    }

    /// The settings, and the former identities, after the restore of an export. `primary` has the other settings.
    fn identity_after(&self, export: &ClusterState, primary: &ClusterState) -> (Option<Settings>, Vec<String>) {
        let (Some(ours), Some(theirs), Some(settings)) = (&self.settings, &export.settings, &primary.settings) else {
            return (primary.settings.clone().or(self.settings.clone()), primary.former.clone());
        };
        let mut former: Vec<String> = Vec::new();
        for cluster in self.former.iter().chain(&export.former).chain([&theirs.cluster]) {
            if *cluster != ours.cluster && !former.contains(cluster) {
                former.push(cluster.clone());
            }
        }
        former.drain(..former.len().saturating_sub(MAX_FORMER));
        (Some(Settings { cluster: ours.cluster.clone(), ..settings.clone() }), former)
    }

    /// Whether an export is of this cluster, or of one whose export was restored in it, so that its history is part of this one.
    fn is_same_cluster(&self, export: &ClusterState) -> bool {
        match (&self.settings, &export.settings) {
            (Some(ours), Some(theirs)) => ours.cluster == theirs.cluster || self.former.contains(&theirs.cluster),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }

    /// Whether this state has developed from an export, so that it knows everything that the cluster knew since.
    pub fn descends_from(&self, export: &ClusterState) -> bool {
        let age = |state: &ClusterState| (state.incarnation, state.version);
        self.is_same_cluster(export) && age(self) >= age(export)
    }

    fn members_with(&self, export: &ClusterState) -> Arc<BTreeMap<String, Arc<Member>>> {
        let mut members = BTreeMap::clone(&self.members);
        for (id, member) in export.members.iter() {
            let down =
                || Arc::new(Member { state: member.state.unless_removed(MemberState::Down), ..Member::clone(member) });
            members.entry(id.clone()).or_insert_with(down);
        }
        Arc::new(members)
    }

    fn advance_epochs(&mut self, other: &ClusterState) {
        for (at, shard) in Arc::make_mut(&mut self.shards).iter_mut().enumerate() {
            let shard = Arc::make_mut(shard);
            let reached = other.shards.get(at).map_or(0, |other| other.epoch);
            shard.epoch = shard.epoch.max(reached) + EPOCH_JUMP;
            shard.learners.iter_mut().for_each(|learner| learner.since = shard.epoch);
            shard.led_since = shard.epoch;
        }
    }

    fn drop_removed_members(&mut self) {
        let removed = |node: &String| self.members.get(node).is_none_or(|m| m.state == MemberState::Removed);
        let dropped: Vec<String> =
            self.shards.iter().flat_map(|shard| &shard.replicas).filter(|node| removed(node)).cloned().collect();
        dropped.iter().for_each(|node| self.drop_from_shards(node));
    }
}

/// The leases of one state under numbers that neither state has assigned.
fn advanced_leases(primary: &ClusterState, secondary: &ClusterState) -> Arc<BTreeMap<String, Lease>> {
    let mut leases = BTreeMap::clone(&secondary.leases);
    leases.values_mut().for_each(|lease| lease.holder = None);
    for (name, lease) in primary.leases.iter() {
        let number = leases.get(name).map_or(0, |other| other.number).max(lease.number);
        leases.insert(name.clone(), Lease { holder: lease.holder.clone(), number });
    }
    leases.values_mut().for_each(|lease| lease.number += EPOCH_JUMP);
    Arc::new(leases)
}

#[cfg(test)]
mod tests;
