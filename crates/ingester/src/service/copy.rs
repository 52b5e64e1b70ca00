//! The source of a copy: raises the fence, then reads everything that is in memory of some shards.
//!
//! Samples that were acknowledged before the learner's epoch are in this head when the fence is raised, because this replica
//! is in sync. Samples that are acknowledged under the learner's epoch are also sent to the learner. So the copy and the
//! writes together are complete.
//!
//! Each batch names the newest deletion that was applied before it was read. The learner omits what later ones delete. That
//! may include samples that were written after them; those were also sent to the learner, since the fence was raised before.

use std::sync::Arc;

use pharos_head::{Export, TimeDigests};
use pharos_model::wire::append::AppendEncoder;
use pharos_model::{SeriesHash, ShardDigest, ShardSet, TenantId, WriteBatch};
use pharos_transport::ingest_v1::{CopyRequest, CopyResponse};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::metadata::AsciiMetadataValue;

use super::shard_epochs;
use crate::Ingester;
use crate::deletions::newest;

/// Approximate size of a batch.
const BATCH_BYTES: usize = 1 << 20;
/// Batches that are buffered for the learner.
const BATCH_BUFFER: usize = 2;
/// Shortest slice of time for which digests are compared, milliseconds.
const MIN_SLICE_MS: i64 = 100;

/// A validated request.
struct Copy {
    ingester: Arc<Ingester>,
    shards: ShardSet,
    /// The position after which to continue.
    after: Option<(TenantId, Option<SeriesHash>)>,
    /// Digests of what the learner already has, by tenant.
    held: Vec<(TenantId, TimeDigests)>,
    slice_ms: i64,
    batches: mpsc::Sender<Result<CopyResponse, Status>>,
}

/// The learner closed the stream.
struct Closed;

/// Serves a copy and holds `permit` until it ends.
pub(super) fn serve(
    ingester: Arc<Ingester>,
    permit: OwnedSemaphorePermit,
    request: CopyRequest,
) -> Result<ReceiverStream<Result<CopyResponse, Status>>, Status> {
    let asked = shard_epochs(&ingester, &request.shards)?;
    let bad =
        |error: &dyn std::fmt::Display| Status::invalid_argument(format!("copy for {}: {error}", request.learner));
    check_in_sync(&ingester, &asked)?;
    if let Some(shard) =
        ingester.older.first_to_wait(&ingester, &request.learner, asked.iter().map(|(shard, _)| *shard))
    {
        let reason =
            format!("another replica of shard {shard} may have what this node has lost, so it is to be in sync first");
        return Err(Status::unavailable(reason));
    }
    if let Some(shard) = first_with_a_better_source(&ingester, &asked) {
        let reason = format!("this node has lost samples of shard {shard}, and another one is in sync");
        return Err(Status::unavailable(reason));
    }
    let after = match &request.after {
        Some(at) => Some((TenantId::new(&at.tenant).map_err(|e| bad(&e))?, at.series)),
        None => None,
    };
    let slice_ms = request.slice_ms.max(MIN_SLICE_MS);
    let mut held: Vec<(TenantId, TimeDigests)> = Vec::new();
    for of_shard in &request.held {
        let tenant = TenantId::new(&of_shard.tenant).map_err(|e| bad(&e))?;
        if held.last().is_none_or(|(last, _)| *last != tenant) {
            held.push((tenant, TimeDigests::new(slice_ms)));
        }
        let Some((_, slices)) = held.last_mut() else { continue };
        let digests = of_shard.samples.iter().zip(&of_shard.sums);
        for (slice, (samples, sum)) in of_shard.slices.iter().zip(digests) {
            slices.set(of_shard.shard, *slice, ShardDigest { samples: *samples, sum: *sum });
        }
    }
    let view = ingester.meta.view();
    if newest(&view) < request.deletions {
        let reason =
            format!("this node knows deletions up to {}, the learner up to {}", newest(&view), request.deletions);
        return Err(Status::unavailable(reason));
    }
    {
        let fence = ingester.fence.close();
        asked.iter().for_each(|(shard, since)| fence.raise(*shard, *since));
    }
    let shards: ShardSet = asked.iter().map(|(shard, _)| *shard).collect();
    tracing::info!(learner = request.learner, %shards, "serving a copy to a learner");
    let (batches, stream) = mpsc::channel(BATCH_BUFFER);
    let copy = Copy { ingester, shards, after, held, slice_ms, batches };
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        // Samples that the learner has deleted must not return with the copy.
        if let Err(error) = copy.ingester.deletions.apply_all(&view) {
            let failed = Status::unavailable(format!("applying deletions: {error}"));
            let _closed = copy.batches.blocking_send(Err(failed));
            return;
        }
        // A learner that closed the stream asks again.
        let _closed = copy.run();
    });
    Ok(ReceiverStream::new(stream))
}

/// The header of a response that names the shards of which the source has lost samples.
pub(super) fn lost(ingester: &Ingester, request: &CopyRequest) -> Result<AsciiMetadataValue, Status> {
    let lost = ingester.lost.lock();
    let shards: ShardSet = request.shards.iter().map(|asked| asked.shard).filter(|s| lost.contains_key(s)).collect();
    AsciiMetadataValue::try_from(shards.to_string()).map_err(|e| Status::internal(e.to_string()))
}

/// The first of some shards of which this node has lost samples while another replica is in sync.
fn first_with_a_better_source(ingester: &Ingester, asked: &[(u32, u64)]) -> Option<u32> {
    let (view, me, lost) = (ingester.meta.view(), &ingester.config.identity, ingester.lost.lock());
    let has_another = |shard: &u32| view.shard(*shard).is_some_and(|known| known.in_sync.iter().any(|n| n != me));
    asked.iter().map(|(shard, _)| *shard).find(|shard| lost.contains_key(shard) && has_another(shard))
}

/// Only an in-sync replica can be a source.
fn check_in_sync(ingester: &Ingester, asked: &[(u32, u64)]) -> Result<(), Status> {
    let (view, me) = (ingester.meta.view(), &ingester.config.identity);
    let lacks = |(shard, _): &&(u32, u64)| !ingester.is_source(&view, *shard);
    match asked.iter().find(lacks) {
        Some((shard, _)) => Err(Status::failed_precondition(format!("{me} is not in sync for shard {shard}"))),
        None => Ok(()),
    }
}

impl Copy {
    fn run(self) -> Result<(), Closed> {
        let mut tenants = self.ingester.head.tenants();
        tenants.sort();
        for tenant in tenants {
            let after = match &self.after {
                Some((last, _)) if tenant < *last => continue,
                Some((last, series)) if tenant == *last => *series,
                _ => None,
            };
            let head = &self.ingester.head;
            let deletions = head.last_deletion(&tenant);
            let mut export = head.export(&tenant, &self.shards, after, BATCH_BYTES).with_flushed();
            if let Some((_, held)) = self.held.iter().find(|(of, _)| *of == tenant) {
                let ours = head.time_digests(&tenant, &self.shards, self.slice_ms);
                export = export.excluding(held.matching(&ours));
            }
            self.send_all(&tenant, export, deletions)?;
        }
        Ok(())
    }

    fn send_all(&self, tenant: &TenantId, mut export: Export, deletions: u64) -> Result<(), Closed> {
        let mut encoder = AppendEncoder::default();
        while let Some(batch) = export.next() {
            let mut bytes = Vec::new();
            encode(&batch, &mut encoder, &mut bytes);
            let response = CopyResponse {
                tenant: tenant.as_str().into(),
                batch: bytes.into(),
                position: export.position(),
                deletions: Some(deletions),
                flushed: false,
            };
            self.batches.blocking_send(Ok(response)).map_err(|_| Closed)?;
        }
        Ok(())
    }
}

fn encode(batch: &WriteBatch, encoder: &mut AppendEncoder, out: &mut Vec<u8>) {
    for (number, series) in (0u32..).zip(batch.series()) {
        encoder.series(batch.labels_of(series));
        batch.samples_of(series).iter().for_each(|s| encoder.sample(number, s));
        batch.histograms_of(series).iter().for_each(|s| encoder.histogram(number, s));
        batch.exemplars_of(series).iter().for_each(|e| encoder.exemplar(number, e));
    }
    batch.metadata.iter().for_each(|(family, metadata)| encoder.metadata(family, metadata));
    encoder.finish(out);
}
