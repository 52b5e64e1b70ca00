//! One step of the membership at a time, over members in every state.

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
fn active_members_are_added_as_learners() {
    let state = members(&[("A", Active), ("B", Active), ("C", Active)]);
    let Some(VoterChange::AddLearner(first, _)) = step(&state, &group("A", "")) else { panic!() };
    let name = if first == raft_id("B") { "B" } else { "C" };
    assert!(matches!(step(&state, &group("A", name)), Some(VoterChange::AddLearner(..))));
}

#[test]
fn one_voter_becomes_three_and_never_two() {
    let state = members(&[("A", Active), ("B", Active), ("C", Active)]);
    assert_eq!(step(&state, &group("A", "BC")), Some(VoterChange::SetVoters(ids("ABC"))));
    let two = members(&[("A", Active), ("B", Active)]);
    assert_eq!(step(&two, &group("A", "B")), None);
}

#[test]
fn three_voters_are_stable() {
    let state = members(&[("A", Active), ("B", Active), ("C", Active)]);
    assert_eq!(step(&state, &group("ABC", "")), None);
}

#[test]
fn a_learner_that_lags_does_not_vote() {
    let state = members(&[("A", Active), ("B", Active), ("C", Active)]);
    let behind = RaftMembership { caught_up: ids("B"), ..group("A", "BC") };
    assert_eq!(step(&state, &behind), None);
}

#[test]
fn at_most_five_vote() {
    let state = members(&["A", "B", "C", "D", "E", "F"].map(|id| (id, Active)));
    let Some(VoterChange::SetVoters(voters)) = step(&state, &group("ABC", "DEF")) else { panic!() };
    assert_eq!(voters.len(), 5);
}

#[test]
fn a_fourth_node_is_a_spare() {
    let state = members(&["A", "B", "C", "D"].map(|id| (id, Active)));
    assert_eq!(step(&state, &group("ABC", "D")), None);
}

#[test]
fn a_voter_that_is_down_for_long_is_replaced_by_a_spare() {
    let state = members(&[("A", Active), ("B", Down), ("C", Active), ("D", Active)]);
    assert_eq!(step(&state, &group("ABC", "D")), Some(VoterChange::SetVoters(ids("ACD"))));
    assert_eq!(next(&state, &group("ABC", "D"), |_| false), None, "not down for long");
}

#[test]
fn a_voter_that_is_down_stays_while_there_is_no_spare() {
    assert_eq!(step(&members(&[("A", Active), ("B", Down), ("C", Active)]), &group("ABC", "")), None);
}

#[test]
fn a_removed_member_loses_its_vote_and_then_leaves() {
    let removed = members(&[("A", Active), ("B", Removed), ("C", Active)]);
    assert_eq!(step(&removed, &group("ABC", "")), Some(VoterChange::SetVoters(ids("AC"))));
    assert_eq!(step(&removed, &group("AC", "B")), Some(VoterChange::Remove(raft_id("B"))));
}

#[test]
fn a_draining_voter_is_replaced() {
    let draining = members(&[("A", Active), ("B", Draining), ("C", Active), ("D", Active)]);
    assert_eq!(step(&draining, &group("ABC", "D")), Some(VoterChange::SetVoters(ids("ACD"))));
}

#[test]
fn the_last_voter_stays_even_if_it_drains() {
    assert_eq!(step(&members(&[("A", Draining)]), &group("A", "")), None);
}

#[test]
fn a_new_address_of_a_member_reaches_the_group() {
    let mut moved = group("A", "");
    moved.nodes.insert(raft_id("A"), "old:1".into());
    let change = step(&members(&[("A", Active)]), &moved);
    assert_eq!(change, Some(VoterChange::SetAddress(raft_id("A"), "A:1".into())));
}

#[test]
fn unknown_voters_have_time_to_join() {
    let state = members(&[("A", Active)]);
    let young = RaftMembership { unknown_voters_are_gone: false, ..group("ABC", "") };
    assert_eq!(step(&state, &young), None);
    assert_eq!(step(&state, &group("ABC", "")), Some(VoterChange::SetVoters(ids("A"))));
}

#[test]
fn an_unknown_learner_is_removed_once_it_counts_as_gone() {
    let state = members(&[("A", Active)]);
    assert_eq!(step(&state, &group("A", "Z")), Some(VoterChange::Remove(raft_id("Z"))));
    let young = RaftMembership { unknown_voters_are_gone: false, ..group("A", "Z") };
    assert_eq!(step(&state, &young), None);
}
