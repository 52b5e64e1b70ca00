//! Retries requests that failed for reasons that may pass, with growing pauses, and ends those that hang.
//!
//! All operations that are retried are idempotent. Listings and deletions are streams, which their callers start anew.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// How often and how long to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, at least one.
    pub attempts: u32,
    /// Most time that a try may take.
    pub timeout: Duration,
    /// Pause before the second try; it doubles with each further one.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    /// 4 tries of 60 s, with pauses from 100 ms to 5 s.
    fn default() -> Self {
        RetryPolicy {
            attempts: 4,
            timeout: Duration::from_secs(60),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// A store whose requests are retried.
#[derive(Debug)]
pub struct Retrying<S> {
    inner: S,
    policy: RetryPolicy,
}

impl<S> Retrying<S> {
    /// Retries the requests to `inner`.
    pub fn new(inner: S, policy: RetryPolicy) -> Self {
        Retrying { inner, policy }
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    async fn run<T, F: Future<Output = Result<T>>>(
        &self,
        what: &str,
        path: &Path,
        request: impl Fn() -> F,
    ) -> Result<T> {
        let mut pause = self.policy.first_pause;
        let mut attempt = 1;
        loop {
            let error = match tokio::time::timeout(self.policy.timeout, request()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) if !may_pass(&error) => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => Error::Generic {
                    store: "timeout",
                    source: format!("{what} of {path} took longer than {:?}", self.policy.timeout).into(),
                },
            };
            if attempt >= self.policy.attempts {
                return Err(error);
            }
            tracing::warn!(operation = what, %path, attempt, %error, "object store request failed, trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.policy.longest_pause);
            attempt += 1;
        }
    }
}

/// Whether trying again may help: all but errors that state a fact.
fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Generic { .. } | Error::JoinError { .. })
}

impl<S: fmt::Display> fmt::Display for Retrying<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Retrying<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode != PutMode::Overwrite {
            // After a failure that hides a success, trying again would report a conflict with itself.
            return self.inner.put_opts(location, payload, options).await;
        }
        self.run("put", location, || self.inner.put_opts(location, payload.clone(), options.clone())).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.run("put_multipart", location, || self.inner.put_multipart_opts(location, options.clone())).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.run("get", location, || self.inner.get_opts(location, options.clone())).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = Path::default();
        self.run("list", prefix.unwrap_or(&root), || self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if options.mode != CopyMode::Overwrite {
            return self.inner.copy_opts(from, to, options).await;
        }
        self.run("copy", from, || self.inner.copy_opts(from, to, options.clone())).await
    }
}
