//! Commits, deletions and what is refused, over entries of windows of 100 milliseconds.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

pub(super) fn block(id: &str, window: i64, shards: &[u32], delta: bool) -> BlockEntry {
    BlockEntry {
        id: id.into(),
        window_start: window * 100,
        window_end: window * 100 + 100,
        min_t: window * 100,
        max_t: window * 100 + 99,
        shards: shards.to_vec(),
        delta,
        bytes: 1,
        series: 1,
        samples: 1,
        ..BlockEntry::default()
    }
}

pub(super) fn commit(blocks: Vec<BlockEntry>, flushed_until: i64) -> CatalogueCommand {
    CatalogueCommand::CommitBlocks { tenant: "t".into(), blocks, flushed_until: Some(flushed_until) }
}

#[test]
fn a_second_cover_is_refused_and_changes_nothing() {
    let mut catalogue = Catalogue::default();
    catalogue.apply(commit(vec![block("A", 0, &[0, 1], false)], 100)).unwrap();
    let before = catalogue.clone();
    let refusal =
        catalogue.apply(commit(vec![block("B", 0, &[2], false), block("C", 0, &[1], false)], 100)).unwrap_err();
    assert_eq!(refusal, Refusal::Covered { tenant: "t".into(), shard: 1, window_start: 0, by: "A".into() });
    assert_eq!(catalogue, before);
    catalogue.apply(commit(vec![block("D", 0, &[1], true), block("E", 1, &[1], false)], 200)).unwrap();
    let ids: Vec<_> = catalogue.tenant("t").unwrap().blocks.iter().map(|b| (b.id.as_str(), b.sequence)).collect();
    assert_eq!(ids, [("A", 1), ("D", 2), ("E", 3)]);
}

#[test]
fn a_repeated_commit_changes_nothing() {
    let mut catalogue = Catalogue::default();
    let command = commit(vec![block("A", 0, &[0], false)], 100);
    catalogue.apply(command.clone()).unwrap();
    let once = catalogue.clone();
    catalogue.apply(command).unwrap();
    assert_eq!(catalogue, once);
}

#[test]
fn flushed_until_never_moves_back() {
    let mut catalogue = Catalogue::default();
    catalogue.apply(commit(vec![block("A", 4, &[0], false)], 500)).unwrap();
    catalogue.apply(commit(vec![block("B", 0, &[0], false)], 100)).unwrap();
    assert_eq!(catalogue.tenant("t").unwrap().flushed_until, Some(500));
}

#[test]
fn malformed_blocks_are_refused() {
    let mut catalogue = Catalogue::default();
    for (field, change) in [
        ("id", Box::new(|b: &mut BlockEntry| b.id = "../x".into()) as Box<dyn Fn(&mut BlockEntry)>),
        ("window", Box::new(|b| b.window_end = b.window_start)),
        ("samples", Box::new(|b| b.max_t = b.window_end)),
    ] {
        let mut bad = block("A", 0, &[0], false);
        change(&mut bad);
        assert!(matches!(catalogue.apply(commit(vec![bad], 0)), Err(Refusal::Malformed { .. })), "{field}");
    }
}

#[test]
fn delta_blocks_of_a_covered_window_are_accepted() {
    let mut catalogue = Catalogue::default();
    catalogue.apply(commit(vec![block("A", 0, &[0], false)], 100)).unwrap();
    catalogue.apply(commit(vec![block("B", 0, &[0], true), block("C", 0, &[0], true)], 100)).unwrap();
    assert_eq!(catalogue.tenant("t").unwrap().blocks.len(), 3);
}

#[test]
fn two_main_blocks_of_one_commit_conflict_with_each_other() {
    let mut catalogue = Catalogue::default();
    let refused = catalogue.apply(commit(vec![block("A", 0, &[0], false), block("B", 0, &[0], false)], 100));
    assert_eq!(refused, Err(Refusal::Covered { tenant: "t".into(), shard: 0, window_start: 0, by: "A".into() }));
    assert!(catalogue.tenants.is_empty());
}

#[test]
fn removed_blocks_are_gone_and_unknown_ones_are_ignored() {
    let mut catalogue = Catalogue::default();
    catalogue.apply(commit(vec![block("A", 0, &[0], false), block("B", 1, &[0], false)], 200)).unwrap();
    let ids = vec!["A".to_string(), "Z".to_string()];
    catalogue
        .apply(CatalogueCommand::RemoveBlocks { tenant: "t".into(), ids, at_ms: 7, reason: RemovalReason::Retention })
        .unwrap();
    let left: Vec<&str> = catalogue.tenant("t").unwrap().blocks.iter().map(|block| block.id.as_str()).collect();
    assert_eq!(left, ["B"]);
}

#[test]
fn the_time_of_a_rebuild_never_moves_back() {
    let mut catalogue = Catalogue::default();
    let of_an_earlier_version = serde_json::from_str(r#"{"Rebuilt":{"at_ms":9}}"#).unwrap();
    catalogue.apply(of_an_earlier_version).unwrap();
    assert_eq!(catalogue.sequence, 0);
    catalogue.apply(CatalogueCommand::Rebuilt { at_ms: 5, sequence: 7 }).unwrap();
    assert_eq!(catalogue.sequence, 7);
    catalogue.apply(CatalogueCommand::Rebuilt { at_ms: 5, sequence: 3 }).unwrap();
    assert_eq!(catalogue.sequence, 7);
    assert_eq!(catalogue.rebuilt_ms, 9);
}

#[test]
fn the_flushed_time_keeps_its_wire_name() {
    let json = serde_json::to_value(commit(Vec::new(), 7)).unwrap();
    assert_eq!(json["CommitBlocks"]["boundary"], 7);
    let mut catalogue = Catalogue::default();
    catalogue.apply(commit(Vec::new(), 7)).unwrap();
    assert_eq!(serde_json::to_value(&catalogue).unwrap()["tenants"]["t"]["boundary"], 7);
}

proptest! {
    #[test]
    fn no_shard_of_a_window_ever_has_two_main_blocks(
        steps in proptest::collection::vec((0u32..200, 0i64..4, proptest::collection::vec(0u32..4, 0..3), any::<bool>()), 1..60)
    ) {
        let mut catalogue = Catalogue::default();
        for (id, window, shards, delta) in steps {
            let _ = catalogue.apply(commit(vec![block(&format!("B{id}"), window, &shards, delta)], window * 100 + 100));
        }
        if let Some(tenant) = catalogue.tenant("t") {
            let mut covered = BTreeSet::new();
            for block in tenant.blocks.iter().filter(|b| !b.delta) {
                let shards: BTreeSet<u32> = block.shards.iter().copied().collect();
                for shard in shards {
                    prop_assert!(covered.insert((block.window_start, shard)), "{block:?}");
                }
            }
            prop_assert!(tenant.blocks.windows(2).all(|w| w[0].sequence < w[1].sequence));
        }
    }
}
