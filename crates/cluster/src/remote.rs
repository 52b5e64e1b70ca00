//! The client of the meta service: calls to another meta node by its address.

use std::sync::Arc;
use std::time::Duration;

use pharos_transport::meta_v1::meta_client::MetaClient;
use pharos_transport::meta_v1::{
    DescribeAnswer, DescribeRequest, HeartbeatAnswer, HeartbeatRequest, PledgeRequest, ProposeAnswer, ProposeRequest,
    ReadIndexRequest, WatchRequest, WatchUpdate,
};
use pharos_transport::{ClusterIdentity, Connect, Connection};
use tonic::{Request, Status, Streaming};

use crate::raft::network::MAX_MESSAGE_BYTES;
use crate::raft::types::Answer;
use crate::state::{Command, Response};

/// Timeout of a call.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of a heartbeat, so short that another node is tried well before the lease expires.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout of a read index, for which a query waits.
const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout for opening a stream of updates. It is short, so that another node is followed soon.
const WATCH_TIMEOUT: Duration = Duration::from_secs(1);

/// Calls meta nodes.
#[derive(Clone)]
pub(crate) struct Remote {
    connect: Arc<dyn Connect>,
}

fn unreadable(error: serde_json::Error) -> Status {
    Status::internal(format!("unreadable answer of a meta node: {error}"))
}

/// Encodes an answer of the state machine.
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

impl Remote {
    pub(crate) fn new(connect: Arc<dyn Connect>) -> Self {
        Remote { connect }
    }

    /// The identity that the calls carry.
    pub(crate) fn identity(&self) -> ClusterIdentity {
        self.connect.identity()
    }

    /// Waits for the answer of a node. If there is none in time, the next call uses a new connection: the network may have changed
    /// since the current one was opened, which TCP takes long to notice.
    async fn within<T>(
        &self,
        time: Duration,
        address: &str,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Status> {
        match tokio::time::timeout(time, call).await {
            Ok(answered) => Ok(answered?.into_inner()),
            Err(_) => {
                self.reconnect(address);
                Err(Status::deadline_exceeded(format!("no answer within {time:?}")))
            }
        }
    }

    /// Makes the next call to a node use a new connection.
    pub(crate) fn reconnect(&self, address: &str) {
        self.connect.reconnect(address);
    }

    fn client(&self, address: &str) -> Result<MetaClient<Connection>, Status> {
        let client = MetaClient::new(self.connect.connect(address)?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// Asks a node who it is and how it sees the group.
    pub(crate) async fn describe(&self, address: &str) -> Result<DescribeAnswer, Status> {
        self.within(CALL_TIMEOUT, address, self.client(address)?.describe(DescribeRequest {})).await
    }

    /// Asks a node to let a candidate found the cluster.
    pub(crate) async fn pledge(&self, address: &str, candidate: &str) -> Result<bool, Status> {
        let request = PledgeRequest { candidate: candidate.to_string() };
        Ok(self.within(CALL_TIMEOUT, address, self.client(address)?.pledge(request)).await?.granted)
    }

    /// Proposes a command through a node.
    pub(crate) async fn propose(&self, address: &str, command: &Command, forwarded: bool) -> Result<Answer, Status> {
        let command = serde_json::to_vec(command).map_err(unreadable)?.into();
        let request = ProposeRequest { command, forwarded };
        from_wire(&self.within(CALL_TIMEOUT, address, self.client(address)?.propose(request)).await?)
    }

    /// Sends a member's heartbeat or departure.
    pub(crate) async fn heartbeat(&self, address: &str, beat: HeartbeatRequest) -> Result<HeartbeatAnswer, Status> {
        self.within(HEARTBEAT_TIMEOUT, address, self.client(address)?.heartbeat(beat)).await
    }

    /// Starts following the view of a node.
    pub(crate) async fn watch(&self, address: &str, from: WatchRequest) -> Result<Streaming<WatchUpdate>, Status> {
        let mut client = self.client(address)?;
        self.within(WATCH_TIMEOUT, address, client.watch(Request::new(from))).await
    }

    /// Asks for a version that includes everything agreed on before the call.
    pub(crate) async fn read_index(&self, address: &str, forwarded: bool) -> Result<u64, Status> {
        let request = ReadIndexRequest { forwarded };
        Ok(self.within(READ_INDEX_TIMEOUT, address, self.client(address)?.read_index(request)).await?.version)
    }
}
