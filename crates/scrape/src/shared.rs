//! What all scrape loops of an agent share: the way to the store, buffers, metrics, and the count of work in flight.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use pharos_http_client::{HttpClient, HttpError, ResponseHead};
use pharos_model::{Clock, Hold, MemoryAccount, RejectReason, TenantId, WriteBatch, WriteError};
use pharos_transport::Ingest;
use tokio::sync::watch;

use crate::metrics::ScrapeMetrics;
use crate::ownership::Ownership;

/// The number of buffers kept for later scrapes.
const MAX_POOLED_BUFFERS: usize = 16;
/// The largest body buffer that is kept, bytes.
const MAX_POOLED_BODY_BYTES: usize = 8 << 20;

/// Fetches bodies. Tests script their own.
#[async_trait]
pub(crate) trait Fetch: Send + Sync + 'static {
    /// Appends the target's body to `body`, whose memory is drawn from `hold`; fails when it has more than `limit` bytes.
    async fn fetch(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        timeout: Duration,
        limit: u64,
        hold: &Hold,
        body: &mut Vec<u8>,
    ) -> Result<ResponseHead, HttpError>;

    /// A client with the same settings that fetches from a Unix socket, whatever the host of a URL; none if it knows no sockets,
    /// like those of most tests.
    fn over_socket(&self, path: &Path) -> Option<Arc<dyn Fetch>> {
        let _ = path;
        None
    }
}

#[async_trait]
impl Fetch for HttpClient {
    async fn fetch(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        timeout: Duration,
        limit: u64,
        hold: &Hold,
        body: &mut Vec<u8>,
    ) -> Result<ResponseHead, HttpError> {
        self.get(url, headers, timeout, limit, Some(hold), body).await
    }

    fn over_socket(&self, path: &Path) -> Option<Arc<dyn Fetch>> {
        Some(Arc::new(HttpClient::over_socket(self, path)))
    }
}

/// What all scrape loops share.
pub(crate) struct Shared {
    pub(crate) ingest: Arc<dyn Ingest>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tenant: TenantId,
    /// What bodies and batches draw on.
    pub(crate) memory: Arc<MemoryAccount>,
    pub(crate) metrics: ScrapeMetrics,
    pub(crate) ownership: Arc<Ownership>,
    /// Turns true when the process stops.
    stop: watch::Sender<bool>,
    /// Scrapes and handoffs in flight.
    in_flight: watch::Sender<usize>,
    buffers: Mutex<Vec<Buffers>>,
}

/// Counts as work in flight until it is dropped.
pub(crate) struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.send_modify(|count| *count -= 1);
    }
}

/// The memory of one scrape, reused by later ones.
#[derive(Default)]
pub(crate) struct Buffers {
    pub(crate) body: Vec<u8>,
    pub(crate) batch: WriteBatch,
}

impl Shared {
    pub(crate) fn new(
        ingest: Arc<dyn Ingest>,
        clock: Arc<dyn Clock>,
        tenant: TenantId,
        memory: Arc<MemoryAccount>,
        metrics: ScrapeMetrics,
        ownership: Arc<Ownership>,
    ) -> Arc<Self> {
        let stop = watch::Sender::new(false);
        let in_flight = watch::Sender::new(0);
        Arc::new(Shared {
            ingest,
            clock,
            tenant,
            memory,
            metrics,
            ownership,
            stop,
            in_flight,
            buffers: Mutex::default(),
        })
    }

    /// Ends all loops and handoffs at once: the process stops. No stale marker is written any more.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the process stops.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // Cannot fail: the sender lives as long as `self`.
        let _stopped = stop.wait_for(|stop| *stop).await;
    }

    /// Begins a scrape or handoff, which ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.send_modify(|count| *count += 1);
        InFlight(self.clone())
    }

    /// Whether anything is in flight.
    #[cfg(test)]
    pub(crate) fn is_busy(&self) -> bool {
        *self.in_flight.borrow() > 0
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn await_idle(&self) {
        let mut in_flight = self.in_flight.subscribe();
        // Cannot fail: the sender lives as long as `self`.
        let _idle = in_flight.wait_for(|count| *count == 0).await;
    }

    /// Empty buffers, pooled ones if there are any.
    pub(crate) fn take_buffers(&self) -> Buffers {
        self.buffers.lock().pop().unwrap_or_default()
    }

    /// Keeps buffers for later scrapes, unless the body was unusually large.
    pub(crate) fn return_buffers(&self, mut buffers: Buffers) {
        if buffers.body.capacity() > MAX_POOLED_BODY_BYTES {
            return;
        }
        buffers.body.clear();
        buffers.batch.clear();
        let mut kept = self.buffers.lock();
        if kept.len() < MAX_POOLED_BUFFERS {
            kept.push(buffers);
        }
    }

    /// Appends a batch. Rejections are counted and logged here.
    ///
    /// # Errors
    /// The batch was refused as a whole.
    pub(crate) async fn append(&self, url: &str, batch: &WriteBatch) -> Result<(), WriteError> {
        match self.ingest.append(&self.tenant, batch).await {
            Ok(outcome) => {
                for (reason, rejected) in &outcome.rejected {
                    // The series did not vanish: another target has it.
                    if *reason == RejectReason::OutOfOrder {
                        continue;
                    }
                    self.metrics.rejected.with_label_values(&[reason.as_str()]).inc_by(rejected.count);
                    let (reason, count) = (reason.as_str(), rejected.count);
                    tracing::warn!(
                        target_url = url,
                        reason,
                        count,
                        first = rejected.first,
                        "dropping scraped samples: rejected by the store"
                    );
                }
                Ok(())
            }
            Err(error) => {
                let reason = match &error {
                    WriteError::Overloaded(_) => "overloaded",
                    WriteError::Unavailable(_) => "unavailable",
                };
                self.metrics.refused.with_label_values(&[reason]).inc();
                tracing::warn!(target_url = url, %error, "dropping a scrape: the append failed");
                Err(error)
            }
        }
    }
}
