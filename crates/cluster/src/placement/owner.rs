//! Which agent scrapes which target: consistent hashing over the agents that are at work. Every node with the same
//! ownership epoch in its view says the same; and, of the assignments that both know, the same about every moment.

use std::collections::BTreeMap;

use super::ring::Ring;
use crate::state::{Assignment, ClusterState};

/// Points of an agent on the ring.
const POINTS: u32 = 128;

/// The agents of a view, for many look-ups.
pub struct Owners {
    /// The ownership epoch of the view.
    pub epoch: u64,
    agents: Vec<String>,
    ring: Ring,
}

impl Owners {
    /// The agents at work; those that drain own nothing.
    pub fn new(state: &ClusterState) -> Owners {
        Owners::of(state.ownership_epoch, &state.owning_agents())
    }

    fn of(epoch: u64, agents: &BTreeMap<String, u32>) -> Owners {
        let ring = Ring::new(agents.iter().map(|(agent, weight)| (agent.as_str(), *weight)), POINTS);
        Owners { epoch, agents: agents.keys().cloned().collect(), ring }
    }

    /// Whether an agent is among them.
    pub fn has(&self, agent: &str) -> bool {
        self.agents.iter().any(|other| other == agent)
    }

    /// The agent that owns a target; none when there is no agent.
    pub fn owner(&self, target_hash: u64) -> Option<&str> {
        self.agents.get(self.ring.first(target_hash)?).map(String::as_str)
    }
}

/// The agent that owns a target under a view. Who asks for many keeps [`Owners`].
pub fn owner(target_hash: u64, state: &ClusterState) -> Option<String> {
    Owners::new(state).owner(target_hash).map(str::to_string)
}

/// Who owns targets at which moment.
pub struct Timeline {
    /// Ascending by their first moments.
    assignments: Vec<(i64, Owners)>,
}

impl Timeline {
    /// The assignments of a view.
    pub fn new(state: &ClusterState) -> Timeline {
        let of = |assignment: &Assignment| (assignment.from_ms, Owners::of(assignment.epoch, &assignment.agents));
        let mut assignments: Vec<_> = state.assignments.iter().map(of).collect();
        if assignments.is_empty() {
            assignments.push((i64::MIN, Owners::new(state)));
        }
        Timeline { assignments }
    }

    /// The agent that owns a target at a moment; none while nobody does.
    pub fn owner_at(&self, target_hash: u64, at_ms: i64) -> Option<&str> {
        // What is older than all that is remembered belongs to nobody any more.
        let assignment = self.assignments.iter().rev().find(|(from_ms, _)| *from_ms <= at_ms);
        assignment.and_then(|(_, owners)| owners.owner(target_hash))
    }

    /// First and last moment of each assignment, and its owners, ascending; the last one has no end.
    pub fn assignments(&self) -> impl Iterator<Item = (i64, i64, &Owners)> {
        let ends = self.assignments.iter().skip(1).map(|(next_ms, _)| next_ms - 1).chain([i64::MAX]);
        self.assignments.iter().zip(ends).map(|((from_ms, owners), last_ms)| (*from_ms, last_ms, owners))
    }

    /// The owners in the end, and from when on.
    pub fn last(&self) -> Option<(i64, &Owners)> {
        self.assignments.last().map(|(from_ms, owners)| (*from_ms, owners))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Command, Member, MemberState, Role};

    #[test]
    fn the_owner_of_a_moment_is_that_of_its_era() {
        let mut state = ClusterState::default();
        for (id, at_ms) in [("A", 5000), ("B", 8000)] {
            let roles = [Role::Agent].into();
            let member = Member { id: id.into(), roles, weight: 100, state: MemberState::Active, ..Member::default() };
            state.apply(&Command::Join { member, at_ms }).unwrap();
        }
        let timeline = Timeline::new(&state);
        let owners = |at_ms| (0..64).filter_map(|hash| timeline.owner_at(hash << 58, at_ms)).collect::<String>();
        assert_eq!((owners(4999).as_str(), owners(5000), owners(9999)), ("", "A".repeat(64), "A".repeat(64)));
        assert!(owners(10_000).contains('A') && owners(10_000).contains('B'));
        let spans: Vec<_> = timeline.assignments().map(|(from, last, owners)| (from, last, owners.has("B"))).collect();
        assert_eq!(spans, [(i64::MIN, 4999, false), (5000, 9999, false), (10_000, i64::MAX, true)]);
        let (from_ms, last) = timeline.last().unwrap();
        assert_eq!((from_ms, last.epoch), (10_000, 2));
    }
}
