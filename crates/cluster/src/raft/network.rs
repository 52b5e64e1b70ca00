//! Sends Raft's messages to other nodes over gRPC.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use pharos_transport::meta_v1::raft_client::RaftClient;
use pharos_transport::meta_v1::{RaftAnswer, RaftMessage, SnapshotPart};
use pharos_transport::{Connect, Connection};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tonic::{Code, Response, Status};

use super::types::{Snapshot, SnapshotMeta, Types, Vote};

/// Maximum size of a message. A restored state travels in a single one.
pub(crate) const MAX_MESSAGE_BYTES: usize = 1 << 30;
/// Size of one part of a snapshot.
const PART_BYTES: usize = 1 << 20;
/// Timeout of a message with log entries, which wait for a disk. It is short because what is sent into a network that has changed
/// holds up everything after it, and sending entries twice is harmless.
const APPEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes a second that a network is expected to carry at least. Large messages have more time.
const MIN_RATE: usize = 1 << 20;
/// Timeout of a whole snapshot.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(600);

/// Makes a [`Peer`] for each node.
pub(crate) struct Network {
    pub(crate) connect: Arc<dyn Connect>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        Peer { target, address: node.addr.clone(), connect: self.connect.clone() }
    }
}

/// Another node of the group.
pub(crate) struct Peer {
    target: u64,
    address: String,
    connect: Arc<dyn Connect>,
}

/// The header of a snapshot stream.
#[derive(Serialize, Deserialize)]
pub(crate) struct SnapshotHeader {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
}

type Rpc<T> = Result<T, RPCError<Types>>;

fn failed(status: &Status) -> RPCError<Types> {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Unknown => Unreachable::new(status).into(),
        _ => NetworkError::new(status).into(),
    }
}

fn encode<T: Serialize>(value: &T) -> Rpc<Bytes> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| NetworkError::new(&e).into())
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Rpc<T> {
    serde_json::from_slice(bytes).map_err(|e| NetworkError::new(&e).into())
}

impl Peer {
    fn client(&self) -> Rpc<RaftClient<Connection>> {
        let connection = self.connect.connect(&self.address).map_err(|status| failed(&status))?;
        let client = RaftClient::new(connection);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// Sends a message and reads the answer, within `time` and the time that its size takes.
    async fn call<M: Serialize, A: DeserializeOwned, F>(
        &self,
        message: &M,
        time: Duration,
        send: impl FnOnce(RaftClient<Connection>, RaftMessage) -> F,
    ) -> Rpc<A>
    where
        F: Future<Output = Result<Response<RaftAnswer>, Status>>,
    {
        let message = RaftMessage { to: self.target, body: encode(message)? };
        let time = time + Duration::from_secs((message.body.len() / MIN_RATE) as u64);
        let sent = tokio::time::timeout(time, send(self.client()?, message)).await;
        let late = |_| {
            // The connection may be of a network that has changed since, and would take long to notice.
            self.connect.reconnect(&self.address);
            failed(&Status::deadline_exceeded(format!("{} did not answer within {time:?}", self.address)))
        };
        let answer = sent.map_err(late)?.map_err(|status| failed(&status))?;
        decode(&answer.into_inner().body)
    }

    async fn send_snapshot(&self, vote: Vote, snapshot: Snapshot) -> Rpc<SnapshotResponse<Types>> {
        let header = encode(&SnapshotHeader { vote, meta: snapshot.meta })?;
        let first = SnapshotPart { to: self.target, header, data: Bytes::new() };
        let mut data = snapshot.snapshot;
        let parts = std::iter::from_fn(move || {
            let part = data.split_to(data.len().min(PART_BYTES));
            (!part.is_empty()).then(|| SnapshotPart { data: part, ..SnapshotPart::default() })
        });
        let parts = stream::iter(std::iter::once(first).chain(parts));
        let sent = async { self.client()?.snapshot(parts).await.map_err(|status| failed(&status)) };
        let late = |_| failed(&Status::deadline_exceeded("the snapshot took longer than its timeout"));
        let answer = tokio::time::timeout(SNAPSHOT_TIMEOUT, sent).await.map_err(late)??;
        decode(&answer.into_inner().body)
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<Types>> {
        // A heartbeat must be answered quickly.
        let time = if rpc.entries.is_empty() { option.hard_ttl() } else { option.hard_ttl().max(APPEND_TIMEOUT) };
        self.call(&rpc, time, |mut client, m| async move { client.append(m).await }).await
    }

    async fn vote(&mut self, rpc: VoteRequest<Types>, option: RPCOption) -> Rpc<VoteResponse<Types>> {
        self.call(&rpc, option.hard_ttl(), |mut client, m| async move { client.vote(m).await }).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<Types>, option: RPCOption) -> Rpc<VoteResponse<Types>> {
        self.call(&rpc, option.hard_ttl(), |mut client, m| async move { client.pre_vote(m).await }).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot) => Ok(sent?),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<Types>> {
        self.call(&rpc, option.hard_ttl(), |mut client, m| async move { client.transfer_leader(m).await }).await
    }
}
