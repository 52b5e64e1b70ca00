//! The meta service: answers other nodes, and streams the view to followers.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use pharos_transport::meta_v1::{
    ClockOffset, DescribeAnswer, DescribeRequest, HeartbeatAnswer, HeartbeatRequest, PledgeAnswer, PledgeRequest,
    ProposeAnswer, ProposeRequest, ReadIndexAnswer, ReadIndexRequest, WatchRequest, WatchUpdate, meta_server,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::codec;
use crate::error::MetaError;
use crate::feed::Backlog;
use crate::group::Group;
use crate::remote;
use crate::state::{ClusterState, Command};
use crate::view::View;

/// Maximum number of commands in an update.
const MAX_COMMANDS_PER_UPDATE: usize = 256;
/// Size of one part of a state.
const PART_BYTES: usize = 1 << 20;
/// Interval of empty updates while nothing changes. A follower that misses a few of them switches to another node.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(300);
/// Updates that are buffered for a slow watcher.
const UPDATE_BUFFER: usize = 4;

/// The service of one node.
pub(crate) struct MetaService {
    group: Arc<Group>,
    packed: Arc<Packed>,
}

/// A compressed state, shared by all watchers that need one at about the same time.
#[derive(Default)]
struct Packed(Mutex<Option<(View, Bytes)>>);

impl Packed {
    async fn get(&self, group: &Group) -> Result<(View, Bytes), Status> {
        let kept = self.0.lock().clone();
        if let Some((view, bytes)) = kept
            && matches!(group.feed.since(view.incarnation, view.version, 0), Backlog::Commands(..))
        {
            return Ok((view, bytes));
        }
        let view = group.feed.view();
        let state: Arc<ClusterState> = view.state().clone();
        let packed = tokio::task::spawn_blocking(move || codec::encode(&state)).await;
        let failed = |error: String| Status::internal(format!("encoding the state: {error}"));
        let bytes = packed.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        *self.0.lock() = Some((view.clone(), bytes.clone()));
        Ok((view, bytes))
    }
}

fn status(error: &MetaError) -> Status {
    match error {
        MetaError::Refused(refusal) => Status::failed_precondition(refusal.to_string()),
        MetaError::Unavailable(_) | MetaError::Stopped(_) => Status::unavailable(error.to_string()),
        MetaError::Storage(_) => Status::internal(error.to_string()),
    }
}

impl MetaService {
    pub(crate) fn new(group: Arc<Group>) -> Self {
        MetaService { group, packed: Arc::default() }
    }
}

#[tonic::async_trait]
impl meta_server::Meta for MetaService {
    async fn describe(&self, _request: Request<DescribeRequest>) -> Result<Response<DescribeAnswer>, Status> {
        let group = &self.group;
        let initialized = group.is_initialized().await;
        let view = group.feed.view();
        let clocks = group.clock_offsets().into_iter().map(|(node, ahead_ms)| ClockOffset { node, ahead_ms }).collect();
        let metrics = group.raft.metrics();
        let metrics = metrics.borrow_watched();
        Ok(Response::new(DescribeAnswer {
            node: group.config.identity.clone(),
            raft_id: metrics.id,
            address: group.config.address.clone(),
            cluster: view.settings.as_ref().map(|settings| settings.cluster.clone()).unwrap_or_default(),
            initialized,
            leader: metrics.current_leader.unwrap_or(0),
            voters: metrics.membership_config.membership().voter_ids().collect(),
            version: view.version,
            term: metrics.current_term,
            applied: metrics.last_applied.as_ref().map_or(0, |applied| applied.index),
            learners: metrics.membership_config.membership().learner_ids().collect(),
            clocks,
        }))
    }

    async fn pledge(&self, request: Request<PledgeRequest>) -> Result<Response<PledgeAnswer>, Status> {
        let granted = self.group.pledge(&request.into_inner().candidate).await;
        Ok(Response::new(PledgeAnswer { granted }))
    }

    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeAnswer>, Status> {
        let request = request.into_inner();
        let malformed = |e| Status::invalid_argument(format!("malformed command: {e}"));
        let command: Command = serde_json::from_slice(&request.command).map_err(malformed)?;
        let answer = self.group.propose(Arc::new(command), request.forwarded).await.map_err(|e| status(&e))?;
        remote::to_wire(&answer).map(Response::new)
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatAnswer>, Status> {
        self.group.heartbeat(request.into_inner()).await.map(Response::new)
    }

    async fn read_index(&self, request: Request<ReadIndexRequest>) -> Result<Response<ReadIndexAnswer>, Status> {
        let version = self.group.read_index(request.into_inner().forwarded).await.map_err(|e| status(&e))?;
        Ok(Response::new(ReadIndexAnswer { version }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchUpdate, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (updates, stream) = mpsc::channel(UPDATE_BUFFER);
        let watcher = Watcher { group: self.group.clone(), packed: self.packed.clone(), updates };
        tokio::spawn(watcher.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// Keeps the view of one follower up to date.
struct Watcher {
    group: Arc<Group>,
    packed: Arc<Packed>,
    updates: mpsc::Sender<Result<WatchUpdate, Status>>,
}

/// The follower closed the stream.
struct Closed;

impl Watcher {
    async fn run(self, from: WatchRequest) {
        let mut stop = self.group.stop.subscribe();
        tokio::select! {
            () = self.updates.closed() => {}
            _ = stop.wait_for(|stop| *stop) => {}
            _ = self.follow(from) => {}
        }
    }

    async fn send(&self, update: WatchUpdate) -> Result<(), Closed> {
        self.updates.send(Ok(update)).await.map_err(|_| Closed)
    }

    async fn follow(&self, from: WatchRequest) -> Result<(), Closed> {
        let mut watch = self.group.feed.watch();
        let (mut incarnation, mut version) = (from.incarnation, from.version);
        // There is nothing to send before the bootstrap; and a view of another cluster is replaced as a whole.
        let Ok(view) = watch.wait_for(|view| view.settings.is_some()).await.map(|view| view.clone()) else {
            return Ok(());
        };
        if view.settings.as_ref().is_some_and(|settings| settings.cluster != from.cluster) {
            (incarnation, version) = self.send_state().await?;
        }
        loop {
            watch.mark_unchanged();
            match self.group.feed.since(incarnation, version, MAX_COMMANDS_PER_UPDATE) {
                Backlog::State => (incarnation, version) = self.send_state().await?,
                Backlog::Commands(commands, _) if commands.is_empty() => {
                    match tokio::time::timeout(KEEP_ALIVE_INTERVAL, watch.changed()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Ok(()),
                        // Without contact to the leader this node stays silent, so that the follower moves on.
                        Err(_) if self.group.is_in_touch() => {
                            self.send(WatchUpdate { version, ..WatchUpdate::default() }).await?;
                        }
                        Err(_) => {}
                    }
                }
                Backlog::Commands(commands, reached) => {
                    version = reached;
                    self.send(WatchUpdate { commands, version, ..WatchUpdate::default() }).await?;
                }
            }
        }
    }

    /// Sends the whole state and returns its incarnation and version.
    async fn send_state(&self) -> Result<(u64, u64), Closed> {
        let (view, mut bytes) = match self.packed.get(&self.group).await {
            Ok(packed) => packed,
            Err(status) => {
                // The follower reconnects whether or not this reaches it.
                let _closed = self.updates.send(Err(status)).await;
                return Err(Closed);
            }
        };
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(PART_BYTES));
            let last = bytes.is_empty();
            self.send(WatchUpdate { state: part, last, version: view.version, ..WatchUpdate::default() }).await?;
        }
        Ok((view.incarnation, view.version))
    }
}
