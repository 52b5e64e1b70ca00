//! An agent's stream of appends to one ingester. The first append opens it.
//!
//! A stream may break because its connection is old, which says nothing about the ingester. An append that fails on such a
//! stream is sent once more on a new one; that is safe, because appends are idempotent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pharos_model::WriteError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::refused::refused_from;
use super::sent::{Openings, Sent};
use super::{Appended, Replica, ReplicaError, ShardTarget, Shipment, outcome_from, rejected_from};
use crate::connect::Connection;
use crate::ingest_v1 as wire;
use crate::ingest_v1::ingest_client::IngestClient as Client;

/// Maximum number of requests that wait to be sent on a stream.
const QUEUE: usize = 32;
/// A peer that has not responded after this time may be stuck, so an abandoned request closes its stream. Requests
/// that are abandoned earlier say nothing about the peer: their client may have hung up.
const LATE: Duration = Duration::from_secs(2);
/// Largest message in either direction, bytes.
pub const MAX_MESSAGE: usize = 512 << 20;

/// An ingester on another node.
pub struct IngestClient {
    connection: Connection,
    stream: tokio::sync::Mutex<Option<Arc<Stream>>>,
    openings: Openings,
}

struct Stream {
    requests: mpsc::Sender<wire::AppendRequest>,
    /// The declarations made so far. The lock is held while a request is queued, so that declarations stay in order.
    sent: Mutex<Sent>,
    answers: Answers,
}

/// The requests that await a response, by request ID. Holds the reason instead once the stream has ended.
struct Answers {
    waiting: Mutex<Result<HashMap<u64, oneshot::Sender<wire::AppendResponse>>, Ended>>,
    next: AtomicU64,
}

/// Why a stream has ended.
#[derive(Clone)]
enum Ended {
    /// The connection or the peer ended it.
    Broken(String),
    /// The peer took too long to respond. A new stream would not change that.
    Late,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Broken(reason) => f.write_str(reason),
            Ended::Late => f.write_str("an answer took too long"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IngestClient {
    /// Creates a client over a connection, which may be lazy.
    pub fn new(connection: Connection) -> Self {
        IngestClient::of_sender(connection, Openings::default())
    }

    /// Like [`IngestClient::new`], but counts the streams that it opens in `openings`.
    pub fn of_sender(connection: Connection, openings: Openings) -> Self {
        IngestClient { connection, stream: tokio::sync::Mutex::new(None), openings }
    }

    /// The gRPC client, for calls other than the append stream.
    pub fn client(&self) -> Client<Connection> {
        Client::new(self.connection.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// Returns the open stream, or opens a new one; and whether it is new.
    async fn stream(&self) -> Result<(Arc<Stream>, bool), ReplicaError> {
        let mut slot = self.stream.lock().await;
        if let Some(stream) = slot.as_ref().filter(|stream| stream.answers.is_open()) {
            return Ok((stream.clone(), false));
        }
        let (requests, receiver) = mpsc::channel(QUEUE);
        let opened = self.client().append(ReceiverStream::new(receiver)).await;
        let incoming = opened.map_err(|e| ReplicaError::Unreachable(describe(&e)))?.into_inner();
        let answers = Answers { waiting: Mutex::new(Ok(HashMap::new())), next: AtomicU64::new(0) };
        let stream = Arc::new(Stream { requests, sent: Mutex::new(Sent::new()), answers });
        self.openings.add();
        tokio::spawn(receive(incoming, Arc::downgrade(&stream)));
        *slot = Some(stream.clone());
        Ok((stream, true))
    }

    /// Discards a stream, so that the next request opens another.
    async fn give_up(&self, stream: &Arc<Stream>) {
        let mut slot = self.stream.lock().await;
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, stream)) {
            *slot = None;
        }
    }
}

fn describe(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("{}: {source}", status.message()),
        None => status.message().to_string(),
    }
}

/// Passes responses to the requests that await them until the stream ends.
async fn receive(mut incoming: Streaming<wire::AppendResponse>, stream: std::sync::Weak<Stream>) {
    let reason = loop {
        match incoming.message().await {
            Ok(Some(answer)) => {
                let Some(stream) = stream.upgrade() else { return };
                stream.answers.resolve(answer);
            }
            Ok(None) => break "the ingester ended the stream".to_string(),
            Err(status) => break describe(&status),
        }
    };
    if let Some(stream) = stream.upgrade() {
        let mut waiting = lock(&stream.answers.waiting);
        if waiting.is_ok() {
            *waiting = Err(Ended::Broken(reason));
        }
    }
}

impl Answers {
    fn is_open(&self) -> bool {
        lock(&self.waiting).is_ok()
    }

    fn resolve(&self, answer: wire::AppendResponse) {
        let waiting = lock(&self.waiting).as_mut().ok().and_then(|waiting| waiting.remove(&answer.id));
        if let Some(waiting) = waiting {
            // The requester may have stopped waiting.
            let _ = waiting.send(answer);
        }
    }

    /// Allocates the ID of a request and returns it with the receiver of the response.
    fn expect(&self) -> Result<(u64, oneshot::Receiver<wire::AppendResponse>), ReplicaError> {
        let (sender, receiver) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        match &mut *lock(&self.waiting) {
            Ok(waiting) => waiting.insert(id, sender),
            Err(ended) => return Err(ReplicaError::Unreachable(ended.to_string())),
        };
        Ok((id, receiver))
    }

    fn forget(&self, id: u64) {
        if let Ok(waiting) = &mut *lock(&self.waiting) {
            waiting.remove(&id);
        }
    }

    fn why_ended(&self) -> String {
        lock(&self.waiting).as_ref().err().map_or_else(|| "the stream ended".into(), Ended::to_string)
    }

    fn is_late(&self) -> bool {
        matches!(&*lock(&self.waiting), Err(Ended::Late))
    }
}

/// Forgets a request when its sender stops waiting. If the request is at least [`LATE`] old, this also ends the stream,
/// and every request that waits on it fails.
struct Waiting<'a> {
    stream: &'a Arc<Stream>,
    id: u64,
    began: Instant,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.stream.answers.forget(self.id);
        if !self.answered && self.began.elapsed() >= LATE {
            let mut waiting = lock(&self.stream.answers.waiting);
            if waiting.is_ok() {
                *waiting = Err(Ended::Late);
            }
        }
    }
}

impl Stream {
    async fn append(
        self: &Arc<Self>,
        shipment: &Shipment<'_>,
        targets: &[ShardTarget],
    ) -> Result<Appended, ReplicaError> {
        let ended = || ReplicaError::Unreachable(self.answers.why_ended());
        let (id, answer) = self.answers.expect()?;
        let mut waiting = Waiting { stream: self, id, began: Instant::now(), answered: false };
        let place = self.requests.reserve().await.map_err(|_| ended())?;
        {
            let mut sent = lock(&self.sent);
            let chunks = sent.chunks(shipment, targets);
            let (tenant, deletions) = (shipment.tenant.as_str().into(), shipment.deletions);
            let action = wire::Action::from(shipment.action).into();
            let stale_in_order = shipment.batch.stale_in_order;
            place.send(wire::AppendRequest { id, tenant, chunks, deletions, action, stale_in_order });
        }
        let answer = answer.await.map_err(|_| ended())?;
        waiting.answered = true;
        if let Some(failure) = answer.failure {
            return Err(ReplicaError::Refused(WriteError::from(failure)));
        }
        let stale = answer.stale.iter().map(|s| (s.shard, s.epoch)).collect();
        let outcome = outcome_from(answer.outcome.unwrap_or_default());
        let uncounted = rejected_from(answer.uncounted);
        let refused = answer.names_refused.then(|| refused_from(answer.refused));
        let (newer_deletion, undecided) = (answer.newer_deletion, answer.undecided);
        Ok(Appended { outcome, uncounted, stale, newer_deletion, refused, undecided })
    }
}

#[async_trait]
impl Replica for IngestClient {
    async fn append(&self, shipment: &Shipment<'_>, targets: &[ShardTarget]) -> Result<Appended, ReplicaError> {
        let (stream, is_new) = self.stream().await?;
        let appended = stream.append(shipment, targets).await;
        if !matches!(appended, Err(ReplicaError::Unreachable(_))) {
            return appended;
        }
        self.give_up(&stream).await;
        if is_new || stream.answers.is_late() {
            return appended;
        }
        let (stream, _) = self.stream().await?;
        let appended = stream.append(shipment, targets).await;
        if matches!(appended, Err(ReplicaError::Unreachable(_))) {
            self.give_up(&stream).await;
        }
        appended
    }
}

#[cfg(test)]
mod tests;
