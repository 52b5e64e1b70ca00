use pharos_cluster::{Command, Placement, Settings};

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

/// A block of a tenant.
fn blocks(min_t: i64, max_t: i64) -> Command {
    let block = pharos_cluster::BlockEntry {
        id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".into(),
        window_start: min_t,
        window_end: max_t + 1,
        min_t,
        max_t,
        shards: vec![0],
        delta: false,
        sequence: 0,
        bytes: 1,
        series: 1,
        samples: 1,
        resolution_ms: 0,
        cut: None,
        digests: Vec::new(),
        meta: String::new(),
    };
    let tenant = "t".into();
    Command::Catalogue(pharos_cluster::CatalogueCommand::CommitBlocks {
        tenant,
        blocks: vec![block],
        flushed_until: None,
    })
}

fn shards(routes: &Routes) -> Vec<(String, usize)> {
    let of = |a: &Assignment| match &a.target {
        Target::Shards(shards) => (a.member.id.clone(), shards.len()),
        Target::Time(_) => (a.member.id.clone(), 0),
    };
    routes.assignments.iter().map(of).collect()
}

#[test]
fn shards_are_spread_evenly_and_the_same_everywhere() {
    let state = state(0, 5, 64);
    let all = Target::Shards(ShardSet::all(64));
    let routes = route(&state, "t", "f1", &all, &Excluded::default());
    assert!(routes.is_whole());
    let spread = shards(&routes);
    assert_eq!(spread.iter().map(|(_, n)| n).sum::<usize>(), 64);
    assert!(spread.len() == 5 && spread.iter().all(|(_, n)| (6..=20).contains(n)), "{spread:?}");
    assert_eq!(shards(&route(&state, "t", "f2", &all, &Excluded::default())), spread);
    let local = shards(&route(&state, "t", "i2", &all, &Excluded::default()));
    let held = (0..64).filter(|s| state.shards[*s].is_in_sync("i2")).count();
    assert!(local.contains(&("i2".into(), held)), "{local:?}");
}

#[test]
fn the_excluded_are_not_asked_and_the_avoided_come_last() {
    let state = state(2, 3, 6);
    let all = Target::Shards(ShardSet::all(6));
    let none = Excluded::default();
    let without = route(&state, "t", "f", &all, &none.and("i0").and("i1"));
    assert_eq!(shards(&without), [("i2".to_string(), 6)]);
    let nobody = route(&state, "t", "f", &all, &none.and("i0").and("i1").and("i2"));
    assert_eq!((nobody.missing.len(), nobody.is_whole()), (6, false));
    let one = Excluded { shards: ["i0", "i1", "i2"].map(|n| (n.to_string(), 3)).into(), ..none.clone() };
    assert_eq!(route(&state, "t", "f", &all, &one).missing, ShardSet::of(3));
    let avoided = Excluded { avoided: ["i1".to_string()].into(), ..none.clone() };
    assert!(shards(&route(&state, "t", "i1", &all, &avoided)).iter().all(|(node, _)| node != "i1"));
    let slice = Target::Time(Slice { range: TimeRange::new(0, 9), key: 0 });
    let first = shards(&route(&state, "t", "f", &slice, &none)).remove(0).0;
    let second = shards(&route(&state, "t", "f", &slice, &none.and(&first))).remove(0).0;
    assert_ne!(first, second);
    assert!(!route(&state, "t", "f", &slice, &none.and(&first).and(&second)).is_whole());
}

#[test]
fn nodes_that_are_down_are_tried_when_there_is_nobody_else() {
    let mut state = state(0, 3, 3);
    for node in ["i0", "i1"] {
        let down = Command::SetMemberState { node: node.into(), state: MemberState::Down, at_ms: 1 };
        state.apply(&down).unwrap();
    }
    let all = Target::Shards(ShardSet::all(3));
    assert_eq!(shards(&route(&state, "t", "i0", &all, &Excluded::default())), [("i2".to_string(), 3)]);
    assert!(route(&state, "t", "f", &all, &Excluded::default().and("i2")).is_whole());
}

#[test]
fn slices_cover_a_range_once_and_are_spread_over_the_stores() {
    let mut state = state(4, 3, 3);
    for range in [TimeRange::new(5, 40 * SLICE_MS + 7), TimeRange::new(0, 0), TimeRange::new(-3 * SLICE_MS - 1, 3)] {
        let slices = slices(&state, "t", range);
        assert_eq!(slices.first().map(|s| s.range.start), Some(range.start));
        assert_eq!(slices.last().map(|s| s.range.end), Some(range.end));
        assert!(slices.windows(2).all(|w| w[0].range.end + 1 == w[1].range.start));
        assert!(slices.len() as i64 <= MAX_SLICES + 1);
    }
    assert!(slices(&state, "t", TimeRange::new(1, 0)).is_empty());
    assert_eq!(slices(&state, "t", TimeRange::ALL).len(), 1, "there are no blocks");
    state.apply(&blocks(0, 30 * SLICE_MS)).unwrap();
    let long = slices(&state, "t", TimeRange::new(0, 30 * SLICE_MS));
    let of = |slice: &Slice| shards(&route(&state, "t", "f", &Target::Time(*slice), &Excluded::default())).remove(0).0;
    let owners: BTreeSet<String> = long.iter().map(of).collect();
    assert_eq!(owners.len(), 4, "{owners:?}");
    assert!(long.windows(2).all(|w| of(&w[0]) != of(&w[1])), "neighbours of one store are one");
}
