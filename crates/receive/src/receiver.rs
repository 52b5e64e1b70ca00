//! What all handlers share: settings, limits, metrics and the way to the store.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::HeaderMap;
use axum::response::Response;
use pharos_config::OtlpConfig;
use pharos_model::{Clock, TenantId, WriteBatch, WriteOutcome};
use pharos_transport::Ingest;

use crate::buffers::BufferPool;
use crate::config::ReceiveConfig;
use crate::error::ReceiveError;
use crate::inflight::Inflight;
use crate::metrics::ReceiveMetrics;

const TENANT_HEADER: &str = "x-scope-orgid";

/// Receives pushes and appends their samples.
pub struct Receiver {
    pub(crate) config: ReceiveConfig,
    ingest: Arc<dyn Ingest>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: ReceiveMetrics,
    pub(crate) inflight: Arc<Inflight>,
    pub(crate) buffers: Arc<BufferPool>,
    pub(crate) otlp: ArcSwap<OtlpConfig>,
}

impl Receiver {
    /// Creates a receiver that appends to `ingest` and registers its metrics in `registry`.
    ///
    /// # Errors
    /// The registry already has these metrics.
    pub fn new(
        config: ReceiveConfig,
        ingest: Arc<dyn Ingest>,
        clock: Arc<dyn Clock>,
        registry: &prometheus::Registry,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let config = config.bounded();
        Ok(Arc::new(Receiver {
            inflight: Inflight::new(config.max_inflight_bytes),
            config,
            ingest,
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
        self.metrics.inflight.set(self.inflight.used() as i64);
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
        self.metrics.inflight.set(self.inflight.used() as i64);
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
