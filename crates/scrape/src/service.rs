//! The gRPC service by which other nodes hand off targets to this agent and list those that it scrapes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use pharos_model::clock::timeout;
use pharos_transport::agent_v1::agent_server::{self, AgentServer};
use pharos_transport::agent_v1::{ActiveTarget, Family, HandOverAnswer, HandOverRequest, TargetsPart, TargetsRequest};
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status, Streaming};

use crate::handoff::Handoffs;
use crate::handoff::record::HandoffRecord;
use crate::ownership::MAX_MESSAGE_BYTES;
use crate::pool::{PoolStatus, Pools};
use crate::shared::Shared;
use crate::targets::Target;

/// The number of targets in one part of an answer.
const TARGETS_PER_PART: usize = 256;

/// How long a sender may take for the next part of a record.
const PART_TIMEOUT: Duration = Duration::from_secs(10);

/// The service of one agent.
pub(crate) struct AgentService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) handoffs: Arc<Handoffs>,
    pub(crate) pools: Arc<Pools>,
}

impl AgentService {
    /// Adds the service to a node's routes.
    pub(crate) fn mount(self, routes: &mut RoutesBuilder) {
        let server = AgentServer::new(self);
        routes.add_service(
            server.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
        );
    }
}

impl AgentService {
    /// The next part of a record; none after the last.
    async fn next_part(&self, parts: &mut Streaming<HandOverRequest>) -> Result<Option<HandOverRequest>, Status> {
        let next = timeout(&*self.shared.clock, PART_TIMEOUT, parts.message()).await;
        next.map_err(|_| Status::deadline_exceeded(format!("no part of the record in {PART_TIMEOUT:?}")))?
    }
}

#[tonic::async_trait]
impl agent_server::Agent for AgentService {
    async fn hand_over(&self, request: Request<HandOverRequest>) -> Result<Response<HandOverAnswer>, Status> {
        let now_ms = self.shared.clock.now_ms();
        let record = HandoffRecord::from_request(request.into_inner(), &self.shared.tenant, now_ms)
            .map_err(Status::invalid_argument)?;
        self.handoffs.receive(record).map_err(Status::resource_exhausted)?;
        Ok(Response::new(HandOverAnswer {}))
    }

    async fn hand_over_in_parts(
        &self,
        request: Request<Streaming<HandOverRequest>>,
    ) -> Result<Response<HandOverAnswer>, Status> {
        let mut parts = request.into_inner();
        let first =
            self.next_part(&mut parts).await?.ok_or_else(|| Status::invalid_argument("a record without parts"))?;
        let (tenant, now_ms) = (&self.shared.tenant, self.shared.clock.now_ms());
        let mut record = HandoffRecord::from_request(first, tenant, now_ms).map_err(Status::invalid_argument)?;
        // The parts count towards the limit as they arrive.
        let mut room = self.handoffs.room(record.bytes()).map_err(Status::resource_exhausted)?;
        while let Some(part) = self.next_part(&mut parts).await? {
            room.grow(HandoffRecord::bytes_of(&part)).map_err(Status::resource_exhausted)?;
            record.add(part, tenant).map_err(Status::invalid_argument)?;
        }
        drop(room);
        self.handoffs.receive(record).map_err(Status::resource_exhausted)?;
        Ok(Response::new(HandOverAnswer {}))
    }

    type TargetsStream = Pin<Box<dyn Stream<Item = Result<TargetsPart, Status>> + Send>>;

    async fn targets(&self, request: Request<TargetsRequest>) -> Result<Response<Self::TargetsStream>, Status> {
        let parts = parts(&self.pools.load(), &request.into_inner());
        Ok(Response::new(Box::pin(futures::stream::iter(parts.into_iter().map(Ok)))))
    }
}

/// The requested pools, split into parts.
pub(crate) fn parts(pools: &[Arc<PoolStatus>], request: &TargetsRequest) -> Vec<TargetsPart> {
    let wanted = pools.iter().filter(|pool| request.pool.is_empty() || pool.job == request.pool);
    wanted.flat_map(|pool| parts_of(pool, request.metadata)).collect()
}

/// A pool in at least one part. The first part has the dropped targets.
fn parts_of(pool: &PoolStatus, metadata: bool) -> Vec<TargetsPart> {
    let part = || TargetsPart { pool: pool.job.clone(), ..TargetsPart::default() };
    let dropped = pool.dropped().iter().map(|labels| labels.as_bytes().to_vec().into()).collect();
    let mut parts = vec![TargetsPart { dropped, dropped_count: pool.dropped_count() as u64, ..part() }];
    for targets in pool.active().chunks(TARGETS_PER_PART) {
        parts.push(TargetsPart {
            active: targets.iter().map(|target| encode_target(target, metadata)).collect(),
            ..part()
        });
    }
    parts
}

fn encode_target(target: &Target, metadata: bool) -> ActiveTarget {
    let status = target.status();
    let families = if metadata { target.metadata() } else { Default::default() };
    let family = |(name, m): (String, pharos_model::Metadata)| {
        let kind = m.kind.as_str().to_string();
        Family { name, kind, help: m.help.to_string(), unit: m.unit.to_string() }
    };
    ActiveTarget {
        discovered: target.discovered().as_bytes().to_vec().into(),
        labels: target.labels.as_bytes().to_vec().into(),
        url: target.url.clone(),
        interval_ms: target.interval.as_millis(),
        timeout_ms: target.timeout.as_millis(),
        health: status.health.as_str().into(),
        last_error: status.last_error,
        last_scrape_ms: status.last_scrape_ms,
        last_duration: status.last_duration,
        metadata: families.into_iter().map(family).collect(),
    }
}

#[cfg(test)]
mod tests;
