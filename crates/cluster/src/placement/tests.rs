//! Balance, movement and zones, over clusters of many shapes; and that the steps lead to the goal without ever giving up a
//! copy.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::state::{ClusterState, DEFAULT_WEIGHT, Settings};

fn member(n: usize, zone: &str, roles: &[Role]) -> Member {
    Member {
        id: format!("N{n:03}"),
        address: format!("n{n}:7946"),
        zone: zone.into(),
        roles: roles.iter().copied().collect(),
        weight: DEFAULT_WEIGHT,
        state: MemberState::Active,
        ..Member::default()
    }
}

fn join(state: &mut ClusterState, member: Member) {
    state.apply(&Command::Join { member, at_ms: 0 }).unwrap();
}

fn born(shards: u32, replication_factor: u32) -> ClusterState {
    let mut state = ClusterState::default();
    let settings = Settings { cluster: "c".into(), shards, replication_factor };
    state.apply(&Command::Bootstrap { settings }).unwrap();
    state
}

fn zone(n: usize, zones: usize) -> String {
    if zones == 0 { String::new() } else { format!("z{}", n % zones) }
}

pub(super) fn cluster(nodes: usize, zones: usize, shards: u32, copies: u32) -> ClusterState {
    let mut state = born(shards, copies);
    (0..nodes).for_each(|n| join(&mut state, member(n, &zone(n, zones), &[Role::Ingester])));
    state
}

pub(super) fn config() -> PlacementConfig {
    PlacementConfig { max_moves: 64, max_moves_to_node: 64, max_leader_moves: 64, ..PlacementConfig::default() }
}

/// Carries out steps, and learners learn, until nothing is left to do; returns how many replicas were made.
fn settle(state: &mut ClusterState) -> usize {
    let mut made = 0;
    for _ in 0..2000 {
        let steps = propose(state, &config(), PlacementContext::default());
        if steps.is_empty() {
            return made;
        }
        for step in steps {
            made += usize::from(matches!(step, Command::AddLearner { .. }));
            let before = state.clone();
            state.apply(&step).unwrap_or_else(|refusal| panic!("{step:?}: {refusal}"));
            if !matches!(step, Command::PlaceShards { .. }) {
                let fewer = state.shards.iter().zip(before.shards.iter()).any(|(new, old)| {
                    new.in_sync.len() < old.in_sync.len() && new.in_sync.len() < state.copies_needed()
                });
                assert!(!fewer, "{step:?} gave up a copy");
            }
        }
        let learners: Vec<_> = (0u32..)
            .zip(state.shards.iter())
            .flat_map(|(n, shard)| shard.learners.iter().map(move |l| (n, l.clone())))
            .collect();
        for (shard, learner) in learners {
            state.apply(&Command::Promote { shard, node: learner.node, epoch: learner.since }).unwrap();
        }
    }
    panic!("it does not settle");
}

fn loads(state: &ClusterState) -> BTreeMap<String, usize> {
    let mut loads: BTreeMap<String, usize> = state.live(Role::Ingester).map(|member| (member.id.clone(), 0)).collect();
    for node in state.shards.iter().flat_map(|shard| &shard.in_sync) {
        *loads.entry(node.clone()).or_default() += 1;
    }
    loads
}

/// The heaviest load is at most a quarter above the mean, or what whole replicas do not allow otherwise.
fn assert_balanced(state: &ClusterState) {
    let loads = loads(state);
    let mean = loads.values().sum::<usize>() as f64 / loads.len() as f64;
    let (least, most) = (*loads.values().min().unwrap() as f64, *loads.values().max().unwrap() as f64);
    assert!(most <= (1.25 * mean).max(mean.ceil()), "most {most}, mean {mean}: {loads:?}");
    assert!(least >= (0.75 * mean).floor(), "least {least}, mean {mean}: {loads:?}");
    let led = state.led();
    let most_led = led.values().copied().max().unwrap_or(0) as f64;
    let mean_led = state.shards.len() as f64 / loads.len() as f64;
    assert!(most_led <= (1.5 * mean_led).max(mean_led.ceil() + 1.0), "leads {most_led}, mean {mean_led}");
}

fn assert_zones(state: &ClusterState) {
    for shard in state.shards.iter() {
        let zones: BTreeSet<&str> = shard.in_sync.iter().map(|node| state.members[node].zone.as_str()).collect();
        assert_eq!(zones.len(), shard.in_sync.len(), "{shard:?}");
    }
}

fn shards_for(nodes: usize) -> u32 {
    if nodes <= 48 { 64 } else { 512 }
}

#[test]
fn loads_are_even_from_three_to_two_hundred_nodes() {
    for nodes in [3, 4, 5, 6, 7, 10, 16, 31, 48, 64, 100, 200] {
        let mut state = cluster(nodes, 0, shards_for(nodes), 3);
        settle(&mut state);
        assert_balanced(&state);
        assert!(state.shards.iter().all(|shard| shard.in_sync.len() == 3));
        assert_eq!(settle(&mut state), 0, "what is good stays");
    }
}

#[test]
fn a_join_moves_only_its_share() {
    for nodes in (3..20).chain([40, 120, 199]) {
        let mut state = cluster(nodes, 0, shards_for(nodes), 3);
        settle(&mut state);
        join(&mut state, member(nodes, "", &[Role::Ingester]));
        let moved = settle(&mut state) as f64;
        let share = state.shards.len() as f64 * 3.0 / (nodes as f64 + 1.0);
        assert!(moved <= (share * 1.1).max(share.ceil()), "{moved} moved, the share of {} is {share}", nodes + 1);
        assert_balanced(&state);
    }
}

#[test]
fn a_drain_moves_what_the_node_had() {
    for (nodes, zones) in [(4, 0), (9, 3), (20, 0)] {
        let mut state = cluster(nodes, zones, 64, 3);
        settle(&mut state);
        let had = loads(&state)["N001"];
        state.apply(&Command::SetMemberState { node: "N001".into(), state: MemberState::Draining, at_ms: 0 }).unwrap();
        let moved = settle(&mut state);
        assert_eq!(state.shards_of("N001").count(), 0);
        assert!(moved <= had + had / 10 + 1, "{moved} of {had}");
        assert!(state.shards.iter().all(|shard| shard.in_sync.len() == 3));
    }
}

#[test]
fn the_last_nodes_keep_what_no_other_can_take() {
    let mut state = cluster(3, 0, 16, 3);
    settle(&mut state);
    for node in ["N000", "N001"] {
        state.apply(&Command::SetMemberState { node: node.into(), state: MemberState::Draining, at_ms: 0 }).unwrap();
        settle(&mut state);
        assert_eq!(state.shards_of(node).count(), 0, "the others have everything");
    }
    state.apply(&Command::SetMemberState { node: "N002".into(), state: MemberState::Draining, at_ms: 0 }).unwrap();
    settle(&mut state);
    assert_eq!(state.shards_of("N002").count(), 16);
}

#[test]
fn zones_hold_one_copy_each() {
    for (nodes, zones) in [(3, 3), (6, 3), (7, 3), (12, 4), (30, 5), (10, 4)] {
        let mut state = cluster(nodes, zones, 64, 3);
        settle(&mut state);
        assert_zones(&state);
        join(&mut state, member(nodes, &zone(nodes, zones), &[Role::Ingester]));
        settle(&mut state);
        assert_zones(&state);
    }
    // Two zones hold three copies as evenly as they can; a third one gets its copy of everything.
    let mut state = cluster(6, 2, 64, 3);
    settle(&mut state);
    (6..9).for_each(|n| join(&mut state, member(n, "new", &[Role::Ingester])));
    settle(&mut state);
    assert_zones(&state);
}

#[test]
fn loads_follow_weights() {
    let mut state = born(64, 2);
    for n in 0..6 {
        let weight = if n == 0 { 2 * DEFAULT_WEIGHT } else { DEFAULT_WEIGHT };
        join(&mut state, Member { weight, ..member(n, "", &[Role::Ingester]) });
    }
    settle(&mut state);
    let loads = loads(&state);
    assert!((35..=38).contains(&loads["N000"]), "{loads:?}");
    assert!(loads.iter().filter(|(id, _)| *id != "N000").all(|(_, load)| (17..=20).contains(load)), "{loads:?}");
}

#[test]
fn a_member_that_is_down_is_replaced_after_a_while() {
    let mut state = cluster(4, 0, 16, 3);
    settle(&mut state);
    state.apply(&Command::SetMemberState { node: "N002".into(), state: MemberState::Down, at_ms: 1000 }).unwrap();
    let at = |seconds: i64| PlacementContext { now_ms: 1000 + seconds * 1000, ..PlacementContext::default() };
    let learners = |steps: Vec<Command>| steps.iter().filter(|s| matches!(s, Command::AddLearner { .. })).count();
    assert_eq!(learners(propose(&state, &config(), at(299))), 0);
    assert_eq!(learners(propose(&state, &config(), at(300))), state.shards_of("N002").count());
    let few = PlacementConfig { max_moves: 5, max_moves_to_node: 2, ..PlacementConfig::default() };
    assert_eq!(learners(propose(&state, &few, at(300))), 5);
}

#[test]
fn out_of_sync_replicas_learn_again() {
    let mut state = cluster(3, 0, 8, 3);
    settle(&mut state);
    let reported: Vec<(u32, u64)> = state.numbered_shards().map(|(n, shard)| (n, shard.epoch)).collect();
    let report = Command::ReportFailed { node: "N001".into(), shards: reported, reporter: "x".into() };
    state.apply(&report).unwrap();
    assert_eq!(settle(&mut state), 8);
    assert!(state.shards.iter().all(|shard| shard.in_sync.len() == 3));
}

#[test]
fn a_replica_that_is_out_of_sync_catches_up_before_its_node_has_drained() {
    let mut state = cluster(3, 0, 4, 2);
    settle(&mut state);
    let (node, epoch) = (state.shards[0].in_sync.last().unwrap().clone(), state.epoch(0));
    let report = Command::ReportFailed { node: node.clone(), shards: vec![(0, epoch)], reporter: "x".into() };
    state.apply(&report).unwrap();
    state.apply(&Command::SetMemberState { node: node.clone(), state: MemberState::Draining, at_ms: 0 }).unwrap();
    let steps = propose(&state, &config(), PlacementContext::default());
    assert!(steps.contains(&Command::AddLearner { shard: 0, node: node.clone() }), "{steps:?}");
    settle(&mut state);
    assert_eq!(state.shards_of(&node).count(), 0);
}

#[test]
fn the_first_placement_waits_for_copies_or_time() {
    let mut state = cluster(1, 0, 8, 3);
    assert!(propose(&state, &config(), PlacementContext::default()).is_empty());
    let later = PlacementContext { settled_for: config().settle, ..PlacementContext::default() };
    let steps = propose(&state, &config(), later);
    state.apply(&steps[0]).unwrap();
    assert!(state.shards.iter().all(|shard| shard.in_sync == ["N000"]));
}

#[test]
fn targets_move_only_from_and_to_agents_that_come_and_go() {
    let agents = |n: usize| {
        let mut state = born(8, 1);
        (0..n).for_each(|n| join(&mut state, member(n, "", &[Role::Agent])));
        state
    };
    let (four, five) = (agents(4), agents(5));
    let (before, after) = (Owners::new(&four), Owners::new(&five));
    assert!(after.epoch > before.epoch);
    let hash = |n: u64| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes());
    let mut owned: BTreeMap<&str, usize> = BTreeMap::new();
    for n in 0..5000 {
        let (old, new) = (before.owner(hash(n)).unwrap(), after.owner(hash(n)).unwrap());
        assert!(old == new || new == "N004");
        *owned.entry(new).or_default() += 1;
    }
    assert!(owned.values().all(|count| (700..1350).contains(count)), "{owned:?}");
    assert_eq!(owner(hash(1), &five).as_deref(), after.owner(hash(1)));
    assert_eq!(owner(1, &born(8, 1)), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn clusters_settle_whatever_comes_and_goes(
        nodes in 3usize..12,
        zones in 0usize..5,
        copies in 1u32..4,
        events in proptest::collection::vec((0usize..14, 0u8..4), 0..8),
    ) {
        let mut state = cluster(nodes, zones, 32, copies);
        settle(&mut state);
        for (n, event) in events {
            let node = format!("N{n:03}");
            let set = |to| Command::SetMemberState { node: node.clone(), state: to, at_ms: 0 };
            let _may_be_refused = match event {
                0 => state.apply(&Command::Join { member: member(n, &zone(n, zones), &[Role::Ingester]), at_ms: 0 }),
                1 => state.apply(&set(MemberState::Draining)),
                2 => state.apply(&set(MemberState::Active)),
                _ => state.apply(&Command::RemoveMember { node: node.clone(), force: false, at_ms: 0 }),
            };
            settle(&mut state);
            prop_assert!(state.check().is_ok());
            let needed = state.copies_needed();
            prop_assert!(needed == 0 || state.shards.iter().all(|shard| shard.in_sync.len() == needed));
        }
    }
}

#[test]
fn a_replica_that_is_away_stays_while_those_in_sync_have_lost_samples() {
    let mut state = cluster(2, 0, 8, 2);
    settle(&mut state);
    let shards = state.numbered_shards().map(|(number, shard)| (number, shard.epoch)).collect();
    state.apply(&Command::ReportFailed { node: "N001".into(), shards, reporter: "N000".into() }).unwrap();
    state.apply(&Command::SetMemberState { node: "N001".into(), state: MemberState::Down, at_ms: 0 }).unwrap();
    let incomplete = BTreeSet::from(["N000".to_string()]);
    let later = PlacementContext { now_ms: 1_000_000_000, settled_for: config().settle, ..PlacementContext::default() };
    assert_eq!(propose(&state, &config(), PlacementContext { incomplete: &incomplete, ..later }), []);
    let steps = propose(&state, &config(), later);
    assert_eq!(steps.iter().filter(|step| matches!(step, Command::RemoveReplica { .. })).count(), 8);
}

#[test]
fn a_node_that_cannot_write_receives_no_replica_and_leads_nothing() {
    let mut state = cluster(3, 0, 8, 3);
    settle(&mut state);
    let unwritable = BTreeSet::from(["N001".to_string()]);
    let context = PlacementContext { unwritable: &unwritable, ..PlacementContext::default() };
    for step in propose(&state, &config(), context) {
        assert!(matches!(step, Command::SetLeader { .. }), "{step:?}");
        state.apply(&step).unwrap();
    }
    assert_eq!(state.led().get("N001"), None);
    assert_eq!(propose(&state, &config(), context), []);
    let shards = state.numbered_shards().map(|(number, shard)| (number, shard.epoch)).collect();
    state.apply(&Command::ReportFailed { node: "N001".into(), shards, reporter: "N000".into() }).unwrap();
    assert_eq!(propose(&state, &config(), context), [], "it stays a replica and does not learn");
    let steps = propose(&state, &config(), PlacementContext::default());
    assert_eq!(steps.iter().filter(|step| matches!(step, Command::AddLearner { .. })).count(), 8);
}
