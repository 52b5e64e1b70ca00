//! What the catalogue remembers of blocks that left it.

use super::super::tests::{block, commit};
use super::super::{Catalogue, CatalogueCommand, Refusal};
use super::*;

/// A catalogue with main block A of window 0, shards 0 and 1, delta block D of shard 2, and main block B of window 1.
fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::default();
    let blocks = vec![block("A", 0, &[0, 1], false), block("D", 0, &[2], true), block("B", 1, &[0], false)];
    catalogue.apply(commit(blocks, 200)).unwrap();
    catalogue
}

fn remove(ids: &[&str], at_ms: i64) -> CatalogueCommand {
    let (ids, reason) = (ids.iter().map(ToString::to_string).collect(), RemovalReason::Retention);
    CatalogueCommand::RemoveBlocks { tenant: "t".into(), ids, at_ms, reason }
}

fn condemn(id: &str) -> CatalogueCommand {
    CatalogueCommand::CondemnBlocks { tenant: "t".into(), ids: vec![id.into()], at_ms: 9 }
}

fn quarantine(id: &str) -> CatalogueCommand {
    let reason = RemovalReason::Quarantine;
    CatalogueCommand::RemoveBlocks { tenant: "t".into(), ids: vec![id.into()], at_ms: 9, reason }
}

#[test]
fn a_removal_is_recorded_with_its_time_and_window() {
    let mut catalogue = catalogue();
    catalogue.apply(remove(&["A", "unknown"], 7)).unwrap();
    let tenant = catalogue.tenant("t").unwrap();
    assert_eq!(tenant.removed.len(), 1);
    let removal = tenant.removal("A").unwrap();
    assert_eq!((removal.at_ms, removal.window_start, removal.window_end), (7, 0, 100));
    assert_eq!((removal.shards.as_slice(), removal.reason), (&[0, 1][..], RemovalReason::Retention));
}

#[test]
fn a_removal_is_known_for_the_window_and_shards_of_its_main_block() {
    let mut catalogue = catalogue();
    catalogue.apply(remove(&["D"], 7)).unwrap();
    let known =
        |catalogue: &Catalogue, start, end, shard| catalogue.tenant("t").unwrap().is_removal_known(start, end, shard);
    assert!(!known(&catalogue, 0, 100, 2), "a removed delta block explains no missing main block");
    catalogue.apply(remove(&["A"], 7)).unwrap();
    assert!(known(&catalogue, 0, 100, 0) && known(&catalogue, 0, 50, 1));
    assert!(!known(&catalogue, 100, 200, 0) && !known(&catalogue, 50, 150, 2));
}

#[test]
fn retention_is_remembered_after_its_records_are_forgotten() {
    let mut catalogue = catalogue();
    catalogue.apply(remove(&["A"], 7)).unwrap();
    catalogue.apply(CatalogueCommand::ForgetRemovals { tenant: "t".into(), ids: vec!["A".into()] }).unwrap();
    let tenant = catalogue.tenant("t").unwrap();
    assert!(tenant.removed.is_empty());
    assert_eq!(tenant.removed_until, Some(100));
    assert!(tenant.is_removal_known(0, 100, 5), "everything before is past its retention");
    assert!(!tenant.is_removal_known(0, 101, 0));
}

#[test]
fn a_removed_block_is_not_committed_again() {
    let mut catalogue = catalogue();
    let resent = commit(vec![block("A", 0, &[0, 1], false)], 100);
    catalogue.apply(remove(&["A"], 7)).unwrap();
    let refusal = catalogue.apply(resent).unwrap_err().to_string();
    assert_eq!(refusal, "invalid block A of tenant t: it was removed (Retention); its objects may be gone");
}

#[test]
fn a_condemned_upload_is_never_committed_and_a_listed_block_is_never_condemned() {
    let mut catalogue = catalogue();
    catalogue.apply(condemn("late")).unwrap();
    catalogue.apply(condemn("late")).unwrap();
    catalogue.apply(condemn("A")).unwrap();
    let tenant = catalogue.tenant("t").unwrap();
    assert_eq!(tenant.removed.iter().map(|removal| removal.id.as_str()).collect::<Vec<_>>(), ["late"]);
    assert_eq!(tenant.blocks.len(), 3);
    assert_eq!(tenant.removed_until, None);
    assert!(!tenant.is_removal_known(0, 100, 0), "its samples are in no block");
    let refused = catalogue.apply(commit(vec![block("late", 2, &[0], false)], 300));
    assert!(matches!(refused, Err(Refusal::Malformed { .. })), "{refused:?}");
}

#[test]
fn a_quarantined_block_leaves_the_catalogue_and_explains_no_missing_samples() {
    let mut catalogue = catalogue();
    catalogue.apply(quarantine("B")).unwrap();
    catalogue.apply(quarantine("B")).unwrap();
    let tenant = catalogue.tenant("t").unwrap();
    assert_eq!(tenant.removal("B").unwrap().reason, RemovalReason::Quarantine);
    assert_eq!((tenant.blocks.len(), tenant.removed_until), (2, None));
    assert!(!tenant.is_removal_known(100, 200, 0), "memory may have the only readable copy");
}

#[test]
fn commands_and_states_of_versions_without_records_are_read() {
    let command: CatalogueCommand = serde_json::from_str(r#"{"RemoveBlocks":{"tenant":"t","ids":["A"]}}"#).unwrap();
    let mut catalogue = catalogue();
    catalogue.apply(command).unwrap();
    let tenant = catalogue.tenant("t").unwrap();
    assert_eq!((tenant.blocks.len(), tenant.removed.len(), tenant.removed_until), (2, 0, Some(100)));
    let old: TenantCatalogue = serde_json::from_str(r#"{"blocks":[],"boundary":5,"deletions":[]}"#).unwrap();
    assert_eq!((old.flushed_until, old.removed_until, old.removed.len()), (Some(5), None, 0));
}
