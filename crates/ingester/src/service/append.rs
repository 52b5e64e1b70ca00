//! A stream of appends. Requests are taken in their order, and answered as they become durable: many are on their way to the
//! disk together. A request that breaks the rules ends its stream, and nothing else.

use std::sync::Arc;

use pharos_head::Commit;
use pharos_model::{TenantId, WriteBatch, WriteError};
use pharos_transport::append::{Appended, Declared, ShardTarget, rejected_to};
use pharos_transport::ingest_v1::{AppendRequest, AppendResponse, Failure, ShardEpoch, WriteOutcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::INFLIGHT_KIB;
use crate::Ingester;

/// Requests of one stream that are not answered yet.
const INFLIGHT: usize = 256;
/// Answers that wait to be sent on a stream.
const ANSWERS: usize = 32;

type Answers = mpsc::Sender<Result<AppendResponse, Status>>;

/// Serves a stream until its sender ends it or the process stops: what was taken by then is still answered.
pub(super) fn serve(
    ingester: Arc<Ingester>,
    inflight_kib: Arc<Semaphore>,
    requests: Streaming<AppendRequest>,
    stopped: watch::Receiver<bool>,
) -> ReceiverStream<Result<AppendResponse, Status>> {
    let (answers, stream) = mpsc::channel(ANSWERS);
    let inflight = Arc::new(Semaphore::new(INFLIGHT));
    let serving = Serving { ingester, inflight_kib, inflight, answers, declared: Declared::default() };
    tokio::spawn(serving.run(requests, stopped));
    ReceiverStream::new(stream)
}

/// One stream.
struct Serving {
    ingester: Arc<Ingester>,
    inflight_kib: Arc<Semaphore>,
    inflight: Arc<Semaphore>,
    answers: Answers,
    declared: Declared,
}

/// What a request holds until it is answered.
struct Places {
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
            // Its sender knows why it ended the stream.
            let Ok(Some(request)) = next else { return };
            let Some(places) = self.wait_for_places(&request).await else { return };
            if let Err(status) = self.request(request, places) {
                tracing::warn!(error = status.message(), "a stream of appends is ended");
                let _gone = self.answers.send(Err(status)).await;
                return;
            }
        }
    }

    async fn wait_for_places(&self, request: &AppendRequest) -> Option<Places> {
        let bytes: usize = request.chunks.iter().map(|chunk| chunk.samples.len() + chunk.declared.len() + 64).sum();
        // Decoded, samples take about as much again as they take coded.
        let kib = (bytes / 512 + 1).min(INFLIGHT_KIB) as u32;
        let request = self.inflight.clone().acquire_owned().await.ok()?;
        let kib = self.inflight_kib.clone().acquire_many_owned(kib).await.ok()?;
        Some(Places { kib, _request: request })
    }

    /// Takes a request; its answer follows when its samples are durable.
    fn request(&mut self, request: AppendRequest, places: Places) -> Result<(), Status> {
        let id = request.id;
        let (tenant, batch, targets) = self.decode(request)?;
        let taken = self.ingester.take(&tenant, &batch, &targets);
        drop(batch);
        tokio::spawn(answer(id, taken, places, self.answers.clone()));
        Ok(())
    }

    fn decode(&mut self, request: AppendRequest) -> Result<(TenantId, WriteBatch, Vec<ShardTarget>), Status> {
        let bad = |reason: &dyn std::fmt::Display| {
            Status::invalid_argument(format!("request {} of tenant {:?}: {reason}", request.id, request.tenant))
        };
        let tenant = TenantId::new(&request.tenant).map_err(|e| bad(&e))?;
        let (shards, mut batch) = (self.ingester.config.shards_total, WriteBatch::default());
        for chunk in &request.chunks {
            if chunk.shard >= shards {
                return Err(bad(&format!("there is no shard {}, there are {shards}", chunk.shard)));
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

/// Waits until a request's samples are durable, and says so.
async fn answer(id: u64, taken: Result<(Appended, Option<Commit>), WriteError>, places: Places, answers: Answers) {
    let done = match taken {
        Ok((appended, None)) => Ok(appended),
        Ok((appended, Some(commit))) => commit.await.map(|()| appended),
        Err(error) => Err(error),
    };
    drop(places.kib);
    let response = match done {
        Ok(Appended { outcome, uncounted, stale }) => AppendResponse {
            id,
            stale: stale.into_iter().map(|(shard, epoch)| ShardEpoch { shard, epoch }).collect(),
            outcome: Some(WriteOutcome::from(&outcome)),
            uncounted: rejected_to(&uncounted),
            failure: None,
        },
        Err(error) => AppendResponse { id, failure: Some(Failure::from(&error)), ..AppendResponse::default() },
    };
    // Who asked may be gone.
    let _gone = answers.send(Ok(response)).await;
}
