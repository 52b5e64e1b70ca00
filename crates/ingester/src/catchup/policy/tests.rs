use std::sync::Arc;

use pharos_cluster::{ClusterState, Learner, Member, MemberState, Shard};
use proptest::prelude::*;

use super::*;

/// Shards by: epoch, in sync (the first leads), learners with their epochs.
type Table<'a> = &'a [(u64, &'a [&'a str], &'a [(&'a str, u64)])];

fn view(table: Table<'_>) -> View {
    let shard = |(epoch, in_sync, learners): &(u64, &[&str], &[(&str, u64)])| {
        let learners: Vec<Learner> =
            learners.iter().map(|(node, since)| Learner { node: node.to_string(), since: *since }).collect();
        let in_sync: Vec<String> = in_sync.iter().map(|node| node.to_string()).collect();
        let mut replicas: Vec<String> =
            in_sync.iter().cloned().chain(learners.iter().map(|l| l.node.clone())).collect();
        replicas.sort();
        Arc::new(Shard { epoch: *epoch, leader: in_sync.first().cloned(), replicas, in_sync, learners, led_since: 0 })
    };
    let member = |name: &str| {
        let member = Member { id: name.into(), state: MemberState::Active, ..Member::default() };
        (name.to_string(), Arc::new(member))
    };
    View::new(Arc::new(ClusterState {
        shards: Arc::new(table.iter().map(shard).collect()),
        members: Arc::new(["A", "B", "C", "D"].map(member).into()),
        ..ClusterState::default()
    }))
}

fn due(view: &View, under_way: &BTreeMap<String, WantedShards>, backed_off: &[&str]) -> Vec<Action> {
    let backed_off = backed_off.iter().map(|name| name.to_string()).collect();
    decide(Inputs { me: "D", view, under_way, backed_off: &backed_off, most: 2 })
}

fn copy(source: &str, shards: &[(u32, u64)]) -> Action {
    Action::Copy { source: source.into(), shards: shards.iter().copied().collect() }
}

#[test]
fn shards_of_a_source_are_copied_together_and_the_leader_comes_first() {
    let view = view(&[
        (5, &["B", "A"], &[("D", 5)]),
        (7, &["B", "C"], &[("D", 6)]),
        (2, &["A", "B"], &[("C", 2)]),
        (3, &["D", "B"], &[]),
        (4, &["A", "B"], &[("D", 4)]),
    ]);
    let none = BTreeMap::new();
    assert_eq!(due(&view, &none, &[]), [copy("A", &[(4, 4)]), copy("B", &[(0, 5), (1, 6)])]);
    assert_eq!(due(&view, &none, &["B"]), [copy("A", &[(0, 5), (4, 4)]), copy("C", &[(1, 6)])]);
    assert_eq!(due(&view, &none, &["A", "B", "C"]), []);
    let from_b = BTreeMap::from([("B".to_string(), WantedShards::from([(0, 5), (1, 6)]))]);
    assert_eq!(due(&view, &from_b, &[]), [copy("A", &[(4, 4)])]);
}

#[test]
fn a_useless_copy_is_aborted_and_restarted_under_the_new_epoch() {
    let under_way = BTreeMap::from([("B".to_string(), WantedShards::from([(0, 5), (1, 5)]))]);
    let partly = view(&[(6, &["B"], &[("D", 5)]), (9, &["B", "A"], &[("D", 9)])]);
    assert_eq!(due(&partly, &under_way, &[]), [copy("A", &[(1, 9)])]);
    let useless = view(&[(6, &["B", "D"], &[]), (9, &["B"], &[("D", 9)])]);
    assert_eq!(due(&useless, &under_way, &[]), [Action::Stop { source: "B".into() }]);
    assert_eq!(due(&useless, &BTreeMap::new(), &[]), [copy("B", &[(1, 9)])]);
}

#[test]
fn shards_that_are_orphaned_for_long_are_forgotten() {
    let (held, mut orphaned) = (ShardSet::from_iter([0, 1, 2]), OrphanedShards::new());
    let others = view(&[(5, &["A"], &[]), (5, &["A", "D"], &[]), (5, &[], &[])]);
    let at = Duration::from_secs;
    let mut forget = |view: &View, now| forgettable("D", view, &held, &mut orphaned, at(now), at(60));
    assert!(forget(&others, 100).is_empty());
    assert!(forget(&others, 159).is_empty());
    assert_eq!(forget(&others, 160), ShardSet::of(0), "not what it holds, and not what nobody has in sync");
    let back = view(&[(6, &["A"], &[("D", 6)]), (5, &["A", "D"], &[]), (5, &["A"], &[])]);
    assert!(forget(&back, 161).is_empty());
    assert!(forget(&others, 200).is_empty(), "its time starts over");
}

proptest! {
    /// Whatever is learned is copied, waits for a busy source, or has nobody to be copied from; never twice, never from a
    /// node that is not in sync.
    #[test]
    fn every_learned_shard_is_copied_or_waits(
        table in proptest::collection::vec((1u64..9, 0usize..8, any::<bool>()), 0..12),
        backed_off in proptest::sample::subsequence(vec!["A", "B", "C"], 0..3),
    ) {
        let nodes = ["A", "B", "C"];
        let rows: Vec<_> = table.iter().map(|(epoch, bits, learns)| {
            let in_sync: Vec<&str> = (0..3).filter(|at| bits >> at & 1 == 1).map(|at| nodes[at]).collect();
            (*epoch, in_sync, if *learns { vec![("D", *epoch)] } else { Vec::new() })
        }).collect();
        let rows: Vec<_> =
            rows.iter().map(|(epoch, in_sync, learners)| (*epoch, &in_sync[..], &learners[..])).collect();
        let view = view(&rows);
        let backed_off: BTreeSet<String> = backed_off.iter().map(|name| name.to_string()).collect();
        let under_way = BTreeMap::new();
        let actions = decide(Inputs { me: "D", view: &view, under_way: &under_way, backed_off: &backed_off, most: 99 });
        let mut seen = BTreeSet::new();
        for action in actions {
            let Action::Copy { source, shards } = action else { panic!("nothing is under way") };
            prop_assert!(!backed_off.contains(&source));
            for (shard, epoch) in shards {
                prop_assert!(view.shards[shard as usize].is_in_sync(&source));
                prop_assert_eq!(view.shards[shard as usize].learns_since("D"), Some(epoch));
                prop_assert!(seen.insert(shard), "twice");
            }
        }
        for (number, shard) in view.numbered_shards() {
            let can = shard.learns_since("D").is_some() && shard.in_sync.iter().any(|node| !backed_off.contains(node));
            prop_assert_eq!(seen.contains(&number), can);
        }
    }
}
