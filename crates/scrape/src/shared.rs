//! What all scrape loops of an agent share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pharos_model::{Clock, TenantId, WriteBatch};
use pharos_transport::Ingest;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::sync::watch;

use crate::metrics::ScrapeMetrics;
use crate::ownership::Ownership;
use pharos_http_client::{Answer, HttpClient, HttpError};

/// Buffers that are kept for the next scrape.
const KEPT_BUFFERS: usize = 16;
/// The largest body buffer that is kept, bytes.
const KEPT_BODY_BYTES: usize = 8 << 20;

/// Fetches bodies; tests have their own.
#[async_trait]
pub(crate) trait Fetch: Send + Sync + 'static {
    /// Appends at most `limit` bytes of the target's body to `body`.
    async fn fetch(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        timeout: Duration,
        limit: u64,
        body: &mut Vec<u8>,
    ) -> Result<Answer, HttpError>;
}

#[async_trait]
impl Fetch for HttpClient {
    async fn fetch(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        timeout: Duration,
        limit: u64,
        body: &mut Vec<u8>,
    ) -> Result<Answer, HttpError> {
        self.get(url, headers, timeout, limit, body).await
    }
}

/// What all scrape loops share.
pub(crate) struct Shared {
    pub(crate) ingest: Arc<dyn Ingest>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tenant: TenantId,
    pub(crate) metrics: ScrapeMetrics,
    pub(crate) ownership: Arc<Ownership>,
    /// Scrapes and handovers under way.
    busy: watch::Sender<usize>,
    buffers: Mutex<Vec<Buffers>>,
}

/// Something under way.
pub(crate) struct Busy(Arc<Shared>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.send_modify(|busy| *busy -= 1);
    }
}

/// Memory of one scrape.
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
        metrics: ScrapeMetrics,
        ownership: Arc<Ownership>,
    ) -> Arc<Self> {
        let busy = watch::Sender::new(0);
        Arc::new(Shared { ingest, clock, tenant, metrics, ownership, busy, buffers: Mutex::default() })
    }

    /// Something is under way, until what this returns is dropped.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.send_modify(|busy| *busy += 1);
        Busy(self.clone())
    }

    /// Waits until nothing is under way.
    pub(crate) async fn idle(&self) {
        let mut busy = self.busy.subscribe();
        // The sender lives as long as this does.
        let _idle = busy.wait_for(|busy| *busy == 0).await;
    }

    /// Empty buffers, used ones if there are any.
    pub(crate) fn take_buffers(&self) -> Buffers {
        self.buffers.lock().pop().unwrap_or_default()
    }

    /// Keeps buffers for the next scrape.
    pub(crate) fn give_back(&self, mut buffers: Buffers) {
        if buffers.body.capacity() > KEPT_BODY_BYTES {
            return;
        }
        buffers.body.clear();
        buffers.batch.clear();
        let mut kept = self.buffers.lock();
        if kept.len() < KEPT_BUFFERS {
            kept.push(buffers);
        }
    }

    /// Hands a batch on; false when it was refused as a whole. Refusals are counted and logged here.
    pub(crate) async fn append(&self, url: &str, batch: &WriteBatch) -> bool {
        match self.ingest.append(&self.tenant, batch).await {
            Ok(outcome) => {
                for (reason, rejected) in &outcome.rejected {
                    self.metrics.rejected.with_label_values(&[reason.as_str()]).inc_by(rejected.count);
                    let (reason, count) = (reason.as_str(), rejected.count);
                    tracing::warn!(
                        target_url = url,
                        reason,
                        count,
                        first = rejected.first,
                        "scraped samples were rejected"
                    );
                }
                true
            }
            Err(error) => {
                let reason = match &error {
                    pharos_model::WriteError::Overloaded(_) => "overloaded",
                    pharos_model::WriteError::Unavailable(_) => "unavailable",
                };
                self.metrics.refused.with_label_values(&[reason]).inc();
                tracing::warn!(target_url = url, %error, "a scrape was refused");
                false
            }
        }
    }
}
