//! The messages between nodes, and the timers that nodes set for themselves.

use std::sync::Arc;

use pharos_cluster::{ClusterState, Command, Refusal, Response};
use pharos_transport::append::ShardTarget;

use super::env::Ms;
use super::samples::SampleId;

/// The samples of a write, grouped by shard.
pub type Batch = Arc<Vec<(u32, Vec<SampleId>)>>;

/// A message between two nodes. An answer carries the number of its request.
#[derive(Clone, Debug)]
pub enum Message {
    /// To meta: apply this command.
    Propose { number: u64, command: Arc<Command> },
    /// From meta: the result of a command, and a view with its effect.
    Proposed { number: u64, result: Result<Response, Refusal>, state: Arc<ClusterState> },
    /// To meta: a heartbeat from a node whose view has this version.
    Heartbeat { sent: Ms, version: u64 },
    /// From meta: its current version, in answer to the heartbeat sent at `sent`.
    Heard { sent: Ms, version: u64 },
    /// From meta: a newer view.
    View { state: Arc<ClusterState> },
    /// To an ingester: append samples of these shards.
    Append { number: u64, targets: Vec<ShardTarget>, batch: Batch },
    /// From an ingester: the samples are durable, except those of the listed shards, which are at a newer epoch. An
    /// error means that nothing was accepted.
    Appended { number: u64, answer: Result<Vec<(u32, u64)>, ()> },
    /// To an ingester: copy the samples of these shards that are in no block. The sender has been catching up since
    /// these epochs.
    Copy { number: u64, shards: Vec<(u32, u64)> },
    /// From an ingester: the samples of a copy. An error means that it cannot serve the copy.
    Copied { number: u64, answer: Result<Vec<SampleId>, ()> },
}

impl Message {
    /// Returns the answer that the sender of a request receives if the connection is refused.
    pub fn refused(&self) -> Option<Message> {
        match self {
            Message::Append { number, .. } => Some(Message::Appended { number: *number, answer: Err(()) }),
            Message::Copy { number, .. } => Some(Message::Copied { number: *number, answer: Err(()) }),
            _ => None,
        }
    }

    /// Returns the kind and the number of the message for the record of events.
    pub fn key(&self) -> (u64, u64) {
        match self {
            Message::Propose { number, .. } => (1, *number),
            Message::Proposed { number, .. } => (2, *number),
            Message::Heartbeat { version, .. } => (3, *version),
            Message::Heard { version, .. } => (9, *version),
            Message::View { state } => (4, state.version),
            Message::Append { number, .. } => (5, *number),
            Message::Appended { number, .. } => (6, *number),
            Message::Copy { number, .. } => (7, *number),
            Message::Copied { number, .. } => (8, *number),
        }
    }
}

/// A timer that a node sets for itself.
#[derive(Clone, Copy, Debug)]
pub enum Timer {
    /// The command with this number is sent again if it has not been answered.
    Retry(u64),
    /// A heartbeat is due.
    Heartbeat,
    /// The periodic round of an ingester or of meta is due.
    Round,
    /// The next write of an agent is due.
    NextWrite,
    /// The write with this number times out.
    WriteTimeout(u64),
    /// The requests of a write's attempt to the replicas time out.
    ReplicaTimeout(u64, u64),
    /// An fsync of the log up to this position finishes.
    Synced(usize),
    /// The source of a copy reads its samples.
    ReadCopy(u64),
    /// The copy with this number times out.
    GiveUp(u64),
    /// The upload with this number finishes.
    Uploaded(u64),
    /// A scrape slot of this target is due, or a decision about it.
    Scrape(usize),
}

impl Timer {
    /// Returns the kind and the number of the timer for the record of events.
    pub fn key(&self) -> (u64, u64) {
        match self {
            Timer::Retry(number) => (21, *number),
            Timer::Heartbeat => (22, 0),
            Timer::Round => (23, 0),
            Timer::NextWrite => (24, 0),
            Timer::WriteTimeout(number) => (25, *number),
            Timer::ReplicaTimeout(number, _) => (26, *number),
            Timer::Synced(upto) => (27, *upto as u64),
            Timer::ReadCopy(number) => (28, *number),
            Timer::GiveUp(number) => (29, *number),
            Timer::Uploaded(number) => (30, *number),
            Timer::Scrape(target) => (31, *target as u64),
        }
    }
}
