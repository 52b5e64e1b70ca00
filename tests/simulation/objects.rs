//! The bucket: in memory, with requests that fail, hang, take long, or take effect and lose their answer, and with lists that
//! do not show new objects at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use crate::bugs::Bug;
use crate::env::{Env, Ms};
use crate::network::Process;

/// How long a request hangs at most before its client gives up.
const REQUEST_TIMEOUT_MS: Ms = 40_000;

/// Rates of faults, per thousand requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ObjectFaults {
    pub(crate) fails: u64,
    pub(crate) hangs: u64,
    /// Takes effect, but reports a failure.
    pub(crate) loses_answers: u64,
    pub(crate) delays: u64,
    pub(crate) longest: Ms,
    /// How long new objects are not listed.
    pub(crate) list_lag: Ms,
}

/// The bucket. Clones share it.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) env: Env,
    pub(crate) inner: Arc<InMemory>,
    faults: Arc<Mutex<ObjectFaults>>,
    written: Arc<Mutex<BTreeMap<Path, Ms>>>,
    bug: Option<Bug>,
}

impl Bucket {
    pub(crate) fn new(env: Env, bug: Option<Bug>) -> Self {
        Bucket { env, inner: Arc::default(), faults: Arc::default(), written: Arc::default(), bug }
    }

    pub(crate) fn set_faults(&self, faults: ObjectFaults) {
        *self.faults.lock() = faults;
    }

    /// The bucket as a process uses it.
    pub(crate) fn of(&self, process: &Process) -> Arc<dyn ObjectStore> {
        Arc::new(ProcessObjects { bucket: self.clone(), process: process.clone() })
    }
}

struct ProcessObjects {
    bucket: Bucket,
    process: Process,
}

impl fmt::Debug for ProcessObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bucket of {}", self.process.name)
    }
}

impl fmt::Display for ProcessObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

fn failure(what: &str) -> Error {
    Error::Generic { store: "simulated", source: what.into() }
}

impl ProcessObjects {
    /// Goes through the faults before a request takes effect. Returns whether its answer is lost.
    async fn begin(&self) -> Result<bool> {
        let (env, faults) = (&self.bucket.env, *self.bucket.faults.lock());
        self.is_alive()?;
        if env.chance(faults.delays) {
            env.sleep(env.between(1, faults.longest.max(1))).await;
        }
        if env.chance(faults.hangs) {
            env.sleep(REQUEST_TIMEOUT_MS).await;
            return Err(failure("the request timed out"));
        }
        self.is_alive()?;
        match env.chance(faults.fails) {
            true => Err(failure("503 slow down")),
            false => Ok(env.chance(faults.loses_answers)),
        }
    }

    /// A process that has ended does nothing.
    fn is_alive(&self) -> Result<()> {
        if self.process.has_ended() { Err(failure("the process has ended")) } else { Ok(()) }
    }
}

fn answer<T>(is_lost: bool, result: Result<T>) -> Result<T> {
    if is_lost { Err(failure("the answer was lost")) } else { result }
}

#[async_trait]
impl ObjectStore for ProcessObjects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let is_lost = self.begin().await?;
        if self.bucket.bug == Some(Bug::UploadsVanish) && self.bucket.env.chance(100) {
            return Ok(PutResult { e_tag: None, version: None, extensions: Default::default() });
        }
        let result = self.bucket.inner.put_opts(location, payload, options).await;
        self.bucket.written.lock().entry(location.clone()).or_insert(self.bucket.env.now());
        answer(is_lost, result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let is_lost = self.begin().await?;
        answer(is_lost, self.bucket.inner.put_multipart_opts(location, options).await)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_lost = self.begin().await?;
        answer(is_lost, self.bucket.inner.get_opts(location, options).await)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let own = ProcessObjects { bucket: self.bucket.clone(), process: self.process.clone() };
        let deleting = futures::stream::unfold((own, locations), |(own, mut locations)| async move {
            let location = locations.next().await?;
            let deleted = async {
                let location = location?;
                let is_lost = own.begin().await?;
                let one = futures::stream::once(std::future::ready(Ok(location.clone()))).boxed();
                own.bucket.inner.delete_stream(one).try_collect::<Vec<_>>().await?;
                own.bucket.written.lock().remove(&location);
                answer(is_lost, Ok(location))
            };
            let deleted = deleted.await;
            Some((deleted, (own, locations)))
        });
        deleting.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let own = ProcessObjects { bucket: self.bucket.clone(), process: self.process.clone() };
        let prefix = prefix.cloned();
        let listing = async move {
            let is_lost = own.begin().await?;
            let (now, lag) = (own.bucket.env.now(), own.bucket.faults.lock().list_lag);
            let mut found: Vec<ObjectMeta> = own.bucket.inner.list(prefix.as_ref()).try_collect().await?;
            let written = own.bucket.written.lock();
            let is_visible = |at: &ObjectMeta| written.get(&at.location).is_none_or(|written| written + lag <= now);
            found.retain(is_visible);
            found.sort_by(|a, b| a.location.cmp(&b.location));
            answer(is_lost, Ok(found))
        };
        let listed = futures::stream::once(listing).map(|listed: Result<Vec<ObjectMeta>>| match listed {
            Ok(found) => futures::stream::iter(found.into_iter().map(Ok)).boxed(),
            Err(error) => futures::stream::once(std::future::ready(Err(error))).boxed(),
        });
        listed.flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let is_lost = self.begin().await?;
        answer(is_lost, self.bucket.inner.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let is_lost = self.begin().await?;
        answer(is_lost, self.bucket.inner.copy_opts(from, to, options).await)
    }
}
