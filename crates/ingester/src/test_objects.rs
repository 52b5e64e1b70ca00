//! An object store in memory that fails or hangs for the paths that a test chooses.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Fail,
    /// It is not answered until the faults change.
    Hang,
}

type Choice = Box<dyn Fn(&Path) -> Fault + Send>;

/// The store.
pub(crate) struct TestObjects {
    pub(crate) inner: InMemory,
    choice: Mutex<Choice>,
    changed: Notify,
    hanging: AtomicUsize,
}

impl Default for TestObjects {
    fn default() -> Self {
        TestObjects {
            inner: InMemory::new(),
            choice: Mutex::new(Box::new(|_| Fault::None)),
            changed: Notify::new(),
            hanging: AtomicUsize::new(0),
        }
    }
}

impl TestObjects {
    /// Chooses what happens to requests from now on, also to those that hang.
    pub(crate) fn set(&self, choice: impl Fn(&Path) -> Fault + Send + 'static) {
        *self.choice.lock() = Box::new(choice);
        self.changed.notify_waiters();
    }

    /// All requests for a tenant have this fault.
    pub(crate) fn set_for_tenant(&self, tenant: &str, fault: Fault) {
        let prefix = format!("{tenant}/");
        self.set(move |path| if path.as_ref().starts_with(&prefix) { fault } else { Fault::None });
    }

    /// All requests have this fault.
    pub(crate) fn set_all(&self, fault: Fault) {
        self.set(move |_| fault);
    }

    /// How many requests have hung so far.
    pub(crate) fn hanging(&self) -> usize {
        self.hanging.load(Ordering::SeqCst)
    }

    async fn admit(&self, path: &Path) -> Result<()> {
        loop {
            let changed = self.changed.notified();
            let fault = (*self.choice.lock())(path);
            match fault {
                Fault::None => return Ok(()),
                Fault::Fail => return Err(Error::Generic { store: "test", source: "injected failure".into() }),
                Fault::Hang => {
                    self.hanging.fetch_add(1, Ordering::SeqCst);
                    changed.await;
                }
            }
        }
    }
}

impl fmt::Debug for TestObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("test objects")
    }
}

impl fmt::Display for TestObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("test objects")
    }
}

#[async_trait]
impl ObjectStore for TestObjects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.admit(location).await?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.admit(location).await?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.admit(location).await?;
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
        self.admit(from).await?;
        self.inner.copy_opts(from, to, options).await
    }
}
