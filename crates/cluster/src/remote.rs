//! What nodes ask of a meta node over the network.

use std::sync::Arc;
use std::time::Duration;

use pharos_transport::meta_v1::meta_client::MetaClient;
use pharos_transport::meta_v1::{
    DescribeAnswer, DescribeRequest, HeartbeatAnswer, HeartbeatRequest, PledgeRequest, ProposeAnswer, ProposeRequest,
    WatchRequest, WatchUpdate,
};
use pharos_transport::{Connect, Connection};
use tonic::{Request, Status, Streaming};

use crate::raft::network::MOST_MESSAGE_BYTES;
use crate::raft::types::Answer;
use crate::state::{Command, Response};

/// Longest time for an answer, but for streams.
const TIME: Duration = Duration::from_secs(5);
/// Longest time for a sign of life: another node is asked well before the lease ends.
const HEARTBEAT_TIME: Duration = Duration::from_secs(1);

/// Asks meta nodes by their addresses.
#[derive(Clone)]
pub(crate) struct Remote {
    connect: Arc<dyn Connect>,
}

fn unreadable(error: serde_json::Error) -> Status {
    Status::internal(format!("an answer of meta is unreadable: {error}"))
}

/// How an answer of the state machine travels.
pub(crate) fn to_wire(answer: &Answer) -> Result<ProposeAnswer, Status> {
    let mut wire = ProposeAnswer { version: answer.version, ..ProposeAnswer::default() };
    match &answer.result {
        Ok(response) => wire.response = serde_json::to_vec(response).map_err(unreadable)?.into(),
        Err(refusal) => wire.refusal = serde_json::to_vec(refusal).map_err(unreadable)?.into(),
    }
    Ok(wire)
}

fn from_wire(wire: &ProposeAnswer) -> Result<Answer, Status> {
    let result: Result<Response, _> = if wire.refusal.is_empty() {
        Ok(serde_json::from_slice(&wire.response).map_err(unreadable)?)
    } else {
        Err(serde_json::from_slice(&wire.refusal).map_err(unreadable)?)
    };
    Ok(Answer { version: wire.version, result })
}

async fn in_time<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
    within(TIME, call).await
}

async fn within<T>(
    time: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    let late = |_| Status::deadline_exceeded(format!("no answer in {time:?}"));
    Ok(tokio::time::timeout(time, call).await.map_err(late)??.into_inner())
}

impl Remote {
    pub(crate) fn new(connect: Arc<dyn Connect>) -> Self {
        Remote { connect }
    }

    fn client(&self, address: &str) -> Result<MetaClient<Connection>, Status> {
        let client = MetaClient::new(self.connect.connect(address)?);
        Ok(client.max_decoding_message_size(MOST_MESSAGE_BYTES).max_encoding_message_size(MOST_MESSAGE_BYTES))
    }

    /// Who the node is.
    pub(crate) async fn describe(&self, address: &str) -> Result<DescribeAnswer, Status> {
        in_time(self.client(address)?.describe(DescribeRequest {})).await
    }

    /// Whether the node lets a candidate found the cluster.
    pub(crate) async fn pledge(&self, address: &str, candidate: &str) -> Result<bool, Status> {
        let request = PledgeRequest { candidate: candidate.to_string() };
        Ok(in_time(self.client(address)?.pledge(request)).await?.granted)
    }

    /// Has a command carried out.
    pub(crate) async fn propose(&self, address: &str, command: &Command, forwarded: bool) -> Result<Answer, Status> {
        let command = serde_json::to_vec(command).map_err(unreadable)?.into();
        let request = ProposeRequest { command, forwarded };
        from_wire(&in_time(self.client(address)?.propose(request)).await?)
    }

    /// Keeps a member's lease, or gives it back.
    pub(crate) async fn heartbeat(&self, address: &str, beat: HeartbeatRequest) -> Result<HeartbeatAnswer, Status> {
        within(HEARTBEAT_TIME, self.client(address)?.heartbeat(beat)).await
    }

    /// Follows the node's view.
    pub(crate) async fn watch(&self, address: &str, from: WatchRequest) -> Result<Streaming<WatchUpdate>, Status> {
        let mut client = self.client(address)?;
        in_time(client.watch(Request::new(from))).await
    }
}
