//! What all handlers share: settings, limits, metrics, and the way to the store.

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

/// The header that names the tenant.
const TENANT_HEADER: &str = "x-scope-orgid";

/// Takes what others send and hands it on.
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
    /// A receiver that hands samples to `ingest`. Its metrics go to `registry`.
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

    /// Translates OTLP requests that begin from now on as `otlp` says; give it checked.
    pub fn set_otlp(&self, otlp: OtlpConfig) {
        self.otlp.store(Arc::new(otlp));
    }

    /// Appends what is good, counts it, and adds what the decoder refused.
    pub(crate) async fn append(
        &self,
        protocol: &str,
        tenant: &TenantId,
        batch: &WriteBatch,
        refused: WriteOutcome,
    ) -> Result<WriteOutcome, ReceiveError> {
        self.metrics.batch_series.observe(batch.series().len() as f64);
        self.metrics.inflight.set(self.inflight.used() as i64);
        let mut outcome = refused;
        if !batch.is_empty() {
            outcome.absorb(self.ingest.append(tenant, batch).await?);
        }
        self.metrics.outcome(protocol, &outcome, batch.metadata.len());
        Ok(outcome)
    }

    pub(crate) fn answered(&self, protocol: &str, response: &Response, started: Duration) {
        let took = self.clock.monotonic().saturating_sub(started);
        self.metrics.answered(protocol, response.status().as_u16(), took);
        self.metrics.inflight.set(self.inflight.used() as i64);
    }
}

/// The tenant that a request names.
pub(crate) fn tenant_of(headers: &HeaderMap) -> Result<TenantId, ReceiveError> {
    match headers.get(TENANT_HEADER) {
        None => Ok(TenantId::default()),
        Some(name) => TenantId::new(&String::from_utf8_lossy(name.as_bytes()))
            .map_err(|e| ReceiveError::BadRequest(e.to_string())),
    }
}
