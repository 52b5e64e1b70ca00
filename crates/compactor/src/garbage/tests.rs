//! Which objects of a bucket are deleted, and when.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{PutPayload, Result};
use tempfile::TempDir;

use super::*;
use crate::test_blocks::block;

const DAY: i64 = 86_400_000;

fn ulid(created: u64) -> String {
    Ulid::from_parts(created, 1).to_string()
}

/// A single node and its bucket.
struct Fixture {
    _folder: TempDir,
    meta: Meta,
    store: Arc<InMemory>,
}

impl Fixture {
    async fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let meta = Meta::open(folder.path(), "node").await.unwrap();
        Fixture { _folder: folder, meta, store: Arc::default() }
    }

    /// Uploads a block of tenant t.
    async fn upload(&self, id: &str) {
        for file in ["data.parquet", "series.parquet"] {
            self.put(&format!("t/blocks/{id}/{file}")).await;
        }
    }

    async fn put(&self, path: &str) {
        self.store.put(&Path::from(path), PutPayload::from_static(b"x")).await.unwrap();
    }

    async fn propose(&self, command: CatalogueCommand) -> Result<(), MetaError> {
        self.meta.propose(command).await.map(drop)
    }

    async fn commit(&self, id: &str) -> Result<(), MetaError> {
        let blocks = vec![block(id, 900, 1)];
        self.propose(CatalogueCommand::CommitBlocks { tenant: "t".into(), blocks, flushed_until: None }).await
    }

    async fn remove(&self, id: &str, reason: RemovalReason) {
        let ids = vec![id.to_string()];
        self.propose(CatalogueCommand::RemoveBlocks { tenant: "t".into(), ids, at_ms: 0, reason }).await.unwrap();
    }

    async fn objects(&self) -> usize {
        self.store.list(None).try_collect::<Vec<_>>().await.unwrap().len()
    }

    fn removed(&self) -> usize {
        self.meta.view().catalogue.tenant("t").unwrap().removed.len()
    }

    fn now(&self) -> i64 {
        self.meta.clock().now_ms()
    }
}

#[tokio::test]
async fn a_removed_block_is_deleted_once_its_removal_is_old_enough() {
    let fixture = Fixture::new().await;
    let (old, kept) = (ulid(1), ulid(2));
    for id in [&old, &kept] {
        fixture.upload(id).await;
        fixture.commit(id).await.unwrap();
    }
    let before = fixture.now();
    fixture.remove(&old, RemovalReason::Retention).await;
    assert_eq!(delete_removed(&*fixture.store, &fixture.meta, before).await.unwrap(), 0, "a query may still read it");
    assert_eq!((fixture.objects().await, fixture.removed()), (4, 1));
    assert_eq!(delete_removed(&*fixture.store, &fixture.meta, fixture.now() + 1).await.unwrap(), 2);
    assert_eq!((fixture.objects().await, fixture.removed()), (2, 0));
    assert_eq!(
        fixture.meta.view().catalogue.tenant("t").unwrap().removed_until,
        None,
        "a delta block says nothing of others"
    );
}

#[tokio::test]
async fn a_quarantined_block_is_never_deleted() {
    let fixture = Fixture::new().await;
    fixture.upload(&ulid(1)).await;
    fixture.commit(&ulid(1)).await.unwrap();
    fixture.remove(&ulid(1), RemovalReason::Quarantine).await;
    assert_eq!(delete_removed(&*fixture.store, &fixture.meta, i64::MAX).await.unwrap(), 0);
    assert_eq!(condemn(&*fixture.store, &fixture.meta, 0).await.unwrap(), Audited::default());
    assert_eq!((fixture.objects().await, fixture.removed()), (2, 1));
}

#[tokio::test]
async fn a_late_commit_of_a_condemned_upload_is_refused() {
    let fixture = Fixture::new().await;
    fixture.upload(&ulid(1)).await;
    fixture.upload(&ulid(2)).await;
    fixture.commit(&ulid(2)).await.unwrap();
    fixture.put("t/newer").await;
    // As if a day had passed.
    assert_eq!(condemn(&*fixture.store, &fixture.meta, -1).await.unwrap().condemned, 1);
    assert_eq!(fixture.objects().await, 5, "it is recorded first");
    let late = fixture.commit(&ulid(1)).await.unwrap_err().to_string();
    assert!(late.contains("its objects may be gone"), "{late}");
    assert_eq!(delete_removed(&*fixture.store, &fixture.meta, i64::MAX).await.unwrap(), 2);
    assert_eq!(fixture.objects().await, 3);
}

fn object(path: &str, modified_ms: i64) -> ObjectMeta {
    let epoch = std::time::SystemTime::UNIX_EPOCH;
    let at = epoch + std::time::Duration::from_millis(modified_ms as u64);
    ObjectMeta { location: Path::parse(path).unwrap(), last_modified: at.into(), size: 1, e_tag: None, version: None }
}

fn audit(catalogue: &Catalogue, objects: &[(&str, i64)]) -> Audit {
    let mut audit = Audit::of(catalogue);
    objects.iter().for_each(|(path, modified_ms)| audit.note(&object(path, *modified_ms)));
    audit
}

/// The ids that an audit of these objects condemns.
fn audited(catalogue: &Catalogue, objects: &[(&str, i64)]) -> Vec<String> {
    audit(catalogue, objects).uncommitted(DAY).into_values().flatten().collect()
}

/// A catalogue in which a tenant has a block.
fn listing_of(tenant: &str, id: &str) -> Catalogue {
    let mut catalogue = Catalogue::default();
    let blocks = vec![block(id, 900, 1)];
    catalogue.apply(CatalogueCommand::CommitBlocks { tenant: tenant.into(), blocks, flushed_until: None }).unwrap();
    catalogue
}

/// A catalogue of tenant t that lists a block.
fn listing(id: &str) -> Catalogue {
    listing_of("t", id)
}

#[test]
fn the_age_of_an_upload_is_measured_by_the_clock_of_the_object_store() {
    let catalogue = listing(&ulid(1));
    // Its name says that it was made at the epoch, by an ingester whose clock was wrong.
    let path = format!("t/blocks/{}/data.parquet", ulid(0));
    let day_40 = 40 * DAY;
    assert_eq!(audited(&catalogue, &[(&path, day_40), ("t/other", day_40 + DAY)]), Vec::<String>::new());
    assert_eq!(audited(&catalogue, &[(&path, day_40), ("t/other", day_40 + DAY + 1)]), [ulid(0)]);
}

#[test]
fn an_upload_in_progress_is_as_young_as_its_newest_object() {
    let folder = format!("t/blocks/{}", ulid(7));
    let (first, last) = (format!("{folder}/data.parquet"), format!("{folder}/ts.parquet"));
    let objects = [(first.as_str(), DAY), (last.as_str(), 3 * DAY), ("t/other", 3 * DAY + 1)];
    assert_eq!(audited(&listing(&ulid(1)), &objects), Vec::<String>::new());
}

#[test]
fn listed_blocks_and_other_objects_are_not_condemned() {
    let listed = format!("t/blocks/{}/data.parquet", ulid(1));
    let deeper = format!("t/blocks/{}/a/b", ulid(7));
    let elsewhere = format!("t/rules/{}/x", ulid(7));
    let paths = [&listed, &deeper, &elsewhere, "t/blocks/notes/x", "_pharos/state/1.json.zst"];
    let mut objects: Vec<(&str, i64)> = paths.iter().map(|path| (*path as &str, 1)).collect();
    objects.push(("t/new", 9 * DAY));
    assert_eq!(audited(&listing(&ulid(1)), &objects), Vec::<String>::new());
}

#[test]
fn blocks_of_tenants_with_any_name_are_known_in_either_folder() {
    for name in ["a*b", "Team", "pharos-owner.json", "con", "...", &"X".repeat(150)] {
        let tenant = TenantId::new(name).unwrap();
        for folder in [tenant.folder(), tenant.legacy_folder()] {
            let path = |id: u64| format!("{folder}/blocks/{}/data.parquet", ulid(id));
            let (listed, orphan) = (path(1), path(7));
            let audit = audit(&listing_of(name, &ulid(1)), &[(&listed, 1), (&orphan, 1), ("t/new", 9 * DAY)]);
            assert_eq!(audit.uncommitted(DAY), BTreeMap::from([(name.to_string(), vec![ulid(7)])]), "{folder}");
            assert_eq!(audit.unknown_folders(DAY), BTreeMap::new());
        }
    }
}

#[test]
fn a_listed_block_is_known_in_a_folder_that_a_disk_without_case_merged() {
    // Such a disk lists the blocks of `team` below `Team` if that folder was there first.
    let path = format!("Team/blocks/{}/data.parquet", ulid(1));
    let audit = audit(&listing_of("team", &ulid(1)), &[(&path, 1), ("t/new", 9 * DAY)]);
    assert_eq!((audit.uncommitted(DAY).len(), audit.unknown_folders(DAY).len()), (0, 0));
}

#[test]
fn the_folder_of_an_unknown_tenant_is_kept_and_reported() {
    for folder in ["other", "a%2Ab", "@5", "@_pharos", "Lost and found"] {
        let (old, young) = (format!("{folder}/blocks/{}/x", ulid(7)), format!("{folder}/blocks/{}/x", ulid(8)));
        let audit = audit(&listing(&ulid(1)), &[(&old, 1), (&young, 9 * DAY), ("t/new", 9 * DAY)]);
        assert_eq!(audit.uncommitted(DAY), BTreeMap::new());
        assert_eq!(audit.unknown_folders(DAY), BTreeMap::from([(folder.to_string(), 1)]));
    }
}

#[tokio::test]
async fn a_removed_block_is_deleted_from_either_folder() {
    let fixture = Fixture::new().await;
    let id = ulid(1);
    let command =
        CatalogueCommand::CommitBlocks { tenant: "a*B".into(), blocks: vec![block(&id, 900, 1)], flushed_until: None };
    fixture.propose(command).await.unwrap();
    for folder in ["a@5@b", "a%2AB", "@a@b"] {
        let path = Path::parse(format!("{folder}/blocks/{id}/data.parquet")).unwrap();
        fixture.store.put(&path, PutPayload::from_static(b"x")).await.unwrap();
    }
    let (tenant, reason) = ("a*B".to_string(), RemovalReason::Retention);
    let command = CatalogueCommand::RemoveBlocks { tenant, ids: vec![id], at_ms: 0, reason };
    fixture.propose(command).await.unwrap();
    assert_eq!(delete_removed(&*fixture.store, &fixture.meta, i64::MAX).await.unwrap(), 2);
    assert_eq!(fixture.objects().await, 1, "another tenant's folder is not touched");
}

#[test]
fn what_a_rebuild_or_restore_may_have_omitted_is_kept() {
    let catalogue = Catalogue { rebuilt_ms: 10 * DAY, ..listing(&ulid(1)) };
    let path = format!("t/blocks/{}/data.parquet", ulid(7));
    let at = |modified_ms| audited(&catalogue, &[(&path, modified_ms), ("t/new", 90 * DAY)]).len();
    assert_eq!((at(DAY), at(10 * DAY), at(11 * DAY - 1), at(11 * DAY)), (0, 0, 0, 1));
}

#[tokio::test]
async fn an_empty_bucket_has_no_garbage() {
    let fixture = Fixture::new().await;
    assert_eq!(condemn(&*fixture.store, &fixture.meta, 0).await.unwrap(), Audited::default());
    assert_eq!(delete_removed(&*fixture.store, &fixture.meta, i64::MAX).await.unwrap(), 0);
}
