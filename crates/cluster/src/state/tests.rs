//! Sequences of commands that roles rely on, over a cluster of five ingesters.

mod commands;
mod properties;

use super::*;
use crate::catalogue::CatalogueCommand;

const NODES: [&str; 5] = ["A", "B", "C", "D", "E"];

fn member(id: &str, roles: &[Role]) -> Member {
    Member {
        id: id.into(),
        address: format!("{id}:7946"),
        roles: roles.iter().copied().collect(),
        weight: 100,
        state: MemberState::Active,
        ..Member::default()
    }
}

pub(super) fn join(id: &str) -> Command {
    Command::Join { member: member(id, &[Role::Ingester, Role::Agent]), at_ms: 1 }
}

pub(super) fn settings(shards: u32, replication_factor: u32) -> Settings {
    Settings { cluster: "c".into(), shards, replication_factor }
}

pub(super) fn set_state(node: &str, state: MemberState) -> Command {
    Command::SetMemberState { node: node.into(), state, at_ms: 2 }
}

fn place(shard: u32, nodes: &[&str]) -> Command {
    let nodes = nodes.iter().map(ToString::to_string).collect();
    Command::PlaceShards { placements: vec![Placement { shard, nodes }] }
}

pub(super) fn failed(node: &str, shards: &[(u32, u64)]) -> Command {
    Command::ReportFailed { node: node.into(), shards: shards.to_vec(), reporter: "Z".into() }
}

fn add(shard: u32, node: &str) -> Command {
    Command::AddLearner { shard, node: node.into() }
}

fn promote(shard: u32, node: &str, epoch: u64) -> Command {
    Command::Promote { shard, node: node.into(), epoch }
}

fn drop_replica(shard: u32, node: &str) -> Command {
    Command::RemoveReplica { shard, node: node.into() }
}

/// A cluster of five ingesters, its first shard on A, B and C.
pub(super) fn cluster(shards: u32, replication_factor: u32) -> ClusterState {
    let mut state = ClusterState::default();
    state.apply(&Command::Bootstrap { settings: settings(shards, replication_factor) }).unwrap();
    NODES.iter().for_each(|node| drop(state.apply(&join(node)).unwrap()));
    state.apply(&place(0, &["A", "B", "C"])).unwrap();
    state
}

fn epoch(response: Response) -> u64 {
    let Response::Epoch(epoch) = response else { panic!("{response:?}") };
    epoch
}

#[test]
fn a_failed_replica_leaves_and_comes_back_only_with_everything() {
    let mut state = cluster(1, 3);
    let e = state.epoch(0);
    assert_eq!(state.apply(&failed("B", &[(0, e)])).unwrap(), Response::Unchanged(vec![]));
    assert_eq!(state.shards[0].in_sync, ["A", "C"]);
    let since = epoch(state.apply(&add(0, "B")).unwrap());
    assert_eq!(state.shards[0].learns_since("B"), Some(since));
    // A write to the learner fails, under whatever epoch it learned: what it has learnt is not enough any more, and nobody waits for it.
    assert_eq!(
        state.apply(&failed("B", &[(0, since - 1)])).unwrap(),
        Response::Unchanged(vec![0]),
        "of the previous learning"
    );
    state.apply(&Command::SetLeader { shard: 0, node: "C".into() }).unwrap();
    assert_eq!(state.apply(&failed("B", &[(0, since)])).unwrap(), Response::Unchanged(vec![]));
    assert_eq!(state.shards[0].learns_since("B"), None);
    let again = epoch(state.apply(&add(0, "B")).unwrap());
    assert!(again > since);
    let refused = state.apply(&promote(0, "B", since)).unwrap_err();
    let expected = Refusal::NotLearning { shard: 0, node: "B".into(), asked: since, since: Some(again) };
    assert_eq!(refused, expected);
    // Another change of the shard does not restart the learner.
    state.apply(&Command::SetLeader { shard: 0, node: "A".into() }).unwrap();
    state.apply(&promote(0, "B", again)).unwrap();
    assert_eq!(state.shards[0].in_sync, ["A", "B", "C"]);
    assert_eq!(state.apply(&promote(0, "B", again)).unwrap(), Response::Epoch(state.epoch(0)));
}

#[test]
fn stale_reports_and_the_last_replica_change_nothing() {
    let mut state = cluster(2, 1);
    state.apply(&place(1, &["A"])).unwrap();
    let (one, two) = (state.epoch(0), state.epoch(1));
    let before = state.clone();
    assert_eq!(state.apply(&failed("A", &[(0, one + 1)])).unwrap(), Response::Unchanged(vec![0]));
    assert_eq!(state.shards, before.shards);
    let last = Refusal::LastInSync { shard: 1, node: "A".into() };
    assert_eq!(state.apply(&failed("A", &[(1, two)])).unwrap_err(), last);
    assert_eq!(state.apply(&failed("A", &[(0, one), (1, two)])).unwrap(), Response::Unchanged(vec![1]));
    assert_eq!(state.shards[0].in_sync.len(), 2);
    assert_eq!(state.shards[1].in_sync.len(), 1);
    assert_eq!(state.apply(&failed("A", &[(0, one)])).unwrap(), Response::Unchanged(vec![]), "done already");
}

#[test]
fn a_sender_cannot_report_a_replica_that_writes_need_but_the_replica_can() {
    let mut state = cluster(1, 3);
    let report = |state: &mut ClusterState, node: &str, reporter: &str| {
        let shards = vec![(0, state.epoch(0))];
        state.apply(&Command::ReportFailed { node: node.into(), shards, reporter: reporter.into() })
    };
    report(&mut state, "A", "Z").unwrap();
    let stays = Refusal::LastInSync { shard: 0, node: "B".into() };
    assert_eq!(report(&mut state, "B", "Z").unwrap_err(), stays);
    report(&mut state, "B", "B").unwrap();
    assert_eq!(state.shards[0].in_sync, ["C"]);
    assert!(matches!(report(&mut state, "C", "C").unwrap_err(), Refusal::LastInSync { .. }));
}

#[test]
fn a_drain_replaces_a_replica_before_removing_it() {
    let mut state = cluster(1, 3);
    state.apply(&set_state("A", MemberState::Draining)).unwrap();
    let few = Refusal::TooFew { shard: 0, node: "A".into(), left: 2, needed: 3 };
    assert_eq!(state.apply(&drop_replica(0, "A")).unwrap_err(), few);
    let since = epoch(state.apply(&add(0, "D")).unwrap());
    assert_eq!(state.apply(&drop_replica(0, "A")).unwrap_err(), few);
    state.apply(&promote(0, "D", since)).unwrap();
    state.apply(&drop_replica(0, "A")).unwrap();
    assert_eq!(state.shards[0].replicas, ["B", "C", "D"]);
    state.apply(&Command::ForgetMember { node: "A".into() }).unwrap();
    assert!(state.member("A").is_none());
}

#[test]
fn leaders_move_off_a_member_that_is_down_and_the_drain_outlives_it() {
    let mut state = cluster(1, 3);
    assert_eq!(state.shards[0].leader.as_deref(), Some("A"));
    state.apply(&set_state("A", MemberState::Draining)).unwrap();
    state.apply(&set_state("A", MemberState::Down)).unwrap();
    assert_ne!(state.shards[0].leader.as_deref(), Some("A"));
    assert!(state.shards[0].is_in_sync("A"));
    state.apply(&set_state("A", MemberState::Active)).unwrap();
    assert_eq!(state.members["A"].state, MemberState::Draining);
    state.apply(&set_state("A", MemberState::Active)).unwrap();
    assert_eq!(state.members["A"].state, MemberState::Active);
}

#[test]
fn a_drained_node_works_again_after_a_restart() {
    let mut state = cluster(1, 3);
    state.apply(&set_state("A", MemberState::Draining)).unwrap();
    let again = |state: &ClusterState| {
        let member = Member { state: MemberState::Active, ..Member::clone(&state.members["A"]) };
        Command::Join { member, at_ms: 9 }
    };
    state.apply(&again(&state)).unwrap();
    assert_eq!(state.members["A"].state, MemberState::Draining, "it still holds a replica");
    let since = epoch(state.apply(&add(0, "D")).unwrap());
    state.apply(&promote(0, "D", since)).unwrap();
    state.apply(&drop_replica(0, "A")).unwrap();
    state.apply(&again(&state)).unwrap();
    assert_eq!(state.members["A"].state, MemberState::Active);
    assert!(!state.members["A"].draining);
}

#[test]
fn only_members_that_are_down_are_removed_without_force() {
    let mut state = cluster(1, 3);
    let remove = |force| Command::RemoveMember { node: "A".into(), force, at_ms: 3 };
    assert_eq!(state.apply(&remove(false)).unwrap_err(), Refusal::HoldsShards { node: "A".into(), shards: 1 });
    state.apply(&set_state("A", MemberState::Down)).unwrap();
    state.apply(&remove(false)).unwrap();
    assert_eq!(state.shards[0].replicas, ["B", "C"]);
    assert_eq!(state.apply(&join("A")).unwrap_err(), Refusal::Removed { node: "A".into() });
    for node in ["B", "C"] {
        state.apply(&set_state(node, MemberState::Down)).unwrap();
        let e = state.epoch(0);
        // Its own word, which is taken as long as there is another.
        let report = Command::ReportFailed { node: node.into(), shards: vec![(0, e)], reporter: node.into() };
        let _refused_for_the_last = state.apply(&report);
    }
    let command = Command::RemoveMember { node: "C".into(), force: false, at_ms: 3 };
    assert_eq!(state.apply(&command).unwrap_err(), Refusal::LastInSync { shard: 0, node: "C".into() });
    state.apply(&Command::RemoveMember { node: "C".into(), force: true, at_ms: 3 }).unwrap();
    assert_eq!(state.shards[0].leader.clone(), None);
    assert_eq!(state.shards[0].in_sync.len(), 0);
    state.apply(&place(0, &["D"])).unwrap();
    assert_eq!(state.shards[0].replicas, ["D"]);
}

#[test]
fn ownership_follows_the_live_agents() {
    let mut state = cluster(1, 1);
    let mut epochs = vec![state.ownership_epoch];
    for state_of_e in [MemberState::Draining, MemberState::Down, MemberState::Active, MemberState::Active] {
        state.apply(&set_state("E", state_of_e)).unwrap();
        epochs.push(state.ownership_epoch);
    }
    let e = epochs[0];
    assert_eq!(epochs, [e, e + 1, e + 1, e + 1, e + 2], "draining agents own nothing");
    state.apply(&join("E")).unwrap();
    assert_eq!(state.ownership_epoch, e + 2);
}

fn take_lease(node: &str) -> Command {
    Command::TakeLease { name: "compactor".into(), node: node.into() }
}

#[test]
fn the_holder_of_a_lease_keeps_its_number() {
    let mut state = cluster(1, 1);
    assert_eq!(state.apply(&take_lease("A")).unwrap(), Response::Lease { number: 1 });
    assert_eq!(state.apply(&take_lease("A")).unwrap(), Response::Lease { number: 1 });
}

#[test]
fn a_held_lease_is_refused_to_others() {
    let mut state = cluster(1, 1);
    state.apply(&take_lease("A")).unwrap();
    let held = Refusal::LeaseHeld { name: "compactor".into(), holder: "A".into() };
    assert_eq!(state.apply(&take_lease("B")).unwrap_err(), held);
}

#[test]
fn a_lease_whose_holder_is_down_passes_on_under_a_new_number() {
    let mut state = cluster(1, 1);
    state.apply(&take_lease("A")).unwrap();
    state.apply(&set_state("A", MemberState::Down)).unwrap();
    assert_eq!(state.apply(&take_lease("B")).unwrap(), Response::Lease { number: 2 });
    assert_eq!(state.leases["compactor"].holder.as_deref(), Some("B"));
}

#[test]
fn a_forgotten_member_loses_its_leases() {
    let mut state = cluster(1, 1);
    state.apply(&take_lease("E")).unwrap();
    state.apply(&Command::ForgetMember { node: "E".into() }).unwrap();
    assert_eq!(state.leases["compactor"].holder, None);
    assert_eq!(state.apply(&take_lease("D")).unwrap(), Response::Lease { number: 2 });
}

#[test]
fn a_node_that_is_down_or_unknown_takes_no_lease() {
    let mut state = cluster(1, 1);
    state.apply(&set_state("A", MemberState::Down)).unwrap();
    assert!(matches!(state.apply(&take_lease("A")), Err(Refusal::State { .. })));
    assert_eq!(state.apply(&take_lease("Z")), Err(Refusal::NoMember { node: "Z".into() }));
    assert!(state.leases.is_empty());
}

#[test]
fn lease_names_are_bounded() {
    let mut state = cluster(1, 1);
    for name in [String::new(), "x".repeat(65)] {
        let refused = state.apply(&Command::TakeLease { name, node: "A".into() });
        assert!(matches!(refused, Err(Refusal::OutOfBounds { .. })), "{refused:?}");
    }
}

#[test]
fn a_restored_state_is_newer_than_anything_before() {
    let export = cluster(2, 3);
    let mut state = ClusterState::default();
    state.apply(&Command::Bootstrap { settings: settings(2, 3) }).unwrap();
    state.apply(&join("N")).unwrap();
    let command =
        CatalogueCommand::Delete { tenant: "t".into(), selector: "{}".into(), start: 0, end: 1, id: String::new() };
    state.apply(&command.into()).unwrap();
    state.apply(&Command::Restore { state: Box::new(export.clone()), at_ms: 1 }).unwrap();
    assert!(state.version > export.version && state.incarnation == 1);
    assert!(state.shards.iter().zip(export.shards.iter()).all(|(new, old)| new.epoch > old.epoch + 1000));
    assert_eq!(state.members["A"].state, MemberState::Down);
    assert_eq!(state.members["N"].state, MemberState::Active);
    let mut other = cluster(2, 3);
    other.shards = Arc::new(vec![Arc::default(); 3]);
    let refused = state.apply(&Command::Restore { state: Box::new(other), at_ms: 1 }).unwrap_err();
    assert!(matches!(refused, Refusal::BadExport { .. }));
}

/// A cluster of one node whose identity is `name`.
fn named(name: &str) -> ClusterState {
    let mut state = ClusterState::default();
    let settings = Settings { cluster: name.into(), ..settings(2, 3) };
    state.apply(&Command::Bootstrap { settings }).unwrap();
    state
}

fn restored(mut into: ClusterState, export: &ClusterState) -> ClusterState {
    into.apply(&Command::Restore { state: Box::new(export.clone()), at_ms: 1 }).unwrap();
    into
}

#[test]
fn a_cluster_keeps_its_identity_and_remembers_those_that_were_restored_in_it() {
    let second = restored(named("second"), &named("first"));
    assert_eq!(second.settings.as_ref().unwrap().cluster, "second");
    assert_eq!(second.former, ["first"]);
    let third = restored(named("third"), &second);
    assert_eq!(third.settings.as_ref().unwrap().cluster, "third");
    assert_eq!(third.former, ["first", "second"]);
    assert_eq!(restored(third.clone(), &third).former, third.former, "its own export");
    assert_eq!(restored(third.clone(), &named("first")).former, third.former, "an older one again");
}

#[test]
fn the_identities_that_a_cluster_remembers_are_bounded() {
    let state = (0..40).fold(named("own"), |state, n| restored(state, &named(&format!("c{n}"))));
    assert_eq!(state.former.len(), restore::MAX_FORMER);
    assert_eq!(state.former.last().unwrap(), "c39");
}

#[test]
fn a_node_takes_only_states_of_its_own_or_a_restored_cluster() {
    let (first, other) = (named("first"), named("other"));
    let error = other.check_taken_by("first").unwrap_err();
    assert!(error.contains("first") && error.contains("other"), "{error}");
    first.check_taken_by("first").unwrap();
    restored(named("second"), &first).check_taken_by("first").unwrap();
    first.check_taken_by("").unwrap();
    ClusterState::default().check_taken_by("first").unwrap();
}

#[test]
fn malformed_members_and_settings_are_refused() {
    let mut state = ClusterState::default();
    for bad in [
        Member { id: "a/b".into(), ..member("A", &[]) },
        Member { weight: 0, ..member("A", &[]) },
        Member { zone: "z\n".into(), ..member("A", &[]) },
        Member { state: MemberState::Down, ..member("A", &[]) },
    ] {
        let refused = state.apply(&Command::Join { member: bad, at_ms: 0 }).unwrap_err();
        assert!(matches!(refused, Refusal::BadMember { .. }), "{refused}");
    }
    let refused = state.apply(&Command::Bootstrap { settings: settings(0, 1) }).unwrap_err();
    assert!(matches!(refused, Refusal::Settings { .. }));
    assert_eq!(state, ClusterState::default());
}

/// The cuts are numbered as the blocks are named.
pub(super) fn ship(node: &str, id: &str, cut: &[(u32, u64)], delta: bool, deletions: u64) -> Command {
    ship_as(false, node, id, cut, delta, deletions)
}

/// Ships as an in-sync replica.
fn ship_difference(node: &str, id: &str, cut: &[(u32, u64)], delta: bool) -> Command {
    ship_as(true, node, id, cut, delta, 0)
}

fn ship_as(as_replica: bool, node: &str, id: &str, cut: &[(u32, u64)], delta: bool, deletions: u64) -> Command {
    let block = crate::catalogue::BlockEntry {
        id: id.into(),
        window_end: 100,
        max_t: 99,
        shards: cut.iter().map(|(shard, _)| *shard).collect(),
        delta,
        bytes: 1,
        series: 1,
        samples: 1,
        cut: Some(crate::catalogue::CutId { ingester: node.into(), number: id.parse().unwrap() }),
        ..Default::default()
    };
    let (node, cut, tenant) = (node.into(), cut.to_vec(), "t".into());
    Command::ShipBlocks { node, cut, tenant, blocks: vec![block], deletions, as_replica }
}

#[test]
fn only_a_leader_since_the_cut_can_ship() {
    let mut state = cluster(2, 3);
    let lead = |node: &str| Command::SetLeader { shard: 0, node: node.into() };
    let refused =
        |state: &mut ClusterState, command: &Command| matches!(state.apply(command), Err(Refusal::NotLeader { .. }));
    assert!(refused(&mut state, &ship("B", "1", &[(0, 1)], false, 0)));
    // Other changes of the shard do not matter.
    state.apply(&failed("C", &[(0, 1)])).unwrap();
    assert_eq!(state.shards[0].led_since, 1);
    state.apply(&ship("A", "1", &[(0, 1)], false, 0)).unwrap();
    state.apply(&lead("B")).unwrap();
    assert_eq!(state.apply(&ship("A", "1", &[(0, 1)], false, 0)), Ok(Response::Done), "it is live: sent again");
    assert!(refused(&mut state, &ship("A", "2", &[(0, 2)], true, 0)));
    state.apply(&lead("A")).unwrap();
    assert!(refused(&mut state, &ship("A", "2", &[(0, 2)], true, 0)), "it did not lead all the time");
    let since = state.shards[0].led_since;
    state.apply(&ship("A", "2", &[(0, since)], true, 0)).unwrap();
    let old = state.apply(&ship("A", "02", &[(0, since)], true, 0));
    assert!(matches!(old, Err(Refusal::OldCut { .. })), "{old:?}");
    let taken = state.apply(&ship("B", "2", &[(0, since)], true, 0));
    assert!(matches!(taken, Err(Refusal::Catalogue(_))), "{taken:?}");
    assert!(refused(&mut state, &ship("A", "3", &[(1, 9)], false, 0)), "nobody leads it");
}

fn delete(selector: &str, start: i64, end: i64) -> Command {
    CatalogueCommand::Delete { tenant: "t".into(), selector: selector.into(), start, end, id: String::new() }.into()
}

#[test]
fn an_in_sync_replica_ships_deltas_whoever_leads() {
    let mut state = cluster(2, 3);
    state.apply(&ship("A", "1", &[(0, 1)], false, 0)).unwrap();
    assert_eq!(state.apply(&ship_difference("B", "2", &[(0, 1)], true)), Ok(Response::Done));
    assert_eq!(state.apply(&ship_difference("B", "2", &[(0, 1)], true)), Ok(Response::Done), "sent again");
    let blocks = &state.catalogue.tenant("t").unwrap().blocks;
    assert_eq!(blocks.iter().map(|block| block.delta).collect::<Vec<_>>(), [false, true]);
    // It does not lead, so it ships no main block, and nothing of shards that it lacks.
    let main = state.apply(&ship_difference("B", "3", &[(0, 1)], false));
    assert!(matches!(main, Err(Refusal::Catalogue(_))), "{main:?}");
    for (node, shard) in [("D", 0), ("B", 1)] {
        let refused = state.apply(&ship_difference(node, "4", &[(shard, 1)], true));
        assert_eq!(refused, Err(Refusal::NotInSync { shard, node: node.into() }));
    }
    state.apply(&failed("B", &[(0, 1)])).unwrap();
    let out_of_sync = state.apply(&ship_difference("B", "5", &[(0, 1)], true));
    assert!(matches!(out_of_sync, Err(Refusal::NotInSync { .. })), "{out_of_sync:?}");
    let old = state.apply(&ship_difference("C", "2", &[(0, 1)], true));
    assert!(matches!(old, Err(Refusal::Catalogue(_))), "the id belongs to the block of B: {old:?}");
}

#[test]
fn commands_of_earlier_versions_ship_as_the_leader() {
    let written = serde_json::to_string(&ship("A", "1", &[(0, 1)], false, 0)).unwrap();
    assert!(!written.contains("as_replica"), "earlier versions read what a leader ships: {written}");
    assert_eq!(serde_json::from_str::<Command>(&written).unwrap(), ship("A", "1", &[(0, 1)], false, 0));
    let difference = ship_difference("A", "1", &[(0, 1)], true);
    let read: Command = serde_json::from_slice(&serde_json::to_vec(&difference).unwrap()).unwrap();
    assert_eq!(read, difference);
}

#[test]
fn a_cut_from_before_a_deletion_is_shipped_and_masked() {
    let mut state = cluster(1, 3);
    state.apply(&delete("{a=\"1\"}", 0, 9)).unwrap();
    let newest = state.catalogue.newest_deletion("t");
    state.apply(&ship("A", "1", &[(0, 1)], false, newest - 1)).unwrap();
    state.apply(&ship("A", "2", &[(0, 1)], true, newest)).unwrap();
    let known = state.catalogue.tenant("t").unwrap();
    let masked: Vec<bool> = known.blocks.iter().map(|block| known.is_masked(block)).collect();
    assert_eq!(masked, [true, false]);
}

#[test]
fn a_cut_that_has_not_seen_a_forgotten_deletion_is_refused() {
    let mut state = cluster(1, 3);
    state.apply(&delete("{a=\"1\"}", 0, 9)).unwrap();
    let newest = state.catalogue.newest_deletion("t");
    let forget = CatalogueCommand::ForgetDeletions { tenant: "t".into(), applied: newest };
    state.apply(&forget.into()).unwrap();
    let late = state.apply(&ship("A", "1", &[(0, 1)], false, newest - 1));
    assert_eq!(late, Err(Refusal::Deleted { tenant: "t".into(), newest, seen: newest - 1 }));
    state.apply(&ship("A", "1", &[(0, 1)], false, newest)).unwrap();
}

#[test]
fn a_restore_keeps_later_deletions_and_never_assigns_a_number_again() {
    let mut state = cluster(1, 3);
    state.apply(&delete("{a=\"1\"}", 0, 9)).unwrap();
    let export = state.clone();
    state.apply(&delete("{a=\"2\"}", 0, 9)).unwrap();
    let newest = state.catalogue.newest_deletion("t");
    state.apply(&Command::Restore { state: Box::new(export.clone()), at_ms: 1 }).unwrap();
    let known = state.catalogue.tenant("t").unwrap();
    let listed: Vec<&str> = known.deletions.iter().map(|deletion| deletion.selector.as_str()).collect();
    assert_eq!(listed, ["{a=\"1\"}", "{a=\"2\"}"]);
    state.apply(&delete("{a=\"3\"}", 0, 9)).unwrap();
    assert!(state.catalogue.newest_deletion("t") > newest);
    // Into a cluster that never knew the second one, a head brings its number.
    let mut other = cluster(1, 3);
    other.apply(&Command::Restore { state: Box::new(export), at_ms: 1 }).unwrap();
    other.apply(&CatalogueCommand::RaiseDeletions { tenant: "t".into(), number: newest }.into()).unwrap();
    assert!(other.catalogue.newest_deletion("t") >= newest);
    other.apply(&delete("{a=\"3\"}", 0, 9)).unwrap();
    assert!(other.catalogue.newest_deletion("t") > newest);
}
