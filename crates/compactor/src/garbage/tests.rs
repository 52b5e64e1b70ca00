//! Which objects of a bucket are collected.

use object_store::memory::InMemory;
use pharos_cluster::CatalogueCommand;

use super::*;
use crate::test_blocks::block;

fn ulid(created: u64) -> Ulid {
    Ulid::from_parts(created, 1)
}

fn object(id: Ulid) -> Path {
    Path::from(format!("t/blocks/{id}/data.parquet"))
}

/// A catalogue of tenant t that lists these blocks.
fn listing(ids: &[Ulid]) -> Catalogue {
    let mut catalogue = Catalogue::default();
    let blocks = ids.iter().map(|id| block(&id.to_string(), 900, 1)).collect();
    catalogue.apply(CatalogueCommand::CommitBlocks { tenant: "t".into(), blocks, flushed_until: None }).unwrap();
    catalogue
}

#[test]
fn an_old_unlisted_block_is_garbage() {
    assert!(is_garbage(&object(ulid(10)), &Catalogue::default(), 100));
}

#[test]
fn a_listed_block_is_not_garbage() {
    assert!(!is_garbage(&object(ulid(10)), &listing(&[ulid(10)]), 100));
}

#[test]
fn a_young_block_may_still_be_committed() {
    assert!(!is_garbage(&object(ulid(100)), &Catalogue::default(), 100));
}

#[test]
fn a_block_of_another_tenant_is_garbage_even_with_a_listed_id() {
    let path = Path::from(format!("other/blocks/{}/data.parquet", ulid(10)));
    assert!(is_garbage(&path, &listing(&[ulid(10)]), 100));
}

#[test]
fn blocks_that_a_rebuild_omitted_are_not_garbage() {
    let rebuilt = Catalogue { rebuilt_ms: 50, ..Catalogue::default() };
    assert!(!is_garbage(&object(ulid(10)), &rebuilt, 100));
    assert!(is_garbage(&object(ulid(50)), &rebuilt, 100), "made after the rebuild");
}

#[test]
fn objects_outside_of_blocks_are_kept() {
    for path in ["t/other/file", "t/blocks/notes/x", "_pharos/state/1.json.zst"] {
        assert!(!is_garbage(&Path::from(path), &Catalogue::default(), i64::MAX), "{path}");
    }
    let deeper = Path::from(format!("t/blocks/{}/a/b", ulid(10)));
    assert!(!is_garbage(&deeper, &Catalogue::default(), 100));
    let elsewhere = Path::from(format!("t/rules/{}/x", ulid(10)));
    assert!(!is_garbage(&elsewhere, &Catalogue::default(), 100));
}

#[tokio::test]
async fn only_garbage_is_deleted() {
    let store = InMemory::new();
    let kept = [object(ulid(20)), object(ulid(500)), Path::from("t/other/file")];
    for path in kept.iter().chain([&object(ulid(10)), &object(ulid(11))]) {
        store.put(path, "x".into()).await.unwrap();
    }
    assert_eq!(collect(&store, &listing(&[ulid(20)]), 100).await.unwrap(), 2);
    let mut left: Vec<Path> = store.list(None).map_ok(|object| object.location).try_collect().await.unwrap();
    left.sort();
    let mut expected = kept.to_vec();
    expected.sort();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn an_empty_bucket_has_no_garbage() {
    assert_eq!(collect(&InMemory::new(), &Catalogue::default(), i64::MAX).await.unwrap(), 0);
}
