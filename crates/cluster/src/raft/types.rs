//! The types that configure Raft: log entries, the answers to them, and the ids of nodes.

use std::fmt;
use std::sync::Arc;

use openraft::type_config::alias;
use serde::{Deserialize, Serialize};

use crate::state::{Command, Refusal, Response};

openraft::declare_raft_types!(
    /// Raft over the cluster's commands.
    pub(crate) Types:
        D = Proposal,
        R = Answer,
        NodeId = u64,
        Node = openraft::BasicNode,
);

pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = alias::SnapshotOf<Types, bytes::Bytes>;

/// The Raft id of a node: a hash of its identity.
pub fn raft_id(identity: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(identity.as_bytes())
}

/// A command as a log entry.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Proposal(pub(crate) Arc<Command>);

impl fmt::Display for Proposal {
    /// Shows only the name of the command, because some hold whole states.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The result of applying an entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The version of the state afterwards.
    pub(crate) version: u64,
    pub(crate) result: Result<Response, Refusal>,
}
