//! Takes blocks out of the catalogue when all of their samples are older than the retention.

use pharos_meta::{CatalogueCommand, Meta, MetaError};

/// Removes the blocks that end before `horizon` (milliseconds since the epoch); returns how many there were.
pub async fn expire(meta: &Meta, horizon: i64) -> Result<u64, MetaError> {
    let mut removed = 0;
    for (tenant, catalogue) in &meta.view().catalogue.tenants {
        let ids: Vec<String> =
            catalogue.blocks.iter().filter(|block| block.max_t < horizon).map(|block| block.id.clone()).collect();
        if !ids.is_empty() {
            removed += ids.len() as u64;
            tracing::info!(%tenant, blocks = ids.len(), "removing blocks past their retention");
            meta.propose(CatalogueCommand::RemoveBlocks { tenant: tenant.clone(), ids }).await?;
        }
    }
    Ok(removed)
}
