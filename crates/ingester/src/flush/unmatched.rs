//! Windows whose samples on this replica differ from the blocks that should contain them. The replica compares them with the
//! blocks, sample by sample, and ships what no block shows as a delta block.
//!
//! So samples leave memory only when a listed, readable block has them, whatever another node knows or has lost. It takes an
//! in-sync replica: what it holds is acknowledged, or never was and does no harm. A comparison concerns the
//! samples below a number that was drawn so long ago that every write of them has succeeded or failed.
//!
//! There are two occasions. A window ended long ago, and this replica still has *unflushed* samples of a shard that another node
//! leads: they match no digest, or the leader has lost them. Or the block of *flushed* samples is not listed any more,
//! although nobody removed it: after a grace period, in which it may be listed again, they are treated like unflushed ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pharos_cluster::{BlockEntry, View};
use pharos_head::WindowInfo;
use pharos_model::ShardSet;

use super::block;
use super::coverage::WindowBlocks;
use super::difference;
use super::error::{FlushError, blocking};
use super::policy::{Blocks, is_comparison_due};
use super::ship::{PendingCommits, Shipped, Upload, resolve_pending, upload_and_commit};
use super::tenant::Flushing;

/// Which samples of a window are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    /// Those that are not flushed.
    Unflushed,
    /// Those whose block is missing, flushed or not.
    Missing,
}

/// Some shards of a window that are to be compared with blocks.
pub(super) struct Comparison {
    /// The samples below this number are compared.
    number: u32,
    shards: ShardSet,
    /// When the number was drawn, on the monotonic clock.
    since: Duration,
}

/// By start of the window.
pub(super) type Comparisons = BTreeMap<(i64, Which), Comparison>;

/// Notes windows that have to be compared, and forgets those that were found in blocks meanwhile.
pub(super) fn note(
    at: &Flushing<'_>,
    view: &View,
    windows: &[WindowInfo],
    blocks: &Blocks,
    comparisons: &mut Comparisons,
) {
    let wanted = wanted(at, view, windows, blocks);
    comparisons.retain(|key, known| {
        known.shards = wanted.get(key).map_or(ShardSet::new(), |shards| known.shards.intersection(shards));
        !known.shards.is_empty()
    });
    for ((window, which), shards) in wanted {
        comparisons.entry((window, which)).or_insert_with(|| {
            tracing::debug!(tenant = %at.tenant, window, %shards, ?which, "samples match no block; will compare them with blocks");
            let number = at.ingester.head.end_generation(at.tenant, window);
            Comparison { number, shards, since: at.now() }
        });
    }
}

/// The shards of windows that differ from their blocks.
fn wanted(at: &Flushing<'_>, view: &View, windows: &[WindowInfo], blocks: &Blocks) -> BTreeMap<(i64, Which), ShardSet> {
    let (now_ms, led_by_others) = (at.ingester.clock.now_ms(), at.led_by_others(view));
    let mut wanted = BTreeMap::new();
    for window in windows {
        let width = window.end.saturating_sub(window.start);
        if window.unflushed_samples > 0 && window.end.saturating_add(width) <= now_ms {
            wanted.insert((window.start, Which::Unflushed), window.unflushed().intersection(&led_by_others));
        }
        let is_missing = |shard: &u32| {
            let known = blocks.get(&(window.start, *shard));
            known.is_some_and(|known| known.is_missing) && at.ingester.is_whole(view, *shard)
        };
        wanted.insert((window.start, Which::Missing), window.evictable().iter().filter(is_missing).collect());
    }
    wanted.retain(|_, shards: &mut ShardSet| !shards.is_empty());
    wanted
}

/// The comparisons whose wait is over, oldest window first.
pub(super) fn due(
    at: &Flushing<'_>,
    view: &View,
    windows: &[WindowInfo],
    comparisons: &Comparisons,
) -> Vec<(i64, Which)> {
    let of = |start: i64| windows.iter().find(|w| w.start == start);
    let is_due = |((start, which), known): &(&(i64, Which), &Comparison)| {
        of(*start).is_some_and(|window| !due_shards(at, view, window, *which, known).is_empty())
    };
    comparisons.iter().filter(is_due).map(|(key, _)| *key).collect()
}

fn due_shards(at: &Flushing<'_>, view: &View, window: &WindowInfo, which: Which, known: &Comparison) -> ShardSet {
    let (config, width) = (&at.ingester.config, window.end.saturating_sub(window.start));
    if which == Which::Missing {
        let is_over = at.now() >= known.since.saturating_add(config.forget_after.max(config.grace));
        return if is_over { known.shards.clone() } else { ShardSet::new() };
    }
    let is_due = |has_main| is_comparison_due(known.since, config.forget_after, width, has_main, at.now());
    if !is_due(true) {
        return ShardSet::new();
    }
    let covered = WindowBlocks::of(view.catalogue.tenant(at.tenant.as_str()), window).covered();
    known.shards.iter().filter(|shard| is_due(covered.contains(*shard))).collect()
}

/// Compares a window with the listed blocks, ships what they do not show, and marks all of it as flushed.
pub(super) async fn resolve(
    at: &Flushing<'_>,
    (window, which): (i64, Which),
    comparisons: &mut Comparisons,
    pending: &mut PendingCommits,
) -> Result<Shipped, FlushError> {
    let (ingester, began) = (at.ingester, at.now());
    let view = ingester.meta.view();
    at.apply_deletions(&view).await?;
    resolve_pending(at, window, pending).await?;
    let info = ingester.head.windows(at.tenant).into_iter().find(|w| w.start == window);
    let (Some(known), Some(info)) = (comparisons.get_mut(&(window, which)), info) else { return Ok(Shipped::Done) };
    let shards = due_shards(at, &view, &info, which, known);
    let cut = Arc::new(cut(at, window, which, &shards, known.number).await?);
    let _memory = at.reserve_memory(&cut).await;
    let catalogue = view.catalogue.tenant(at.tenant.as_str());
    if cut.deletions() != view.catalogue.newest_deletion(at.tenant.as_str()) {
        // The view masks blocks by other deletions than those that memory has seen.
        return Ok(Shipped::Later);
    }
    let blocks = WindowBlocks::of(catalogue, &info).with_some_of(&shards);
    let found = difference::write(at, &cut, catalogue.map(Arc::as_ref), &blocks).await?;
    let samples: u64 = found.written.digests.values().map(|digest| digest.samples).sum();
    if !is_listed(&ingester.meta.view(), at, &blocks) {
        return Ok(Shipped::Later);
    }
    let shipped = if samples > 0 {
        let entry = block::entry(ingester, &cut, &found.written, true, &found.compared);
        let upload = Upload { cut: &cut, written: found.written, entry, as_replica: true, began };
        upload_and_commit(at, &view, upload, pending).await?
    } else {
        ingester.head.mark_flushed(&cut).await?;
        Shipped::Done
    };
    if shipped != Shipped::Done {
        // The next comparison draws another number.
        comparisons.remove(&(window, which));
        return Ok(shipped);
    }
    ingester.metrics.differing.inc_by(shards.len() as u64);
    ingester.metrics.difference_samples.inc_by(samples);
    tracing::info!(
        tenant = %at.tenant, window, %shards, samples, blocks = blocks.len(),
        "samples differed from their blocks; shipped those that no block had and marked all as flushed"
    );
    known.shards = known.shards.difference(&shards);
    if known.shards.is_empty() {
        comparisons.remove(&(window, which));
    }
    at.known.lock().listing.recovered(&info, &shards);
    Ok(Shipped::Done)
}

async fn cut(
    at: &Flushing<'_>,
    window: i64,
    which: Which,
    shards: &ShardSet,
    number: u32,
) -> Result<pharos_head::WindowCut, FlushError> {
    let (shared, tenant, shards) = (at.ingester.clone(), at.tenant.clone(), shards.clone());
    blocking(move || {
        let cut = match which {
            Which::Unflushed => shared.head.cut_below(&tenant, window, &shards, number),
            Which::Missing => shared.head.cut_all_below(&tenant, window, &shards, number),
        };
        // The number must survive a crash that follows the commit.
        shared.head.commit().wait()?;
        Ok(cut)
    })
    .await
}

/// Whether a view still lists blocks.
fn is_listed(view: &View, at: &Flushing<'_>, blocks: &[&BlockEntry]) -> bool {
    let listed = view.catalogue.tenant(at.tenant.as_str());
    let is_live = |id: &str| listed.is_some_and(|known| known.blocks.iter().any(|block| block.id == id));
    blocks.iter().all(|block| is_live(&block.id))
}

#[cfg(test)]
mod tests;
