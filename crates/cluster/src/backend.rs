//! What stands behind [`crate::Meta`]: a node of the Raft group, or a follower of one.

use std::sync::Arc;

use pharos_transport::meta_v1::{HeartbeatAnswer, HeartbeatRequest};
use tokio::sync::watch;

use crate::error::MetaError;
use crate::follow::Follower;
use crate::group::Group;
use crate::raft::types::Answer;
use crate::state::Command;

#[derive(Clone)]
pub(crate) enum Backend {
    Group(Arc<Group>),
    Follower(Arc<Follower>),
}

impl Backend {
    pub(crate) async fn heartbeat(&self, heartbeat: HeartbeatRequest) -> Result<HeartbeatAnswer, MetaError> {
        match self {
            Backend::Group(group) => {
                group.heartbeat(heartbeat).await.map_err(|status| MetaError::Unavailable(status.to_string()))
            }
            Backend::Follower(follower) => follower.heartbeat(heartbeat).await,
        }
    }

    pub(crate) async fn propose(&self, command: Arc<Command>) -> Result<Answer, MetaError> {
        match self {
            Backend::Group(group) => group.propose(command, false).await,
            Backend::Follower(follower) => follower.propose(command).await,
        }
    }

    /// A version that includes everything agreed on before the call.
    pub(crate) async fn read_index(&self) -> Result<u64, MetaError> {
        match self {
            Backend::Group(group) => group.read_index(false).await,
            Backend::Follower(follower) => follower.read_index().await,
        }
    }

    /// Whether nothing can be agreed on without this node.
    pub(crate) fn is_alone(&self) -> bool {
        match self {
            Backend::Group(group) => group.is_alone(),
            Backend::Follower(_) => false,
        }
    }

    /// Turns true when this node stops.
    pub(crate) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop_sender().subscribe()
    }

    /// Tells all tasks of this node to stop; waits for none.
    pub(crate) fn stop(&self) {
        self.stop_sender().send_replace(true);
    }

    fn stop_sender(&self) -> &watch::Sender<bool> {
        match self {
            Backend::Group(group) => &group.stop,
            Backend::Follower(follower) => &follower.stop,
        }
    }
}
