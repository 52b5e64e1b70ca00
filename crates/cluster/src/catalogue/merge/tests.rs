//! What a merged catalogue keeps.

use super::super::CatalogueCommand;
use super::super::tests::{block, commit};
use super::*;

const HOUR: i64 = 3_600_000;

fn delete(selector: &str) -> CatalogueCommand {
    CatalogueCommand::Delete { tenant: "t".into(), selector: selector.into(), start: 0, end: 9, id: String::new() }
}

fn remove(id: &str, at_ms: i64, reason: RemovalReason) -> CatalogueCommand {
    CatalogueCommand::RemoveBlocks { tenant: "t".into(), ids: vec![id.into()], at_ms, reason }
}

/// A catalogue with main blocks A and B of windows 0 and 1, and a deletion after them.
fn exported() -> Catalogue {
    let mut catalogue = Catalogue::default();
    catalogue.apply(commit(vec![block("A", 0, &[0], false), block("B", 1, &[0], false)], 200)).unwrap();
    catalogue.apply(delete("{a=\"1\"}")).unwrap();
    catalogue
}

/// Merges an export into the catalogue that it became.
fn restored(now: &Catalogue, at_ms: i64) -> Catalogue {
    Merge { primary: now, secondary: &exported(), one_history: true, at_ms }.merged()
}

fn ids(catalogue: &Catalogue) -> Vec<(&str, bool)> {
    catalogue.tenant("t").unwrap().blocks.iter().map(|block| (block.id.as_str(), block.delta)).collect()
}

fn deletions(catalogue: &Catalogue) -> Vec<(&str, u64)> {
    catalogue.tenant("t").unwrap().deletions.iter().map(|d| (d.selector.as_str(), d.sequence)).collect()
}

#[test]
fn what_was_committed_and_deleted_after_the_export_stays() {
    let mut now = exported();
    now.apply(commit(vec![block("C", 2, &[0], false)], 300)).unwrap();
    now.apply(delete("{a=\"2\"}")).unwrap();
    let merged = restored(&now, 77);
    assert_eq!(ids(&merged), [("A", false), ("B", false), ("C", false)]);
    assert_eq!(deletions(&merged), [("{a=\"1\"}", 3), ("{a=\"2\"}", 5)]);
    assert_eq!((merged.rebuilt_ms, merged.tenant("t").unwrap().flushed_until), (77, Some(300)));
    assert!(merged.sequence > now.sequence + 1000, "the lost history may have assigned later ones");
}

#[test]
fn a_block_that_was_removed_just_now_is_listed_again() {
    let mut now = exported();
    now.apply(remove("A", 5 * HOUR, RemovalReason::Retention)).unwrap();
    let merged = restored(&now, 6 * HOUR - 1);
    assert_eq!(ids(&merged), [("A", false), ("B", false)]);
    assert_eq!(merged.tenant("t").unwrap().removed, []);
}

#[test]
fn a_block_whose_objects_may_be_gone_stays_removed() {
    let mut now = exported();
    now.apply(remove("A", 5 * HOUR, RemovalReason::Retention)).unwrap();
    let merged = restored(&now, 6 * HOUR);
    assert_eq!(ids(&merged), [("B", false)]);
    assert!(merged.tenant("t").unwrap().is_removal_known(0, 100, 0));
}

#[test]
fn a_quarantined_block_stays_quarantined() {
    let mut now = exported();
    now.apply(remove("B", 5 * HOUR, RemovalReason::Quarantine)).unwrap();
    assert_eq!(ids(&restored(&now, 5 * HOUR)), [("A", false)]);
}

#[test]
fn blocks_of_a_cluster_founded_since_come_later_and_share_no_window_as_main_blocks() {
    let mut founded = Catalogue::default();
    founded.apply(commit(vec![block("X", 1, &[0], false), block("Y", 2, &[0], false)], 300)).unwrap();
    founded.apply(delete("{a=\"2\"}")).unwrap();
    let export = exported();
    let merged = Merge { primary: &export, secondary: &founded, one_history: false, at_ms: 7 }.merged();
    assert_eq!(ids(&merged), [("A", false), ("B", false), ("X", true), ("Y", false)]);
    assert_eq!(deletions(&merged), [("{a=\"1\"}", 3), ("{a=\"2\"}", 6)]);
    let sequences: Vec<u64> = merged.tenant("t").unwrap().blocks.iter().map(|block| block.sequence).collect();
    assert_eq!(sequences, [1, 2, 4, 5]);
}
