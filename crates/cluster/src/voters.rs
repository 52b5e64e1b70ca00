//! Which nodes with the meta role vote: an odd number of them, at most five. The others hold the log as learners.

use std::collections::{BTreeMap, BTreeSet};

use crate::raft::types::raft_id;
use crate::state::{ClusterState, Member, MemberState, Role};

const MAX_VOTERS: usize = 5;

/// The membership of the Raft group as its leader sees it.
pub(crate) struct RaftMembership {
    /// Raft ids of the voters.
    pub(crate) voters: BTreeSet<u64>,
    /// Addresses of voters and learners by Raft id.
    pub(crate) nodes: BTreeMap<u64, String>,
    /// Learners that lag by few enough entries to vote.
    pub(crate) caught_up: BTreeSet<u64>,
    /// Whether voters that are not cluster members had enough time to join and count as gone.
    pub(crate) unknown_voters_are_gone: bool,
}

/// A step towards the desired membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VoterChange {
    /// A node receives the log, without a vote.
    AddLearner(u64, String),
    /// A node has a new address.
    SetAddress(u64, String),
    /// The set of voters changes.
    SetVoters(BTreeSet<u64>),
    /// A learner leaves the group.
    Remove(u64),
}

/// The next step, if one is due. `long_down` tells whether a member that is down may be replaced.
pub(crate) fn next(
    state: &ClusterState,
    group: &RaftMembership,
    long_down: impl Fn(&Member) -> bool,
) -> Option<VoterChange> {
    let members: BTreeMap<u64, &Member> =
        state.members.values().filter(|m| m.has(Role::Meta)).map(|m| (raft_id(&m.id), &**m)).collect();
    let member = |id: &u64| members.get(id).copied();
    for (id, address) in &group.nodes {
        if let Some(member) = member(id).filter(|m| m.state != MemberState::Removed)
            && !member.address.is_empty()
            && member.address != *address
        {
            return Some(VoterChange::SetAddress(*id, member.address.clone()));
        }
    }
    let may_stay = |id: &u64| match member(id) {
        None => !group.unknown_voters_are_gone,
        Some(member) => !member.draining && !matches!(member.state, MemberState::Removed | MemberState::Draining),
    };
    let healthy = |id: &u64| member(id).is_none_or(|m| !(m.state == MemberState::Down && long_down(m)));
    let stay: BTreeSet<u64> = group.voters.iter().copied().filter(may_stay).collect();
    let is_spare = |id: &u64| !group.voters.contains(id) && member(id).is_some_and(|m| m.state == MemberState::Active);
    let mut spares = group.caught_up.iter().copied().filter(is_spare);
    let mut wanted: BTreeSet<u64> = stay.iter().copied().filter(|id| healthy(id)).collect();
    // A voter that is down keeps its vote until a spare can take it.
    for id in stay.iter().filter(|id| !healthy(id)) {
        wanted.insert(spares.next().unwrap_or(*id));
    }
    let spares: Vec<u64> = spares.collect();
    let most = (wanted.len() + spares.len()).min(MAX_VOTERS);
    let odd = if most % 2 == 1 { most } else { most.saturating_sub(1) };
    let missing = odd.saturating_sub(wanted.len());
    wanted.extend(spares.into_iter().take(missing));
    if !wanted.is_empty() && wanted != group.voters {
        return Some(VoterChange::SetVoters(wanted));
    }
    let new = members.iter().find(|(id, member)| {
        !group.nodes.contains_key(id) && member.state == MemberState::Active && !member.address.is_empty()
    });
    if let Some((id, member)) = new {
        return Some(VoterChange::AddLearner(*id, member.address.clone()));
    }
    let gone = |id: &&u64| !group.voters.contains(id) && member(id).is_none_or(|m| m.state == MemberState::Removed);
    let known = || group.nodes.keys().find(gone).copied();
    known().filter(|id| member(id).is_some() || group.unknown_voters_are_gone).map(VoterChange::Remove)
}

#[cfg(test)]
mod tests;
