//! Retries requests after transient failures, at growing intervals, and cancels requests that hang.
//!
//! Only idempotent operations are retried. Listings and deletions are streams, which their callers restart.

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

/// How often a request is tried, and at which intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The maximum number of attempts, at least one.
    pub attempts: u32,
    /// The timeout of an attempt.
    pub timeout: Duration,
    /// The interval before the second attempt. It doubles with every further one.
    pub min_interval: Duration,
    /// The longest interval between two attempts.
    pub max_interval: Duration,
}

impl Default for RetryPolicy {
    /// Four attempts of 60 s each, at intervals of 100 ms to 5 s.
    fn default() -> Self {
        RetryPolicy {
            attempts: 4,
            timeout: Duration::from_secs(60),
            min_interval: Duration::from_millis(100),
            max_interval: Duration::from_secs(5),
        }
    }
}

/// Retries the requests to the store that it wraps.
#[derive(Debug)]
pub struct Retrying<S> {
    inner: S,
    policy: RetryPolicy,
}

impl<S> Retrying<S> {
    /// Wraps a store.
    pub fn new(inner: S, policy: RetryPolicy) -> Self {
        Retrying { inner, policy }
    }

    async fn run<T, F: Future<Output = Result<T>>>(
        &self,
        what: &str,
        path: &Path,
        request: impl Fn() -> F,
    ) -> Result<T> {
        let mut interval = self.policy.min_interval;
        let mut attempt = 1;
        loop {
            let error = match tokio::time::timeout(self.policy.timeout, request()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) if !is_transient(&error) => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => Error::Generic {
                    store: "timeout",
                    source: format!("{what} of {path} took longer than {:?}", self.policy.timeout).into(),
                },
            };
            if attempt >= self.policy.attempts {
                return Err(error);
            }
            tracing::warn!(operation = what, %path, attempt, retry_in = ?interval, %error, "object store request failed; retrying");
            tokio::time::sleep(interval).await;
            interval = (interval * 2).min(self.policy.max_interval);
            attempt += 1;
        }
    }
}

/// Whether another attempt may succeed, unlike after an error that states a fact.
fn is_transient(error: &Error) -> bool {
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
            // If the failure hides a success, another attempt would report a conflict with the first.
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
