//! What responses hold until their clients have read it.
//!
//! A response is encoded on a blocking thread, ahead of its client by [`WINDOW`] at most, so that the thread is free again soon
//! however slowly the client reads. The bytes that wait are drawn from the account of memory. Where they do not fit, the responses
//! whose clients have stopped reading are aborted, the longest stalled one first, and only then is a new response refused.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use futures::Stream;
use futures::task::AtomicWaker;
use parking_lot::{Condvar, Mutex};
use pharos_model::memory::Exceeded;
use pharos_model::{Clock, Hold, MemoryAccount, MemoryFull, Purpose, TenantId};

/// Size of a part of a response, bytes. Smaller responses are sent whole.
pub(crate) const PART_BYTES: usize = 256 << 10;
/// How far a response is encoded ahead of its client, bytes.
const WINDOW: usize = 16 << 20;
/// How long a client may take nothing of a response that is further ahead than [`WINDOW`].
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// From when on a client that takes nothing has to give way to others.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(5);

/// The responses that are not sent yet.
pub(crate) struct Unsent {
    memory: Arc<MemoryAccount>,
    clock: Arc<dyn Clock>,
    responses: Mutex<Responses>,
}

#[derive(Default)]
struct Responses {
    next: u64,
    waiting: HashMap<u64, Arc<Outbox>>,
}

/// What one response has encoded and not sent yet.
struct Outbox {
    tenant: TenantId,
    /// The bytes of the queue, and of a part that is about to join it.
    hold: Hold,
    queue: Mutex<Queue>,
    /// Wakes the writer once the client has taken a part.
    taken: Condvar,
    /// Wakes the reader once there is a part.
    encoded: AtomicWaker,
}

struct Queue {
    parts: VecDeque<Bytes>,
    bytes: usize,
    state: State,
    /// When the client took a part last, on the monotonic clock.
    moved: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Encoding,
    /// Everything is encoded.
    Complete,
    /// The response ends before its end: its client left or stalled, or its query was cancelled.
    Aborted,
    /// There was no room for the first part.
    Refused(MemoryFull),
}

/// Nobody reads the response any more.
#[derive(Debug)]
pub(crate) struct Gone;

impl Unsent {
    pub(crate) fn new(memory: Arc<MemoryAccount>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Unsent { memory, clock, responses: Mutex::default() })
    }

    /// A response to a tenant that is encoded already, and its size.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) async fn whole(
        self: &Arc<Self>,
        tenant: &TenantId,
        response: Bytes,
    ) -> Result<(usize, Unread), MemoryFull> {
        let (size, (writer, unread)) = (response.len(), self.begin(tenant));
        // An error is what the reader finds, too.
        let _told_to_the_reader = writer.finish(response);
        match unread.first().await {
            Err(Some(full)) => Err(full),
            Ok(_) | Err(None) => Ok((size, unread)),
        }
    }

    /// Begins a response to a tenant.
    pub(crate) fn begin(self: &Arc<Self>, tenant: &TenantId) -> (Writer, Unread) {
        let moved = self.clock.monotonic();
        let queue = Queue { parts: VecDeque::new(), bytes: 0, state: State::Encoding, moved };
        let outbox = Arc::new(Outbox {
            tenant: tenant.clone(),
            hold: self.memory.open(tenant, Purpose::Response),
            queue: Mutex::new(queue),
            taken: Condvar::new(),
            encoded: AtomicWaker::new(),
        });
        let mut responses = self.responses.lock();
        let id = responses.next;
        responses.next += 1;
        responses.waiting.insert(id, outbox.clone());
        drop(responses);
        let writer = Writer { unsent: self.clone(), outbox: outbox.clone() };
        (writer, Unread { unsent: self.clone(), outbox, id })
    }

    /// The bytes that wait for their clients.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.memory.held_for(Purpose::Response) as usize
    }

    /// Makes room for bytes of a response, at the cost of those whose clients have stopped reading.
    fn draw(&self, outbox: &Outbox, more: usize) -> Result<(), MemoryFull> {
        loop {
            let Err(full) = outbox.hold.draw(more as u64) else { return Ok(()) };
            // Responses to other tenants make no room under the limit of a tenant.
            let makes_room = |other: &Outbox| match &full.exceeded {
                Exceeded::Tenant(tenant) => other.tenant == *tenant,
                Exceeded::Purpose(_) | Exceeded::All => true,
            };
            match self.longest_stalled(makes_room) {
                Some(stalled) => stalled.abort(),
                None => return Err(full),
            }
        }
    }

    fn longest_stalled(&self, makes_room: impl Fn(&Outbox) -> bool) -> Option<Arc<Outbox>> {
        let responses = self.responses.lock();
        let stalled = responses.waiting.values().filter(|outbox| makes_room(outbox)).filter_map(|outbox| {
            let queue = outbox.queue.lock();
            let idle = self.clock.monotonic().saturating_sub(queue.moved);
            (queue.bytes > 0 && idle >= GIVES_WAY_AFTER).then(|| (idle, outbox.clone()))
        });
        stalled.max_by_key(|(idle, _)| *idle).map(|(_, outbox)| outbox)
    }
}

impl Outbox {
    /// Ends the response and returns what it holds.
    fn abort(&self) {
        let mut queue = self.queue.lock();
        if queue.state != State::Complete || !queue.parts.is_empty() {
            queue.state = State::Aborted;
        }
        queue.parts.clear();
        self.hold.give_back(std::mem::take(&mut queue.bytes) as u64);
        drop(queue);
        self.taken.notify_all();
        self.encoded.wake();
    }
}

/// Encodes a response, on a blocking thread. Dropped without [`Writer::complete`], it aborts the response.
pub(crate) struct Writer {
    unsent: Arc<Unsent>,
    outbox: Arc<Outbox>,
}

impl Writer {
    /// Adds a part. Waits while the client is too far behind.
    ///
    /// # Errors
    /// The client left or stalled, or there is no room.
    pub(crate) fn send(&self, part: Bytes) -> Result<(), Gone> {
        self.add(part, State::Encoding)
    }

    /// Adds the last part and ends the response, with one wake-up of its reader.
    ///
    /// # Errors
    /// As those of [`Writer::send`].
    pub(crate) fn finish(self, part: Bytes) -> Result<(), Gone> {
        self.add(part, State::Complete)
    }

    /// Ends the response.
    pub(crate) fn complete(self) {
        let mut queue = self.outbox.queue.lock();
        if queue.state == State::Encoding {
            queue.state = State::Complete;
        }
    }

    /// Adds a part, after which the response is in the state `then`.
    fn add(&self, part: Bytes, then: State) -> Result<(), Gone> {
        let bytes = part.len();
        let is_first = {
            let mut queue = self.outbox.queue.lock();
            while queue.bytes >= WINDOW && queue.state == State::Encoding {
                let idle = self.unsent.clock.monotonic().saturating_sub(queue.moved);
                if idle >= STALL_TIMEOUT {
                    return Err(Gone);
                }
                self.outbox.taken.wait_for(&mut queue, STALL_TIMEOUT - idle);
            }
            if queue.state != State::Encoding {
                return Err(Gone);
            }
            queue.bytes == 0
        };
        if let Err(full) = self.unsent.draw(&self.outbox, bytes) {
            let mut queue = self.outbox.queue.lock();
            if queue.state == State::Encoding && is_first {
                queue.state = State::Refused(full);
            }
            return Err(Gone);
        }
        let mut queue = self.outbox.queue.lock();
        if queue.state != State::Encoding {
            drop(queue);
            self.outbox.hold.give_back(bytes as u64);
            return Err(Gone);
        }
        queue.parts.push_back(part);
        queue.bytes += bytes;
        queue.state = then;
        if is_first {
            // A client that had taken everything has had nothing to take until now.
            queue.moved = self.unsent.clock.monotonic();
        }
        drop(queue);
        self.outbox.encoded.wake();
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut queue = self.outbox.queue.lock();
        if queue.state == State::Encoding {
            queue.state = State::Aborted;
        }
        drop(queue);
        self.outbox.encoded.wake();
    }
}

/// The parts of a response, for its client.
pub(crate) struct Unread {
    unsent: Arc<Unsent>,
    outbox: Arc<Outbox>,
    id: u64,
}

impl Unread {
    /// Waits for the first part. Returns the size of the response if it is complete by then.
    ///
    /// # Errors
    /// There was no room for the response, or none if it could not be encoded.
    pub(crate) async fn first(&self) -> Result<Option<usize>, Option<MemoryFull>> {
        std::future::poll_fn(|context| {
            self.outbox.encoded.register(context.waker());
            let queue = self.outbox.queue.lock();
            match &queue.state {
                State::Complete => Poll::Ready(Ok(Some(queue.bytes))),
                State::Aborted => Poll::Ready(Err(None)),
                State::Refused(full) => Poll::Ready(Err(Some(full.clone()))),
                State::Encoding if queue.bytes >= PART_BYTES => Poll::Ready(Ok(None)),
                State::Encoding => Poll::Pending,
            }
        })
        .await
    }
}

/// The error that aborts a response.
#[derive(Debug, thiserror::Error)]
#[error("the response was aborted")]
pub(crate) struct Aborted;

impl Stream for Unread {
    type Item = Result<Bytes, Aborted>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.outbox.encoded.register(context.waker());
        let mut queue = self.outbox.queue.lock();
        if let Some(part) = queue.parts.pop_front() {
            queue.bytes -= part.len();
            queue.moved = self.unsent.clock.monotonic();
            drop(queue);
            self.outbox.hold.give_back(part.len() as u64);
            self.outbox.taken.notify_all();
            return Poll::Ready(Some(Ok(part)));
        }
        match queue.state {
            State::Complete => Poll::Ready(None),
            State::Encoding => Poll::Pending,
            State::Aborted | State::Refused(_) => Poll::Ready(Some(Err(Aborted))),
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.unsent.responses.lock().waiting.remove(&self.id);
        self.outbox.abort();
    }
}

#[cfg(test)]
mod tests;
