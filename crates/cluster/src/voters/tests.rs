use super::*;
use crate::state::Command;

fn members(of: &[(&str, MemberState)]) -> ClusterState {
    let mut state = ClusterState::default();
    for (id, to) in of {
        let member = Member {
            id: id.to_string(),
            address: format!("{id}:1"),
            roles: [Role::Meta].into(),
            weight: 1,
            ..Member::default()
        };
        state.apply(&Command::Join { member, at_ms: 0 }).unwrap();
        let command = match to {
            MemberState::Removed => Command::RemoveMember { node: id.to_string(), force: true, at_ms: 0 },
            to => Command::SetMemberState { node: id.to_string(), state: *to, at_ms: 0 },
        };
        state.apply(&command).unwrap();
    }
    state
}

fn ids(names: &str) -> BTreeSet<u64> {
    names.chars().map(|name| raft_id(&name.to_string())).collect()
}

fn group(voters: &str, learners: &str) -> RaftMembership {
    let nodes = voters.chars().chain(learners.chars()).map(|n| (raft_id(&n.to_string()), format!("{n}:1"))).collect();
    RaftMembership { voters: ids(voters), nodes, caught_up: ids(learners), unknown_voters_are_gone: true }
}

fn step(state: &ClusterState, group: &RaftMembership) -> Option<VoterChange> {
    next(state, group, |_| true)
}

use MemberState::{Active, Down, Draining, Removed};

#[test]
fn one_grows_to_three_and_not_to_two() {
    let state = members(&[("A", Active), ("B", Active), ("C", Active)]);
    let Some(VoterChange::Learn(first, _)) = step(&state, &group("A", "")) else { panic!() };
    let name = if first == raft_id("B") { "B" } else { "C" };
    assert!(matches!(step(&state, &group("A", name)), Some(VoterChange::Learn(..))));
    assert_eq!(step(&state, &group("A", "BC")), Some(VoterChange::Vote(ids("ABC"))));
    assert_eq!(step(&state, &group("ABC", "")), None);
    let behind = RaftMembership { caught_up: ids("B"), ..group("A", "BC") };
    assert_eq!(step(&state, &behind), None, "a learner that lags does not vote");
}

#[test]
fn five_vote_and_the_sixth_stands_by() {
    let state = members(&["A", "B", "C", "D", "E", "F"].map(|id| (id, Active)));
    let Some(VoterChange::Vote(voters)) = step(&state, &group("ABC", "DEF")) else { panic!() };
    assert_eq!(voters.len(), 5);
    let state = members(&["A", "B", "C", "D"].map(|id| (id, Active)));
    assert_eq!(step(&state, &group("ABC", "D")), None);
}

#[test]
fn a_dead_voter_is_replaced_or_removed() {
    let state = members(&[("A", Active), ("B", Down), ("C", Active), ("D", Active)]);
    assert_eq!(step(&state, &group("ABC", "D")), Some(VoterChange::Vote(ids("ACD"))));
    assert_eq!(next(&state, &group("ABC", "D"), |_| false), None, "not down for long");
    assert_eq!(step(&members(&[("A", Active), ("B", Down), ("C", Active)]), &group("ABC", "")), None);
    let removed = members(&[("A", Active), ("B", Removed), ("C", Active)]);
    assert_eq!(step(&removed, &group("ABC", "")), Some(VoterChange::Vote(ids("AC"))));
    assert_eq!(step(&removed, &group("AC", "B")), Some(VoterChange::Leave(raft_id("B"))));
    let draining = members(&[("A", Active), ("B", Draining), ("C", Active), ("D", Active)]);
    assert_eq!(step(&draining, &group("ABC", "D")), Some(VoterChange::Vote(ids("ACD"))));
    assert_eq!(step(&members(&[("A", Draining)]), &group("A", "")), None, "the last one stays");
}

#[test]
fn addresses_follow_and_strangers_have_time_to_join() {
    let state = members(&[("A", Active)]);
    let mut moved = group("A", "");
    moved.nodes.insert(raft_id("A"), "old:1".into());
    assert_eq!(step(&state, &moved), Some(VoterChange::Move(raft_id("A"), "A:1".into())));
    let young = RaftMembership { unknown_voters_are_gone: false, ..group("ABC", "") };
    assert_eq!(step(&state, &young), None);
    assert_eq!(step(&state, &group("ABC", "")), Some(VoterChange::Vote(ids("A"))));
}
