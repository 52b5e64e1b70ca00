//! The commands that change the state.
//!
//! Commands are in the replicated log as JSON, so names of variants and fields are fixed. Variants and fields are only ever
//! added. A node that meets a variant that it does not know can never continue, so the leader takes a new one only once
//! every member knows it ([`Command::protocol`]).

use serde::{Deserialize, Serialize};

use super::{ClusterState, Member, MemberState, Settings};
use crate::catalogue::{BlockEntry, CatalogueCommand};

/// A change of the state. Every command is idempotent: sent again, it changes nothing more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Creates the state of a new cluster.
    Bootstrap {
        /// What is fixed from then on.
        settings: Settings,
    },
    /// Adds a member, or updates the address, version and roles of one that returns. A draining node keeps draining while it
    /// holds replicas.
    Join {
        /// The member; its state is `Joining` or `Active`.
        member: Member,
        /// Time of the change, milliseconds since the epoch.
        at_ms: i64,
    },
    /// Changes the state of a member. Leaders on a member that goes down move to other in-sync replicas.
    SetMemberState {
        /// Identity of the node.
        node: String,
        /// The new state; anything but `Removed`.
        state: MemberState,
        /// Time of the change, milliseconds since the epoch.
        at_ms: i64,
    },
    /// Removes a member for good: it loses its replicas and leases, and its identity is never accepted again.
    RemoveMember {
        /// Identity of the node.
        node: String,
        /// Removes it even if it is live or has the last in-sync copy of a shard.
        force: bool,
        /// Time of the change, milliseconds since the epoch.
        at_ms: i64,
    },
    /// Forgets a member without replicas. It may join again as a new one.
    ForgetMember {
        /// Identity of the node.
        node: String,
    },
    /// Reports that a replica missed a write. It is out of sync, and stops learning until it is told to learn again.
    ReportFailed {
        /// The replica that failed.
        node: String,
        /// The shards of the write, with the epochs under which it was sent.
        shards: Vec<(u32, u64)>,
        /// The node that reports it.
        reporter: String,
    },
    /// Places shards that have no in-sync replica.
    PlaceShards {
        /// One placement per shard.
        placements: Vec<Placement>,
    },
    /// Adds a replica that learns the shard, or lets an out-of-sync replica learn it again.
    AddLearner {
        /// Number of the shard.
        shard: u32,
        /// Identity of the node.
        node: String,
    },
    /// Puts a learner in sync, once it has copied everything.
    Promote {
        /// Number of the shard.
        shard: u32,
        /// Identity of the node.
        node: String,
        /// The epoch since which it learns ([`super::Learner::since`]).
        epoch: u64,
    },
    /// Removes a replica.
    RemoveReplica {
        /// Number of the shard.
        shard: u32,
        /// Identity of the node.
        node: String,
    },
    /// Moves the leadership of a shard.
    SetLeader {
        /// Number of the shard.
        shard: u32,
        /// The new leader, an in-sync replica.
        node: String,
    },
    /// Acquires a lease that is free or whose holder is down, or keeps it.
    TakeLease {
        /// Name of the lease.
        name: String,
        /// Identity of the node.
        node: String,
    },
    /// Sets the width of windows for ingesters that start from now on.
    SetWindow {
        /// The width, milliseconds.
        window_ms: i64,
    },
    /// Merges an export into the state.
    Restore {
        /// The exported state.
        state: Box<ClusterState>,
        /// Time of the change, milliseconds since the epoch; 0 in commands of versions that replaced the state.
        #[serde(default)]
        at_ms: i64,
    },
    /// Changes the catalogue.
    Catalogue(CatalogueCommand),
    /// Commits blocks that a leader has cut, if it has led all of their shards since the cut; or delta blocks that another
    /// replica has cut, if it is in sync for all of their shards.
    ShipBlocks {
        /// The node that cut them.
        node: String,
        /// The shards of the cut, with the epochs under which the node led them.
        cut: Vec<(u32, u64)>,
        /// Tenant of the blocks.
        tenant: String,
        /// The uploaded blocks.
        blocks: Vec<BlockEntry>,
        /// Number of the tenant's newest deletion that was applied before the cut; 0 for none. Blocks name it, too
        /// ([`BlockEntry::deletions_seen`]), except those of versions that did not.
        deletions: u64,
        /// Whether the node ships as an in-sync replica what no listed block had. Such blocks are deltas.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        as_replica: bool,
    },
}

impl Command {
    /// The command with its time replaced, if it has one: the leader's clock counts, when it takes the command.
    pub(crate) fn made_at(&self, now_ms: i64) -> Option<Command> {
        let mut command = match self {
            Command::Join { .. }
            | Command::SetMemberState { .. }
            | Command::RemoveMember { .. }
            | Command::Restore { at_ms: 1.., .. } => self.clone(),
            Command::Catalogue(change) if change.has_time() => self.clone(),
            _ => return None,
        };
        match &mut command {
            Command::Join { at_ms, .. }
            | Command::SetMemberState { at_ms, .. }
            | Command::RemoveMember { at_ms, .. }
            | Command::Restore { at_ms, .. }
            | Command::Catalogue(
                CatalogueCommand::RemoveBlocks { at_ms, .. } | CatalogueCommand::CondemnBlocks { at_ms, .. },
            ) => *at_ms = now_ms,
            _ => {}
        }
        Some(command)
    }

    /// The protocol from which on a node can read the command. It is proposed only once every member has it.
    pub fn protocol(&self) -> u32 {
        match self {
            Command::Catalogue(change) => change.protocol(),
            // Earlier versions would replace the state.
            Command::Restore { at_ms: 1.., .. } | Command::SetWindow { .. } => 1,
            // Earlier versions would take it for a leader's.
            Command::ShipBlocks { as_replica: true, .. } => 1,
            _ => 0,
        }
    }

    /// The name of the command, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Bootstrap { .. } => "bootstrap",
            Command::Join { .. } => "join",
            Command::SetMemberState { .. } => "set member state",
            Command::RemoveMember { .. } => "remove member",
            Command::ForgetMember { .. } => "forget member",
            Command::ReportFailed { .. } => "report failed",
            Command::PlaceShards { .. } => "place shards",
            Command::AddLearner { .. } => "add learner",
            Command::Promote { .. } => "promote",
            Command::RemoveReplica { .. } => "remove replica",
            Command::SetLeader { .. } => "set leader",
            Command::TakeLease { .. } => "take lease",
            Command::SetWindow { .. } => "set window",
            Command::Restore { .. } => "restore",
            Command::Catalogue(_) => "catalogue",
            Command::ShipBlocks { .. } => "ship blocks",
        }
    }
}

impl From<CatalogueCommand> for Command {
    fn from(change: CatalogueCommand) -> Self {
        Command::Catalogue(change)
    }
}

/// The first replicas of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Number of the shard.
    pub shard: u32,
    /// The replicas, all in sync at once; the first one leads.
    pub nodes: Vec<String>,
}
