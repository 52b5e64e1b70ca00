//! Single commands: what they need, what they change, and why they are refused.

use super::*;

#[test]
fn a_bootstrap_is_idempotent_and_final() {
    let mut state = ClusterState::default();
    let bootstrap = |shards| Command::Bootstrap { settings: settings(shards, 1) };
    state.apply(&bootstrap(4)).unwrap();
    assert_eq!(state.apply(&bootstrap(4)), Ok(Response::Done));
    assert_eq!(state.apply(&bootstrap(8)), Err(Refusal::AlreadyBootstrapped { cluster: "c".into() }));
    assert_eq!(state.shards.len(), 4);
}

#[test]
fn settings_out_of_bounds_are_refused() {
    for bad in [settings(0, 1), settings(65_537, 1), settings(8, 0), settings(8, 17)] {
        let refused = ClusterState::default().apply(&Command::Bootstrap { settings: bad });
        assert!(matches!(refused, Err(Refusal::Settings { .. })), "{refused:?}");
    }
}

#[test]
fn writes_need_a_majority_of_three_copies() {
    assert_eq!(settings(8, 1).min_in_sync(), 1);
    assert_eq!(settings(8, 2).min_in_sync(), 1);
    assert_eq!(settings(8, 3).min_in_sync(), 2);
    assert_eq!(settings(8, 5).min_in_sync(), 3);
}

#[test]
fn an_unknown_shard_has_epoch_zero_and_is_refused_in_commands() {
    let mut state = cluster(2, 3);
    assert_eq!(state.epoch(0), 1);
    assert_eq!(state.epoch(2), 0);
    assert!(state.shard(2).is_none());
    assert_eq!(state.apply(&add(2, "A")), Err(Refusal::NoShard { shard: 2 }));
}

#[test]
fn shards_are_numbered_from_zero() {
    let state = cluster(3, 3);
    let numbers: Vec<u32> = state.numbered_shards().map(|(number, _)| number).collect();
    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn a_placement_names_each_node_once_and_at_least_one() {
    let mut state = cluster(2, 3);
    let refusal = Err(Refusal::BadPlacement { shard: 1 });
    assert_eq!(state.apply(&place(1, &[])), refusal);
    assert_eq!(state.apply(&place(1, &["A", "A"])), refusal);
}

#[test]
fn a_placed_shard_is_not_placed_elsewhere() {
    let mut state = cluster(1, 3);
    assert_eq!(state.apply(&place(0, &["A", "B", "C"])), Ok(Response::Done));
    assert_eq!(state.apply(&place(0, &["D"])), Err(Refusal::Placed { shard: 0, epoch: 1 }));
}

#[test]
fn the_first_node_of_a_placement_leads() {
    let mut state = cluster(2, 3);
    state.apply(&place(1, &["C", "A"])).unwrap();
    assert_eq!(state.shards[1].leader.as_deref(), Some("C"));
    assert_eq!(state.shards[1].replicas, ["A", "C"]);
}

#[test]
fn only_a_live_ingester_receives_a_replica() {
    let mut state = cluster(1, 3);
    state.apply(&Command::Join { member: member("S", &[Role::Store]), at_ms: 1 }).unwrap();
    assert!(matches!(state.apply(&add(0, "S")), Err(Refusal::State { .. })));
    state.apply(&set_state("D", MemberState::Down)).unwrap();
    assert!(matches!(state.apply(&add(0, "D")), Err(Refusal::State { .. })));
    assert_eq!(state.apply(&add(0, "Z")), Err(Refusal::NoMember { node: "Z".into() }));
}

#[test]
fn a_shard_without_an_in_sync_replica_has_nothing_to_learn_from() {
    let mut state = cluster(2, 3);
    assert_eq!(state.apply(&add(1, "A")), Err(Refusal::NothingInSync { shard: 1 }));
    state.apply(&place(1, &["A"])).unwrap();
    state.apply(&add(1, "B")).unwrap();
}

#[test]
fn a_learner_is_added_once() {
    let mut state = cluster(1, 3);
    let since = epoch(state.apply(&add(0, "D")).unwrap());
    assert_eq!(state.apply(&add(0, "D")), Ok(Response::Epoch(since)));
    assert_eq!(state.shards[0].learners.len(), 1);
    let targets: Vec<&str> = state.shards[0].write_targets().collect();
    assert_eq!(targets, ["A", "B", "C", "D"]);
}

#[test]
fn only_an_in_sync_replica_leads() {
    let mut state = cluster(1, 3);
    let lead = |node: &str| Command::SetLeader { shard: 0, node: node.into() };
    assert_eq!(state.apply(&lead("D")), Err(Refusal::NotInSync { shard: 0, node: "D".into() }));
    assert_eq!(state.apply(&lead("A")), Ok(Response::Epoch(1)), "it leads already");
}

#[test]
fn a_removed_replica_that_is_none_changes_nothing() {
    let mut state = cluster(1, 3);
    let version = state.shards[0].epoch;
    assert_eq!(state.apply(&drop_replica(0, "D")), Ok(Response::Epoch(version)));
}

#[test]
fn a_member_that_holds_shards_is_not_forgotten() {
    let mut state = cluster(1, 3);
    let refused = state.apply(&Command::ForgetMember { node: "A".into() });
    assert_eq!(refused, Err(Refusal::HoldsShards { node: "A".into(), shards: 1 }));
}

#[test]
fn an_ingester_with_replicas_keeps_its_role() {
    let mut state = cluster(1, 3);
    let without = Command::Join { member: member("A", &[Role::Agent]), at_ms: 5 };
    assert_eq!(state.apply(&without), Err(Refusal::HoldsShards { node: "A".into(), shards: 1 }));
    assert!(state.members["A"].has(Role::Ingester), "a refused command changes nothing");
}

#[test]
fn a_member_is_not_removed_by_its_state() {
    let mut state = cluster(1, 3);
    assert!(matches!(state.apply(&set_state("A", MemberState::Removed)), Err(Refusal::State { .. })));
}

#[test]
fn a_drain_of_a_member_that_is_down_waits_for_its_return() {
    let mut state = cluster(1, 3);
    state.apply(&set_state("A", MemberState::Down)).unwrap();
    state.apply(&set_state("A", MemberState::Draining)).unwrap();
    assert_eq!(state.members["A"].state, MemberState::Down);
    state.apply(&set_state("A", MemberState::Active)).unwrap();
    assert_eq!(state.members["A"].state, MemberState::Draining);
}

#[test]
fn roles_are_read_as_they_are_written() {
    for role in Role::ALL {
        assert_eq!(role.to_string().parse(), Ok(role));
    }
    assert_eq!("queen".parse::<Role>(), Err("unknown role \"queen\"".to_string()));
}

#[test]
fn refusals_keep_their_wire_names() {
    let born = Refusal::AlreadyBootstrapped { cluster: "c".into() };
    assert_eq!(serde_json::to_string(&born).unwrap(), r#"{"Born":{"cluster":"c"}}"#);
    assert_eq!(serde_json::to_string(&Refusal::NotBootstrapped).unwrap(), r#""Unborn""#);
}

#[test]
fn a_command_of_the_log_is_read_as_it_was_written() {
    let written = r#"{"Promote":{"shard":3,"node":"A","epoch":7}}"#;
    let read: Command = serde_json::from_str(written).unwrap();
    assert_eq!(read, promote(3, "A", 7));
    assert_eq!(serde_json::to_string(&read).unwrap(), written);
}

#[test]
fn the_leader_stamps_commands_with_its_own_time() {
    let Some(Command::Join { at_ms, .. }) = join("A").made_at(77) else { panic!("a join has a time") };
    assert_eq!(at_ms, 77);
    assert_eq!(promote(0, "A", 1).made_at(77), None);
}

#[test]
fn the_width_of_windows_can_be_changed_within_bounds() {
    let mut state = cluster(1, 1);
    assert_eq!(state.window_ms, 0, "nobody has said it");
    state.apply(&Command::SetWindow { window_ms: 60_000 }).unwrap();
    state.apply(&Command::SetWindow { window_ms: 120_000 }).unwrap();
    assert_eq!(state.window_ms, 120_000);
    for bad in [0, -1, i64::MAX] {
        let refused = state.apply(&Command::SetWindow { window_ms: bad });
        assert!(matches!(refused, Err(Refusal::OutOfBounds { .. })), "{refused:?}");
    }
}

#[test]
fn a_new_command_needs_every_member_to_know_it() {
    let mut state = cluster(1, 1);
    assert_eq!(state.supports(PROTOCOL), Ok(()));
    let old = Member { version: "0.1".into(), protocol: 0, ..member("B", &[Role::Ingester]) };
    state.apply(&Command::Join { member: old, at_ms: 5 }).unwrap();
    assert_eq!(state.supports(0), Ok(()));
    let expected = Refusal::Unsupported { needed: 1, node: "B".into(), version: "0.1".into(), has: 0 };
    assert_eq!(state.supports(1), Err(expected));
    state.apply(&Command::RemoveMember { node: "B".into(), force: true, at_ms: 6 }).unwrap();
    assert_eq!(state.supports(1), Ok(()));
    let earlier: Member = serde_json::from_str(r#"{"id":"X","address":"x:1","roles":["agent"]}"#).unwrap();
    assert_eq!(earlier.protocol, 0, "of a version that does not say it");
}
