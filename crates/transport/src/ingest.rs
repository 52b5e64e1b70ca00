//! How samples reach the ingesters: one call for the intake (scraper, remote write, OTLP, rules), whether the
//! ingester lives in this process or behind the network.

use std::sync::Arc;

use async_trait::async_trait;
use pharos_model::{TenantId, WriteBatch, WriteError, WriteOutcome};

/// Takes samples and answers when they are durable.
#[async_trait]
pub trait Ingest: Send + Sync + 'static {
    /// Appends a batch of one tenant. `Ok` says that all that the outcome counts as taken is durable and that the rest
    /// was refused for good; sending a batch again is safe. On `Err` nothing is promised and all of it may be sent again.
    async fn append(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError>;
}

#[async_trait]
impl<T: Ingest + ?Sized> Ingest for Arc<T> {
    async fn append(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        (**self).append(tenant, batch).await
    }
}
