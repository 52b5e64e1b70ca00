//! The flush of one window: cut, write, upload, commit, mark.
//!
//! After a crash at any point the window is either committed, which the catalogue reveals by the cut's number, or cut again.
//! An upload that was not committed is garbage. Nothing is lost and nothing is flushed twice.
//!
//! A commit names the shards of the cut with the epochs under which this node led them. Meta refuses it if another node
//! leads one of those shards now, or has led it since. The upload is garbage then, and the new leader flushes the samples. If meta does
//! not answer a commit, it is repeated before the window is cut again, so that no sample gets into two blocks.
//!
//! A block names the newest deletion that its cut has seen. Deletions that are made later mask it, whenever it is committed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pharos_block::{BlockError, BlockWriter, FinishedBlock, WriterOptions};
use pharos_cluster::{BlockEntry, Command, CutId, MetaError, View};
use pharos_head::WindowCut;
use pharos_model::hash::name_hash;
use pharos_model::{BlockDigest, Exemplar, Labels, Metadata, ShardDigest, ShardSet, TenantId};
use ulid::Ulid;

use super::coverage::WindowBlocks;
use super::error::{FlushError, blocking};
use super::reconcile;
use crate::Ingester;

/// The protocol from which on nodes find blocks in escaped folders of tenants.
const ESCAPED_FOLDER_PROTOCOL: u32 = 1;

/// An uploaded block whose commit may or may not have taken effect.
pub(crate) struct PendingCommit {
    command: Command,
    number: u32,
    shards: ShardSet,
}

/// Commits without an answer, by tenant and start of the window.
pub(crate) type PendingCommits = parking_lot::Mutex<BTreeMap<(TenantId, i64), PendingCommit>>;

/// Flushes the unflushed samples of a window in the shards that this node leads.
pub(super) async fn flush_window(ingester: &Arc<Ingester>, tenant: &TenantId, window: i64) -> Result<(), FlushError> {
    let _one_at_a_time = ingester.flushing.lock().await;
    let view = ingester.meta.view();
    resolve_pending(ingester, tenant, window).await?;
    let info = || ingester.head.windows(tenant).into_iter().find(|w| w.start == window);
    let catalogue = view.catalogue.tenant(tenant.as_str());
    let Some(known) = info() else { return Ok(()) };
    reconcile::window(ingester, tenant, catalogue, &known).await?;
    // A shard and window have one main block; later samples go to a delta block.
    let led = ingester.led_in(&view);
    let covered = WindowBlocks::of(catalogue, &known).covered();
    let Some(unflushed) = info().map(|w| w.unflushed()) else { return Ok(()) };
    let main = led.difference(&covered);
    let late = unflushed.intersection(&led).intersection(&covered);
    if !unflushed.is_disjoint(&main) {
        ship(ingester, &view, tenant, window, main, false).await?;
    }
    if !late.is_empty() {
        ship(ingester, &view, tenant, window, late, true).await?;
    }
    Ok(())
}

/// Repeats the window's unanswered block commit, if there is one.
async fn resolve_pending(ingester: &Ingester, tenant: &TenantId, window: i64) -> Result<(), FlushError> {
    let pending = ingester.pending_commits.lock().remove(&(tenant.clone(), window));
    match pending {
        Some(pending) => commit(ingester, tenant, window, pending).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Flushes the unflushed samples of some shards of a window, which this node led in `view`.
async fn ship(
    ingester: &Arc<Ingester>,
    view: &View,
    tenant: &TenantId,
    window: i64,
    shards: ShardSet,
    delta: bool,
) -> Result<(), FlushError> {
    let began = ingester.clock.monotonic();
    let (shared, id, cut_shards) = (ingester.clone(), new_id(ingester), shards.clone());
    let of = tenant.clone();
    let (cut, block, digests) = blocking(move || {
        let cut = shared.head.cut(&of, window, &cut_shards);
        shared.head.commit().wait()?;
        let failed = |source| FlushError::Block { tenant: of.clone(), window, source };
        let (block, digests) = write_block(&shared, &cut, id).map_err(failed)?;
        Ok((cut, block, digests))
    })
    .await?;
    if block.meta.series == 0 {
        return Ok(ingester.head.mark_flushed(&cut).await?);
    }
    let failed = |source| FlushError::Block { tenant: tenant.clone(), window, source };
    pharos_block::upload(&*ingester.objects, &block.meta.folder(), &block).await.map_err(failed)?;
    let command = Command::ShipBlocks {
        node: ingester.config.identity.clone(),
        cut: shards.iter().map(|shard| (shard, view.epoch(shard))).collect(),
        tenant: tenant.as_str().to_string(),
        blocks: vec![entry(ingester, &cut, &block, digests, delta)],
        deletions: cut.deletions(),
        as_replica: false,
    };
    let is_live = commit(ingester, tenant, window, PendingCommit { command, number: cut.number(), shards }).await?;
    if is_live {
        let metrics = &ingester.metrics;
        metrics.blocks.inc();
        metrics.block_bytes.inc_by(block.meta.bytes());
        metrics.block_samples.inc_by(block.meta.samples + block.meta.histograms);
        let seconds = (ingester.clock.monotonic() - began).as_secs_f64();
        metrics.seconds.observe(seconds);
        tracing::info!(
            %tenant, window, block = %block.meta.id, series = block.meta.series, samples = block.meta.samples,
            bytes = block.meta.bytes(), seconds, "flushed window"
        );
    }
    Ok(())
}

/// Commits an uploaded block and marks its samples as flushed. Returns false if meta refused it for good.
async fn commit(ingester: &Ingester, tenant: &TenantId, window: i64, block: PendingCommit) -> Result<bool, FlushError> {
    match ingester.meta.propose(block.command.clone()).await {
        Ok(_) => {
            ingester.head.mark_flushed_cut(tenant, window, block.number, &block.shards).await?;
            Ok(true)
        }
        Err(MetaError::Refused(refusal)) => {
            ingester.metrics.refused.inc();
            tracing::info!(%tenant, window, %refusal, "discarding uploaded block; its samples stay in memory and are flushed again if this node leads");
            Ok(false)
        }
        Err(error) => {
            ingester.pending_commits.lock().insert((tenant.clone(), window), block);
            Err(error.into())
        }
    }
}

/// A unique block id. Within a process a counter distinguishes blocks of the same millisecond. Across nodes the
/// identity does, and across restarts of a node the time since the start.
fn new_id(ingester: &Ingester) -> Ulid {
    let counter = ingester.ids.fetch_add(1, Ordering::Relaxed) as u16;
    let since_start = ingester.clock.monotonic().as_nanos() as u64 & 0xffff_ffff;
    let node = name_hash(&ingester.config.identity) as u32;
    let random = u128::from(counter) << 64 | u128::from(since_start) << 32 | u128::from(node);
    Ulid::from_parts(ingester.clock.now_ms().max(0) as u64, random)
}

/// Writes the block of a cut, and computes the digest of each of its shards.
fn write_block(
    ingester: &Ingester,
    cut: &WindowCut,
    id: Ulid,
) -> Result<(FinishedBlock, Vec<BlockDigest>), BlockError> {
    let window = cut.window();
    let mut options = WriterOptions::new(id, cut.tenant().clone(), window.start, window.end);
    options.shards_total = ingester.config.shards_total;
    options.shards = Some(cut.shards().iter().collect());
    options.sequence = id.timestamp_ms();
    options.deletions_seen = cut.deletions();
    options.escaped_folder = ingester.meta.view().supports(ESCAPED_FOLDER_PROTOCOL).is_ok();
    let mut writer = BlockWriter::new(options)?;
    let families: HashMap<String, Metadata> = ingester.head.metadata(cut.tenant()).into_iter().collect();
    let mut exemplars: BTreeMap<&Labels, &[Exemplar]> =
        cut.exemplars().iter().map(|s| (&s.labels, s.exemplars.as_slice())).collect();
    let mut digests: BTreeMap<u32, ShardDigest> = BTreeMap::new();
    cut.for_each(|series| {
        digests.entry(series.shard).or_default().absorb(series.digest());
        let metadata = family_of(&families, series.labels.metric_name());
        writer.push(series.labels, series.hash, metadata, series.samples)?;
        match exemplars.remove(series.labels) {
            Some(found) => writer.push_exemplars(found),
            None => Ok(()),
        }
    })?;
    let digests = digests.into_iter().map(|(shard, held)| BlockDigest { shard, held, whole: None });
    Ok((writer.finish()?, digests.collect()))
}

/// The metadata of the family of a series. Series of histograms and summaries have suffixes.
fn family_of<'a>(families: &'a HashMap<String, Metadata>, name: &str) -> Option<&'a Metadata> {
    let base = || ["_bucket", "_sum", "_count", "_total"].iter().find_map(|s| families.get(name.strip_suffix(s)?));
    families.get(name).or_else(base)
}

fn entry(
    ingester: &Ingester,
    cut: &WindowCut,
    block: &FinishedBlock,
    digests: Vec<BlockDigest>,
    delta: bool,
) -> BlockEntry {
    let meta = &block.meta;
    BlockEntry {
        id: meta.id.to_string(),
        window_start: meta.window_start,
        window_end: meta.window_end,
        min_t: meta.min_t,
        max_t: meta.max_t,
        shards: meta.shards.clone(),
        delta,
        sequence: 0,
        bytes: meta.bytes(),
        series: meta.series,
        samples: meta.samples + meta.histograms,
        resolution_ms: meta.resolution,
        cut: Some(CutId { ingester: ingester.config.identity.clone(), number: cut.number() }),
        digests,
        deletions_seen: Some(cut.deletions()),
        meta: String::from_utf8_lossy(&meta.to_bytes()).into_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
