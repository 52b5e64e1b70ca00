//! Rebuilding from buckets with intact, damaged, unfinished and unreadable blocks.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, PutPayload};
use pharos_block::objects::testing::FaultyStore;
use pharos_block::{BlockWriter, FinishedBlock, WriterOptions, upload};
use pharos_model::{Labels, SeriesView, TenantId};

use super::*;

fn options(tenant: &str, born: u64, window: i64) -> WriterOptions {
    WriterOptions::new(Ulid::from_parts(born, 7), TenantId::new(tenant).unwrap(), window, window + 100)
}

fn write_block(options: WriterOptions) -> FinishedBlock {
    let window = options.window_start;
    let mut writer = BlockWriter::new(options).unwrap();
    let samples = SeriesView { t: &[window, window + 50], v: &[1.0, 2.0], ..SeriesView::EMPTY };
    writer.push(&Labels::from_pairs([("__name__", "up")]), 1, None, samples).unwrap();
    writer.finish().unwrap()
}

async fn put_block(store: &InMemory, born: u64, window: i64) -> Ulid {
    let block = write_block(options("anonymous", born, window));
    upload(store, &block.meta.folder(), &block).await.unwrap();
    block.meta.id
}

#[tokio::test]
async fn a_bucket_that_cannot_be_read_leaves_the_catalogue_empty() {
    let store = Arc::new(InMemory::new());
    for window in 0..3 {
        put_block(&store, 1000 + window, window as i64 * 100).await;
    }
    let broken = FaultyStore::failing_after(store.clone(), 10);
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "A").await.unwrap();
    let error = rebuild(&broken, &meta, 5000).await.unwrap_err();
    assert!(
        error.to_string().contains("anonymous/blocks/") && error.to_string().contains("injected failure"),
        "{error}"
    );
    assert!(meta.view().catalogue.tenants.is_empty());
    assert_eq!(rebuild(&*store, &meta, 6000).await.unwrap(), 3);
}

async fn open_meta(folder: &tempfile::TempDir) -> Meta {
    Meta::open(folder.path(), "A").await.unwrap()
}

/// The rebuilt catalogue of a bucket.
async fn rebuilt(store: &InMemory) -> pharos_cluster::Catalogue {
    let folder = tempfile::tempdir().unwrap();
    let meta = open_meta(&folder).await;
    rebuild(store, &meta, 5000).await.unwrap();
    meta.view().catalogue.as_ref().clone()
}

#[tokio::test]
async fn the_first_block_of_a_window_becomes_its_main_block() {
    let store = InMemory::new();
    let late = put_block(&store, 2000, 0).await;
    let main = put_block(&store, 1000, 0).await;
    let catalogue = rebuilt(&store).await;
    let blocks = &catalogue.tenant("anonymous").unwrap().blocks;
    assert_eq!(blocks.iter().map(|block| block.id.clone()).collect::<Vec<_>>(), [main.to_string(), late.to_string()]);
    assert_eq!(blocks.iter().map(|block| block.delta).collect::<Vec<_>>(), [false, true]);
    assert!(blocks.iter().all(|block| block.samples == 2));
}

#[tokio::test]
async fn the_end_of_the_last_window_is_the_flushed_time() {
    let store = InMemory::new();
    put_block(&store, 1000, 0).await;
    put_block(&store, 2000, 300).await;
    let catalogue = rebuilt(&store).await;
    assert_eq!(catalogue.tenant("anonymous").unwrap().flushed_until, Some(400));
}

#[tokio::test]
async fn a_damaged_block_is_omitted_and_the_rebuild_recorded() {
    let store = InMemory::new();
    put_block(&store, 1000, 0).await;
    let damaged = put_block(&store, 3000, 100).await;
    let path = Path::from(format!("anonymous/blocks/{damaged}/data.parquet"));
    store.put(&path, PutPayload::from_static(b"PAR1 nothing of use")).await.unwrap();
    let catalogue = rebuilt(&store).await;
    assert_eq!(catalogue.tenant("anonymous").unwrap().blocks.len(), 1);
    assert_eq!(catalogue.rebuilt_ms, 5000, "its objects are not garbage");
}

#[tokio::test]
async fn objects_that_are_no_blocks_are_ignored() {
    let store = InMemory::new();
    for path in ["notes.txt", "anonymous/blocks/notes/data.parquet", "anonymous/rules/x/data.parquet"] {
        store.put(&Path::from(path), PutPayload::from_static(b"x")).await.unwrap();
    }
    let catalogue = rebuilt(&store).await;
    assert!(catalogue.tenants.is_empty());
    assert_eq!(catalogue.rebuilt_ms, 0);
}

#[tokio::test]
async fn blocks_of_tenants_with_any_name_are_rebuilt() {
    let names = ["a*b", "Team", "team", "pharos-owner.json", "catalogue.json", "con", "..."];
    let store = InMemory::new();
    for (at, name) in (0..).step_by(2).zip(names) {
        let new = options(name, 1000 + at, 0);
        let of_an_earlier_version = WriterOptions { escaped_folder: false, ..options(name, 1001 + at, 100) };
        for block in [new, of_an_earlier_version].map(write_block) {
            upload(&store, &block.meta.folder(), &block).await.unwrap();
        }
    }
    let catalogue = rebuilt(&store).await;
    for name in names {
        let blocks = &catalogue.tenant(name).unwrap_or_else(|| panic!("{name} is missing")).blocks;
        assert_eq!(blocks.len(), 2, "{name}");
        for block in blocks {
            let meta = BlockMeta::from_bytes(block.meta.as_bytes()).unwrap();
            BlockMeta::read_from_bucket(&store, &meta.folder()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_block_outside_of_its_tenants_folder_is_omitted() {
    let store = InMemory::new();
    let block = write_block(options("anonymous", 1000, 0));
    let elsewhere = Path::from(format!("copy/blocks/{}", block.meta.id));
    upload(&store, &elsewhere, &block).await.unwrap();
    let catalogue = rebuilt(&store).await;
    assert!(catalogue.tenants.is_empty());
    assert_eq!(catalogue.rebuilt_ms, 5000, "its objects are not garbage");
}

#[tokio::test]
async fn a_rebuild_keeps_deletions_and_numbers_above_those_of_the_lost_catalogue() {
    let store = InMemory::new();
    put_block(&store, 1000, 0).await;
    let folder = tempfile::tempdir().unwrap();
    let meta = open_meta(&folder).await;
    let deletion = CatalogueCommand::delete("1".into(), &TenantId::default(), &[], pharos_model::TimeRange::new(0, 10));
    meta.propose(deletion.clone()).await.unwrap();
    let kept = meta.view().catalogue.tenant("anonymous").unwrap().deletions.clone();
    rebuild(&store, &meta, 1_700_000_000_000).await.unwrap();
    let catalogue = meta.view().catalogue.clone();
    let tenant = catalogue.tenant("anonymous").unwrap();
    assert_eq!(tenant.deletions, kept);
    // A head that has carried out as many deletions as there can have been takes the next one for new.
    assert!(tenant.blocks[0].sequence > 1_700_000_000_000);
    rebuild(&store, &meta, 5).await.unwrap();
    assert!(meta.view().catalogue.sequence >= catalogue.sequence, "no number goes back, also with a clock that does");
}

#[tokio::test]
async fn an_empty_bucket_rebuilds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let meta = open_meta(&folder).await;
    assert_eq!(rebuild(&InMemory::new(), &meta, 5000).await.unwrap(), 0);
    assert_eq!(meta.view().catalogue.rebuilt_ms, 0);
}

#[tokio::test]
async fn a_repeated_rebuild_commits_nothing_twice() {
    let store = InMemory::new();
    put_block(&store, 1000, 0).await;
    let folder = tempfile::tempdir().unwrap();
    let meta = open_meta(&folder).await;
    rebuild(&store, &meta, 5000).await.unwrap();
    let before = meta.view().catalogue.tenants.clone();
    rebuild(&store, &meta, 6000).await.unwrap();
    assert_eq!(meta.view().catalogue.tenants, before);
}

/// A catalogue that lists a block of the bucket, exported; and the bucket.
async fn exported(folder: &tempfile::TempDir, store: &InMemory) -> (Meta, pharos_cluster::ClusterState) {
    put_block(store, 1000, 0).await;
    let meta = open_meta(folder).await;
    rebuild(store, &meta, 5000).await.unwrap();
    let export = pharos_cluster::ClusterState::clone(meta.view().state());
    (meta, export)
}

/// Restores an export and returns the state before.
async fn restore(meta: &Meta, export: &pharos_cluster::ClusterState) -> pharos_cluster::ClusterState {
    let before = pharos_cluster::ClusterState::clone(meta.view().state());
    let state = Box::new(export.clone());
    meta.propose(pharos_cluster::Command::Restore { state, at_ms: 9000 }).await.unwrap();
    before
}

fn listed(meta: &Meta) -> Vec<(String, bool)> {
    let view = meta.view();
    let tenant = view.catalogue.tenant("anonymous");
    tenant.iter().flat_map(|t| &t.blocks).map(|block| (block.id.clone(), block.delta)).collect()
}

#[tokio::test]
async fn blocks_that_were_shipped_after_a_restored_export_are_listed_again() {
    let (folder, store) = (tempfile::tempdir().unwrap(), InMemory::new());
    let (lost, export) = exported(&folder, &store).await;
    lost.shutdown().await;
    // A window of its own, and late samples of the exported one.
    let next = put_block(&store, 2000, 100).await;
    let late = put_block(&store, 3000, 0).await;
    // The disks of meta are lost; another cluster is founded.
    let founded = tempfile::tempdir().unwrap();
    let meta = open_meta(&founded).await;
    let before = restore(&meta, &export).await;
    let recovered = recover(&store, &meta, &export, &before).await.unwrap();
    assert_eq!(recovered, Recovered { committed: 2, missing: 0 });
    let first = Ulid::from_parts(1000, 7).to_string();
    assert_eq!(listed(&meta), [(first, false), (next.to_string(), false), (late.to_string(), true)]);
    assert!(meta.view().catalogue.rebuilt_ms > 0, "what was omitted is not garbage");
    assert_eq!(recover(&store, &meta, &export, &before).await.unwrap(), Recovered::default(), "it can be repeated");
}

#[tokio::test]
async fn a_listed_block_that_the_bucket_lost_does_not_fail_queries() {
    let (folder, store) = (tempfile::tempdir().unwrap(), InMemory::new());
    let (meta, export) = exported(&folder, &store).await;
    let before = restore(&meta, &export).await;
    let recovered = recover(&InMemory::new(), &meta, &export, &before).await.unwrap();
    assert_eq!(recovered, Recovered { committed: 0, missing: 1 });
    assert_eq!(listed(&meta), []);
    let view = meta.view();
    let tenant = view.catalogue.tenant("anonymous").unwrap();
    assert_eq!(tenant.removed[0].reason, RemovalReason::Missing);
    assert!(!tenant.is_removal_known(0, 100, 0), "nobody removed it on purpose");
}

#[tokio::test]
async fn a_recovery_brings_back_nothing_that_was_removed() {
    let (folder, founded, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), InMemory::new());
    let (lost, export) = exported(&folder, &store).await;
    lost.shutdown().await;
    let meta = open_meta(&founded).await;
    let removed = put_block(&store, 2000, 100).await;
    let ids = vec![removed.to_string()];
    let condemn = CatalogueCommand::CondemnBlocks { tenant: "anonymous".into(), ids, at_ms: 1 };
    meta.propose(condemn).await.unwrap();
    let before = restore(&meta, &export).await;
    assert_eq!(recover(&store, &meta, &export, &before).await.unwrap(), Recovered::default());
}

#[tokio::test]
async fn an_upload_that_was_never_committed_is_not_listed_by_the_cluster_that_knows() {
    let (folder, store) = (tempfile::tempdir().unwrap(), InMemory::new());
    let (meta, export) = exported(&folder, &store).await;
    put_block(&store, 2000, 100).await;
    let before = restore(&meta, &export).await;
    assert_eq!(recover(&store, &meta, &export, &before).await.unwrap(), Recovered::default());
    assert_eq!(listed(&meta).len(), 1);
}
