//! Counts the requests, bytes and errors of an object store by operation.

use std::fmt;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use prometheus::{IntCounterVec, Opts, Registry};

/// The counters of [`Counting`], by operation.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    requests: IntCounterVec,
    errors: IntCounterVec,
    bytes: IntCounterVec,
}

impl StoreMetrics {
    /// Creates the counters and registers them.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &["operation"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(StoreMetrics {
            requests: counter("pharos_object_store_requests_total", "Requests to the object store.")?,
            errors: counter(
                "pharos_object_store_errors_total",
                "Failed requests to the object store. A request for an object that does not exist is not a failure.",
            )?,
            bytes: counter("pharos_object_store_bytes_total", "Bytes read from and written to the object store.")?,
        })
    }

    /// How many requests there were of an operation: `get`, `put`, `head`, `delete`, `list`, `copy` or `put_part`.
    pub fn requests(&self, operation: &str) -> u64 {
        self.requests.with_label_values(&[operation]).get()
    }

    /// How many bytes an operation has transferred.
    pub fn bytes(&self, operation: &str) -> u64 {
        self.bytes.with_label_values(&[operation]).get()
    }

    /// How many requests of an operation have failed.
    pub fn errors(&self, operation: &str) -> u64 {
        self.errors.with_label_values(&[operation]).get()
    }

    fn count<T>(&self, operation: &str, bytes: u64, outcome: Result<T>) -> Result<T> {
        self.requests.with_label_values(&[operation]).inc();
        match &outcome {
            Ok(_) => self.bytes.with_label_values(&[operation]).inc_by(bytes),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(_) => self.errors.with_label_values(&[operation]).inc(),
        }
        outcome
    }
}

/// Counts the requests to the store that it wraps.
#[derive(Debug)]
pub struct Counting<S> {
    inner: S,
    metrics: StoreMetrics,
}

impl<S> Counting<S> {
    /// Wraps a store.
    pub fn new(inner: S, metrics: StoreMetrics) -> Self {
        Counting { inner, metrics }
    }
}

impl<S: fmt::Display> fmt::Display for Counting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Counting<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let bytes = payload.content_length() as u64;
        self.metrics.count("put", bytes, self.inner.put_opts(location, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.metrics.count("put", 0, self.inner.put_multipart_opts(location, options).await)?;
        Ok(Box::new(CountingUpload { inner: upload, metrics: self.metrics.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { "head" } else { "get" };
        let result = self.inner.get_opts(location, options).await;
        let bytes = match &result {
            Ok(result) if operation == "get" => result.range.end - result.range.start,
            _ => 0,
        };
        self.metrics.count(operation, bytes, result)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let metrics = self.metrics.clone();
        self.inner.delete_stream(locations).map(move |outcome| metrics.count("delete", 0, outcome)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.metrics.requests.with_label_values(&["list"]).inc();
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.metrics.count("list", 0, self.inner.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.metrics.count("copy", 0, self.inner.copy_opts(from, to, options).await)
    }
}

#[derive(Debug)]
struct CountingUpload {
    inner: Box<dyn MultipartUpload>,
    metrics: StoreMetrics,
}

#[async_trait]
impl MultipartUpload for CountingUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let bytes = data.content_length() as u64;
        let metrics = self.metrics.clone();
        let part = self.inner.put_part(data);
        Box::pin(async move { metrics.count("put_part", bytes, part.await) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.metrics.count("put", 0, self.inner.complete().await)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
