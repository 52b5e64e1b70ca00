//! Retention: removes blocks from the catalogue once all of their samples are too old, or while all blocks together are too
//! large.

use std::collections::BTreeMap;

use pharos_cluster::{CatalogueCommand, Meta, MetaError, RemovalReason};

/// Removes the blocks whose last sample is more than `retention_ms` older than `now_ms`, and returns their number.
///
/// A clock that is ahead must not remove everything, so time counts only up to the newest sample of all blocks.
pub async fn expire(meta: &Meta, now_ms: i64, retention_ms: i64) -> Result<u64, MetaError> {
    let catalogue = meta.view().catalogue.clone();
    let newest = catalogue.tenants.values().flat_map(|tenant| tenant.blocks.iter().map(|block| block.max_t)).max();
    let Some(newest) = newest else { return Ok(0) };
    let horizon = now_ms.min(newest).saturating_sub(retention_ms);
    let mut removed = 0;
    for (tenant, catalogue) in &catalogue.tenants {
        let ids: Vec<String> =
            catalogue.blocks.iter().filter(|block| block.max_t < horizon).map(|block| block.id.clone()).collect();
        if !ids.is_empty() {
            removed += ids.len() as u64;
            tracing::info!(%tenant, blocks = ids.len(), "removing blocks past their retention");
            meta.propose(CatalogueCommand::RemoveBlocks {
                tenant: tenant.clone(),
                ids,
                at_ms: meta.clock().now_ms(),
                reason: RemovalReason::Retention,
            })
            .await?;
        }
    }
    Ok(removed)
}

/// Removes the oldest blocks until the remaining ones take at most `max_bytes`, and returns the number of removed blocks. The
/// age of a block is that of its last sample, over all tenants. The newest block always stays.
pub async fn shrink(meta: &Meta, max_bytes: u64) -> Result<u64, MetaError> {
    let catalogue = meta.view().catalogue.clone();
    let of_tenant = catalogue.tenants.iter().flat_map(|(tenant, t)| t.blocks.iter().map(move |block| (tenant, block)));
    let mut blocks: Vec<_> = of_tenant.collect();
    blocks.sort_by(|(_, a), (_, b)| (a.max_t, &a.id).cmp(&(b.max_t, &b.id)));
    let mut bytes: u64 = blocks.iter().map(|(_, block)| block.bytes).sum();
    let mut surplus: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let but_the_newest = blocks.len().saturating_sub(1);
    for (tenant, block) in &blocks[..but_the_newest] {
        if bytes <= max_bytes {
            break;
        }
        bytes -= block.bytes;
        surplus.entry(tenant.as_str()).or_default().push(block.id.clone());
    }
    let mut removed = 0;
    for (tenant, ids) in surplus {
        removed += ids.len() as u64;
        tracing::info!(
            tenant,
            blocks = ids.len(),
            max_bytes,
            "removing the oldest blocks because all blocks together are too large"
        );
        meta.propose(CatalogueCommand::RemoveBlocks {
            tenant: tenant.into(),
            ids,
            at_ms: meta.clock().now_ms(),
            reason: RemovalReason::Retention,
        })
        .await?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
