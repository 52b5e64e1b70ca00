//! The gRPC service of the ingester for other nodes: decode, call, encode.

mod append;
mod copy;
mod statistics;

use std::sync::Arc;

use pharos_model::shards::MAX_SHARDS;
use pharos_transport::append::{LOST_AT_SOURCE, MAX_MESSAGE};
use pharos_transport::ingest_v1::ingest_server::{Ingest, IngestServer};
use pharos_transport::ingest_v1::{
    AppendRequest, AppendResponse, CopyProgress, CopyRequest, CopyResponse, LearningRequest, LearningResponse,
    ShardEpoch, StatisticsRequest, StatisticsResponse,
};
use tokio::sync::{Semaphore, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status, Streaming};

use crate::{CatchUp, Ingester};

/// Limit of requests on all streams whose samples are not durable yet, KiB.
const MAX_INFLIGHT_KIB: usize = 128 << 10;
/// Limit of copies that are read at the same time.
const MAX_COPIES: usize = 4;

impl Ingester {
    /// Mounts the service. It answers until `stopped` becomes true.
    pub fn add_services(self: &Arc<Self>, routes: &mut RoutesBuilder, stopped: watch::Receiver<bool>) {
        let service = IngestService {
            ingester: self.clone(),
            inflight_kib: Arc::new(Semaphore::new(MAX_INFLIGHT_KIB)),
            copies: Arc::new(Semaphore::new(MAX_COPIES)),
            stopped,
        };
        let server = IngestServer::new(service);
        routes.add_service(server.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE));
    }
}

/// The service of one ingester.
struct IngestService {
    ingester: Arc<Ingester>,
    inflight_kib: Arc<Semaphore>,
    copies: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

/// Decodes shards with epochs; an unknown shard is an error.
fn shard_epochs(ingester: &Ingester, shards: &[ShardEpoch]) -> Result<Vec<(u32, u64)>, Status> {
    let total = ingester.config.shards_total.min(MAX_SHARDS);
    match shards.iter().find(|s| s.shard >= total) {
        Some(s) => Err(Status::invalid_argument(format!("shard {} does not exist; the cluster has {total}", s.shard))),
        None => Ok(shards.iter().map(|s| (s.shard, s.epoch)).collect()),
    }
}

#[tonic::async_trait]
impl Ingest for IngestService {
    type AppendStream = ReceiverStream<Result<AppendResponse, Status>>;

    async fn append(&self, request: Request<Streaming<AppendRequest>>) -> Result<Response<Self::AppendStream>, Status> {
        let (ingester, inflight_kib) = (self.ingester.clone(), self.inflight_kib.clone());
        let answers = append::serve(ingester, inflight_kib, request.into_inner(), self.stopped.clone());
        Ok(Response::new(answers))
    }

    type CopyStream = ReceiverStream<Result<CopyResponse, Status>>;

    async fn copy(&self, request: Request<CopyRequest>) -> Result<Response<Self::CopyStream>, Status> {
        let busy = |_| Status::resource_exhausted(format!("already serving {MAX_COPIES} copies"));
        let permit = self.copies.clone().try_acquire_owned().map_err(busy)?;
        let request = request.into_inner();
        let lost = copy::lost(&self.ingester, &request)?;
        let mut response = Response::new(copy::serve(self.ingester.clone(), permit, request)?);
        response.metadata_mut().insert(LOST_AT_SOURCE, lost);
        Ok(response)
    }

    async fn learning(&self, _: Request<LearningRequest>) -> Result<Response<LearningResponse>, Status> {
        let copy = |catch_up: CatchUp| CopyProgress {
            shards: catch_up.shards.iter().collect(),
            source: catch_up.source,
            bytes: catch_up.bytes,
            series: catch_up.series,
            samples: catch_up.samples,
            began_ms: catch_up.began_ms,
        };
        let copies = self.ingester.progress().into_iter().map(copy).collect();
        Ok(Response::new(LearningResponse { copies }))
    }

    async fn statistics(&self, request: Request<StatisticsRequest>) -> Result<Response<StatisticsResponse>, Status> {
        let ingester = self.ingester.clone();
        let counting = tokio::task::spawn_blocking(move || statistics::answer(&ingester, request.get_ref()));
        counting.await.map_err(|error| Status::internal(error.to_string()))?.map(Response::new)
    }
}
