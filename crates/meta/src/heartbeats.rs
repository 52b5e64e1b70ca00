//! Which members the leader has not heard of for too long, and which are back. The times are the leader's alone, so no
//! clocks are compared.

use std::collections::HashMap;
use std::time::Duration;

use crate::state::{ClusterState, Command, MemberState, Role};

/// What the leader knows of the members' lives.
pub(crate) struct Pulse<'a> {
    /// Who it is itself; it does not doubt its own life.
    pub(crate) leader: &'a str,
    /// When it last heard of each.
    pub(crate) heard: &'a HashMap<String, Duration>,
    /// Since when it leads: everyone had a full lease then.
    pub(crate) since: Duration,
    /// Its monotonic clock.
    pub(crate) now: Duration,
    /// Its wall clock, milliseconds since the epoch.
    pub(crate) now_ms: i64,
    /// Silence after which a member counts as down.
    pub(crate) lease: Duration,
    /// The same of a member that is an agent and neither keeps samples nor votes: its targets are to move at once.
    pub(crate) agent_lease: Duration,
    /// How long a member that holds nothing is down before it is forgotten.
    pub(crate) forget_after: Duration,
}

/// The changes of members' states that are due.
pub(crate) fn due(state: &ClusterState, pulse: &Pulse<'_>) -> Vec<Command> {
    let mut due = Vec::new();
    for member in state.members.values() {
        let heard = pulse.heard.get(&member.id).copied().filter(|heard| *heard >= pulse.since);
        let silent_for = pulse.now.saturating_sub(heard.unwrap_or(pulse.since));
        let keeps = member.has(Role::Ingester) || member.has(Role::Meta);
        let lease = if member.has(Role::Agent) && !keeps { pulse.agent_lease } else { pulse.lease };
        let silent = silent_for > lease && member.id != pulse.leader;
        let set = |to| Command::SetMemberState { node: member.id.clone(), state: to, at_ms: pulse.now_ms };
        match member.state {
            MemberState::Active | MemberState::Draining | MemberState::Joining if silent => {
                due.push(set(MemberState::Down));
            }
            MemberState::Joining | MemberState::Down if heard.is_some() && !silent => {
                due.push(set(MemberState::Active))
            }
            MemberState::Down => {
                let down_for = pulse.now_ms.saturating_sub(member.since_ms);
                if !keeps && down_for > pulse.forget_after.as_millis() as i64 {
                    due.push(Command::ForgetMember { node: member.id.clone() });
                }
            }
            _ => {}
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Member;

    fn with(members: &[(&str, Role, MemberState)]) -> ClusterState {
        let mut state = ClusterState::default();
        for (id, role, to) in members {
            let joining = Member { id: id.to_string(), roles: [*role].into(), weight: 1, ..Member::default() };
            state.apply(&Command::Join { member: joining, at_ms: 0 }).unwrap();
            state.apply(&Command::SetMemberState { node: id.to_string(), state: *to, at_ms: 0 }).unwrap();
        }
        state
    }

    fn names(due: Vec<Command>) -> Vec<String> {
        due.into_iter()
            .map(|command| match command {
                Command::SetMemberState { node, state, .. } => format!("{node} {state:?}"),
                Command::ForgetMember { node } => format!("{node} forgotten"),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn silence_is_counted_from_the_leaders_beginning() {
        use MemberState::{Active, Down, Draining};
        let state = with(&[
            ("A", Role::Meta, Active),
            ("B", Role::Ingester, Active),
            ("C", Role::Ingester, Draining),
            ("D", Role::Ingester, Down),
            ("E", Role::Agent, Down),
        ]);
        let second = Duration::from_secs;
        let heard = HashMap::from([("B".to_string(), second(95)), ("C".to_string(), second(108))]);
        let pulse = |now: u64, heard| Pulse {
            leader: "A",
            heard,
            since: second(100),
            now: second(now),
            now_ms: 1_000_000,
            lease: second(10),
            agent_lease: second(3),
            forget_after: second(600),
        };
        assert_eq!(names(due(&state, &pulse(110, &heard))), ["E forgotten"]);
        assert_eq!(names(due(&state, &pulse(111, &heard))), ["B Down", "E forgotten"]);
        let heard = HashMap::from([("D".to_string(), second(108)), ("E".to_string(), second(99))]);
        assert_eq!(names(due(&state, &pulse(119, &heard))), ["B Down", "C Down", "E forgotten"]);
        assert_eq!(names(due(&state, &pulse(109, &heard))), ["D Active", "E forgotten"]);
    }
}
