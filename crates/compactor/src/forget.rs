//! Forgets deletions that mask no block any more, once every replica has applied them.

use pharos_cluster::{CatalogueCommand, DeletionBarrier, Meta, MetaError};
use pharos_model::{TenantId, WriteError};

/// Why deletions of a tenant could not be forgotten. They keep masking until the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// Not every replica has applied them.
    #[error("waiting for the replicas: {0}")]
    Replicas(#[from] WriteError),
    /// The catalogue could not be changed.
    #[error("change of the catalogue: {0}")]
    Meta(#[from] MetaError),
}

/// Forgets the deletions of a tenant that mask no block and returns how many.
pub async fn forget(meta: &Meta, barrier: &dyn DeletionBarrier, tenant: &TenantId) -> Result<usize, ForgetError> {
    let view = meta.view();
    let Some(known) = view.catalogue.tenant(tenant.as_str()) else { return Ok(0) };
    if known.forgettable().next().is_none() {
        return Ok(0);
    }
    let applied = known.newest_deletion();
    barrier.settle(tenant, applied).await?;
    let command = CatalogueCommand::ForgetDeletions { tenant: tenant.as_str().into(), applied };
    let after = meta.propose(command).await?.view;
    let is_listed = |number: u64| {
        let known = after.catalogue.tenant(tenant.as_str());
        known.is_some_and(|known| known.deletions.iter().any(|deletion| deletion.sequence == number))
    };
    let forgotten = known.deletions.iter().filter(|deletion| !is_listed(deletion.sequence)).count();
    tracing::info!(%tenant, deletions = forgotten, "forgot deletions that mask no block any more");
    Ok(forgotten)
}

#[cfg(test)]
mod tests;
