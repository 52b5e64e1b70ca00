//! One window on its way into object storage: cut, write, upload, commit, mark.
//!
//! After a crash at any point the window is either committed, which the catalogue tells by the cut's number, or cut
//! again; an upload that was not committed is garbage. Nothing is lost and nothing is shipped twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pharos_block::{BlockError, BlockWriter, FinishedBlock, WriterOptions};
use pharos_head::{HeadError, WindowCut};
use pharos_meta::{BlockEntry, CatalogueCommand, CutId, MetaError};
use pharos_model::{Exemplar, Labels, Metadata, TenantId, WriteError};
use ulid::Ulid;

use crate::Ingester;

/// Why a window could not be shipped. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The block could not be written or uploaded.
    #[error("block of window {window} of tenant {tenant}: {source}")]
    Block {
        /// Whose.
        tenant: TenantId,
        /// Start of the window.
        window: i64,
        /// What failed.
        source: BlockError,
    },
    /// The catalogue did not take it.
    #[error("catalogue: {0}")]
    Meta(#[from] MetaError),
    /// The log did not take it.
    #[error("write-ahead log: {0}")]
    Log(#[from] WriteError),
    /// The head failed.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The work was broken off.
    #[error("broken off: {0}")]
    BrokenOff(String),
}

/// Runs work that blocks on a thread for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FlushError> + Send + 'static,
) -> Result<T, FlushError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| FlushError::BrokenOff(e.to_string()))?
}

/// Ships the unflushed samples of a window.
pub(super) async fn flush_window(ingester: &Arc<Ingester>, tenant: &TenantId, window: i64) -> Result<(), FlushError> {
    let _one_at_a_time = ingester.flushing.lock().await;
    let began = ingester.clock.monotonic();
    if make_up_for_a_crash(ingester, tenant, window).await? {
        return Ok(());
    }
    let shared = ingester.clone();
    let (of, id) = (tenant.clone(), new_id(ingester));
    let (cut, block) = blocking(move || {
        let cut = shared.head.cut(&of, window);
        shared.head.commit().wait()?;
        let failed = |source| FlushError::Block { tenant: of.clone(), window, source };
        let block = write_block(&shared, &cut, id).map_err(failed)?;
        Ok((cut, block))
    })
    .await?;
    if block.meta.series > 0 {
        let failed = |source| FlushError::Block { tenant: tenant.clone(), window, source };
        let folder = block.meta.folder();
        pharos_block::upload(&*ingester.objects, &folder, &block).await.map_err(failed)?;
        commit(ingester, &cut, &block).await?;
        let metrics = &ingester.metrics;
        metrics.blocks.inc();
        metrics.block_bytes.inc_by(block.meta.bytes());
        metrics.block_samples.inc_by(block.meta.samples + block.meta.histograms);
        let seconds = (ingester.clock.monotonic() - began).as_secs_f64();
        metrics.seconds.observe(seconds);
        tracing::info!(
            %tenant, window, block = %block.meta.id, series = block.meta.series, samples = block.meta.samples,
            bytes = block.meta.bytes(), seconds, "window shipped"
        );
    }
    Ok(ingester.head.mark_flushed(&cut).await?)
}

/// A name that no other block has: within this process a counter tells blocks of a millisecond apart, between processes
/// their numbers and the time since each began.
fn new_id(ingester: &Ingester) -> Ulid {
    let counter = ingester.ids.fetch_add(1, Ordering::Relaxed) as u16;
    let since_start = ingester.clock.monotonic().as_nanos() as u64 & 0xffff_ffff_ffff;
    let random = u128::from(counter) << 64 | u128::from(since_start) << 16 | u128::from(std::process::id() as u16);
    Ulid::from_parts(ingester.clock.now_ms().max(0) as u64, random)
}

/// Marks what a committed block holds although the head does not know, because the process died in between.
async fn make_up_for_a_crash(ingester: &Ingester, tenant: &TenantId, window: i64) -> Result<bool, FlushError> {
    let view = ingester.meta.view();
    let blocks = view.catalogue.tenant(tenant.as_str()).into_iter().flat_map(|t| &t.blocks);
    let mine = blocks.filter(|b| b.window_start == window).filter_map(|b| b.cut.as_ref());
    let committed = mine.filter(|cut| cut.ingester == ingester.config.identity).map(|cut| cut.number).max();
    let known = ingester.head.windows(tenant).iter().find(|w| w.start == window).map_or(0, |w| w.flushed);
    match committed {
        Some(number) if number > known => {
            tracing::info!(%tenant, window, cut = number, "window was committed before a crash");
            ingester.head.mark_flushed_cut(tenant, window, number).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn write_block(ingester: &Ingester, cut: &WindowCut, id: Ulid) -> Result<FinishedBlock, BlockError> {
    let window = cut.window();
    let mut options = WriterOptions::new(id, cut.tenant().clone(), window.start, window.end);
    options.shards_total = ingester.config.shards_total;
    options.shards = Some((0..ingester.config.shards_total).collect());
    options.sequence = id.timestamp_ms();
    let mut writer = BlockWriter::new(options)?;
    let families: HashMap<String, Metadata> = ingester.head.metadata(cut.tenant()).into_iter().collect();
    let mut exemplars: BTreeMap<&Labels, &[Exemplar]> =
        cut.exemplars().iter().map(|s| (&s.labels, s.exemplars.as_slice())).collect();
    cut.for_each(|series| {
        let metadata = family_of(&families, series.labels.metric_name());
        writer.push(series.labels, series.hash, metadata, series.samples)?;
        match exemplars.remove(series.labels) {
            Some(found) => writer.push_exemplars(found),
            None => Ok(()),
        }
    })?;
    writer.finish()
}

/// What is known of the family of a series; those of histograms and summaries have suffixes.
fn family_of<'a>(families: &'a HashMap<String, Metadata>, name: &str) -> Option<&'a Metadata> {
    let base = || ["_bucket", "_sum", "_count", "_total"].iter().find_map(|s| families.get(name.strip_suffix(s)?));
    families.get(name).or_else(base)
}

async fn commit(ingester: &Arc<Ingester>, cut: &WindowCut, block: &FinishedBlock) -> Result<(), FlushError> {
    let meta = &block.meta;
    let view = ingester.meta.view();
    let live = view.catalogue.tenant(meta.tenant.as_str()).into_iter().flat_map(|t| &t.blocks);
    let delta = live.into_iter().any(|b| b.window_start == meta.window_start && !b.delta);
    let entry = BlockEntry {
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
        meta: String::from_utf8_lossy(&meta.to_bytes()).into_owned(),
    };
    let boundary = (!delta).then_some(meta.window_end);
    let tenant = meta.tenant.as_str().to_string();
    ingester.meta.propose(CatalogueCommand::CommitBlocks { tenant, blocks: vec![entry], boundary }).await?;
    Ok(())
}
