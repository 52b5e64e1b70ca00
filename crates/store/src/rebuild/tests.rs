use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, PutPayload};
use pharos_block::objects::testing::FaultyStore;
use pharos_block::{BlockWriter, WriterOptions, upload};
use pharos_model::{Labels, SeriesView, TenantId};

use super::*;

async fn put_block(store: &InMemory, born: u64, window: i64) -> Ulid {
    let id = Ulid::from_parts(born, 7);
    let mut writer = BlockWriter::new(WriterOptions::new(id, TenantId::default(), window, window + 100)).unwrap();
    let samples = SeriesView { t: &[window, window + 50], v: &[1.0, 2.0], ..SeriesView::EMPTY };
    writer.push(&Labels::from_pairs([("__name__", "up")]), 1, None, samples).unwrap();
    let block = writer.finish().unwrap();
    upload(store, &block.meta.folder(), &block).await.unwrap();
    id
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

#[tokio::test]
async fn sound_blocks_come_back_and_damaged_ones_are_left_out() {
    let store = Arc::new(InMemory::new());
    let main = put_block(&store, 1000, 0).await;
    let late = put_block(&store, 2000, 0).await;
    let damaged = put_block(&store, 3000, 100).await;
    let path = Path::from(format!("anonymous/blocks/{damaged}/data.parquet"));
    store.put(&path, PutPayload::from_static(b"PAR1 nothing of use")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "A").await.unwrap();
    assert_eq!(rebuild(&*store, &meta, 5000).await.unwrap(), 2);
    let catalogue = meta.view().catalogue.clone();
    let tenant = catalogue.tenant("anonymous").unwrap();
    let blocks: Vec<_> = tenant.blocks.iter().map(|b| (b.id.clone(), b.delta, b.samples)).collect();
    assert_eq!(blocks, [(main.to_string(), false, 2), (late.to_string(), true, 2)]);
    assert_eq!((tenant.flushed_until, catalogue.rebuilt_ms), (Some(100), 5000));
}
