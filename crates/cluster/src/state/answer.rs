//! What the state machine answers to a command. Both types travel to the proposer as JSON, so variants keep their wire names.

use serde::{Deserialize, Serialize};

use super::{MemberState, Settings};
use crate::catalogue;

/// The answer to a command that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// It is done, or was done before.
    Done,
    /// The epoch of the shard afterwards.
    Epoch(u64),
    /// The shards for which a report changed nothing, because their epoch has passed or too few other replicas are in sync.
    /// Writes to them are not acknowledged.
    Unchanged(Vec<u32>),
    /// The lease is held.
    Lease {
        /// Increases with every change of the holder, and fences earlier holders.
        number: u64,
    },
}

/// Why a command was refused. The state did not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the message of a variant explains its fields")]
pub enum Refusal {
    #[error(transparent)]
    Catalogue(#[from] catalogue::Refusal),
    #[error("invalid cluster settings: {settings:?}")]
    Settings { settings: Settings },
    #[error("cluster {cluster} already exists with other settings")]
    #[serde(rename = "Born")]
    AlreadyBootstrapped { cluster: String },
    #[error("the cluster is not bootstrapped yet")]
    #[serde(rename = "Unborn")]
    NotBootstrapped,
    #[error("node {node} is not a member")]
    NoMember { node: String },
    #[error("node {node} was removed from the cluster; it can only return with an empty data folder")]
    Removed { node: String },
    #[error("invalid member {node}: {reason}")]
    BadMember { node: String, reason: String },
    #[error("node {node} is {state:?}: {reason}")]
    State { node: String, state: MemberState, reason: String },
    #[error("shard {shard} does not exist")]
    NoShard { shard: u32 },
    #[error("shard {shard} is already placed, at epoch {epoch}")]
    Placed { shard: u32, epoch: u64 },
    #[error("the placement of shard {shard} names no node, or one twice")]
    BadPlacement { shard: u32 },
    #[error("no replica of shard {shard} is in sync")]
    NothingInSync { shard: u32 },
    #[error("node {node} does not learn shard {shard} since epoch {asked}, but since {since:?}")]
    NotLearning { shard: u32, node: String, asked: u64, since: Option<u64> },
    #[error("node {node} is not in sync for shard {shard}")]
    NotInSync { shard: u32, node: String },
    #[error("node {node} cut shard {shard} at epoch {epoch}; its leader is {leader:?} since epoch {since}")]
    NotLeader { shard: u32, node: String, epoch: u64, leader: Option<String>, since: u64 },
    #[error("cut {cut} of node {node} is part of a later cut, which is in block {by}")]
    OldCut { node: String, cut: u32, by: String },
    #[error("deletion {newest} of tenant {tenant} was forgotten; the cut has seen deletions only up to {seen}")]
    Deleted { tenant: String, newest: u64, seen: u64 },
    #[error("node {node} is one of the last in-sync replicas of shard {shard} and must stay")]
    LastInSync { shard: u32, node: String },
    #[error("without node {node}, shard {shard} has {left} live in-sync replicas and needs {needed}")]
    TooFew { shard: u32, node: String, left: usize, needed: usize },
    #[error("node {node} holds {shards} shards")]
    HoldsShards { node: String, shards: usize },
    #[error("lease {name} is held by node {holder}")]
    LeaseHeld { name: String, holder: String },
    #[error("{what} {value:?} is out of bounds")]
    OutOfBounds { what: String, value: String },
    #[error(
        "node {node} (version {version:?}) cannot read commands of protocol {needed}, only up to {has}: \
         upgrade it, or remove it from the cluster"
    )]
    Unsupported { needed: u32, node: String, version: String, has: u32 },
    #[error("the export cannot be restored: {reason}")]
    BadExport { reason: String },
}
