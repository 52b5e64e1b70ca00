//! What all handlers share: settings, limits, metrics and the way to the store.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::HeaderMap;
use axum::response::Response;
use pharos_config::OtlpConfig;
use pharos_model::{Clock, MemoryAccount, Purpose, TenantId, WriteBatch, WriteOutcome};
use pharos_transport::Ingest;

use crate::buffers::BufferPool;
use crate::config::ReceiveConfig;
use crate::error::ReceiveError;
use crate::metrics::ReceiveMetrics;

const TENANT_HEADER: &str = "x-scope-orgid";

/// Receives pushes and appends their samples.
pub struct Receiver {
    pub(crate) config: ReceiveConfig,
    ingest: Arc<dyn Ingest>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: ReceiveMetrics,
    pub(crate) memory: Arc<MemoryAccount>,
    pub(crate) buffers: Arc<BufferPool>,
    pub(crate) otlp: ArcSwap<OtlpConfig>,
}

impl Receiver {
    /// Creates a receiver that appends to `ingest`, draws the memory of requests from `memory` and registers its metrics in `registry`.
    ///
    /// # Errors
    /// The registry already has these metrics.
    pub fn new(
        config: ReceiveConfig,
        ingest: Arc<dyn Ingest>,
        memory: Arc<MemoryAccount>,
        clock: Arc<dyn Clock>,
        registry: &prometheus::Registry,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let config = config.bounded();
        Ok(Arc::new(Receiver {
            config,
            ingest,
            memory,
            clock,
            metrics: ReceiveMetrics::new(registry)?,
            buffers: Arc::default(),
            otlp: ArcSwap::default(),
        }))
    }

    /// Sets the translation of OTLP requests that arrive from now on. The section must be checked
    /// ([`OtlpConfig::checked`]).
    pub fn set_otlp(&self, otlp: OtlpConfig) {
        self.otlp.store(Arc::new(otlp));
    }

    /// Appends the decoded samples, adds the rejections of the decoder to the outcome, and counts both.
    pub(crate) async fn append(
        &self,
        protocol: &str,
        tenant: &TenantId,
        batch: &WriteBatch,
        rejections: WriteOutcome,
    ) -> Result<WriteOutcome, ReceiveError> {
        self.metrics.batch_series.observe(batch.series().len() as f64);
        self.count_held();
        let mut outcome = rejections;
        if !batch.is_empty() {
            outcome.absorb(self.ingest.append(tenant, batch).await?);
        }
        self.metrics.outcome(protocol, &outcome, batch.metadata.len());
        Ok(outcome)
    }

    /// Counts a response.
    pub(crate) fn answered(&self, protocol: &str, response: &Response, started: Duration) {
        let took = self.clock.monotonic().saturating_sub(started);
        self.metrics.answered(protocol, response.status().as_u16(), took);
        self.count_held();
    }

    fn count_held(&self) {
        self.metrics.inflight.set(self.memory.held_for(Purpose::Push) as i64);
    }
}

/// The tenant in the headers, or the default one.
pub(crate) fn tenant_of(headers: &HeaderMap) -> Result<TenantId, ReceiveError> {
    match headers.get(TENANT_HEADER) {
        None => Ok(TenantId::default()),
        Some(name) => TenantId::new(&String::from_utf8_lossy(name.as_bytes()))
            .map_err(|e| ReceiveError::BadRequest(e.to_string())),
    }
}
