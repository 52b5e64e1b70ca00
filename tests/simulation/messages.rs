//! The messages between nodes, and the timers that nodes set for themselves.

use std::sync::Arc;

use pharos_cluster::{ClusterState, Command, Refusal, Response};
use pharos_transport::append::ShardTarget;

use super::env::Ms;
use super::samples::SampleId;

/// The samples of a write, by shard.
pub type Batch = Arc<Vec<(u32, Vec<SampleId>)>>;

/// A message. An answer carries the number of its request.
#[derive(Clone, Debug)]
pub enum Message {
    /// To meta: apply this command.
    Propose { number: u64, command: Arc<Command> },
    /// From meta: the result of a command, and a view with its effect.
    Proposed { number: u64, result: Result<Response, Refusal>, state: Arc<ClusterState> },
    /// To meta: a heartbeat of a node that has this version of the view.
    Heartbeat { sent: Ms, version: u64 },
    /// From meta: its version, in answer to a heartbeat sent at that time.
    Heard { sent: Ms, version: u64 },
    /// From meta: a newer view.
    View { state: Arc<ClusterState> },
    /// To an ingester: append samples of these shards.
    Append { number: u64, targets: Vec<ShardTarget>, batch: Batch },
    /// The samples are durable, except for shards with newer epochs. An error means that nothing was accepted.
    Appended { number: u64, answer: Result<Vec<(u32, u64)>, ()> },
    /// To an ingester: copy everything that no block holds of these shards, which the sender learns since these epochs.
    Copy { number: u64, shards: Vec<(u32, u64)> },
    /// The samples of a copy.
    Copied { number: u64, answer: Result<Vec<SampleId>, ()> },
    /// To an ingester: which windows have unflushed samples of these shards, at these epochs?
    Unflushed { number: u64, shards: Vec<(u32, u64)> },
    /// The unflushed windows, and the shards whose epochs differ.
    StillUnflushed { number: u64, answer: Result<Unflushed, ()> },
}

/// The unflushed samples of an ingester.
#[derive(Clone, Debug, Default)]
pub struct Unflushed {
    /// Shards with a newer epoch.
    pub stale: Vec<u32>,
    /// Windows and shards with unflushed samples.
    pub windows: Vec<(i64, u32)>,
    /// The version of the view that lists the blocks of everything else.
    pub version: u64,
}

impl Message {
    /// The answer that a sender gets if nobody listens; none if it expects no answer.
    pub fn refused(&self) -> Option<Message> {
        match self {
            Message::Append { number, .. } => Some(Message::Appended { number: *number, answer: Err(()) }),
            Message::Copy { number, .. } => Some(Message::Copied { number: *number, answer: Err(()) }),
            Message::Unflushed { number, .. } => Some(Message::StillUnflushed { number: *number, answer: Err(()) }),
            _ => None,
        }
    }

    /// The kind and the number, for the record of events.
    pub fn key(&self) -> (u64, u64) {
        match self {
            Message::Propose { number, .. } => (1, *number),
            Message::Proposed { number, .. } => (2, *number),
            Message::Heartbeat { version, .. } => (3, *version),
            Message::Heard { version, .. } => (11, *version),
            Message::View { state } => (4, state.version),
            Message::Append { number, .. } => (5, *number),
            Message::Appended { number, .. } => (6, *number),
            Message::Copy { number, .. } => (7, *number),
            Message::Copied { number, .. } => (8, *number),
            Message::Unflushed { number, .. } => (9, *number),
            Message::StillUnflushed { number, .. } => (10, *number),
        }
    }
}

/// Why a node wakes up.
#[derive(Clone, Copy, Debug)]
pub enum Timer {
    /// A command may have to be sent again.
    Retry(u64),
    /// To send a heartbeat.
    Heartbeat,
    /// Its periodic round.
    Round,
    /// An agent's next write.
    NextWrite,
    /// A write has taken too long.
    WriteTimeout(u64),
    /// Replicas have taken too long to answer: the write and its attempt.
    ReplicaTimeout(u64, u64),
    /// The log is durable up to this position.
    Synced(usize),
    /// A copy is to be read.
    ReadCopy(u64),
    /// A copy has not arrived in time.
    GiveUp(u64),
    /// An upload has finished.
    Uploaded(u64),
    /// A target is to be scraped.
    Scrape(usize),
}

impl Timer {
    /// The kind and the number, for the record of events.
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
