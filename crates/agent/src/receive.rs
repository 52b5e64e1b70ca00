//! Samples that others send: remote write 1.0 and 2.0, and OTLP over HTTP.
//!
//! A request is read within limits, decoded into a batch whose memory is used again, and handed to [`Ingest`]; it is
//! answered when its samples are durable. Handlers decode, call and encode; what is wrong with a request is decided by
//! the decoders, what is wrong with a sample in time by the head.

#[doc(hidden)]
pub mod bench;
mod body;
mod buffers;
mod config;
mod decode;
mod error;
mod histogram;
mod inflight;
mod metrics;
mod otlp;
mod remote_write;
mod series_labels;
#[cfg(test)]
mod testing;
mod wire;
mod write_v1;
mod write_v2;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use pharos_model::{Clock, TenantId, WriteBatch, WriteOutcome};
use pharos_transport::Ingest;

pub use config::ReceiveConfig;
pub use otlp::{OtlpConfig, OtlpConfigError, TranslationStrategy};

use buffers::BufferPool;
use error::ReceiveError;
use inflight::Inflight;
use metrics::ReceiveMetrics;

/// The header that names the tenant.
const TENANT_HEADER: &str = "x-scope-orgid";

/// Takes what others send and hands it on.
pub struct Receiver {
    config: ReceiveConfig,
    ingest: Arc<dyn Ingest>,
    clock: Arc<dyn Clock>,
    metrics: ReceiveMetrics,
    inflight: Arc<Inflight>,
    buffers: Arc<BufferPool>,
    otlp: ArcSwap<OtlpConfig>,
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
    async fn append(
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

    fn answered(&self, protocol: &str, response: &Response, started: Duration) {
        let took = self.clock.monotonic().saturating_sub(started);
        self.metrics.answered(protocol, response.status().as_u16(), took);
        self.metrics.inflight.set(self.inflight.used() as i64);
    }
}

/// The routes of the receivers that are on.
pub fn router(receiver: Arc<Receiver>) -> Router {
    let mut router = Router::new();
    if receiver.config.remote_write {
        router =
            router.route("/api/v1/write", post(remote_write::handle)).route("/api/v1/push", post(remote_write::handle));
    }
    if receiver.config.otlp {
        router = router.route("/api/v1/otlp/v1/metrics", post(otlp::handle));
    }
    router.with_state(receiver)
}

/// The tenant that a request names.
fn tenant_of(headers: &HeaderMap) -> Result<TenantId, ReceiveError> {
    match headers.get(TENANT_HEADER) {
        None => Ok(TenantId::default()),
        Some(name) => TenantId::new(&String::from_utf8_lossy(name.as_bytes()))
            .map_err(|e| ReceiveError::BadRequest(e.to_string())),
    }
}
