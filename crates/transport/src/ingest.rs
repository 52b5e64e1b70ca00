//! The write path as its producers see it: one call for scrapes, remote write, OTLP and rules, whether the ingester lives in
//! this process or behind the network.

use std::sync::Arc;

use async_trait::async_trait;
use pharos_model::{TenantId, WriteBatch, WriteError, WriteOutcome};

/// Takes samples and returns once they are durable.
#[async_trait]
pub trait Ingest: Send + Sync + 'static {
    /// Appends a batch of one tenant. On `Ok`, the samples that the outcome counts as appended are durable, and the rest was
    /// rejected permanently. Sending a batch again is safe.
    ///
    /// # Errors
    /// Nothing is promised, and the whole batch may be sent again.
    async fn append(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError>;
}

#[async_trait]
impl<T: Ingest + ?Sized> Ingest for Arc<T> {
    async fn append(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        (**self).append(tenant, batch).await
    }
}
