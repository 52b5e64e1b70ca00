//! A selection on another node. The label sets are local; the samples stay on the node until they are fetched.
//!
//! Samples of the first series may arrive with the label sets. If they are all there are, the stream ends; otherwise it stays
//! open for the lifetime of the set, and a task receives the parts of all fetches and passes each to its fetch. Prefetched
//! samples travel while the query computes. Parts that wait are charged to the query's budget.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use pharos_model::{Budget, Labels, SelectError, SeriesBatch, SeriesSet, TimeRange};
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::batch::read_batch;
use super::client::{RemoteSource, within};
use super::convert::write_range;
use super::error::ReadError;
use super::labels::read_labels;
use crate::Connection;
use crate::query_v1 as wire;
use crate::query_v1::query_client::QueryClient;

/// Maximum number of requests that wait to be sent.
const QUEUE: usize = 16;
/// Maximum number of prefetches that no fetch has used yet.
const MAX_PREFETCHING: usize = 2;

/// The series that a selector matched on another node.
pub struct RemoteSet {
    labels: Vec<Labels>,
    requests: mpsc::Sender<wire::SelectRequest>,
    waiting: Arc<Waiting>,
    prefetching: Mutex<Vec<Prefetching>>,
    /// The samples of the first series in the whole range of the selection, which came along with it.
    inline: SeriesBatch,
    next: AtomicU64,
    budget: Arc<Budget>,
    /// The memory that the label sets take from the budget, bytes.
    held: u64,
    runtime: Handle,
    source: RemoteSource,
    /// The task that receives samples, if not all came along with the selection.
    receiving: Option<AbortHandle>,
}

/// The parts of a fetch, in order, each an encoded batch. They take memory from the budget until they are dropped.
struct Received {
    parts: Vec<Bytes>,
    held: u64,
    budget: Arc<Budget>,
}

impl Drop for Received {
    fn drop(&mut self) {
        self.budget.give_back(self.held);
    }
}

/// All parts of a fetch, or why they did not come.
type Parts = Result<Received, ReadError>;

/// A fetch that was requested before it is needed.
struct Prefetching {
    series: Range<usize>,
    range: TimeRange,
    parts: oneshot::Receiver<Parts>,
}

/// The pending fetches by ID, or the error that ended the stream.
struct Waiting {
    fetches: Mutex<Result<HashMap<u64, Fetching>, ReadError>>,
    budget: Arc<Budget>,
}

struct Fetching {
    received: Received,
    done: oneshot::Sender<Parts>,
}

impl RemoteSet {
    /// Opens the stream and receives the label sets.
    pub(super) async fn open(
        mut client: QueryClient<Connection>,
        source: RemoteSource,
        selector: wire::Selector,
        budget: Arc<Budget>,
        runtime: Handle,
    ) -> Result<RemoteSet, ReadError> {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let first = wire::SelectRequest { selector: Some(selector), fetch: None };
        // The channel is empty, so it has room for the first request.
        let _sent = requests.try_send(first);
        let mut answers = source.opened(client.select(ReceiverStream::new(receiver)).await)?;
        let waiting = Arc::new(Waiting { fetches: Mutex::new(Ok(HashMap::new())), budget: budget.clone() });
        let mut set = RemoteSet {
            labels: Vec::new(),
            requests,
            waiting: waiting.clone(),
            prefetching: Mutex::default(),
            inline: SeriesBatch::default(),
            next: AtomicU64::new(1),
            budget,
            held: 0,
            runtime: runtime.clone(),
            source: source.clone(),
            receiving: None,
        };
        set.take_labels(&mut answers).await?;
        if set.inline.len() < set.labels.len() {
            set.receiving = Some(runtime.spawn(receive(answers, source, waiting)).abort_handle());
        }
        Ok(set)
    }

    async fn take_labels(&mut self, answers: &mut Streaming<wire::SelectAnswer>) -> Result<(), ReadError> {
        loop {
            let answer = answers.message().await.map_err(|status| self.source.failed(&status))?;
            let answer = answer.ok_or_else(|| broken_off(&self.source))?;
            self.budget.count_read(answer.encoded_len() as u64);
            let before = self.labels.len();
            let (budget, held) = (&self.budget, &mut self.held);
            read_labels(&answer.labels, &mut self.labels, |bytes| {
                let bytes = (bytes + size_of::<Labels>()) as u64;
                budget.take(bytes)?;
                *held += bytes;
                Ok::<_, ReadError>(())
            })?;
            if !self.labels[before.saturating_sub(1)..].is_sorted_by(|a, b| a < b) {
                let address = self.source.address();
                return Err(ReadError::Unreachable(format!("node {address}: label sets are out of order")));
            }
            if answer.all_labels {
                return self.take_inline(&answer);
            }
        }
    }

    fn take_inline(&mut self, answer: &wire::SelectAnswer) -> Result<(), ReadError> {
        self.budget.count_reads(answer.bytes_read, answer.requests);
        if answer.samples.is_empty() {
            return Ok(());
        }
        let address = self.source.address();
        read_batch(&answer.samples, &mut self.inline)
            .map_err(|e| ReadError::Unreachable(format!("node {address}: {e}")))?;
        if self.inline.len() > self.labels.len() {
            let (found, series) = (self.inline.len(), self.labels.len());
            return Err(ReadError::Unreachable(format!("node {address}: samples of {found} series of {series}")));
        }
        let bytes = self.inline.bytes() as u64;
        self.budget.take(bytes)?;
        self.held += bytes;
        Ok(())
    }

    /// Whether the samples of series came along with the selection.
    pub fn has_inline(&self, series: &Range<usize>) -> bool {
        series.end <= self.inline.len()
    }

    /// The label sets of the series, in ascending order.
    pub fn labels(&self) -> &[Labels] {
        &self.labels
    }

    /// Registers a fetch and builds its request.
    fn ask(&self, series: Range<usize>, range: TimeRange) -> Result<Asking, ReadError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (done, parts) = oneshot::channel();
        let received = Received { parts: Vec::new(), held: 0, budget: self.budget.clone() };
        match &mut *self.waiting.fetches.lock() {
            Ok(fetches) => fetches.insert(id, Fetching { received, done }),
            Err(error) => return Err(error.clone()),
        };
        let fetch =
            wire::Fetch { id, from: series.start as u64, to: series.end as u64, range: Some(write_range(range)) };
        Ok(Asking { id, request: wire::SelectRequest { selector: None, fetch: Some(fetch) }, parts })
    }

    /// Waits for the parts of a fetch. Uses a matching prefetch, or else sends a request.
    async fn parts(&self, series: Range<usize>, range: TimeRange) -> Parts {
        let prefetching = {
            let mut prefetching = self.prefetching.lock();
            let at = prefetching.iter().position(|a| a.series == series && a.range == range);
            at.map(|at| prefetching.swap_remove(at).parts)
        };
        let parts = match prefetching {
            Some(parts) => parts,
            None => {
                let asking = self.ask(series, range)?;
                if self.requests.send(asking.request).await.is_err() {
                    self.waiting.forget(asking.id);
                    return Err(self.why());
                }
                asking.parts
            }
        };
        parts.await.map_err(|_| self.why())?
    }

    /// The error that ended the stream.
    fn why(&self) -> ReadError {
        match &*self.waiting.fetches.lock() {
            Err(error) => error.clone(),
            Ok(_) => broken_off(&self.source),
        }
    }

    /// Ends the selection on the node. Pending fetches and later ones fail.
    pub fn close(&self) {
        self.end(ReadError::Unreachable(format!("node {}: the selection was closed", self.source.address())));
    }

    fn end(&self, error: ReadError) {
        self.receiving.iter().for_each(AbortHandle::abort);
        self.waiting.end(error);
    }

    /// Like [`SeriesSet::fetch`], but asynchronous.
    ///
    /// # Errors
    /// In contrast to a [`SelectError`], the error tells whether the node refused the read, failed, or was unreachable. The
    /// batch is unusable then.
    pub async fn fetch_parts(
        &self,
        series: Range<usize>,
        range: TimeRange,
        out: &mut SeriesBatch,
    ) -> Result<(), ReadError> {
        let at_hand = series.start..series.end.min(self.inline.len());
        at_hand.for_each(|at| out.push(self.inline.view(at).within(range)));
        let series = series.start.max(self.inline.len())..series.end;
        if series.is_empty() {
            return Ok(());
        }
        let received = within(&self.budget, self.parts(series.clone(), range)).await?;
        let mut read = 0;
        for part in &received.parts {
            read += read_batch(part, out)
                .map_err(|e| ReadError::Unreachable(format!("node {}: {e}", self.source.address())))?;
        }
        drop(received);
        if read != series.len() {
            let (address, asked) = (self.source.address(), series.len());
            return Err(ReadError::Unreachable(format!("node {address}: {read} series where {asked} were fetched")));
        }
        Ok(())
    }
}

struct Asking {
    id: u64,
    request: wire::SelectRequest,
    parts: oneshot::Receiver<Parts>,
}

/// The error of a response that has no end.
pub(super) fn broken_off(source: &RemoteSource) -> ReadError {
    ReadError::Unreachable(format!("node {}: the response stream ended early", source.address()))
}

impl Waiting {
    fn forget(&self, id: u64) {
        if let Ok(fetches) = &mut *self.fetches.lock() {
            fetches.remove(&id);
        }
    }

    /// Accounts for a part and adds it to its fetch. The last part completes the fetch.
    fn take(&self, answer: wire::SelectAnswer) -> Result<(), ReadError> {
        self.budget.count_reads(answer.encoded_len() as u64 + answer.bytes_read, 1 + answer.requests);
        let mut fetches = self.fetches.lock();
        let Ok(waiting) = &mut *fetches else { return Ok(()) };
        let Some(fetching) = waiting.get_mut(&answer.fetch) else { return Ok(()) };
        let bytes = answer.samples.len() as u64;
        self.budget.take(bytes)?;
        fetching.received.held += bytes;
        fetching.received.parts.push(answer.samples);
        if answer.last
            && let Some(fetching) = waiting.remove(&answer.fetch)
        {
            let _may_not_wait_any_more = fetching.done.send(Ok(fetching.received));
        }
        Ok(())
    }

    /// Fails all pending and future fetches with `error`.
    fn end(&self, error: ReadError) {
        let ended = std::mem::replace(&mut *self.fetches.lock(), Err(error.clone()));
        for (_, fetching) in ended.into_iter().flatten() {
            let _may_not_wait_any_more = fetching.done.send(Err(error.clone()));
        }
    }
}

/// Receives parts until the stream ends.
async fn receive(mut answers: Streaming<wire::SelectAnswer>, source: RemoteSource, waiting: Arc<Waiting>) {
    let error = loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                if let Err(error) = waiting.take(answer) {
                    break error;
                }
            }
            Ok(None) => break broken_off(&source),
            Err(status) => break source.failed(&status),
        }
    };
    waiting.end(error);
}

impl SeriesSet for RemoteSet {
    fn labels(&self) -> &[Labels] {
        &self.labels
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        self.runtime.block_on(self.fetch_parts(series, range, out)).map_err(ReadError::into_select_error)
    }

    fn prefetch(&self, series: Range<usize>, range: TimeRange) {
        let series = series.start.max(self.inline.len())..series.end;
        let mut prefetching = self.prefetching.lock();
        let is_known = prefetching.iter().any(|a| a.series == series && a.range == range);
        if series.is_empty() || is_known || prefetching.len() >= MAX_PREFETCHING {
            return;
        }
        let Ok(asking) = self.ask(series.clone(), range) else { return };
        match self.requests.try_send(asking.request) {
            Ok(()) => prefetching.push(Prefetching { series, range, parts: asking.parts }),
            Err(_) => self.waiting.forget(asking.id),
        }
    }
}

impl Drop for RemoteSet {
    fn drop(&mut self) {
        self.end(SelectError::Cancelled.into());
        self.budget.give_back(self.held);
    }
}
