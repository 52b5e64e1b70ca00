//! Takes blocks out of the catalogue when all of their samples are older than the retention, or when all blocks together are
//! larger than they may be.

use std::collections::BTreeMap;

use pharos_cluster::{CatalogueCommand, Meta, MetaError};

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

/// Removes the oldest blocks until those that are left take at most `max_bytes`; returns how many there were. Blocks are as
/// old as their last sample, whoever's they are. The newest block stays.
pub async fn shrink(meta: &Meta, max_bytes: u64) -> Result<u64, MetaError> {
    let catalogue = meta.view().catalogue.clone();
    let of_tenant = catalogue.tenants.iter().flat_map(|(tenant, t)| t.blocks.iter().map(move |block| (tenant, block)));
    let mut blocks: Vec<_> = of_tenant.collect();
    blocks.sort_by(|(_, a), (_, b)| (a.max_t, &a.id).cmp(&(b.max_t, &b.id)));
    let mut bytes: u64 = blocks.iter().map(|(_, block)| block.bytes).sum();
    let mut gone: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let but_the_newest = blocks.len().saturating_sub(1);
    for (tenant, block) in &blocks[..but_the_newest] {
        if bytes <= max_bytes {
            break;
        }
        bytes -= block.bytes;
        gone.entry(tenant.as_str()).or_default().push(block.id.clone());
    }
    let mut removed = 0;
    for (tenant, ids) in gone {
        removed += ids.len() as u64;
        tracing::info!(tenant, blocks = ids.len(), max_bytes, "removing the oldest blocks: all together are too large");
        meta.propose(CatalogueCommand::RemoveBlocks { tenant: tenant.into(), ids }).await?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use pharos_cluster::BlockEntry;

    use super::*;

    fn block(id: &str, max_t: i64, bytes: u64) -> BlockEntry {
        BlockEntry {
            id: id.into(),
            window_start: 0,
            window_end: 1000,
            min_t: 0,
            max_t,
            shards: vec![],
            delta: true,
            sequence: 0,
            bytes,
            series: 1,
            samples: 1,
            resolution_ms: 0,
            cut: None,
            digests: Vec::new(),
            meta: String::new(),
        }
    }

    #[tokio::test]
    async fn the_oldest_blocks_of_all_tenants_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let meta = Meta::open(folder.path(), "node").await.unwrap();
        let blocks =
            [("a", [block("a1", 100, 10), block("a2", 300, 10)]), ("b", [block("b1", 200, 10), block("b2", 400, 10)])];
        for (tenant, blocks) in blocks {
            let command =
                CatalogueCommand::CommitBlocks { tenant: tenant.into(), blocks: blocks.into(), flushed_until: None };
            meta.propose(command).await.unwrap();
        }
        let left = || -> Vec<String> {
            let catalogue = meta.view().catalogue.clone();
            catalogue.tenants.values().flat_map(|t| t.blocks.iter().map(|block| block.id.clone())).collect()
        };
        assert_eq!(shrink(&meta, 40).await.unwrap(), 0);
        assert_eq!(shrink(&meta, 25).await.unwrap(), 2);
        assert_eq!(left(), ["a2", "b2"]);
        assert_eq!(shrink(&meta, 1).await.unwrap(), 1);
        assert_eq!(left(), ["b2"], "the newest stays");
    }
}
