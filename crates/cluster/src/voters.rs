//! Which of the nodes with the meta role vote: an odd number of them, at most five; the rest learn and stand by.

use std::collections::{BTreeMap, BTreeSet};

use crate::raft::types::raft_id;
use crate::state::{ClusterState, Member, MemberState, Role};

/// Most voters.
const MAX_VOTERS: usize = 5;

/// The group as it is.
pub(crate) struct RaftMembership {
    /// Raft ids of the voters.
    pub(crate) voters: BTreeSet<u64>,
    /// Addresses of voters and learners by Raft id.
    pub(crate) nodes: BTreeMap<u64, String>,
    /// Learners that have nearly all of the log.
    pub(crate) caught_up: BTreeSet<u64>,
    /// Whether nodes that are no members are gone, rather than about to join.
    pub(crate) unknown_voters_are_gone: bool,
}

/// A step towards the group as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VoterChange {
    /// A node gets the log.
    Learn(u64, String),
    /// A node has another address.
    Move(u64, String),
    /// Others vote.
    Vote(BTreeSet<u64>),
    /// A node that does not vote leaves.
    Leave(u64),
}

/// The next step, if there is one. `long_down` says of a member that is down whether it is so for long.
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
            return Some(VoterChange::Move(*id, member.address.clone()));
        }
    }
    let stands = |id: &u64| match member(id) {
        None => !group.unknown_voters_are_gone,
        Some(member) => !member.draining && !matches!(member.state, MemberState::Removed | MemberState::Draining),
    };
    let healthy = |id: &u64| member(id).is_none_or(|m| !(m.state == MemberState::Down && long_down(m)));
    let stay: BTreeSet<u64> = group.voters.iter().copied().filter(stands).collect();
    let is_spare = |id: &u64| !group.voters.contains(id) && member(id).is_some_and(|m| m.state == MemberState::Active);
    let mut spares = group.caught_up.iter().copied().filter(is_spare);
    let mut wanted: BTreeSet<u64> = stay.iter().copied().filter(|id| healthy(id)).collect();
    // A voter that is down keeps its vote until another node can take it.
    for id in stay.iter().filter(|id| !healthy(id)) {
        wanted.insert(spares.next().unwrap_or(*id));
    }
    let spares: Vec<u64> = spares.collect();
    let most = (wanted.len() + spares.len()).min(MAX_VOTERS);
    let odd = if most % 2 == 1 { most } else { most.saturating_sub(1) };
    let missing = odd.saturating_sub(wanted.len());
    wanted.extend(spares.into_iter().take(missing));
    if !wanted.is_empty() && wanted != group.voters {
        return Some(VoterChange::Vote(wanted));
    }
    let new = members.iter().find(|(id, member)| {
        !group.nodes.contains_key(id) && member.state == MemberState::Active && !member.address.is_empty()
    });
    if let Some((id, member)) = new {
        return Some(VoterChange::Learn(*id, member.address.clone()));
    }
    let gone = |id: &&u64| !group.voters.contains(id) && member(id).is_none_or(|m| m.state == MemberState::Removed);
    let known = || group.nodes.keys().find(gone).copied();
    known().filter(|id| member(id).is_some() || group.unknown_voters_are_gone).map(VoterChange::Leave)
}

#[cfg(test)]
mod tests;
