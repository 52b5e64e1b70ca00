//! Which members the leader has not heard of for too long, and which are back. The times are the leader's alone, so no
//! clocks are compared.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::state::{ClusterState, Command, Member, MemberState, Role};

/// What the leader knows of the members' lives.
pub struct Heartbeats<'a> {
    /// Who it is itself; it does not doubt its own life.
    pub leader: &'a str,
    /// When it last heard of each.
    pub heard: &'a HashMap<String, Duration>,
    /// Since when it leads: everyone had a full lease then.
    pub leading_since: Duration,
    /// Its monotonic clock.
    pub now: Duration,
    /// Its wall clock, milliseconds leading_since the epoch.
    pub now_ms: i64,
    /// Silence after which a member counts as down.
    pub lease: Duration,
    /// The same of a member that is an agent and neither keeps samples nor votes: its targets are to move at once.
    pub agent_lease: Duration,
    /// How long a member that holds nothing is down before it is forgotten.
    pub forget_after: Duration,
}

/// The changes of members' states that are due.
pub fn due(state: &ClusterState, heartbeats: &Heartbeats<'_>) -> Vec<Command> {
    let mut due = Vec::new();
    for member in state.members.values() {
        let heard = heartbeats.heard.get(&member.id).copied().filter(|heard| *heard >= heartbeats.leading_since);
        let silent_for = heartbeats.now.saturating_sub(heard.unwrap_or(heartbeats.leading_since));
        let keeps = member.has(Role::Ingester) || member.has(Role::Meta);
        let lease = if member.has(Role::Agent) && !keeps { heartbeats.agent_lease } else { heartbeats.lease };
        let silent = silent_for > lease && member.id != heartbeats.leader;
        let set = |to| Command::SetMemberState { node: member.id.clone(), state: to, at_ms: heartbeats.now_ms };
        match member.state {
            MemberState::Active | MemberState::Draining | MemberState::Joining if silent => {
                due.push(set(MemberState::Down));
            }
            MemberState::Joining | MemberState::Down if heard.is_some() && !silent => {
                due.push(set(MemberState::Active))
            }
            MemberState::Down => {
                let down_for = heartbeats.now_ms.saturating_sub(member.since_ms);
                if !keeps && down_for > heartbeats.forget_after.as_millis() as i64 {
                    due.push(Command::ForgetMember { node: member.id.clone() });
                }
            }
            _ => {}
        }
    }
    due
}

/// The live members that have missed two signs of life, which come every `beat`, though they may have been heard of within their leases.
pub fn silent(state: &ClusterState, heartbeats: &Heartbeats<'_>, beat: Duration) -> Vec<String> {
    let is_silent = |member: &&Arc<Member>| {
        let heard =
            heartbeats.heard.get(&member.id).copied().unwrap_or(heartbeats.leading_since).max(heartbeats.leading_since);
        member.id != heartbeats.leader && heartbeats.now.saturating_sub(heard) > beat * 5 / 2
    };
    let live = state.members.values().filter(|member| member.state.is_live());
    live.filter(is_silent).map(|member| member.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let heartbeats = |now: u64, heard| Heartbeats {
            leader: "A",
            heard,
            leading_since: second(100),
            now: second(now),
            now_ms: 1_000_000,
            lease: second(10),
            agent_lease: second(3),
            forget_after: second(600),
        };
        assert_eq!(names(due(&state, &heartbeats(110, &heard))), ["E forgotten"]);
        assert_eq!(names(due(&state, &heartbeats(111, &heard))), ["B Down", "E forgotten"]);
        let missed = |now| silent(&state, &heartbeats(now, &heard), second(1));
        assert_eq!((missed(102), missed(103), missed(110)), (vec![], vec!["B".to_string()], vec!["B".to_string()]));
        assert_eq!(missed(111), ["B", "C"]);
        let heard = HashMap::from([("D".to_string(), second(108)), ("E".to_string(), second(99))]);
        assert_eq!(names(due(&state, &heartbeats(119, &heard))), ["B Down", "C Down", "E forgotten"]);
        assert_eq!(names(due(&state, &heartbeats(109, &heard))), ["D Active", "E forgotten"]);
    }
}
