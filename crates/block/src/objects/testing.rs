//! A store in memory that fails or is slow on demand, for tests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Which requests fail. Requests are counted from 0.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The requests before this one.
    Before(u32),
    /// This request and all later ones.
    From(u32),
    /// No request is ever answered.
    Hang,
    /// No request fails, but each takes this long.
    Slow(Duration),
}

/// Wraps a store in memory and fails or delays some of the requests that read, write or copy objects. Listings and deletions always
/// succeed. Clones share the number of requests.
#[derive(Clone, Debug)]
pub struct FaultyStore {
    inner: Arc<InMemory>,
    requests: Arc<AtomicU32>,
    fault: Fault,
}

impl FaultyStore {
    /// A store that fails its first `requests` requests.
    pub fn failing_first(inner: Arc<InMemory>, requests: u32) -> Self {
        FaultyStore { inner, requests: Arc::default(), fault: Fault::Before(requests) }
    }

    /// A store that fails all requests after the first `requests`.
    pub fn failing_after(inner: Arc<InMemory>, requests: u32) -> Self {
        FaultyStore { inner, requests: Arc::default(), fault: Fault::From(requests) }
    }

    /// A store that never answers.
    pub fn hanging() -> Self {
        FaultyStore { inner: Arc::default(), requests: Arc::default(), fault: Fault::Hang }
    }

    /// A store whose requests take some time each.
    pub fn slow(inner: Arc<InMemory>, latency: Duration) -> Self {
        FaultyStore { inner, requests: Arc::default(), fault: Fault::Slow(latency) }
    }

    /// How many requests there have been, failed ones included.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::SeqCst)
    }

    async fn admit(&self) -> Result<()> {
        let request = self.requests.fetch_add(1, Ordering::SeqCst);
        let fails = match self.fault {
            Fault::Before(end) => request < end,
            Fault::From(start) => request >= start,
            Fault::Hang => std::future::pending().await,
            Fault::Slow(latency) => {
                tokio::time::sleep(latency).await;
                false
            }
        };
        if fails {
            return Err(Error::Generic { store: "faulty", source: "injected failure".into() });
        }
        Ok(())
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.admit().await?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.admit().await?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.admit().await?;
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
        self.admit().await?;
        self.inner.copy_opts(from, to, options).await
    }
}
