//! Finds samples of this head that are already in blocks and marks them as flushed, so that they leave memory after the grace
//! period. There are three ways, each safe by itself:
//!
//! 1. A block was made of a cut of this head and the process crashed before the mark. The block names the cut.
//! 2. The unflushed samples equal what the newest blocks contain ([`super::coverage`]). That is the normal case of a replica.
//! 3. A replica may differ forever, because it has samples that were never acknowledged, or caught up while the window was
//!    flushed. It starts a new cut, waits longer than any write takes, and asks the leader whether it has unflushed samples
//!    of the shard and window ([`super::unmatched`]). If not, every acknowledged sample below the cut is in a block.
//!
//! Samples that a new leader cannot match with blocks are flushed as a delta block. A sample may then be in two blocks,
//! which readers merge, and none is lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pharos_cluster::TenantCatalogue;
use pharos_head::WindowInfo;
use pharos_model::{ShardSet, TenantId};

use super::coverage::WindowBlocks;
use super::error::{FlushError, blocking};
use super::unmatched;
use crate::Ingester;
use crate::completeness::Verified;

/// Something per window: by tenant and start of the window.
type ByWindow<T> = HashMap<TenantId, BTreeMap<i64, T>>;

/// What is remembered between rounds.
#[derive(Default)]
pub(crate) struct Reconciled {
    /// The last comparison of each window, which need not be repeated.
    tried: ByWindow<Tried>,
    /// Blocks of other nodes, by sequence, with the shards whose samples were found in memory.
    verified: ByWindow<BTreeMap<u64, ShardSet>>,
    /// Windows that differ from their blocks.
    pub(super) unmatched: ByWindow<unmatched::UnmatchedWindow>,
}

/// What the outcome of a comparison depends on.
#[derive(PartialEq, Eq)]
struct Tried {
    newest_block: u64,
    newest_deletion: u64,
    shards: ShardSet,
    unflushed_samples: u64,
    newest_append_ms: i64,
}

impl Reconciled {
    /// The blocks of other nodes whose samples were found in memory.
    pub(crate) fn verified(&self, tenant: &TenantId) -> Option<&Verified> {
        self.verified.get(tenant)
    }

    /// Forgets the shards of a window whose flushed samples left memory.
    pub(super) fn dropped(&mut self, tenant: &TenantId, window: i64, shards: &ShardSet) {
        if let Some(verified) = self.verified.get_mut(tenant).and_then(|windows| windows.get_mut(&window)) {
            verified.values_mut().for_each(|found| *found = found.difference(shards));
            verified.retain(|_, found| !found.is_empty());
        }
    }

    /// Forgets windows that have left memory.
    fn keep(&mut self, tenant: &TenantId, windows: &[WindowInfo]) {
        fn keep<T>(of: &mut ByWindow<T>, tenant: &TenantId, is_known: impl Fn(&i64) -> bool) {
            if let Some(known) = of.get_mut(tenant) {
                known.retain(|start, _| is_known(start));
            }
        }
        let is_known = |start: &i64| windows.iter().any(|w| w.start == *start && !w.shards.is_empty());
        keep(&mut self.tried, tenant, is_known);
        keep(&mut self.verified, tenant, is_known);
        keep(&mut self.unmatched, tenant, is_known);
    }
}

/// Reconciles all windows of a tenant.
pub(super) async fn tenant(ingester: &Arc<Ingester>, tenant: &TenantId) -> Result<(), FlushError> {
    let windows = ingester.head.windows(tenant);
    ingester.reconciled.lock().keep(tenant, &windows);
    let is_open = |start: i64| windows.iter().any(|w| w.start == start && w.unflushed_samples > 0);
    ingester.pending_commits.lock().retain(|(of, start), _| of != tenant || is_open(*start));
    let view = ingester.meta.view();
    let catalogue = view.catalogue.tenant(tenant.as_str());
    for info in windows.iter().filter(|w| w.unflushed_samples > 0) {
        window(ingester, tenant, catalogue, info).await?;
    }
    unmatched::note(ingester, tenant, &view, &ingester.head.windows(tenant));
    Ok(())
}

/// Reconciles one window.
pub(super) async fn window(
    ingester: &Arc<Ingester>,
    tenant: &TenantId,
    catalogue: Option<&Arc<TenantCatalogue>>,
    info: &WindowInfo,
) -> Result<(), FlushError> {
    let blocks = WindowBlocks::of(catalogue, info);
    if blocks.is_empty() {
        return Ok(());
    }
    mark_committed_cuts(ingester, tenant, info, &blocks).await?;
    let newest_deletion = catalogue.map_or(0, |known| known.newest_deletion());
    if ingester.head.last_deletion(tenant) != newest_deletion {
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
    if candidates.is_empty()
        || ingester.reconciled.lock().tried.entry(tenant.clone()).or_default().get(&info.start) == Some(&trying)
    {
        return Ok(());
    }
    let (shared, of, start) = (ingester.clone(), tenant.clone(), info.start);
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
        ingester.head.mark_flushed_cut(tenant, start, digest.number, &covered).await?;
        ingester.metrics.matched.inc_by(covered.len() as u64);
        tracing::debug!(%tenant, window = start, shards = %covered, "found samples in blocks of other nodes; marking them flushed");
    }
    let mut reconciled = ingester.reconciled.lock();
    let verified = reconciled.verified.entry(tenant.clone()).or_default().entry(start).or_default();
    for (sequence, shards) in found {
        let known = verified.entry(sequence).or_default();
        *known = known.union(&shards);
    }
    reconciled.tried.entry(tenant.clone()).or_default().insert(start, trying);
    Ok(())
}

/// Marks cuts of this head that were committed but not marked, because the process crashed in between.
async fn mark_committed_cuts(
    ingester: &Ingester,
    tenant: &TenantId,
    info: &WindowInfo,
    blocks: &WindowBlocks<'_>,
) -> Result<(), FlushError> {
    let mine = blocks.iter().filter_map(|block| Some((block, block.cut.as_ref()?)));
    for (block, cut) in mine.filter(|(_, cut)| cut.ingester == ingester.config.identity) {
        let held = block.shards.iter().copied().collect::<ShardSet>().intersection(&info.unflushed());
        let shards: ShardSet = held.iter().filter(|shard| info.flushed_cut(*shard) < cut.number).collect();
        if !shards.is_empty() {
            tracing::info!(%tenant, window = info.start, cut = cut.number, %shards, "window was committed before a crash; marking it flushed");
            ingester.head.mark_flushed_cut(tenant, info.start, cut.number, &shards).await?;
        }
    }
    Ok(())
}
