//! What nodes say to each other, and what they wake themselves for.

use std::sync::Arc;

use pharos_cluster::{ClusterState, Command, Refusal, Response};
use pharos_transport::append::ShardTarget;

use super::env::Ms;
use super::samples::SampleId;

/// The samples of a write, by shard.
pub type Batch = Arc<Vec<(u32, Vec<SampleId>)>>;

/// A message. Answers carry the number of what they answer.
#[derive(Clone, Debug)]
pub enum Message {
    /// To meta: carry this out.
    Propose { number: u64, command: Arc<Command> },
    /// From meta: what became of it, and a view that has its effect.
    Proposed { number: u64, result: Result<Response, Refusal>, state: Arc<ClusterState> },
    /// To meta: a node lives, and has this version of the view.
    Heartbeat { sent: Ms, version: u64 },
    /// From meta: its version, in answer to a sign of life of that time.
    Heard { sent: Ms, version: u64 },
    /// From meta: a newer view.
    View { state: Arc<ClusterState> },
    /// To an ingester: take samples of these shards.
    Append { number: u64, targets: Vec<ShardTarget>, batch: Batch },
    /// They are durable, but those of shards of which it knows newer epochs. Nothing was taken if it failed.
    Appended { number: u64, answer: Result<Vec<(u32, u64)>, ()> },
    /// To an ingester: give me all that no block holds of these shards, which I learn since these epochs.
    Copy { number: u64, shards: Vec<(u32, u64)> },
    /// That is this.
    Copied { number: u64, answer: Result<Vec<SampleId>, ()> },
    /// To an ingester: what of these shards, at these epochs, does no block hold?
    Unflushed { number: u64, shards: Vec<(u32, u64)> },
    /// Shards whose epoch is another, and windows with such samples and their shards.
    StillUnflushed { number: u64, answer: Result<Unflushed, ()> },
}

/// What an ingester says of its unflushed samples.
#[derive(Clone, Debug, Default)]
pub struct Unflushed {
    /// Shards of which it knows a newer epoch.
    pub stale: Vec<u32>,
    /// Windows with shards.
    pub windows: Vec<(i64, u32)>,
    /// The version of the view that lists the blocks with everything else.
    pub version: u64,
}

impl Message {
    /// The answer that a sender gets when nobody listens; none if it does not wait for one.
    pub fn refused(&self) -> Option<Message> {
        match self {
            Message::Append { number, .. } => Some(Message::Appended { number: *number, answer: Err(()) }),
            Message::Copy { number, .. } => Some(Message::Copied { number: *number, answer: Err(()) }),
            Message::Unflushed { number, .. } => Some(Message::StillUnflushed { number: *number, answer: Err(()) }),
            _ => None,
        }
    }

    /// Which kind it is, and its number.
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

/// Why a node wakes.
#[derive(Clone, Copy, Debug)]
pub enum Timer {
    /// A command may have to be sent again.
    Retry(u64),
    /// To say that it lives.
    Heartbeat,
    /// What it does in rounds.
    Round,
    /// An agent's next write.
    NextWrite,
    /// A write has taken too long.
    WriteTimeout(u64),
    /// Replicas have taken too long to answer: the write, and which time they were asked.
    ReplicaTimeout(u64, u64),
    /// A log is durable up to here.
    Synced(usize),
    /// A copy is to be read.
    ReadCopy(u64),
    /// Something that was asked for has not come.
    GiveUp(u64),
    /// An upload has ended.
    Uploaded(u64),
    /// A target is to be scraped.
    Scrape(usize),
}

impl Timer {
    /// Which kind it is, and its number.
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
