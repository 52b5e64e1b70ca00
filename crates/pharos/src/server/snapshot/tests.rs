//! Snapshots of tenants whose names are those of files.

use object_store::memory::InMemory;
use object_store::path::Path;
use pharos_block::{BlockWriter, WriterOptions, upload};
use pharos_model::{Labels, SeriesView, SystemClock, TenantId};
use tempfile::TempDir;
use ulid::Ulid;

use super::*;

/// Uploads a block with one sample and returns its folder.
async fn put_block(objects: &InMemory, tenant: &str, born: u64) -> Path {
    let (id, owner) = (Ulid::from_parts(born, 1), TenantId::new(tenant).unwrap());
    let mut writer = BlockWriter::new(WriterOptions::new(id, owner, 0, 100)).unwrap();
    let samples = SeriesView { t: &[50], v: &[1.0], ..SeriesView::EMPTY };
    writer.push(&Labels::from_pairs([("__name__", "up")]), 1, None, samples).unwrap();
    let block = writer.finish().unwrap();
    upload(objects, &block.meta.folder(), &block).await.unwrap();
    block.meta.folder()
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_with_the_names_of_files_are_in_snapshots() {
    let (folder, objects) = (TempDir::new().unwrap(), Arc::new(InMemory::new()));
    let meta = Arc::new(Meta::open(&folder.path().join("meta"), "A").await.unwrap());
    let mut blocks = Vec::new();
    for (born, tenant) in ["catalogue.json", "snapshots", "a*b", "Team", "team"].into_iter().enumerate() {
        blocks.push(put_block(&objects, tenant, born as u64).await);
    }
    pharos_store::rebuild::rebuild(&*objects, &meta, 0).await.unwrap();
    let snapshots = Snapshots {
        folder: folder.path().join("snapshots"),
        ingester: None,
        meta: meta.clone(),
        objects,
        clock: Arc::new(SystemClock::new()),
        runtime: Handle::current(),
    };
    let into = snapshots.folder.clone();
    let name = tokio::task::spawn_blocking(move || snapshots.take(true)).await.unwrap().unwrap();
    let taken = into.join(name);
    let catalogue = std::fs::read(taken.join("@_pharos/catalogue.json")).unwrap();
    let catalogue: pharos_cluster::Catalogue = serde_json::from_slice(&catalogue).unwrap();
    assert_eq!(catalogue, *meta.view().catalogue);
    // A snapshot is a bucket: blocks are where the catalogue's entries say.
    let bucket = object_store::local::LocalFileSystem::new_with_prefix(&taken).unwrap();
    for block in blocks {
        BlockMeta::read_from_bucket(&bucket, &block).await.unwrap();
    }
    meta.shutdown().await;
}
