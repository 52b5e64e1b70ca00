//! Which agents own the targets, which rulers own the rule groups, and from what time. Both go by the same rules; what is
//! said of agents and targets here holds for rulers and groups.
//!
//! A change of the live agents takes effect a fixed margin after it was made, so that every agent knows it by then.
//! A scrape slot belongs to the assignment that contains it. So two agents that know the same assignments never both scrape
//! a target in the same slot, and never both leave it to the other. If no agent is live, the last ones remain owners:
//! either nobody scrapes anyway, or they were considered dead by mistake.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ClusterState, MemberState, Role};

/// Time from a change of the live agents until it takes effect, milliseconds. It is part of the state machine, so all versions
/// that run in one cluster must agree on it.
pub const HANDOFF_MS: i64 = 2000;

/// How long an assignment is kept after its end, milliseconds; longer than a scrape can be late.
const REMEMBERED_MS: i64 = 60_000;
/// Limit of assignments that are kept.
const MAX_ASSIGNMENTS: usize = 32;

/// The agents that own the targets, or the rulers that own the rule groups, from some time until the next assignment starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Start, milliseconds since the epoch.
    pub from_ms: i64,
    /// The ownership epoch of the assignment.
    pub epoch: u64,
    /// Weight of each agent or ruler.
    pub agents: BTreeMap<String, u32>,
}

impl ClusterState {
    /// The agents that should own targets, with their weights: the active ones, not those that drain.
    pub fn owning_agents(&self) -> BTreeMap<String, u32> {
        self.owning(Role::Agent)
    }

    /// The rulers that should own rule groups, with their weights: the active ones, not those that drain.
    pub fn owning_rulers(&self) -> BTreeMap<String, u32> {
        self.owning(Role::Ruler)
    }

    fn owning(&self, role: Role) -> BTreeMap<String, u32> {
        let active = self.live(role).filter(|member| member.state == MemberState::Active);
        active.map(|member| (member.id.clone(), member.weight)).collect()
    }

    /// Starts new assignments if the live agents or rulers changed at `at_ms`; without a time they take effect at once.
    pub(super) fn owners_changed(&mut self, before: OwnersBefore, at_ms: Option<i64>) {
        let (agents, rulers) = (self.owning_agents(), self.owning_rulers());
        advance(&mut self.assignments, &mut self.ownership_epoch, before.agents, agents, at_ms);
        advance(&mut self.ruler_assignments, &mut self.ruler_epoch, before.rulers, rulers, at_ms);
    }

    /// The owners before a change of members.
    pub(super) fn owners_before(&self) -> OwnersBefore {
        OwnersBefore { agents: self.owning_agents(), rulers: self.owning_rulers() }
    }
}

/// The owners before a change of members.
pub(super) struct OwnersBefore {
    agents: BTreeMap<String, u32>,
    rulers: BTreeMap<String, u32>,
}

/// Starts a new assignment if the owners changed at `at_ms`.
fn advance(
    known: &mut Arc<Vec<Assignment>>,
    epoch: &mut u64,
    before: BTreeMap<String, u32>,
    agents: BTreeMap<String, u32>,
    at_ms: Option<i64>,
) {
    if agents == before {
        return;
    }
    let first = || vec![Assignment { from_ms: i64::MIN, epoch: *epoch, agents: before }];
    let mut assignments = if known.is_empty() { first() } else { Vec::clone(known) };
    *epoch += 1;
    let Some(last) = assignments.last().filter(|last| !agents.is_empty() && last.agents != agents) else {
        *known = Arc::new(assignments);
        return;
    };
    let from_ms = match at_ms {
        None => last.from_ms.max(i64::MIN + 1),
        Some(at) => {
            let in_force = assignments.iter().rev().find(|assignment| assignment.from_ms <= at);
            // If nobody owns the targets there is nobody to wait for.
            let margin = if in_force.is_some_and(|assignment| assignment.agents.is_empty()) { 0 } else { HANDOFF_MS };
            at.saturating_add(margin)
        }
    };
    assignments.retain(|assignment| assignment.from_ms < from_ms || assignment.from_ms == i64::MIN);
    assignments.push(Assignment { from_ms, epoch: *epoch, agents });
    let ended = |next: &Assignment| next.from_ms <= from_ms.saturating_sub(REMEMBERED_MS);
    let past = assignments.iter().skip(1).take_while(|next| ended(next)).count();
    assignments.drain(..past.max(assignments.len().saturating_sub(MAX_ASSIGNMENTS)));
    *known = Arc::new(assignments);
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Member};
    use super::*;

    fn join(state: &mut ClusterState, node: &str, at_ms: i64) {
        let roles = [Role::Agent].into();
        let member = Member { id: node.into(), roles, weight: 100, state: MemberState::Active, ..Member::default() };
        state.apply(&Command::Join { member, at_ms }).unwrap();
    }

    fn set(state: &mut ClusterState, node: &str, to: MemberState, at_ms: i64) {
        state.apply(&Command::SetMemberState { node: node.into(), state: to, at_ms }).unwrap();
    }

    fn shown(state: &ClusterState) -> Vec<String> {
        let agents = |assignment: &Assignment| assignment.agents.keys().cloned().collect::<String>();
        state
            .assignments
            .iter()
            .map(|assignment| format!("{}:{}", assignment.from_ms.max(-1), agents(assignment)))
            .collect()
    }

    #[test]
    fn a_change_takes_effect_after_the_margin() {
        let mut state = ClusterState::default();
        join(&mut state, "A", 5000);
        join(&mut state, "B", 6000);
        assert_eq!(shown(&state), ["-1:", "5000:A", "8000:AB"]);
        set(&mut state, "A", MemberState::Draining, 6500);
        assert_eq!(shown(&state), ["-1:", "5000:A", "8000:AB", "8500:B"]);
        assert_eq!(state.ownership_epoch, 3);
        assert_eq!(state.assignments.last().unwrap().epoch, 3);
    }

    #[test]
    fn the_last_agents_remain_owners() {
        let mut state = ClusterState::default();
        join(&mut state, "A", 5000);
        set(&mut state, "A", MemberState::Down, 8000);
        assert_eq!(shown(&state), ["-1:", "5000:A"]);
        set(&mut state, "A", MemberState::Active, 9000);
        assert_eq!(shown(&state), vec!["-1:".to_string(), "5000:A".into()]);
        assert_eq!(state.ownership_epoch, 3);
        set(&mut state, "A", MemberState::Down, 10_000);
        join(&mut state, "B", 12_000);
        assert_eq!(shown(&state), ["-1:", "5000:A", "14000:B"]);
    }

    #[test]
    fn a_clock_that_was_ahead_delays_nothing() {
        let mut state = ClusterState::default();
        join(&mut state, "A", 5000);
        join(&mut state, "B", 900_000);
        join(&mut state, "C", 8000);
        assert_eq!(shown(&state), ["5000:A", "10000:ABC"]);
    }

    #[test]
    fn assignments_that_ended_long_ago_are_forgotten() {
        let mut state = ClusterState::default();
        for (node, at_ms) in [("A", 5000), ("B", 8000)] {
            join(&mut state, node, at_ms);
        }
        set(&mut state, "B", MemberState::Down, 100_000);
        assert_eq!(shown(&state), ["10000:AB", "102000:A"]);
    }

    #[test]
    fn a_forgotten_agent_loses_its_targets_at_once() {
        let mut state = ClusterState::default();
        join(&mut state, "A", 5000);
        join(&mut state, "B", 6000);
        state.apply(&Command::ForgetMember { node: "A".into() }).unwrap();
        assert_eq!(shown(&state).last().unwrap(), "8000:B");
    }

    #[test]
    fn the_number_of_assignments_is_bounded() {
        let mut state = ClusterState::default();
        join(&mut state, "A", 5000);
        join(&mut state, "B", 6000);
        for n in 0..100 {
            let to = if n % 2 == 0 { MemberState::Down } else { MemberState::Active };
            set(&mut state, "B", to, 200_000 + n);
        }
        assert_eq!(state.assignments.len(), MAX_ASSIGNMENTS);
        state.check().unwrap();
    }

    #[test]
    fn a_state_without_assignments_gives_its_agents_all_earlier_time() {
        let mut state = ClusterState::default();
        join(&mut state, "A", 5000);
        state.assignments = Arc::default();
        join(&mut state, "B", 9000);
        assert_eq!(shown(&state), ["-1:A", "11000:AB"]);
    }

    #[test]
    fn a_node_that_is_no_agent_changes_no_assignment() {
        let mut state = ClusterState::default();
        let member = Member { id: "S".into(), roles: [Role::Store].into(), weight: 100, ..Member::default() };
        state.apply(&Command::Join { member, at_ms: 1 }).unwrap();
        assert!(state.assignments.is_empty());
        assert_eq!(state.ownership_epoch, 0);
    }

    #[test]
    fn rulers_have_assignments_of_their_own() {
        let mut state = ClusterState::default();
        let ruler = |id: &str| {
            let roles = [Role::Ruler].into();
            Member { id: id.into(), roles, weight: 100, state: MemberState::Active, ..Member::default() }
        };
        for (id, at_ms) in [("A", 5000), ("B", 6000)] {
            state.apply(&Command::Join { member: ruler(id), at_ms }).unwrap();
        }
        set(&mut state, "A", MemberState::Down, 20_000);
        let shown: Vec<_> = state.ruler_assignments.iter().map(|a| (a.from_ms.max(-1), a.agents.len())).collect();
        assert_eq!(shown, [(-1, 0), (5000, 1), (8000, 2), (22_000, 1)]);
        assert_eq!((state.ruler_epoch, state.ownership_epoch), (3, 0));
        assert!(state.assignments.is_empty());
        state.check().unwrap();
    }

    #[test]
    fn assignments_keep_their_wire_name() {
        let mut state = ClusterState::default();
        join(&mut state, "A", 5000);
        let json = serde_json::to_value(&state).unwrap();
        assert_eq!(json["eras"][1]["agents"]["A"], 100);
        assert_eq!(json["eras"][1]["from_ms"], 5000);
    }
}
