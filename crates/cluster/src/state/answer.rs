//! What the state machine answers to a command. Both travel to the proposer as JSON, so variants keep their wire names.

use serde::{Deserialize, Serialize};

use super::{MemberState, Settings};
use crate::catalogue;

/// What a command that took effect answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// It is done, or was.
    Done,
    /// The shard's epoch now.
    Epoch(u64),
    /// Of a report: the shards for which it changed nothing, because their epoch is another one by now or because too little
    /// else is in sync. Writes to them are not acknowledged.
    Unchanged(Vec<u32>),
    /// The lease is held; its number fences earlier holders.
    Lease {
        /// Goes up with every change of the holder.
        number: u64,
    },
}

/// Why a command was refused; the state is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The catalogue refused.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Refusal),
    /// Impossible settings.
    #[error("a cluster cannot have these settings: {settings:?}")]
    Settings {
        /// What was asked for.
        settings: Settings,
    },
    /// It exists already.
    #[error("cluster {cluster} is born already, with other settings")]
    #[serde(rename = "Born")]
    AlreadyBootstrapped {
        /// Its identity.
        cluster: String,
    },
    /// It does not exist yet.
    #[error("the cluster is not born yet")]
    #[serde(rename = "Unborn")]
    NotBootstrapped,
    /// Not a member.
    #[error("node {node} is not a member")]
    NoMember {
        /// Who.
        node: String,
    },
    /// A removed identity.
    #[error("node {node} was removed from the cluster; to come back it starts with an empty data folder")]
    Removed {
        /// Who.
        node: String,
    },
    /// A member that cannot be right.
    #[error("member {node} is malformed: {reason}")]
    BadMember {
        /// Who.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// The member cannot take that state, or not hold replicas in its state.
    #[error("node {node} is {state:?}: {reason}")]
    State {
        /// Who.
        node: String,
        /// Its state.
        state: MemberState,
        /// Why that does not do.
        reason: String,
    },
    /// No such shard.
    #[error("there is no shard {shard}")]
    NoShard {
        /// Which.
        shard: u32,
    },
    /// Placed already.
    #[error("shard {shard} is placed already, at epoch {epoch}")]
    Placed {
        /// Which.
        shard: u32,
        /// Its epoch.
        epoch: u64,
    },
    /// A placement without nodes, or with one named twice.
    #[error("the placement of shard {shard} has no nodes, or one twice")]
    BadPlacement {
        /// Which.
        shard: u32,
    },
    /// There is nobody to learn from.
    #[error("no replica of shard {shard} is in sync")]
    NothingInSync {
        /// Which.
        shard: u32,
    },
    /// Not a learner at that epoch.
    #[error("node {node} is no learner of shard {shard} since epoch {asked}; its epoch is {since:?}")]
    NotLearning {
        /// Which.
        shard: u32,
        /// Who.
        node: String,
        /// The epoch that was asked for.
        asked: u64,
        /// The epoch since which it learns; none if it does not.
        since: Option<u64>,
    },
    /// Not in sync.
    #[error("node {node} is not in sync for shard {shard}")]
    NotInSync {
        /// Which.
        shard: u32,
        /// Who.
        node: String,
    },
    /// Somebody else ships the shard by now, or did in between.
    #[error("node {node} cut shard {shard} at epoch {epoch}; since epoch {since} its leader is {leader:?}")]
    NotLeader {
        /// Which.
        shard: u32,
        /// Who wanted to ship it.
        node: String,
        /// Under which epoch.
        epoch: u64,
        /// Who leads.
        leader: Option<String>,
        /// Since which epoch.
        since: u64,
    },
    /// A later cut of the same node has its samples.
    #[error("cut {cut} of node {node} is part of a later one, which is in block {by}")]
    OldCut {
        /// Whose.
        node: String,
        /// Its number.
        cut: u32,
        /// The block of the later one.
        by: String,
    },
    /// Samples may have been deleted after the cut.
    #[error("tenant {tenant} has deletion {newest}; the cut was made after deletion {seen}")]
    Deleted {
        /// Whose.
        tenant: String,
        /// The newest deletion.
        newest: u64,
        /// The newest one that the cut takes into account.
        seen: u64,
    },
    /// Every shard of the report has too little else in sync.
    #[error("node {node} is one of the last in-sync replicas of shard {shard}, and stays one")]
    LastInSync {
        /// The first of them.
        shard: u32,
        /// Who.
        node: String,
    },
    /// Too few copies would be left.
    #[error("without node {node} shard {shard} has {left} live in-sync replicas, it needs {needed}")]
    TooFew {
        /// Which.
        shard: u32,
        /// Who.
        node: String,
        /// How many would be left.
        left: usize,
        /// How many must be.
        needed: usize,
    },
    /// The member holds shards.
    #[error("node {node} holds {shards} shards")]
    HoldsShards {
        /// Who.
        node: String,
        /// How many.
        shards: usize,
    },
    /// Somebody else has it.
    #[error("lease {name} is held by node {holder}")]
    LeaseHeld {
        /// Which.
        name: String,
        /// By whom.
        holder: String,
    },
    /// A name or number out of bounds.
    #[error("{what} {value} is out of bounds")]
    OutOfBounds {
        /// Of what.
        what: String,
        /// Which.
        value: String,
    },
    /// An export that does not fit.
    #[error("the export cannot be restored: {reason}")]
    BadExport {
        /// Why.
        reason: String,
    },
}
