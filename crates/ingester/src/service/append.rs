//! A stream of appends. Requests are taken in order and answered as they become durable, so many wait for the disk together.
//! A malformed request ends its stream and nothing else.

use std::sync::Arc;

use pharos_head::Commit;
use pharos_model::{TenantId, WriteBatch, WriteError};
use pharos_transport::append::{Action, Appended, Declared, ShardTarget, refused_to, rejected_to};
use pharos_transport::ingest_v1::{self as wire, AppendRequest, AppendResponse, Failure, ShardEpoch, WriteOutcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::MAX_INFLIGHT_KIB;
use crate::Ingester;
use crate::replica::{Taken, Write};

/// Limit of unanswered requests of a stream.
const MAX_INFLIGHT: usize = 256;
/// Answers that are buffered on a stream.
const ANSWER_BUFFER: usize = 32;

type Answers = mpsc::Sender<Result<AppendResponse, Status>>;

/// Serves a stream until its sender closes it or the process stops. Requests that were taken by then are still answered.
pub(super) fn serve(
    ingester: Arc<Ingester>,
    inflight_kib: Arc<Semaphore>,
    requests: Streaming<AppendRequest>,
    stopped: watch::Receiver<bool>,
) -> ReceiverStream<Result<AppendResponse, Status>> {
    let (answers, stream) = mpsc::channel(ANSWER_BUFFER);
    let inflight = Arc::new(Semaphore::new(MAX_INFLIGHT));
    let serving = Serving { ingester, inflight_kib, inflight, answers, declared: Declared::default() };
    tokio::spawn(serving.run(requests, stopped));
    ReceiverStream::new(stream)
}

/// The state of one stream.
struct Serving {
    ingester: Arc<Ingester>,
    inflight_kib: Arc<Semaphore>,
    inflight: Arc<Semaphore>,
    answers: Answers,
    declared: Declared,
}

/// What a request occupies until it is answered.
struct Permits {
    kib: OwnedSemaphorePermit,
    _request: OwnedSemaphorePermit,
}

impl Serving {
    async fn run(mut self, mut requests: Streaming<AppendRequest>, mut stopped: watch::Receiver<bool>) {
        loop {
            let next = tokio::select! {
                next = requests.message() => next,
                () = self.answers.closed() => return,
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            // The sender knows why it closed the stream.
            let Ok(Some(request)) = next else { return };
            let Some(permits) = self.acquire_permits(&request).await else { return };
            if let Err(status) = self.request(request, permits) {
                tracing::warn!(error = status.message(), "closing append stream after a malformed request");
                let _closed = self.answers.send(Err(status)).await;
                return;
            }
        }
    }

    async fn acquire_permits(&self, request: &AppendRequest) -> Option<Permits> {
        let bytes: usize = request.chunks.iter().map(|chunk| chunk.samples.len() + chunk.declared.len() + 64).sum();
        // Decoding about doubles the size.
        let kib = (bytes / 512 + 1).min(MAX_INFLIGHT_KIB) as u32;
        let request = self.inflight.clone().acquire_owned().await.ok()?;
        let kib = self.inflight_kib.clone().acquire_many_owned(kib).await.ok()?;
        Some(Permits { kib, _request: request })
    }

    /// Takes a request. Its answer follows when its samples are durable.
    fn request(&mut self, request: AppendRequest, permits: Permits) -> Result<(), Status> {
        let (id, deletions) = (request.id, request.deletions);
        let action = wire::Action::try_from(request.action).map_err(|_| {
            Status::invalid_argument(format!("request {id}: action {} is unknown to this version", request.action))
        })?;
        let action = Action::from(action);
        let (tenant, batch, targets) = self.decode(request)?;
        let answers = self.answers.clone();
        let write = Write { tenant: &tenant, batch: &batch, targets: &targets, deletions, action };
        let taken = match self.ingester.take(write) {
            Ok(Taken::Now(appended, commit)) => Ok((appended, commit)),
            Err(error) => Err(error),
            Ok(Taken::Behind(_)) => {
                // Other requests of the stream need not wait for the view.
                let ingester = self.ingester.clone();
                tokio::spawn(async move {
                    let write = Write { tenant: &tenant, batch: &batch, targets: &targets, deletions, action };
                    let taken = ingester.take_in_order(write).await;
                    drop(batch);
                    answer(id, taken, permits, answers).await;
                });
                return Ok(());
            }
        };
        drop(batch);
        tokio::spawn(answer(id, taken, permits, answers));
        Ok(())
    }

    fn decode(&mut self, request: AppendRequest) -> Result<(TenantId, WriteBatch, Vec<ShardTarget>), Status> {
        let bad = |reason: &dyn std::fmt::Display| {
            Status::invalid_argument(format!("request {} of tenant {:?}: {reason}", request.id, request.tenant))
        };
        let tenant = TenantId::new(&request.tenant).map_err(|e| bad(&e))?;
        let shards = self.ingester.config.shards_total;
        let mut batch = WriteBatch::default();
        batch.stale_in_order = request.stale_in_order;
        for chunk in &request.chunks {
            if chunk.shard >= shards {
                return Err(bad(&format!("shard {} does not exist; the cluster has {shards}", chunk.shard)));
            }
            self.declared.declare(&tenant, shards, chunk).map_err(|e| bad(&e))?;
            self.declared.read(&tenant, chunk, &mut batch).map_err(|e| bad(&e))?;
        }
        let target = |chunk: &pharos_transport::ingest_v1::ShardChunk| ShardTarget {
            shard: chunk.shard,
            epoch: chunk.epoch,
            counted: chunk.counted,
        };
        let targets = request.chunks.iter().map(target).collect();
        Ok((tenant, batch, targets))
    }
}

/// Answers a request once its samples are durable.
async fn answer(id: u64, taken: Result<(Appended, Option<Commit>), WriteError>, permits: Permits, answers: Answers) {
    let done = match taken {
        Ok((appended, None)) => Ok(appended),
        Ok((appended, Some(commit))) => commit.await.map(|()| appended),
        Err(error) => Err(error),
    };
    drop(permits.kib);
    let response = match done {
        Ok(Appended { outcome, uncounted, stale, newer_deletion, refused, undecided }) => AppendResponse {
            id,
            names_refused: refused.is_some(),
            refused: refused_to(&refused.unwrap_or_default()),
            stale: stale.into_iter().map(|(shard, epoch)| ShardEpoch { shard, epoch }).collect(),
            outcome: Some(WriteOutcome::from(&outcome)),
            uncounted: rejected_to(&uncounted),
            failure: None,
            newer_deletion,
            undecided,
        },
        Err(error) => AppendResponse { id, failure: Some(Failure::from(&error)), ..AppendResponse::default() },
    };
    // The sender may have closed the stream.
    let _closed = answers.send(Ok(response)).await;
}
