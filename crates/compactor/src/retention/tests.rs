//! Retention by age and by size.

use tempfile::TempDir;

use super::*;
use crate::test_blocks::block;

/// A single node whose catalogue lists blocks of two tenants: a1, b1, a2 and b2 end at 100, 200, 300 and 400 and have ten
/// bytes each.
async fn with_blocks() -> (TempDir, Meta) {
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "node").await.unwrap();
    for (tenant, blocks) in [("a", [("a1", 100), ("a2", 300)]), ("b", [("b1", 200), ("b2", 400)])] {
        let blocks = blocks.iter().map(|(id, max_t)| block(id, *max_t, 10)).collect();
        let command = CatalogueCommand::CommitBlocks { tenant: tenant.into(), blocks, flushed_until: None };
        meta.propose(command).await.unwrap();
    }
    (folder, meta)
}

fn left(meta: &Meta) -> Vec<String> {
    let catalogue = meta.view().catalogue.clone();
    catalogue.tenants.values().flat_map(|t| t.blocks.iter().map(|block| block.id.clone())).collect()
}

#[tokio::test]
async fn blocks_within_the_limit_stay() {
    let (_folder, meta) = with_blocks().await;
    assert_eq!(shrink(&meta, 40).await.unwrap(), 0);
    assert_eq!(left(&meta), ["a1", "a2", "b1", "b2"]);
}

#[tokio::test]
async fn the_oldest_blocks_of_all_tenants_go_first() {
    let (_folder, meta) = with_blocks().await;
    assert_eq!(shrink(&meta, 25).await.unwrap(), 2);
    assert_eq!(left(&meta), ["a2", "b2"]);
}

#[tokio::test]
async fn the_newest_block_stays_whatever_the_limit() {
    let (_folder, meta) = with_blocks().await;
    assert_eq!(shrink(&meta, 1).await.unwrap(), 3);
    assert_eq!(left(&meta), ["b2"]);
    assert_eq!(shrink(&meta, 0).await.unwrap(), 0);
}

#[tokio::test]
async fn an_empty_catalogue_cannot_shrink() {
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "node").await.unwrap();
    assert_eq!(shrink(&meta, 0).await.unwrap(), 0);
}

#[tokio::test]
async fn blocks_that_end_before_the_horizon_expire() {
    let (_folder, meta) = with_blocks().await;
    assert_eq!(expire(&meta, 231, 30).await.unwrap(), 2);
    assert_eq!(left(&meta), ["a2", "b2"]);
}

#[tokio::test]
async fn a_block_that_ends_at_the_horizon_stays() {
    let (_folder, meta) = with_blocks().await;
    assert_eq!(expire(&meta, 130, 30).await.unwrap(), 0);
    assert_eq!(left(&meta).len(), 4);
}

#[tokio::test]
async fn time_counts_up_to_the_newest_sample() {
    let (_folder, meta) = with_blocks().await;
    assert_eq!(expire(&meta, i64::MAX, 300).await.unwrap(), 0);
    assert_eq!(expire(&meta, i64::MAX, 199).await.unwrap(), 2);
    assert_eq!(left(&meta), ["a2", "b2"]);
}
