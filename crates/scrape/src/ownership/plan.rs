//! Who scrapes which target in which slot: pure.
//!
//! The slots of a target follow from its hash, its interval and the cluster, so every agent computes the same ones. Each
//! slot has one owner, which follows from the target's job and address: that of the assignment epoch in which it lies. Agents that know the same epochs therefore divide
//! the slots without talking to each other, and an agent that lags only misses the latest epoch.

use pharos_cluster::ClusterState;
use pharos_cluster::placement::Timeline;
use xxhash_rust::xxh3::xxh3_64;

use crate::schedule::first_slot;
use crate::targets::Placement;

/// The owner of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This agent.
    Me,
    /// The agent with this identity.
    Other(String),
    /// No agent exists.
    Nobody,
}

/// What this agent knows about the owners of slots.
pub(crate) struct Plan {
    /// The assignment epochs and this agent's identity; `None` when the agent is alone and owns everything.
    assignment: Option<(Timeline, String)>,
    /// Keeps different clusters, and agents that are alone, from scraping a target at the same moment.
    seed: u64,
    /// The ownership epoch.
    pub(crate) epoch: u64,
}

impl Plan {
    /// The plan of an agent that owns everything.
    pub(crate) fn everything(seed: u64) -> Self {
        Plan { assignment: None, seed, epoch: 0 }
    }

    /// The plan of an agent of a cluster in this state.
    pub(crate) fn of(state: &ClusterState, identity: &str) -> Self {
        let cluster = state.settings.as_ref().map_or("", |settings| &settings.cluster);
        Plan {
            assignment: Some((Timeline::new(state), identity.to_string())),
            seed: xxh3_64(cluster.as_bytes()),
            epoch: state.ownership_epoch,
        }
    }

    /// Who scrapes a target in the slot at `slot_ms`.
    pub(crate) fn owner_at(&self, placement: Placement, slot_ms: i64) -> Owner {
        let Some((timeline, identity)) = &self.assignment else { return Owner::Me };
        match timeline.owner_at(placement.owner, slot_ms) {
            None => Owner::Nobody,
            Some(owner) if owner == identity => Owner::Me,
            Some(owner) => Owner::Other(owner.to_string()),
        }
    }

    /// The target's first slot at or after `from_ms`.
    pub(crate) fn next_slot(&self, placement: Placement, interval_ms: i64, from_ms: i64) -> i64 {
        first_slot(from_ms, interval_ms, placement.slot ^ self.seed)
    }

    /// The target's first slot at or after `from_ms` that this agent owns; `None` when it owns none in any known epoch.
    pub(crate) fn next_owned_slot(&self, placement: Placement, interval_ms: i64, from_ms: i64) -> Option<i64> {
        let Some((timeline, identity)) = &self.assignment else {
            return Some(self.next_slot(placement, interval_ms, from_ms));
        };
        let owned = timeline.assignments().filter(|(_, _, owners)| owners.owner(placement.owner) == Some(identity));
        owned.filter(|(_, last_ms, _)| *last_ms >= from_ms).find_map(|(first_ms, last_ms, _)| {
            let slot = self.next_slot(placement, interval_ms, from_ms.max(first_ms));
            (slot <= last_ms).then_some(slot)
        })
    }
}

#[cfg(test)]
mod tests;
