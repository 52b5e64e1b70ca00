//! The write path of a single process: append to the head, then wait until the log is durable.

use async_trait::async_trait;
use pharos_model::{TenantId, WriteBatch, WriteError, WriteOutcome};
use pharos_transport::Ingest;

use crate::Ingester;

#[async_trait]
impl Ingest for Ingester {
    async fn append(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        let (outcome, commit) = self.head.append(tenant, batch)?;
        commit.await?;
        Ok(outcome)
    }
}
