use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use pharos_block::{BlockWriter, WriterOptions, upload};
use pharos_model::{Labels, SeriesView, TenantId};

use super::*;

/// Lists everything, and fails to read from some time on.
#[derive(Debug)]
struct Broken {
    inner: Arc<InMemory>,
    reads: AtomicUsize,
    good: usize,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

#[async_trait]
impl ObjectStore for Broken {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, to: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.reads.fetch_add(1, Ordering::SeqCst) >= self.good {
            return Err(Error::Generic { store: "broken", source: "the cable is cut".into() });
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

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
    let broken = Broken { inner: store.clone(), reads: AtomicUsize::new(0), good: 10 };
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "A").await.unwrap();
    let error = rebuild(&broken, &meta, 5000).await.unwrap_err();
    assert!(error.to_string().contains("anonymous/blocks/") && error.to_string().contains("cable"), "{error}");
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
