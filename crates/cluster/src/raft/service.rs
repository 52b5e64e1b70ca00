//! Receives Raft's messages from other nodes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use openraft::raft::AppendEntriesResponse;
use pharos_transport::meta_v1::{RaftAnswer, RaftMessage, SnapshotPart, raft_server};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Request, Response, Status, Streaming};

use super::network::{MAX_MESSAGE_BYTES, SnapshotHeader};
use super::types::Snapshot;
use crate::group::Group;

/// Hands the messages for one node to its Raft.
pub(crate) struct RaftService {
    pub(crate) group: Arc<Group>,
}

type Answer = Result<Response<RaftAnswer>, Status>;

fn malformed(error: &serde_json::Error) -> Status {
    Status::invalid_argument(format!("malformed Raft message: {error}"))
}

fn answer<T: Serialize, E: std::fmt::Display>(result: Result<T, E>) -> Answer {
    let value = result.map_err(|error| Status::unavailable(format!("Raft failed: {error}")))?;
    let body = serde_json::to_vec(&value).map_err(|error| Status::internal(error.to_string()))?;
    Ok(Response::new(RaftAnswer { body: body.into() }))
}

impl RaftService {
    fn check_recipient(&self, to: u64) -> Result<(), Status> {
        let own = *self.group.raft.node_id();
        if to == own {
            return Ok(());
        }
        Err(Status::failed_precondition(format!("the message is for node {to:016x}, this is node {own:016x}")))
    }

    fn read<T: DeserializeOwned>(&self, request: Request<RaftMessage>) -> Result<T, Status> {
        let message = request.into_inner();
        self.check_recipient(message.to)?;
        serde_json::from_slice(&message.body).map_err(|e| malformed(&e))
    }
}

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    async fn append(&self, request: Request<RaftMessage>) -> Answer {
        let taken = self.group.raft.append_entries(self.read(request)?).await;
        if taken.as_ref().is_ok_and(|taken| !matches!(taken, AppendEntriesResponse::HigherVote(_))) {
            self.group.note_leader_contact();
        }
        answer(taken)
    }

    async fn vote(&self, request: Request<RaftMessage>) -> Answer {
        answer(self.group.raft.vote(self.read(request)?).await)
    }

    async fn pre_vote(&self, request: Request<RaftMessage>) -> Answer {
        answer(self.group.raft.pre_vote(self.read(request)?).await)
    }

    async fn transfer_leader(&self, request: Request<RaftMessage>) -> Answer {
        answer(self.group.raft.handle_transfer_leader(self.read(request)?).await)
    }

    async fn snapshot(&self, request: Request<Streaming<SnapshotPart>>) -> Answer {
        let mut parts = request.into_inner();
        let first = parts.message().await?.ok_or_else(|| Status::invalid_argument("the snapshot has no parts"))?;
        self.check_recipient(first.to)?;
        let header: SnapshotHeader = serde_json::from_slice(&first.header).map_err(|e| malformed(&e))?;
        let mut data = BytesMut::from(&first.data[..]);
        while let Some(part) = parts.message().await? {
            if data.len() + part.data.len() > MAX_MESSAGE_BYTES {
                return Err(Status::resource_exhausted("the snapshot is too large"));
            }
            data.extend_from_slice(&part.data);
        }
        let data: Bytes = data.freeze();
        // An unreadable state would stop Raft here, so it is refused before Raft sees it.
        let packed = data.clone();
        let read = tokio::task::spawn_blocking(move || crate::codec::decode(&packed).map(drop)).await;
        let read = read.map_err(|error| Status::internal(error.to_string()))?;
        read.map_err(|error| Status::invalid_argument(format!("malformed snapshot: {error}")))?;
        let snapshot = Snapshot { meta: header.meta, snapshot: data };
        answer(self.group.raft.install_full_snapshot(header.vote, snapshot).await)
    }
}
