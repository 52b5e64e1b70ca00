//! Which agents own the targets, and from when on.
//!
//! A change of the live agents takes effect a fixed margin after it was made, so that every agent has heard of it by then.
//! An agent decides for each moment of a scrape by the assignment in which the moment lies, so two agents that know the same assignments
//! never both scrape a target at a moment, and never both leave it to the other. When no agent is live, those that were
//! stay the owners: either nobody scrapes anyway, or they were taken for dead wrongly.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ClusterState, MemberState, Role};

/// From a change of the live agents until it takes effect, milliseconds. Part of the state machine: every version of the
/// program that works beside this one has the same.
pub const HANDOFF_MS: i64 = 2000;

/// How long an assignment is remembered after it ended, milliseconds: longer than a scrape can be late.
const REMEMBERED_MS: i64 = 60_000;
/// Most assignments that are remembered.
const MAX_ASSIGNMENTS: usize = 32;

/// From a moment on, until the next assignment begins, these agents own the targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its first moment, milliseconds since the epoch.
    pub from_ms: i64,
    /// The ownership epoch.
    pub epoch: u64,
    /// The agents with their weights.
    pub agents: BTreeMap<String, u32>,
}

impl ClusterState {
    /// The agents that are to own targets, with their weights: those at work. Agents that drain are not.
    pub fn owning_agents(&self) -> BTreeMap<String, u32> {
        let active = self.live(Role::Agent).filter(|member| member.state == MemberState::Active);
        active.map(|member| (member.id.clone(), member.weight)).collect()
    }

    /// Notes a change of the live agents that was made at `at_ms`; without a time it takes effect at once.
    pub(super) fn agents_changed(&mut self, before: BTreeMap<String, u32>, at_ms: Option<i64>) {
        let agents = self.owning_agents();
        if agents == before {
            return;
        }
        let first = || vec![Assignment { from_ms: i64::MIN, epoch: self.ownership_epoch, agents: before }];
        let mut assignments = if self.assignments.is_empty() { first() } else { Vec::clone(&self.assignments) };
        self.ownership_epoch += 1;
        let Some(last) = assignments.last().filter(|last| !agents.is_empty() && last.agents != agents) else {
            self.assignments = Arc::new(assignments);
            return;
        };
        let from_ms = match at_ms {
            None => last.from_ms.max(i64::MIN + 1),
            Some(at) => {
                let in_force = assignments.iter().rev().find(|assignment| assignment.from_ms <= at);
                // Where nobody scrapes there is nobody to wait for.
                let margin =
                    if in_force.is_some_and(|assignment| assignment.agents.is_empty()) { 0 } else { HANDOFF_MS };
                at.saturating_add(margin)
            }
        };
        assignments.retain(|assignment| assignment.from_ms < from_ms || assignment.from_ms == i64::MIN);
        assignments.push(Assignment { from_ms, epoch: self.ownership_epoch, agents });
        let ended = |next: &Assignment| next.from_ms <= from_ms.saturating_sub(REMEMBERED_MS);
        let past = assignments.iter().skip(1).take_while(|next| ended(next)).count();
        assignments.drain(..past.max(assignments.len().saturating_sub(MAX_ASSIGNMENTS)));
        self.assignments = Arc::new(assignments);
    }
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
    fn changes_take_effect_after_the_margin_and_the_first_at_once() {
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
    fn the_last_agents_stay_owners() {
        let mut state = ClusterState::default();
        join(&mut state, "A", 5000);
        set(&mut state, "A", MemberState::Down, 8000);
        assert_eq!(shown(&state), ["-1:", "5000:A"]);
        set(&mut state, "A", MemberState::Active, 9000);
        assert_eq!((shown(&state), state.ownership_epoch), (vec!["-1:".to_string(), "5000:A".into()], 3));
        set(&mut state, "A", MemberState::Down, 10_000);
        join(&mut state, "B", 12_000);
        assert_eq!(shown(&state), ["-1:", "5000:A", "14000:B"]);
    }

    #[test]
    fn a_clock_that_was_ahead_delays_nothing_and_old_eras_are_forgotten() {
        let mut state = ClusterState::default();
        join(&mut state, "A", 5000);
        join(&mut state, "B", 900_000);
        join(&mut state, "C", 8000);
        assert_eq!(shown(&state), ["5000:A", "10000:ABC"]);
        set(&mut state, "B", MemberState::Down, 100_000);
        assert_eq!(shown(&state), ["10000:ABC", "102000:AC"]);
        state.apply(&Command::ForgetMember { node: "A".into() }).unwrap();
        assert_eq!(shown(&state), ["10000:ABC", "102000:C"]);
        for n in 0..100 {
            let to = if n % 2 == 0 { MemberState::Active } else { MemberState::Down };
            set(&mut state, "B", to, 200_000 + n);
        }
        assert_eq!(state.assignments.len(), MAX_ASSIGNMENTS);
        state.check().unwrap();
    }

    #[test]
    fn a_state_of_before_has_its_agents_for_ever() {
        let mut state = ClusterState::default();
        join(&mut state, "A", 5000);
        state.assignments = Arc::default();
        join(&mut state, "B", 9000);
        assert_eq!(shown(&state), ["-1:A", "11000:AB"]);
    }
}
