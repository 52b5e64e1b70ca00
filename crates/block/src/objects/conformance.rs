//! What the crate expects of any object store, run over those that it can build or decorate.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use prometheus::Registry;

use super::*;
use crate::tests::run;

/// The suite.
async fn conforms(store: &dyn ObjectStore) {
    let path = Path::from("tenant/blocks/x/data.parquet");
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.get_range(&path, 0..1).await, Err(Error::NotFound { .. })));
    store.put(&path, "hello world".into()).await.unwrap();
    assert_eq!(store.head(&path).await.unwrap().size, 11);
    assert_eq!(store.get_range(&path, 6..11).await.unwrap(), "world");
    assert_eq!(store.get_ranges(&path, &[0..1, 10..11]).await.unwrap(), ["h", "d"]);
    store.put(&path, "again".into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "again");
    let mut upload = store.put_multipart(&Path::from("tenant/big")).await.unwrap();
    upload.put_part(vec![1u8; 6 << 20].into()).await.unwrap();
    upload.put_part(vec![2u8; 10].into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(store.head(&Path::from("tenant/big")).await.unwrap().size, (6 << 20) + 10);
    let mut aborted = store.put_multipart(&Path::from("tenant/half")).await.unwrap();
    aborted.put_part(vec![1u8; 10].into()).await.unwrap();
    aborted.abort().await.unwrap();
    let mut listed: Vec<String> =
        store.list(None).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
    listed.sort();
    assert_eq!(listed, ["tenant/big", "tenant/blocks/x/data.parquet"]);
    let below = store.list_with_delimiter(Some(&Path::from("tenant"))).await.unwrap();
    assert_eq!((below.objects.len(), below.common_prefixes), (1, vec![Path::from("tenant/blocks")]));
    store.copy(&path, &Path::from("copy")).await.unwrap();
    store.delete(&path).await.unwrap();
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    assert_eq!(store.get(&Path::from("copy")).await.unwrap().bytes().await.unwrap(), "again");
}

fn metrics() -> StoreMetrics {
    StoreMetrics::new(&Registry::new()).unwrap()
}

#[test]
fn memory_and_folders_conform_decorated_or_not() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        conforms(&InMemory::new()).await;
        conforms(&Retrying::new(InMemory::new(), RetryPolicy::default())).await;
        conforms(&Counting::new(InMemory::new(), metrics())).await;
        conforms(ObjectStoreConfig::filesystem(folder.path()).build(metrics()).unwrap().as_ref()).await;
    });
}

#[test]
fn requests_bytes_and_errors_are_counted() {
    run(async {
        let metrics = metrics();
        let store = Counting::new(Flaky::new(1), metrics.clone());
        let path = Path::from("a");
        assert!(store.put(&path, "12345".into()).await.is_err());
        store.put(&path, "12345".into()).await.unwrap();
        store.get_range(&path, 1..3).await.unwrap();
        assert!(store.get(&Path::from("b")).await.is_err());
        assert_eq!((metrics.requests("put"), metrics.bytes("put")), (2, 5));
        assert_eq!((metrics.requests("get"), metrics.bytes("get")), (2, 2));
        assert_eq!((metrics.errors("put"), metrics.errors("get")), (1, 0));
    });
}

#[test]
fn failures_that_pass_are_retried_and_facts_are_not() {
    let policy = RetryPolicy {
        attempts: 3,
        timeout: Duration::from_millis(50),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
    };
    run(async {
        let store = Retrying::new(Flaky::new(2), policy);
        store.put(&Path::from("a"), "x".into()).await.unwrap();
        assert_eq!(store.inner().calls.load(Ordering::SeqCst), 3);
        assert!(matches!(store.head(&Path::from("b")).await, Err(Error::NotFound { .. })));
        assert_eq!(store.inner().calls.load(Ordering::SeqCst), 4);
        let broken = Retrying::new(Flaky::new(99), policy);
        assert!(broken.put(&Path::from("a"), "x".into()).await.is_err());
        assert_eq!(broken.inner().calls.load(Ordering::SeqCst), 3);
        let hanging = Retrying::new(Flaky { hang: true, ..Flaky::new(0) }, policy);
        let error = hanging.put(&Path::from("a"), "x".into()).await.unwrap_err();
        assert!(error.to_string().contains("took longer than 50ms"), "{error}");
    });
}

/// Fails the first requests, or never answers.
#[derive(Debug)]
struct Flaky {
    inner: Arc<InMemory>,
    failures: u32,
    calls: AtomicU32,
    hang: bool,
}

impl Flaky {
    fn new(failures: u32) -> Self {
        Flaky { inner: Arc::new(InMemory::new()), failures, calls: AtomicU32::new(0), hang: false }
    }

    async fn call(&self) -> Result<()> {
        if self.hang {
            std::future::pending::<()>().await;
        }
        if self.calls.fetch_add(1, Ordering::SeqCst) < self.failures {
            return Err(Error::Generic { store: "flaky", source: "try again".into() });
        }
        Ok(())
    }
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flaky")
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.call().await?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.call().await?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.call().await?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.call().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.call().await?;
        self.inner.copy_opts(from, to, options).await
    }
}
