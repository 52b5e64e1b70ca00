//! One copy: what this node lacks of some shards comes from a replica that is in sync, goes into the head, and when all of it
//! is durable, meta is asked to put this node in sync.
//!
//! The source is told digests of what is here already, by slices of time, and leaves out what is the same; so a node that
//! was away for seconds gets those seconds. A copy that was broken off goes on where it was, from any source: series come in the
//! order of their hashes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::{Command, MetaError};
use pharos_model::{RejectReason, SeriesHash, ShardSet, TenantId, WriteError};
use pharos_transport::append::{IngestClient, read_copy};
use pharos_transport::ingest_v1::{CopyPosition, CopyRequest, CopyResponse, HeldSlices, ShardEpoch};

use super::policy::WantedShards;
use crate::Ingester;
use crate::deletions::newest;

/// Digests that a request carries, at most; of what is beyond, everything is copied.
const MOST_DIGESTS: usize = 400_000;
/// A source that says nothing for so long has failed.
const SILENCE: Duration = Duration::from_secs(20);

/// Why a copy was broken off.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// The source.
    #[error("the source failed: {0}")]
    Source(String),
    /// This node's log.
    #[error("this node cannot take the copy: {0}")]
    Head(#[from] WriteError),
    /// Meta.
    #[error("what was copied is not in sync yet: {0}")]
    Meta(#[from] MetaError),
    /// The work was broken off.
    #[error("broken off: {0}")]
    BrokenOff(String),
}

impl From<tonic::Status> for CopyError {
    fn from(status: tonic::Status) -> Self {
        CopyError::Source(format!("{:?}: {}", status.code(), status.message()))
    }
}

/// Up to where each shard was copied under an epoch.
type Position = (TenantId, Option<SeriesHash>);

/// Positions of copies that were broken off.
#[derive(Clone, Default)]
pub(super) struct Positions(Arc<Mutex<BTreeMap<(u32, u64), Position>>>);

impl Positions {
    /// Where a copy of these shards goes on: where the one that is least far is.
    fn of(&self, shards: &WantedShards) -> Option<Position> {
        let known = self.0.lock();
        let positions: Option<Vec<&Position>> =
            shards.iter().map(|(shard, epoch)| known.get(&(*shard, *epoch))).collect();
        positions?.into_iter().min().cloned()
    }

    fn reached(&self, shards: &WantedShards, position: &Position) {
        let mut known = self.0.lock();
        // Epochs of before are of no use.
        known.retain(|(shard, epoch), _| shards.get(shard).is_none_or(|now| now == epoch));
        known.extend(shards.iter().map(|(shard, epoch)| ((*shard, *epoch), position.clone())));
    }

    fn forget(&self, shards: &WantedShards) {
        self.0.lock().retain(|(shard, _), _| !shards.contains_key(shard));
    }
}

/// What to copy from whom.
pub(super) struct Copy {
    pub(super) ingester: Arc<Ingester>,
    pub(super) source: String,
    pub(super) address: String,
    pub(super) shards: WantedShards,
    pub(super) positions: Positions,
}

impl Copy {
    /// Copies and asks to be in sync.
    pub(super) async fn run(self) -> Result<(), CopyError> {
        let deletions = self.apply_deletions().await?;
        self.pull(deletions).await?;
        self.ingester.reapply_deletions(deletions)?;
        self.ingester.head.commit().await?;
        self.positions.forget(&self.shards);
        for (shard, epoch) in &self.shards {
            self.promote(*shard, *epoch).await?;
        }
        Ok(())
    }

    async fn promote(&self, shard: u32, epoch: u64) -> Result<(), CopyError> {
        let node = self.ingester.config.identity.clone();
        match self.ingester.meta.propose(Command::Promote { shard, node, epoch }).await {
            Ok(_) => {
                tracing::info!(shard, source = self.source, "in sync");
                Ok(())
            }
            // A write has failed here meanwhile, or the shard went elsewhere: the view says what is to be done.
            Err(MetaError::Refused(refusal)) => {
                tracing::info!(shard, %refusal, "not in sync yet");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Carries out all deletions of the view; gives the sequence of the newest.
    async fn apply_deletions(&self) -> Result<u64, CopyError> {
        let (ingester, view) = (self.ingester.clone(), self.ingester.meta.view());
        let newest = newest(&view);
        let work = tokio::task::spawn_blocking(move || ingester.apply_deletions_between_cuts(&view));
        work.await.map_err(|e| CopyError::BrokenOff(e.to_string()))??;
        Ok(newest)
    }

    async fn pull(&self, deletions: u64) -> Result<(), CopyError> {
        let connection = self.ingester.connect.connect(&self.address)?;
        let mut client = IngestClient::new(connection).client();
        let mut position = self.positions.of(&self.shards);
        let request = self.request(position.clone(), deletions).await?;
        let mut stream = in_time(client.copy(request)).await??.into_inner();
        while let Some(part) = in_time(stream.message()).await?? {
            let tenant = TenantId::new(&part.tenant).map_err(|e| CopyError::Source(e.to_string()))?;
            let bytes = part.batch.len();
            self.append(&tenant, &part).await?;
            match &mut position {
                Some((last, series)) if *last == tenant => *series = (*series).max(part.position),
                other => *other = Some((tenant, part.position)),
            }
            if let Some(position) = &position {
                self.positions.reached(&self.shards, position);
            }
            self.slow_down(bytes).await;
        }
        Ok(())
    }

    /// Waits for as long as so many bytes may take.
    async fn slow_down(&self, bytes: usize) {
        let rate = self.ingester.config.catchup_bytes_per_second;
        if rate > 0 {
            tokio::time::sleep(Duration::from_secs_f64(bytes as f64 / rate as f64)).await;
        }
    }

    async fn request(&self, after: Option<Position>, deletions: u64) -> Result<CopyRequest, CopyError> {
        let shards: ShardSet = self.shards.keys().copied().collect();
        let (ingester, slice_ms) = (self.ingester.clone(), slice_ms(self.ingester.config.window_ms));
        let digesting = tokio::task::spawn_blocking(move || held(&ingester, &shards, slice_ms));
        let held = digesting.await.map_err(|e| CopyError::BrokenOff(e.to_string()))?;
        Ok(CopyRequest {
            learner: self.ingester.config.identity.clone(),
            shards: self.shards.iter().map(|(&shard, &epoch)| ShardEpoch { shard, epoch }).collect(),
            after: after.map(|(tenant, series)| CopyPosition { tenant: tenant.as_str().into(), series }),
            slice_ms,
            held,
            deletions,
        })
    }

    async fn append(&self, tenant: &TenantId, part: &CopyResponse) -> Result<(), CopyError> {
        let batch =
            read_copy(tenant, &part.batch).map_err(|e| CopyError::Source(format!("a malformed part: {}", e.0)))?;
        let (outcome, commit) = loop {
            match self.ingester.head.append_copy(tenant, &batch) {
                // Flushing makes room.
                Err(WriteError::Overloaded(_)) => tokio::time::sleep(self.ingester.config.interval).await,
                taken => break taken?,
            }
        };
        // Not one batch more than the log can take.
        commit.await?;
        let (metrics, samples) = (&self.ingester.metrics.catchup, outcome.samples + outcome.histograms);
        metrics.bytes.inc_by(part.batch.len() as u64);
        metrics.samples.inc_by(samples);
        if let Some(differing) = outcome.rejected.get(&RejectReason::DuplicateTimestamp) {
            // Two senders wrote different values; who reads gets the one that its replica took.
            tracing::warn!(first = differing.first, count = differing.count, "samples differ between replicas");
            metrics.conflicts.inc_by(differing.count);
        }
        if let Some(catch_up) = self.ingester.catch_ups.lock().get_mut(&self.source) {
            catch_up.bytes += part.batch.len() as u64;
            catch_up.series += batch.series().len() as u64;
            catch_up.samples += samples;
        }
        Ok(())
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, CopyError> {
    let silent = |_| CopyError::Source(format!("no answer within {SILENCE:?}"));
    tokio::time::timeout(SILENCE, work).await.map_err(silent)
}

/// The width of the slices by which two heads are compared.
fn slice_ms(window_ms: i64) -> i64 {
    (window_ms / 120).max(100)
}

/// Digests of what is here of some shards.
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
        if digests >= MOST_DIGESTS {
            break;
        }
    }
    held
}
