use proptest::prelude::*;

use super::*;

fn block(id: &str, window: i64, shards: &[u32], delta: bool) -> BlockEntry {
    BlockEntry {
        id: id.into(),
        window_start: window * 100,
        window_end: window * 100 + 100,
        min_t: window * 100,
        max_t: window * 100 + 99,
        shards: shards.to_vec(),
        delta,
        sequence: 0,
        bytes: 1,
        series: 1,
        samples: 1,
        resolution_ms: 0,
        cut: None,
        digests: Vec::new(),
        meta: String::new(),
    }
}

fn commit(blocks: Vec<BlockEntry>, flushed_until: i64) -> CatalogueCommand {
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
fn commands_may_be_sent_again() {
    let mut catalogue = Catalogue::default();
    let command = commit(vec![block("A", 0, &[0], false)], 100);
    catalogue.apply(command.clone()).unwrap();
    let once = catalogue.clone();
    catalogue.apply(command).unwrap();
    assert_eq!(catalogue, once);
}

#[test]
fn the_boundary_never_moves_back() {
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
fn a_deletion_that_is_made_again_counts_anew() {
    let mut catalogue = Catalogue::default();
    let delete = |a: &str| CatalogueCommand::Delete { tenant: "t".into(), selector: a.into(), start: 0, end: 9 };
    for selector in ["{a=\"1\"}", "{a=\"2\"}", "{a=\"1\"}"] {
        catalogue.apply(delete(selector)).unwrap();
    }
    let known: Vec<_> =
        catalogue.tenant("t").unwrap().deletions.iter().map(|d| (d.selector.as_str(), d.sequence)).collect();
    assert_eq!(known, [("{a=\"2\"}", 2), ("{a=\"1\"}", 3)]);
    assert_eq!(catalogue.newest_deletion("t"), 3);
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
