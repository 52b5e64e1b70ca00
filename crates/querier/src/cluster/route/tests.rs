use pharos_cluster::{BlockEntry, CatalogueCommand, Command, Placement, Settings, Shard};

use super::*;

fn state(stores: usize, ingesters: usize, shards: u32) -> ClusterState {
    let mut state = ClusterState::default();
    let settings = Settings { cluster: "c".into(), shards, replication_factor: 3 };
    state.apply(&Command::Bootstrap { settings }).unwrap();
    let mut join = |id: String, role: Role| {
        let member = Member {
            address: format!("{id}:1"),
            id,
            roles: [role].into(),
            weight: 100,
            state: MemberState::Active,
            ..Member::default()
        };
        state.apply(&Command::Join { member, at_ms: 0 }).unwrap();
    };
    (0..stores).for_each(|i| join(format!("s{i}"), Role::Store));
    (0..ingesters).for_each(|i| join(format!("i{i}"), Role::Ingester));
    let nodes = |shard: u32| (0..3).map(|r| format!("i{}", (shard as usize + r) % ingesters)).collect();
    let placements = (0..shards).map(|shard| Placement { shard, nodes: nodes(shard) }).collect();
    state.apply(&Command::PlaceShards { placements }).unwrap();
    state
}

fn set_state(state: &mut ClusterState, node: &str, to: MemberState) {
    state.apply(&Command::SetMemberState { node: node.into(), state: to, at_ms: 1 }).unwrap();
}

/// Commits a block of tenant `t`.
fn commit_block(state: &mut ClusterState, min_t: i64, max_t: i64) {
    let block = BlockEntry {
        id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".into(),
        window_start: min_t,
        window_end: max_t + 1,
        min_t,
        max_t,
        shards: vec![0],
        bytes: 1,
        series: 1,
        samples: 1,
        ..BlockEntry::default()
    };
    let commit = CatalogueCommand::CommitBlocks { tenant: "t".into(), blocks: vec![block], flushed_until: None };
    state.apply(&Command::Catalogue(commit)).unwrap();
}

fn all_shards(count: u32) -> Target {
    Target::Shards(ShardSet::all(count))
}

fn blocks() -> Target {
    Target::Blocks(StoreRange { range: TimeRange::new(0, 9), key: 0 })
}

/// The nodes of some routes, each with its number of shards.
fn shard_counts(routes: &Routes) -> Vec<(String, usize)> {
    let count = |a: &Assignment| match &a.target {
        Target::Shards(shards) => (a.member.id.clone(), shards.len()),
        Target::Blocks(_) => (a.member.id.clone(), 0),
    };
    routes.assignments.iter().map(count).collect()
}

fn store_of(state: &ClusterState, target: &Target, excluded: &Excluded) -> Option<String> {
    route(state, "t", "f", target, excluded).assignments.first().map(|a| a.member.id.clone())
}

#[test]
fn few_nodes_cover_every_shard_once() {
    for (ingesters, at_most) in [(3, 1), (4, 2), (5, 3), (9, 5)] {
        let state = state(0, ingesters, 64);
        let mut first = BTreeSet::new();
        for key in 0..40 {
            let assignments = fewest_nodes(&state, "f0", &ShardSet::all(64), key).unwrap();
            assert!(assignments.len() <= at_most, "{} of {ingesters}", assignments.len());
            first.insert(assignments[0].member.id.clone());
            let mut covered = ShardSet::new();
            for Assignment { member, target } in &assignments {
                let Target::Shards(shards) = target else { panic!("{target:?}") };
                assert!(shards.iter().all(|shard| state.shard(shard).unwrap().is_in_sync(&member.id)));
                assert!(shards.is_disjoint(&covered));
                covered = covered.union(shards);
            }
            assert_eq!(covered, ShardSet::all(64));
        }
        assert!(first.len() > 1, "queries spread over the nodes");
    }
}

#[test]
fn few_nodes_are_none_that_are_down_and_the_local_one_comes_first() {
    let mut state = state(0, 3, 64);
    let nodes = |state: &ClusterState, local| {
        let assignments = fewest_nodes(state, local, &ShardSet::all(64), 7)?;
        Some(assignments.iter().map(|assignment| assignment.member.id.clone()).collect::<Vec<_>>())
    };
    for local in ["i0", "i1", "i2"] {
        assert_eq!(nodes(&state, local), Some(vec![local.to_string()]));
    }
    set_state(&mut state, "i0", MemberState::Down);
    assert!(!nodes(&state, "i0").unwrap().contains(&"i0".to_string()));
    set_state(&mut state, "i1", MemberState::Down);
    set_state(&mut state, "i2", MemberState::Down);
    assert_eq!(nodes(&state, "f0"), None);
}

#[test]
fn shards_are_spread_evenly() {
    let routes = route(&state(0, 5, 64), "t", "f1", &all_shards(64), &Excluded::default());
    assert!(routes.is_complete());
    let spread = shard_counts(&routes);
    assert_eq!(spread.iter().map(|(_, n)| n).sum::<usize>(), 64);
    assert!(spread.len() == 5 && spread.iter().all(|(_, n)| (6..=20).contains(n)), "{spread:?}");
}

#[test]
fn all_frontends_spread_shards_alike() {
    let state = state(0, 5, 64);
    let spread = |local| shard_counts(&route(&state, "t", local, &all_shards(64), &Excluded::default()));
    assert_eq!(spread("f1"), spread("f2"));
}

#[test]
fn a_local_replica_reads_every_shard_that_it_holds() {
    let state = state(0, 5, 64);
    let local = shard_counts(&route(&state, "t", "i2", &all_shards(64), &Excluded::default()));
    let held = (0..64).filter(|s| state.shards[*s].is_in_sync("i2")).count();
    assert!(local.contains(&("i2".into(), held)), "{local:?}");
}

#[test]
fn shards_that_were_never_placed_are_neither_read_nor_missing() {
    let mut state = ClusterState::default();
    let settings = Settings { cluster: "c".into(), shards: 4, replication_factor: 3 };
    state.apply(&Command::Bootstrap { settings }).unwrap();
    let routes = route(&state, "t", "f", &all_shards(4), &Excluded::default());
    assert!(routes.is_complete() && routes.assignments.is_empty());
}

#[test]
fn excluded_nodes_are_not_asked() {
    let state = state(0, 3, 6);
    let none = Excluded::default();
    let without_two = route(&state, "t", "f", &all_shards(6), &none.and("i0").and("i1"));
    assert_eq!(shard_counts(&without_two), [("i2".to_string(), 6)]);
}

#[test]
fn shards_without_a_candidate_are_missing() {
    let state = state(0, 3, 6);
    let all = Excluded::default().and("i0").and("i1").and("i2");
    let routes = route(&state, "t", "f", &all_shards(6), &all);
    assert_eq!(routes.missing_shards.len(), 6);
    assert!(!routes.is_complete());
}

#[test]
fn a_node_can_be_excluded_for_a_single_shard() {
    let state = state(0, 3, 6);
    let for_shard_3 = Excluded { shards: ["i0", "i1", "i2"].map(|n| (n.to_string(), 3)).into(), ..Excluded::default() };
    assert_eq!(route(&state, "t", "f", &all_shards(6), &for_shard_3).missing_shards, ShardSet::of(3));
}

#[test]
fn an_avoided_node_is_not_asked_while_there_are_others() {
    let state = state(0, 3, 6);
    let avoided = Excluded { avoided: ["i1".to_string()].into(), ..Excluded::default() };
    let routes = route(&state, "t", "i1", &all_shards(6), &avoided);
    assert!(shard_counts(&routes).iter().all(|(node, _)| node != "i1"));
    let only = route(&state, "t", "f", &all_shards(6), &avoided.and("i0").and("i2"));
    assert_eq!(shard_counts(&only), [("i1".to_string(), 6)]);
}

#[test]
fn another_store_takes_over_from_an_excluded_one() {
    let state = state(2, 3, 6);
    let none = Excluded::default();
    let first = store_of(&state, &blocks(), &none).unwrap();
    let second = store_of(&state, &blocks(), &none.and(&first)).unwrap();
    assert_ne!(first, second);
    let nobody = route(&state, "t", "f", &blocks(), &none.and(&first).and(&second));
    assert_eq!(nobody.missing_time, Some(TimeRange::new(0, 9)));
}

#[test]
fn a_draining_store_is_asked_last() {
    let mut state = state(2, 3, 6);
    let first = store_of(&state, &blocks(), &Excluded::default()).unwrap();
    set_state(&mut state, &first, MemberState::Draining);
    let second = store_of(&state, &blocks(), &Excluded::default()).unwrap();
    assert_ne!(first, second);
    assert_eq!(store_of(&state, &blocks(), &Excluded::default().and(&second)), Some(first));
}

#[test]
fn nodes_that_are_down_are_tried_when_there_is_no_other() {
    let mut state = state(0, 3, 3);
    set_state(&mut state, "i0", MemberState::Down);
    set_state(&mut state, "i1", MemberState::Down);
    let routes = route(&state, "t", "i0", &all_shards(3), &Excluded::default());
    assert_eq!(shard_counts(&routes), [("i2".to_string(), 3)]);
    assert!(route(&state, "t", "f", &all_shards(3), &Excluded::default().and("i2")).is_complete());
}

#[test]
fn store_ranges_cover_a_range_once() {
    let state = state(4, 3, 3);
    for range in
        [TimeRange::new(5, 40 * STORE_RANGE_MS + 7), TimeRange::new(0, 0), TimeRange::new(-3 * STORE_RANGE_MS - 1, 3)]
    {
        let ranges = store_ranges(&state, "t", range);
        assert_eq!(ranges.first().map(|s| s.range.start), Some(range.start));
        assert_eq!(ranges.last().map(|s| s.range.end), Some(range.end));
        assert!(ranges.windows(2).all(|w| w[0].range.end + 1 == w[1].range.start));
        assert!(ranges.len() as i64 <= MAX_STORE_RANGES + 1);
    }
}

#[test]
fn an_empty_range_has_no_store_ranges() {
    assert!(store_ranges(&state(4, 3, 3), "t", TimeRange::new(1, 0)).is_empty());
}

#[test]
fn without_blocks_all_time_is_one_store_range() {
    assert_eq!(store_ranges(&state(4, 3, 3), "t", TimeRange::ALL).len(), 1);
}

#[test]
fn long_ranges_are_spread_over_the_stores() {
    let mut state = state(4, 3, 3);
    commit_block(&mut state, 0, 30 * STORE_RANGE_MS);
    let ranges = store_ranges(&state, "t", TimeRange::new(0, 30 * STORE_RANGE_MS));
    let owner = |range: &StoreRange| store_of(&state, &Target::Blocks(*range), &Excluded::default()).unwrap();
    let owners: BTreeSet<String> = ranges.iter().map(owner).collect();
    assert_eq!(owners.len(), 4, "{owners:?}");
    assert!(ranges.windows(2).all(|w| owner(&w[0]) != owner(&w[1])), "neighbours of one store are merged");
}

#[test]
fn store_ranges_do_not_depend_on_where_a_query_begins() {
    let mut state = state(4, 3, 3);
    commit_block(&mut state, 0, 30 * STORE_RANGE_MS);
    let owner_at = |start: i64| {
        let ranges = store_ranges(&state, "t", TimeRange::new(start, 30 * STORE_RANGE_MS));
        let range = ranges.iter().find(|r| r.range.contains(20 * STORE_RANGE_MS + 5)).copied().unwrap();
        store_of(&state, &Target::Blocks(range), &Excluded::default())
    };
    assert_eq!(owner_at(0), owner_at(STORE_RANGE_MS * 3 + 17));
}

#[test]
fn a_shard_that_has_lost_its_replicas_is_missing_and_one_that_was_never_placed_is_not() {
    let mut placed = state(0, 3, 4);
    let lost = Shard { epoch: 9, ..Shard::default() };
    Arc::make_mut(&mut placed.shards)[2] = Arc::new(lost);
    let routes = route(&placed, "t", "f", &all_shards(4), &Excluded::default());
    assert_eq!(routes.missing_shards, ShardSet::of(2));
    Arc::make_mut(&mut placed.shards)[2] = Arc::default();
    assert!(route(&placed, "t", "f", &all_shards(4), &Excluded::default()).is_complete());
}
