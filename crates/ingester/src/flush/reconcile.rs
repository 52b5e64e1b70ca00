//! Finds samples of this head that are already in blocks and marks them as flushed, so that they leave memory after the grace
//! period. There are three ways, each safe by itself:
//!
//! 1. A block was made of a cut of this head and the process crashed before the mark. The block names the cut.
//! 2. The unflushed samples equal what the newest blocks contain ([`super::coverage`]). That is the normal case of a replica.
//! 3. A replica may differ forever, because it has samples that were never acknowledged, or that the leader has lost. It
//!    reads the blocks and ships what none of them has ([`super::unmatched`]).
//!
//! Samples that a new leader cannot match with blocks are flushed as a delta block. A sample may then be in two blocks,
//! which readers merge, and none is lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_cluster::TenantCatalogue;
use pharos_head::WindowInfo;
use pharos_model::ShardSet;

use super::coverage::WindowBlocks;
use super::error::{FlushError, blocking};
use super::tenant::Flushing;

/// The last comparison of each window, which need not be repeated, by start of the window.
pub(super) type Reconciled = BTreeMap<i64, Tried>;

/// What the outcome of a comparison depends on.
#[derive(PartialEq, Eq)]
pub(super) struct Tried {
    newest_block: u64,
    newest_deletion: u64,
    shards: ShardSet,
    unflushed_samples: u64,
    newest_append_ms: i64,
}

/// Reconciles some windows of a tenant.
pub(super) async fn windows(
    at: &Flushing<'_>,
    windows: &[WindowInfo],
    reconciled: &mut Reconciled,
) -> Result<(), FlushError> {
    let is_known = |start: &i64| windows.iter().any(|w| w.start == *start && !w.shards.is_empty());
    reconciled.retain(|start, _| is_known(start));
    at.known.lock().verified.retain(|start, _| is_known(start));
    let view = at.ingester.meta.view();
    let catalogue = view.catalogue.tenant(at.tenant.as_str());
    for info in windows.iter().filter(|w| w.unflushed_samples > 0) {
        window(at, catalogue, info, reconciled).await?;
    }
    Ok(())
}

/// Reconciles one window.
pub(super) async fn window(
    at: &Flushing<'_>,
    catalogue: Option<&Arc<TenantCatalogue>>,
    info: &WindowInfo,
    reconciled: &mut Reconciled,
) -> Result<(), FlushError> {
    let blocks = WindowBlocks::of(catalogue, info);
    if blocks.is_empty() {
        return Ok(());
    }
    mark_committed_cuts(at, info, &blocks).await?;
    let newest_deletion = catalogue.map_or(0, |known| known.newest_deletion());
    if at.ingester.head.last_deletion(at.tenant) != newest_deletion {
        // Memory is about to apply it, or the view to learn of it.
        return Ok(());
    }
    let candidates: ShardSet =
        info.shards.iter().filter(|held| blocks.may_cover(held)).map(|held| held.shard).collect();
    let trying = Tried {
        newest_block: blocks.newest(),
        newest_deletion,
        shards: candidates.clone(),
        unflushed_samples: info.unflushed_samples,
        newest_append_ms: info.newest_append_ms,
    };
    if candidates.is_empty() || reconciled.get(&info.start) == Some(&trying) {
        return Ok(());
    }
    let (shared, of, start) = (at.ingester.clone(), at.tenant.clone(), info.start);
    let digest = blocking(move || Ok(shared.head.digest(&of, start, &candidates))).await?;
    if digest.deletions != newest_deletion {
        // The view masks blocks by other deletions than those that memory has seen. The next round compares them again.
        return Ok(());
    }
    let mut found: BTreeMap<u64, ShardSet> = BTreeMap::new();
    let mut covered = ShardSet::new();
    for (shard, held) in digest.shards {
        let Some(sequences) = blocks.cover(shard, held) else { continue };
        covered.insert(shard);
        for sequence in sequences {
            found.entry(sequence).or_default().insert(shard);
        }
    }
    if !covered.is_empty() {
        at.ingester.head.mark_flushed_cut(at.tenant, start, digest.number, &covered).await?;
        at.ingester.metrics.matched.inc_by(covered.len() as u64);
        tracing::debug!(tenant = %at.tenant, window = start, shards = %covered, "found samples in blocks of other nodes; marking them flushed");
    }
    let mut known = at.known.lock();
    let verified = known.verified.entry(start).or_default();
    for block in blocks.of_same_window() {
        if let Some(shards) = found.get(&block.sequence) {
            let of_block = verified.entry(block.id.clone()).or_default();
            *of_block = of_block.union(shards);
        }
    }
    drop(known);
    reconciled.insert(start, trying);
    Ok(())
}

/// Marks cuts of this head that were committed but not marked, because the process crashed in between.
///
/// The cut must be one of this memory: after the log was lost, or the window or the shard has come back, memory has none of
/// the samples of earlier cuts.
async fn mark_committed_cuts(
    at: &Flushing<'_>,
    info: &WindowInfo,
    blocks: &WindowBlocks<'_>,
) -> Result<(), FlushError> {
    let cuts = blocks.of_same_window().filter_map(|block| Some((block, block.cut.as_ref()?)));
    for (block, cut) in cuts.filter(|(_, cut)| cut.ingester == at.ingester.config.identity) {
        let held = block.shards.iter().copied().collect::<ShardSet>().intersection(&info.unflushed());
        let is_unmarked = |shard: &u32| info.has_cut(*shard, cut.number) && info.flushed_cut(*shard) < cut.number;
        let shards: ShardSet = held.iter().filter(is_unmarked).collect();
        if !shards.is_empty() {
            tracing::info!(tenant = %at.tenant, window = info.start, cut = cut.number, %shards, "window was committed before a crash; marking it flushed");
            at.ingester.head.mark_flushed_cut(at.tenant, info.start, cut.number, &shards).await?;
        }
    }
    Ok(())
}
