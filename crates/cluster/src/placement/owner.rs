//! Which agent owns a target: consistent hashing over the active agents. Nodes whose views have the same ownership epoch agree
//! on every owner, and nodes that know the same assignments agree for every point in time.

use std::collections::BTreeMap;

use super::ring::Ring;
use crate::state::{Assignment, ClusterState};

/// Points of an agent on the ring.
const POINTS: u32 = 128;

/// The owners of one ownership epoch, for repeated lookups.
pub struct Owners {
    /// The ownership epoch.
    pub epoch: u64,
    agents: Vec<String>,
    ring: Ring,
}

impl Owners {
    /// The owners by a state: the active agents. Draining agents own nothing.
    pub fn new(state: &ClusterState) -> Owners {
        Owners::of(state.ownership_epoch, &state.owning_agents())
    }

    fn of(epoch: u64, agents: &BTreeMap<String, u32>) -> Owners {
        let ring = Ring::new(agents.iter().map(|(agent, weight)| (agent.as_str(), *weight)), POINTS);
        Owners { epoch, agents: agents.keys().cloned().collect(), ring }
    }

    /// Whether an agent owns targets.
    pub fn has(&self, agent: &str) -> bool {
        self.agents.iter().any(|other| other == agent)
    }

    /// The agent that owns a target; none without agents.
    pub fn owner(&self, target_hash: u64) -> Option<&str> {
        self.agents.get(self.ring.first(target_hash)?).map(String::as_str)
    }
}

/// The agent that owns a target by a state. Keep [`Owners`] for repeated lookups.
pub fn owner(target_hash: u64, state: &ClusterState) -> Option<String> {
    Owners::new(state).owner(target_hash).map(str::to_string)
}

/// The owners of targets over time.
pub struct Timeline {
    /// Ascending by start.
    assignments: Vec<(i64, Owners)>,
}

impl Timeline {
    /// The assignments of targets to agents of a state.
    pub fn new(state: &ClusterState) -> Timeline {
        Timeline::of(&state.assignments, || Owners::new(state))
    }

    /// The assignments of rule groups to rulers of a state.
    pub fn of_rulers(state: &ClusterState) -> Timeline {
        Timeline::of(&state.ruler_assignments, || Owners::of(state.ruler_epoch, &state.owning_rulers()))
    }

    fn of(assignments: &[Assignment], current: impl FnOnce() -> Owners) -> Timeline {
        let of = |assignment: &Assignment| (assignment.from_ms, Owners::of(assignment.epoch, &assignment.agents));
        let mut assignments: Vec<_> = assignments.iter().map(of).collect();
        if assignments.is_empty() {
            assignments.push((i64::MIN, current()));
        }
        Timeline { assignments }
    }

    /// The agent that owns a target at a time; none if nobody does.
    pub fn owner_at(&self, target_hash: u64, at_ms: i64) -> Option<&str> {
        // A time before the first remembered assignment belongs to nobody.
        let assignment = self.assignments.iter().rev().find(|(from_ms, _)| *from_ms <= at_ms);
        assignment.and_then(|(_, owners)| owners.owner(target_hash))
    }

    /// First and last millisecond of each assignment with its owners, ascending. The last one never ends.
    pub fn assignments(&self) -> impl Iterator<Item = (i64, i64, &Owners)> {
        let ends = self.assignments.iter().skip(1).map(|(next_ms, _)| next_ms - 1).chain([i64::MAX]);
        self.assignments.iter().zip(ends).map(|((from_ms, owners), last_ms)| (*from_ms, last_ms, owners))
    }

    /// Start and owners of the last assignment.
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
        assert_eq!(owners(4999).as_str(), "");
        assert_eq!(owners(5000), "A".repeat(64));
        assert_eq!(owners(9999), "A".repeat(64));
        assert!(owners(10_000).contains('A') && owners(10_000).contains('B'));
        let spans: Vec<_> = timeline.assignments().map(|(from, last, owners)| (from, last, owners.has("B"))).collect();
        assert_eq!(spans, [(i64::MIN, 4999, false), (5000, 9999, false), (10_000, i64::MAX, true)]);
        let (from_ms, last) = timeline.last().unwrap();
        assert_eq!(from_ms, 10_000);
        assert_eq!(last.epoch, 2);
    }
}
