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

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_block::{BlockMeta, is_uploaded};
use pharos_cluster::state::Refusal;
use pharos_cluster::{BlockEntry, Command, MetaError, View};
use pharos_head::WindowCut;
use pharos_model::{ShardDigest, ShardSet};

use super::block::{self, WrittenBlock};
use super::coverage::WindowBlocks;
use super::error::{FlushError, blocking};
use super::reconcile::{self, Reconciled};
use super::tenant::Flushing;

/// An upload that is older than this is looked at before it is committed: by then garbage collection may take it for
/// abandoned.
const TRUSTED_UPLOAD_AGE: Duration = Duration::from_secs(120);

/// An uploaded block whose commit may or may not have taken effect.
pub(super) struct PendingCommit {
    pub(super) command: Command,
    pub(super) number: u32,
    pub(super) shards: ShardSet,
    /// When its upload began, on the monotonic clock.
    pub(super) uploaded: Duration,
}

/// Commits without an answer, by start of the window.
pub(super) type PendingCommits = BTreeMap<i64, PendingCommit>;

/// What became of a window that was due.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shipped {
    /// All of it is in blocks.
    Done,
    /// Meta refused a block. The next view tells why, and who ships the samples.
    Refused(Refusal),
    /// The blocks changed meanwhile; it has to be looked at again.
    Later,
}

/// Flushes the unflushed samples of a window in the shards that this node leads.
pub(super) async fn flush_window(
    at: &Flushing<'_>,
    window: i64,
    pending: &mut PendingCommits,
    reconciled: &mut Reconciled,
) -> Result<Shipped, FlushError> {
    let ingester = at.ingester;
    let view = ingester.meta.view();
    resolve_pending(at, window, pending).await?;
    let info = || ingester.head.windows(at.tenant).into_iter().find(|w| w.start == window);
    let catalogue = view.catalogue.tenant(at.tenant.as_str());
    let Some(known) = info() else { return Ok(Shipped::Done) };
    reconcile::window(at, catalogue, &known, reconciled).await?;
    // A shard and window have one main block; later samples go to a delta block.
    let led = ingester.led_in(&view);
    let covered = WindowBlocks::of(catalogue, &known).covered();
    let Some(unflushed) = info().map(|w| w.unflushed()) else { return Ok(Shipped::Done) };
    let main = led.difference(&covered);
    let late = unflushed.intersection(&led).intersection(&covered);
    let mut shipped = Shipped::Done;
    if !unflushed.is_disjoint(&main) {
        shipped = ship(at, &view, window, main, false, pending).await?;
    }
    if !late.is_empty() && shipped == Shipped::Done {
        shipped = ship(at, &view, window, late, true, pending).await?;
    }
    Ok(shipped)
}

/// Repeats the window's unanswered block commit, if there is one.
pub(super) async fn resolve_pending(
    at: &Flushing<'_>,
    window: i64,
    pending: &mut PendingCommits,
) -> Result<(), FlushError> {
    let Some(known) = pending.get(&window) else { return Ok(()) };
    let is_old = at.now().saturating_sub(known.uploaded) >= TRUSTED_UPLOAD_AGE;
    if is_old && !is_still_there(at, window, &known.command).await? {
        pending.remove(&window);
        tracing::warn!(
            tenant = %at.tenant, window,
            "an uploaded block has lost files before its commit was answered; flushing the window again"
        );
        return Ok(());
    }
    match pending.remove(&window) {
        Some(known) => commit(at, window, pending, known).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Whether the object store has every file of the blocks of a commit.
async fn is_still_there(at: &Flushing<'_>, window: i64, command: &Command) -> Result<bool, FlushError> {
    let Command::ShipBlocks { blocks, .. } = command else { return Ok(true) };
    for entry in blocks {
        let failed = |source| FlushError::Block { tenant: at.tenant.clone(), window, source };
        let meta = BlockMeta::from_bytes(entry.meta.as_bytes()).map_err(failed)?;
        if !is_uploaded(&*at.ingester.objects, &meta).await.map_err(failed)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Flushes the unflushed samples of some shards of a window, which this node led in `view`.
pub(super) async fn ship(
    at: &Flushing<'_>,
    view: &View,
    window: i64,
    shards: ShardSet,
    delta: bool,
    pending: &mut PendingCommits,
) -> Result<Shipped, FlushError> {
    let began = at.now();
    let (shared, tenant) = (at.ingester.clone(), at.tenant.clone());
    let cut = blocking(move || {
        let cut = shared.head.cut(&tenant, window, &shards);
        shared.head.commit().wait()?;
        Ok(cut)
    })
    .await?;
    let _memory = at.reserve_memory(&cut).await;
    let (shared, tenant) = (at.ingester.clone(), at.tenant.clone());
    let (cut, written) = blocking(move || {
        let written = block::write(&shared, &cut).map_err(|source| FlushError::Block { tenant, window, source })?;
        Ok((cut, written))
    })
    .await?;
    if written.block.meta.series == 0 {
        at.ingester.head.mark_flushed(&cut).await?;
        return Ok(Shipped::Done);
    }
    let entry = block::entry(at.ingester, &cut, &written, delta, &BTreeMap::<u32, ShardDigest>::new());
    upload_and_commit(at, view, Upload { cut: &cut, written, entry, as_replica: false, began }, pending).await
}

/// A block that is to be uploaded.
pub(super) struct Upload<'a> {
    pub(super) cut: &'a WindowCut,
    pub(super) written: WrittenBlock,
    pub(super) entry: BlockEntry,
    pub(super) as_replica: bool,
    /// When the flush began, on the monotonic clock.
    pub(super) began: Duration,
}

/// Uploads a block, commits it and marks its samples as flushed.
pub(super) async fn upload_and_commit(
    at: &Flushing<'_>,
    view: &View,
    upload: Upload<'_>,
    pending: &mut PendingCommits,
) -> Result<Shipped, FlushError> {
    let Upload { cut, written, entry, as_replica, began } = upload;
    let (ingester, window, block) = (at.ingester, cut.window().start, &written.block);
    let uploaded = at.now();
    let failed = |source| FlushError::Block { tenant: at.tenant.clone(), window, source };
    pharos_block::upload(&*ingester.objects, &block.meta.folder(), block).await.map_err(failed)?;
    let command = Command::ShipBlocks {
        node: ingester.config.identity.clone(),
        cut: cut.shards().iter().map(|shard| (shard, view.epoch(shard))).collect(),
        tenant: at.tenant.as_str().to_string(),
        blocks: vec![entry],
        deletions: cut.deletions(),
        as_replica,
    };
    let commit_of = PendingCommit { command, number: cut.number(), shards: cut.shards().clone(), uploaded };
    let shipped = commit(at, window, pending, commit_of).await?;
    if shipped == Shipped::Done {
        let (meta, metrics) = (&block.meta, &ingester.metrics);
        metrics.blocks.inc();
        metrics.block_bytes.inc_by(meta.bytes());
        metrics.block_samples.inc_by(meta.samples + meta.histograms);
        let seconds = at.now().saturating_sub(began).as_secs_f64();
        metrics.seconds.observe(seconds);
        tracing::info!(
            tenant = %at.tenant, window, block = %meta.id, series = meta.series, samples = meta.samples,
            bytes = meta.bytes(), seconds, "flushed window"
        );
    }
    Ok(shipped)
}

/// Commits an uploaded block and marks its samples as flushed.
pub(super) async fn commit(
    at: &Flushing<'_>,
    window: i64,
    pending: &mut PendingCommits,
    block: PendingCommit,
) -> Result<Shipped, FlushError> {
    let (command, number, shards) = (block.command.clone(), block.number, block.shards.clone());
    // It stays until meta has answered and the answer is in the log, also if the caller stops waiting.
    pending.insert(window, block);
    match at.ingester.meta.propose(command).await {
        Ok(outcome) => {
            at.ingester.head.mark_flushed_cut(at.tenant, window, number, &shards).await?;
            pending.remove(&window);
            at.note_listing(&outcome.view);
            Ok(Shipped::Done)
        }
        Err(MetaError::Refused(refusal)) => {
            pending.remove(&window);
            at.ingester.metrics.refused.inc();
            Ok(Shipped::Refused(refusal))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
