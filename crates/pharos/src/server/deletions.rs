//! Deletions as the HTTP API offers them.

use std::sync::Arc;

use pharos_cluster::{CatalogueCommand, DeletionBarrier, Meta};
use pharos_model::{Clock, Matcher, TenantId, TimeRange};
use tokio::runtime::Handle;

use super::storage::random_id;

/// Deletes series in the whole cluster. All calls block.
pub(super) struct SeriesDeletions {
    pub(super) meta: Arc<Meta>,
    pub(super) barrier: Arc<dyn DeletionBarrier>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) runtime: Handle,
}

impl SeriesDeletions {
    /// Deletes series and returns once that holds everywhere: what is written afterwards is not deleted, and what was written
    /// before does not come back.
    pub(super) fn delete(&self, tenant: &TenantId, matchers: &[Matcher], range: TimeRange) -> Result<(), String> {
        let id = random_id(&*self.clock).to_string();
        let deletion = CatalogueCommand::delete(id, tenant, matchers, range);
        self.runtime.block_on(async {
            let view = self.meta.propose(deletion).await.map_err(|e| e.to_string())?.view;
            let number = view.catalogue.newest_deletion(tenant.as_str());
            self.barrier.settle(tenant, number).await.map_err(|error| {
                format!(
                    "the deletion is recorded and will be applied, but not every ingester has confirmed it yet: {error}"
                )
            })
        })
    }

    /// Forgets the deletions of a tenant that mask no block any more.
    pub(super) fn clean(&self, tenant: &TenantId) -> Result<(), String> {
        let forgetting = pharos_compactor::forget::forget(&self.meta, &*self.barrier, tenant);
        self.runtime.block_on(forgetting).map(|_| ()).map_err(|e| e.to_string())
    }
}
