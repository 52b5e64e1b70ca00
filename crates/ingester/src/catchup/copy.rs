//! One copy: fetches what this node lacks of some shards from an in-sync replica and asks meta for promotion once all of it
//! is durable.
//!
//! The request carries digests of what this node has, by slice of time, and the source omits slices that are equal. So a
//! node that was away for seconds receives those seconds. Series arrive in the order of their hashes, so an aborted copy
//! continues where it stopped, from any source. Each batch is inserted as if its samples had been written before the
//! deletions that its source did not know.
//!
//! The source is in sync, so its values win over what this node took before. It sends all that it has in memory, also what is in
//! blocks already: a replica refuses another value only for a timestamp that it has in memory, and it may lead the shard at once.
//! What this node gets of blocks is compared with them like everything that another node has flushed. Sources of earlier
//! versions send flushed samples separately and only where this node has others, which it gives up then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::{Command, MetaError, View};
use pharos_head::{AppendError, AppendOutcome, Commit};
use pharos_model::{SeriesHash, ShardSet, TenantId, WriteBatch, WriteError};
use pharos_transport::append::{IngestClient, LOST_AT_SOURCE, read_copy};
use pharos_transport::ingest_v1::{CopyPosition, CopyRequest, CopyResponse, HeldSlices, ShardEpoch};
use tonic::metadata::MetadataMap;

use super::filter::without_deleted;
use super::policy::WantedShards;
use crate::Ingester;
use crate::deletions::{deleted_between, newest};
use crate::flush::FlushError;

/// Limit of digests in a request. Slices beyond it are copied whole.
const MAX_DIGESTS: usize = 400_000;
/// Silence after which a source has failed.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// The source failed or broke the protocol.
    #[error("source failed: {0}")]
    Source(String),
    /// The log of this node failed.
    #[error("this node cannot store the copy: {0}")]
    Head(#[from] WriteError),
    /// Meta did not answer the request for promotion.
    #[error("promotion after the copy failed: {0}")]
    Meta(#[from] MetaError),
    /// What this node had before the copy cannot be compared with blocks.
    #[error("comparing what this node had with blocks: {0}")]
    Blocks(#[from] FlushError),
    /// A task was cancelled or panicked, or had to be given up.
    #[error("aborted: {0}")]
    Aborted(String),
}

impl From<tonic::Status> for CopyError {
    fn from(status: tonic::Status) -> Self {
        CopyError::Source(format!("{:?}: {}", status.code(), status.message()))
    }
}

/// Runs blocking work on the blocking thread pool.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CopyError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| CopyError::Aborted(e.to_string()))
}

/// How far a shard was copied under an epoch.
type Position = (TenantId, Option<SeriesHash>);

/// Positions of aborted copies.
#[derive(Clone, Default)]
pub(super) struct Positions(Arc<Mutex<BTreeMap<(u32, u64), Position>>>);

impl Positions {
    /// Where a copy of these shards continues: at the least advanced position among them.
    fn of(&self, shards: &WantedShards) -> Option<Position> {
        let known = self.0.lock();
        let positions: Option<Vec<&Position>> =
            shards.iter().map(|(shard, epoch)| known.get(&(*shard, *epoch))).collect();
        positions?.into_iter().min().cloned()
    }

    fn reached(&self, shards: &WantedShards, position: &Position) {
        let mut known = self.0.lock();
        // Positions under previous epochs are useless.
        known.retain(|(shard, epoch), _| shards.get(shard).is_none_or(|now| now == epoch));
        known.extend(shards.iter().map(|(shard, epoch)| ((*shard, *epoch), position.clone())));
    }

    fn forget(&self, shards: &WantedShards) {
        self.0.lock().retain(|(shard, _), _| !shards.contains_key(shard));
    }
}

/// A copy of some shards from one source.
pub(super) struct Copy {
    pub(super) ingester: Arc<Ingester>,
    pub(super) source: String,
    pub(super) address: String,
    pub(super) shards: WantedShards,
    pub(super) positions: Positions,
    /// The shards of which the source has lost samples.
    pub(super) lost_at_source: Mutex<ShardSet>,
}

impl Copy {
    /// Copies, then asks for promotion.
    pub(super) async fn run(self) -> Result<(), CopyError> {
        self.ingester.decided.lock().begin(&self.shards);
        self.copy_all().await?;
        if self.give_up_leftovers().await? > 0 {
            // The source has those of them that were accepted since the learning began.
            self.copy_all().await?;
        }
        for (shard, epoch) in &self.shards {
            self.promote(*shard, *epoch).await?;
        }
        Ok(())
    }

    /// Whether another replica came in sync before this node, while the source has lost samples: what the other one had is to be
    /// copied from it.
    fn is_overtaken(&self, view: &View, shard: u32) -> bool {
        let is_other = |node: &String| *node != self.source && *node != self.ingester.config.identity;
        let is_other_in_sync = view.shard(shard).is_some_and(|known| known.in_sync.iter().any(is_other));
        is_other_in_sync && self.lost_at_source.lock().contains(shard)
    }

    fn overtaken(&self, shard: u32) -> CopyError {
        CopyError::Source(format!("it has lost samples of shard {shard}, and another replica is in sync by now"))
    }

    /// Waits until the view does not have this node learn a shard since an epoch any more, and no longer than usual for another
    /// look at it.
    async fn next_view(&self, shard: u32, epoch: u64) {
        let (mut views, me) = (self.ingester.meta.watch(), &self.ingester.config.identity);
        let learns_otherwise = |view: &View| view.shard(shard).and_then(|s| s.learns_since(me)) != Some(epoch);
        let _late = tokio::time::timeout(self.ingester.config.interval, views.wait_for(learns_otherwise)).await;
    }

    /// Copies what this node lacks. All of it is durable afterwards.
    async fn copy_all(&self) -> Result<(), CopyError> {
        let view = self.apply_deletions().await?;
        self.pull(&view).await?;
        self.ingester.head.commit().await?;
        self.positions.forget(&self.shards);
        Ok(())
    }

    async fn promote(&self, shard: u32, epoch: u64) -> Result<(), CopyError> {
        if self.is_overtaken(&self.ingester.meta.view(), shard) {
            return Err(self.overtaken(shard));
        }
        let node = self.ingester.config.identity.clone();
        match self.ingester.meta.propose(Command::Promote { shard, node: node.clone(), epoch }).await {
            Ok(outcome) if self.is_overtaken(&outcome.view, shard) => {
                // Another one was in sync a moment sooner, perhaps with more than this node.
                let shards = vec![(shard, outcome.view.epoch(shard))];
                self.ingester
                    .meta
                    .propose(Command::ReportFailed { node: node.clone(), shards, reporter: node })
                    .await?;
                Err(self.overtaken(shard))
            }
            Ok(_) => {
                tracing::info!(shard, source = self.source, "shard is in sync");
                Ok(())
            }
            // A write failed here meanwhile, or the shard moved; the next view tells what to do.
            Err(MetaError::Refused(refusal)) => {
                tracing::info!(shard, %refusal, "promotion refused; the next view decides");
                self.next_view(shard, epoch).await;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Applies all deletions of the view and returns it.
    pub(super) async fn apply_deletions(&self) -> Result<View, CopyError> {
        let (ingester, view) = (self.ingester.clone(), self.ingester.meta.view());
        let applied = view.clone();
        blocking(move || ingester.deletions.apply_all(&applied)).await??;
        Ok(view)
    }

    async fn pull(&self, view: &View) -> Result<(), CopyError> {
        let connection = self.ingester.connect.connect(&self.address)?;
        let mut client = IngestClient::new(connection).client();
        let mut position = self.positions.of(&self.shards);
        let request = self.request(position.clone(), newest(view)).await?;
        let response = in_time(client.copy(request)).await??;
        self.note_lost(response.metadata())?;
        let mut stream = response.into_inner();
        while let Some(part) = in_time(stream.message()).await?? {
            let tenant = TenantId::new(&part.tenant).map_err(|e| CopyError::Source(e.to_string()))?;
            let bytes = part.batch.len();
            // A source of a version that names none has applied what was asked for.
            self.append(
                &tenant,
                &part,
                part.deletions.unwrap_or_else(|| view.catalogue.newest_deletion(tenant.as_str())),
            )
            .await?;
            match &mut position {
                Some((last, series)) if *last == tenant => *series = (*series).max(part.position),
                other => *other = Some((tenant, part.position)),
            }
            if let Some(position) = &position {
                self.positions.reached(&self.shards, position);
            }
            self.throttle(bytes).await;
        }
        Ok(())
    }

    /// Notes of which shards the source has lost samples.
    fn note_lost(&self, headers: &MetadataMap) -> Result<(), CopyError> {
        let Some(lost) = headers.get(LOST_AT_SOURCE) else { return Ok(()) };
        let bad = |error: &dyn std::fmt::Display| CopyError::Source(format!("{LOST_AT_SOURCE}: {error}"));
        let lost: ShardSet = lost.to_str().map_err(|e| bad(&e))?.parse().map_err(|e| bad(&e))?;
        *self.lost_at_source.lock() = lost;
        Ok(())
    }

    /// Waits as long as this many bytes may take at the configured rate.
    async fn throttle(&self, bytes: usize) {
        let rate = self.ingester.config.catchup_bytes_per_second;
        if rate > 0 {
            tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / rate as f64)).await;
        }
    }

    async fn request(&self, after: Option<Position>, deletions: u64) -> Result<CopyRequest, CopyError> {
        let shards: ShardSet = self.shards.keys().copied().collect();
        let (ingester, slice_ms) = (self.ingester.clone(), slice_ms(self.ingester.config.window_ms));
        let held = blocking(move || held(&ingester, &shards, slice_ms)).await?;
        Ok(CopyRequest {
            learner: self.ingester.config.identity.clone(),
            shards: self.shards.iter().map(|(&shard, &epoch)| ShardEpoch { shard, epoch }).collect(),
            after: after.map(|(tenant, series)| CopyPosition { tenant: tenant.as_str().into(), series }),
            slice_ms,
            held,
            deletions,
            takes_flushed: true,
        })
    }

    /// Inserts a batch that its source read after the deletion with the number `deletions`.
    pub(super) async fn append(&self, tenant: &TenantId, part: &CopyResponse, deletions: u64) -> Result<(), CopyError> {
        let read =
            || read_copy(tenant, &part.batch).map_err(|e| CopyError::Source(format!("malformed batch: {}", e.0)));
        let mut batch = read()?;
        let mut applied = deletions;
        let Inserted { samples, overruled, commit } = loop {
            match self.insert_undecided(tenant, &batch, applied, part.flushed) {
                // Flushing frees memory.
                Err(AppendError::Refused(WriteError::Overloaded(_))) => {
                    tokio::time::sleep(self.ingester.config.interval).await;
                }
                Err(AppendError::Refused(error)) => return Err(error.into()),
                Err(AppendError::Deletions { .. }) => {
                    applied = self.ingester.deletions.reach(tenant, deletions).await?;
                    batch = self.without_deleted(tenant, read()?, deletions, applied)?;
                }
                Ok(inserted) => break inserted,
            }
        };
        // Wait for the log, so that it never has more than one batch to write.
        commit.await?;
        let metrics = &self.ingester.metrics.catchup;
        metrics.bytes.inc_by(part.batch.len() as u64);
        metrics.samples.inc_by(samples);
        if overruled > 0 {
            // This node took them from writes that failed, or that the shard's leader is about to decide.
            let source = &self.source;
            tracing::warn!(%tenant, source, overruled, "samples in memory differed from those of the source; its values replace them");
            metrics.conflicts.inc_by(overruled);
        }
        if let Some(catch_up) = self.ingester.catch_ups.lock().get_mut(&self.source) {
            catch_up.bytes += part.batch.len() as u64;
            catch_up.series += batch.series().len() as u64;
            catch_up.samples += samples;
        }
        Ok(())
    }
}

/// What became of a batch of a copy.
struct Inserted {
    samples: u64,
    /// The number of samples in memory that differed.
    overruled: u64,
    commit: Commit,
}

impl Copy {
    /// Inserts a batch, apart from samples about which a leader has decided since this node began to learn. Everything else wins
    /// over what this node took before, because the source is in sync. Where a source of an earlier version says that it has
    /// flushed the samples, this node only gives up what differs from them.
    fn insert_undecided(
        &self,
        tenant: &TenantId,
        batch: &WriteBatch,
        applied: u64,
        is_flushed: bool,
    ) -> Result<Inserted, AppendError> {
        let (head, decided) = (&self.ingester.head, self.ingester.decided.lock());
        let undecided = decided.without(batch, self.ingester.config.shards_total);
        let batch = undecided.as_ref().unwrap_or(batch);
        if is_flushed {
            let (overruled, commit) = head.yield_to(tenant, batch, applied)?;
            return Ok(Inserted { samples: 0, overruled, commit });
        }
        let AppendOutcome { counted, replaced, commit, .. } = head.append_copy(tenant, batch, applied)?;
        Ok(Inserted { samples: counted.samples + counted.histograms, overruled: replaced, commit })
    }

    /// The batch without what deletions delete that its source had not applied and this node has.
    fn without_deleted(
        &self,
        tenant: &TenantId,
        batch: WriteBatch,
        source: u64,
        applied: u64,
    ) -> Result<WriteBatch, CopyError> {
        // Read after `applied`, so that it has whatever was applied.
        let view = self.ingester.meta.view();
        let Some(known) = view.catalogue.tenant(tenant.as_str()) else { return Ok(batch) };
        if source < known.newest_forgotten {
            let forgotten = known.newest_forgotten;
            let reason = format!("it read a batch of tenant {tenant} before deletion {forgotten}, which was forgotten");
            return Err(CopyError::Source(reason));
        }
        Ok(without_deleted(batch, &deleted_between(tenant, known, source, applied)))
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, CopyError> {
    let silent = |_| CopyError::Source(format!("silent for {SOURCE_TIMEOUT:?}"));
    tokio::time::timeout(SOURCE_TIMEOUT, work).await.map_err(silent)
}

/// The length of the slices of time whose digests are compared.
fn slice_ms(window_ms: i64) -> i64 {
    (window_ms / 120).max(100)
}

/// Digests of the samples in memory of some shards.
fn held(ingester: &Ingester, shards: &ShardSet, slice_ms: i64) -> Vec<HeldSlices> {
    let (mut held, mut digests): (Vec<HeldSlices>, usize) = (Vec::new(), 0);
    for tenant in ingester.head.tenants() {
        let mut of_shard: Option<HeldSlices> = None;
        for (shard, slice, digest) in ingester.head.time_digests(&tenant, shards, slice_ms).iter() {
            if of_shard.as_ref().is_none_or(|last| last.shard != shard) {
                held.extend(of_shard.take());
            }
            let fresh = || HeldSlices { tenant: tenant.as_str().into(), shard, ..HeldSlices::default() };
            let entry = of_shard.get_or_insert_with(fresh);
            entry.slices.push(slice);
            entry.samples.push(digest.samples);
            entry.sums.push(digest.sum);
            digests += 1;
        }
        held.extend(of_shard);
        if digests >= MAX_DIGESTS {
            break;
        }
    }
    held
}
