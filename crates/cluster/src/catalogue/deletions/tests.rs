use pharos_model::Matcher;
use proptest::prelude::*;

use super::super::RemovalReason;
use super::super::tests::{block, commit};
use super::*;

fn delete(selector: &str, id: &str) -> CatalogueCommand {
    delete_range(selector, id, 0, 9)
}

fn delete_range(selector: &str, id: &str, start: i64, end: i64) -> CatalogueCommand {
    CatalogueCommand::Delete { tenant: "t".into(), selector: selector.into(), start, end, id: id.into() }
}

fn forget(applied: u64) -> CatalogueCommand {
    CatalogueCommand::ForgetDeletions { tenant: "t".into(), applied }
}

fn seen(id: &str, window: i64, seen: Option<u64>) -> BlockEntry {
    BlockEntry { deletions_seen: seen, ..block(id, window, &[0], true) }
}

fn listed(catalogue: &Catalogue) -> Vec<(&str, u64)> {
    let known = catalogue.tenant("t").unwrap();
    known.deletions.iter().map(|deletion| (deletion.selector.as_str(), deletion.sequence)).collect()
}

#[test]
fn a_repeated_deletion_gets_a_new_number() {
    let mut catalogue = Catalogue::default();
    for selector in ["{a=\"1\"}", "{a=\"2\"}", "{a=\"1\"}"] {
        catalogue.apply(delete(selector, "")).unwrap();
    }
    assert_eq!(listed(&catalogue), [("{a=\"2\"}", 2), ("{a=\"1\"}", 3)]);
    assert_eq!(catalogue.newest_deletion("t"), 3);
}

#[test]
fn a_command_that_arrives_twice_deletes_once() {
    let mut catalogue = Catalogue::default();
    catalogue.apply(delete("{a=\"1\"}", "I")).unwrap();
    catalogue.apply(delete("{a=\"1\"}", "J")).unwrap();
    let before = catalogue.clone();
    for late in ["I", "J", "I"] {
        catalogue.apply(delete("{a=\"1\"}", late)).unwrap();
    }
    assert_eq!(catalogue, before);
    // Nor does it when the deletion was forgotten.
    catalogue.apply(forget(catalogue.newest_deletion("t"))).unwrap();
    assert!(listed(&catalogue).is_empty());
    catalogue.apply(delete("{a=\"1\"}", "J")).unwrap();
    assert!(listed(&catalogue).is_empty());
}

#[test]
fn the_ids_of_deletions_are_bounded() {
    let mut catalogue = Catalogue::default();
    for n in 0..2 * MAX_RECENT_IDS {
        catalogue.apply(delete("{}", &n.to_string())).unwrap();
    }
    let known = &catalogue.tenant("t").unwrap().recent_ids;
    assert_eq!(known.len(), MAX_RECENT_IDS);
    assert_eq!(known.last(), Some(&(2 * MAX_RECENT_IDS - 1).to_string()));
}

#[test]
fn a_tenant_without_deletions_has_no_newest_one() {
    let mut catalogue = Catalogue::default();
    assert_eq!(catalogue.newest_deletion("t"), 0);
    catalogue.apply(commit(vec![block("A", 0, &[0], false)], 100)).unwrap();
    assert_eq!(catalogue.newest_deletion("t"), 0);
}

#[test]
fn a_deletion_is_written_as_a_selector() {
    let tenant = TenantId::new("t").unwrap();
    let matchers = [Matcher::equal("__name__", "up"), Matcher::equal("job", "a")];
    let command = CatalogueCommand::delete("I".into(), &tenant, &matchers, TimeRange::new(1, 2));
    let expected = delete_range(r#"{__name__="up",job="a"}"#, "I", 1, 2);
    assert_eq!(command, expected);
}

#[test]
fn a_deletion_masks_the_blocks_that_have_not_seen_it() {
    let mut catalogue = Catalogue::default();
    catalogue.apply(commit(vec![seen("A", 0, Some(0)), seen("B", 0, None)], 100)).unwrap();
    catalogue.apply(delete("{a=\"1\"}", "")).unwrap();
    let number = catalogue.newest_deletion("t");
    let late =
        vec![seen("C", 0, Some(number - 1)), seen("D", 0, Some(number)), seen("E", 0, None), seen("F", 1, Some(0))];
    catalogue.apply(commit(late, 100)).unwrap();
    let known = catalogue.tenant("t").unwrap();
    let masked: Vec<&str> = known.blocks.iter().filter(|b| known.is_masked(b)).map(|b| b.id.as_str()).collect();
    assert_eq!(masked, ["A", "B", "C"], "F is of another time");
}

#[test]
fn a_deletion_is_forgotten_once_it_masks_nothing_and_is_applied() {
    let mut catalogue = Catalogue::default();
    catalogue.apply(commit(vec![seen("A", 0, Some(0))], 100)).unwrap();
    catalogue.apply(delete("{a=\"1\"}", "")).unwrap();
    catalogue.apply(delete_range("{a=\"2\"}", "", 100, 199)).unwrap();
    let newest = catalogue.newest_deletion("t");
    catalogue.apply(forget(newest - 1)).unwrap();
    assert_eq!(listed(&catalogue).len(), 2, "the first masks a block, the second is not applied everywhere");
    catalogue.apply(forget(newest)).unwrap();
    assert_eq!(listed(&catalogue), [("{a=\"1\"}", newest - 1)]);
    catalogue
        .apply(CatalogueCommand::RemoveBlocks {
            tenant: "t".into(),
            ids: vec!["A".into()],
            at_ms: 0,
            reason: RemovalReason::Retention,
        })
        .unwrap();
    catalogue.apply(forget(newest)).unwrap();
    assert!(listed(&catalogue).is_empty());
    assert_eq!(catalogue.newest_deletion("t"), newest, "its number remains known");
    catalogue.apply(delete("{a=\"3\"}", "")).unwrap();
    assert!(catalogue.newest_deletion("t") > newest);
}

#[test]
fn numbers_start_above_what_blocks_have_seen() {
    let mut catalogue = Catalogue::default();
    catalogue.apply(commit(vec![seen("A", 0, Some(50))], 100)).unwrap();
    catalogue.apply(delete("{a=\"1\"}", "")).unwrap();
    let known = catalogue.tenant("t").unwrap();
    assert!(known.newest_deletion() > 50 && known.is_masked(&known.blocks[0]));
}

#[test]
fn entries_and_commands_of_earlier_versions_are_read() {
    let old = r#"{"Delete":{"tenant":"t","selector":"{}","start":0,"end":9}}"#;
    assert_eq!(serde_json::from_str::<CatalogueCommand>(old).unwrap(), delete("{}", ""));
    let old = r#"{"blocks":[],"boundary":5,"deletions":[{"selector":"{}","start":0,"end":9,"sequence":3}]}"#;
    let known: TenantCatalogue = serde_json::from_str(old).unwrap();
    assert_eq!(known.newest_deletion(), 3);
    assert_eq!(serde_json::to_string(&known).unwrap(), old, "unused fields are not written");
    let entry = serde_json::to_string(&block("A", 0, &[0], false)).unwrap();
    assert!(!entry.contains("deletions_seen"), "{entry}");
    assert_eq!(serde_json::from_str::<BlockEntry>(&entry).unwrap().deletions_seen, None);
}

proptest! {
    /// Whatever happens in whatever order: a block that was cut before a deletion is masked by it, or refused, for as long
    /// as it is listed; one that was cut after it is not.
    #[test]
    fn forgetting_never_reveals_what_was_deleted(
        steps in proptest::collection::vec((0u8..4, 0i64..3, 0u64..6), 1..60)
    ) {
        let mut catalogue = Catalogue::default();
        let mut deletions: Vec<(u64, i64)> = Vec::new();
        for (at, (kind, window, back)) in steps.into_iter().enumerate() {
            let newest = catalogue.newest_deletion("t");
            match kind {
                0 => {
                    catalogue.apply(delete_range("{}", "", window * 100, window * 100 + 50)).unwrap();
                    deletions.push((catalogue.newest_deletion("t"), window));
                    prop_assert!(catalogue.newest_deletion("t") > newest);
                }
                1 => {
                    // `ClusterState::ship_blocks` refuses what has not seen a forgotten deletion.
                    let cut_at = newest.saturating_sub(back);
                    let forgotten = catalogue.tenant("t").map_or(0, |known| known.newest_forgotten);
                    if cut_at >= forgotten {
                        catalogue.apply(commit(vec![seen(&format!("B{at}"), window, Some(cut_at))], 0)).unwrap();
                    }
                }
                2 => catalogue.apply(forget(newest.saturating_sub(back))).unwrap(),
                _ => {
                    let oldest = catalogue.tenant("t").and_then(|known| known.blocks.first()).map(|b| b.id.clone());
                    let ids = oldest.into_iter().collect();
                    catalogue.apply(CatalogueCommand::RemoveBlocks { tenant: "t".into(), ids, at_ms: 0, reason: RemovalReason::Retention }).unwrap();
                }
            }
            let Some(known) = catalogue.tenant("t") else { continue };
            for block in &known.blocks {
                let window = block.window_start / 100;
                let is_deleted = deletions.iter().any(|(number, of)| *of == window && *number > block.deletions_seen.unwrap());
                prop_assert_eq!(known.is_masked(block), is_deleted, "{:?}", block);
            }
        }
    }
}
