//! What a learner took before it began to learn, where blocks show something else.
//!
//! A learner keeps what it has, because it may be the last copy. But it also took values that no leader has decided about, when
//! the leader could not be reached, and the source of a copy says nothing about timestamps that it has flushed and evicted. A
//! value that differs there from what blocks show was refused, or its write failed. This node, once in sync, would ship it in a
//! later block, which wins; so it gives such values up before it asks for promotion.
//!
//! A source that has lost samples says nothing by its silence: what this node has may have been acknowledged with the source
//! alone. Then it keeps everything.
//!
//! A write may be under way when the learning begins, and its value may rightly replace the block's. So what is compared lies
//! below a number that was drawn then, and is compared once every such write has ended; another copy brings back what the source
//! has accepted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pharos_head::{AppendError, CutSeries};
use pharos_model::write::HistogramSample;
use pharos_model::{Sample, SeriesView, ShardSet, TenantId, WriteBatch};

use super::copy::{Copy, CopyError, blocking};
use crate::flush::coverage::WindowBlocks;
use crate::flush::difference::Comparison;

/// How often a window is compared again because a deletion came in between.
const MAX_ATTEMPTS: usize = 10;

/// Samples of some shards of a window that blocks do not account for.
struct Leftover {
    shards: ShardSet,
    /// The samples below this number are compared.
    number: u32,
    /// When the number was drawn, on the monotonic clock.
    since: Duration,
}

impl Copy {
    /// Gives up what differs from blocks. Returns how many samples these were.
    pub(super) async fn give_up_leftovers(&self) -> Result<u64, CopyError> {
        let found = self.find().await?;
        let mut given_up = 0;
        for ((tenant, window), leftover) in found {
            // Usually it is only more than the others have.
            if self.compare(&tenant, window, &leftover, false).await? > 0 {
                let ends = leftover.since.saturating_add(self.ingester.config.forget_after);
                self.ingester.clock.sleep_until(ends).await;
                given_up += self.compare(&tenant, window, &leftover, true).await?;
            }
        }
        Ok(given_up)
    }

    /// The windows in which digests do not show that blocks have all samples.
    async fn find(&self) -> Result<BTreeMap<(TenantId, i64), Leftover>, CopyError> {
        let copied: ShardSet = self.shards.keys().copied().collect();
        let (ingester, copied) = (self.ingester.clone(), copied.difference(&self.lost_at_source.lock()));
        let finding = blocking(move || {
            let (view, now) = (ingester.meta.view(), ingester.clock.monotonic());
            let mut found = BTreeMap::new();
            for tenant in ingester.head.tenants() {
                let catalogue = view.catalogue.tenant(tenant.as_str());
                for info in ingester.head.windows(&tenant) {
                    let held = info.unflushed().intersection(&copied);
                    let blocks = WindowBlocks::of(catalogue, &info);
                    let in_blocks: ShardSet = blocks.iter().flat_map(|block| block.shards.iter().copied()).collect();
                    if held.is_disjoint(&in_blocks) {
                        continue;
                    }
                    let digest = ingester.head.digest(&tenant, info.start, &held.intersection(&in_blocks));
                    let differs = digest
                        .shards
                        .iter()
                        .filter(|(shard, held)| held.unflushed.samples > 0 && blocks.cover(**shard, **held).is_none());
                    let shards: ShardSet = differs.map(|(shard, _)| *shard).collect();
                    if shards.is_empty() {
                        continue;
                    }
                    let leftover = Leftover { shards, number: digest.number, since: now };
                    found.insert((tenant.clone(), info.start), leftover);
                }
            }
            found
        });
        let found = finding.await?;
        if !found.is_empty() {
            let windows = found.len();
            tracing::info!(source = self.source, windows, "comparing what this node had before the copy with blocks");
        }
        Ok(found)
    }

    /// Counts what differs from blocks in one window, and gives it up if that is asked for.
    async fn compare(
        &self,
        tenant: &TenantId,
        window: i64,
        leftover: &Leftover,
        gives_up: bool,
    ) -> Result<u64, CopyError> {
        'attempts: for _ in 0..MAX_ATTEMPTS {
            let view = self.apply_deletions().await?;
            let (head, of, shards, number) =
                (self.ingester.head.clone(), tenant.clone(), leftover.shards.clone(), leftover.number);
            let cut = Arc::new(blocking(move || head.cut_below(&of, window, &shards, number)).await?);
            if cut.deletions() != view.catalogue.newest_deletion(tenant.as_str()) {
                continue;
            }
            let catalogue = view.catalogue.tenant(tenant.as_str());
            let blocks = WindowBlocks::of(catalogue, cut.window()).with_some_of(&leftover.shards);
            let mut comparison =
                Comparison::open(&self.ingester, cut.clone(), catalogue.map(Arc::as_ref), &blocks).await?;
            let mut differing = 0;
            while let Some(compared) = comparison.next().await? {
                let mut batch = WriteBatch::default();
                compared.for_each_differing(|series| push(&mut batch, series));
                batch.finish_series();
                if !gives_up {
                    differing += (batch.samples.len() + batch.histograms.len()) as u64;
                    continue;
                }
                match self.retract(tenant, &batch, &leftover.shards, cut.deletions()).await {
                    Ok(retracted) => differing += retracted,
                    Err(Retraction::Deleted) => continue 'attempts,
                    Err(Retraction::Failed(error)) => return Err(error),
                }
            }
            if gives_up && differing > 0 {
                tracing::warn!(%tenant, window, differing, "samples in memory differed from those in blocks; giving them up");
                self.ingester.metrics.catchup.conflicts.inc_by(differing);
            }
            return Ok(differing);
        }
        Err(CopyError::Aborted(format!("deletions of tenant {tenant} kept coming in")))
    }

    /// Removes samples, apart from those that a leader has forced since this node began to learn.
    async fn retract(
        &self,
        tenant: &TenantId,
        batch: &WriteBatch,
        shards: &ShardSet,
        deletions: u64,
    ) -> Result<u64, Retraction> {
        if batch.series().is_empty() {
            return Ok(0);
        }
        let retracted = {
            let decided = self.ingester.decided.lock();
            let undecided = decided.without(batch, self.ingester.config.shards_total);
            self.ingester.head.retract(tenant, undecided.as_ref().unwrap_or(batch), shards, Some(deletions))
        };
        match retracted {
            Ok((samples, commit)) => {
                commit.await.map_err(|error| Retraction::Failed(error.into()))?;
                Ok(samples)
            }
            Err(AppendError::Deletions { .. }) => Err(Retraction::Deleted),
            Err(AppendError::Refused(error)) => Err(Retraction::Failed(error.into())),
        }
    }
}

/// Why samples were not removed.
enum Retraction {
    /// A deletion came in between.
    Deleted,
    Failed(CopyError),
}

fn push(batch: &mut WriteBatch, series: &CutSeries<'_>) {
    let SeriesView { t, v, ht, h, .. } = series.samples;
    batch.begin_known_series(series.labels.as_bytes(), series.hash);
    batch.samples.extend(t.iter().zip(v).map(|(t, v)| Sample { t: *t, v: *v, st: 0 }));
    batch.histograms.extend(ht.iter().zip(h).map(|(t, h)| HistogramSample { t: *t, st: 0, h: h.clone() }));
}
