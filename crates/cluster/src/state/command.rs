//! What can be asked of the state, and what it answers. Commands are written to the replicated log as JSON: variants and
//! fields are only ever added, and a new one is proposed only once every node knows it.

use serde::{Deserialize, Serialize};

use super::{ClusterState, Member, MemberState, Settings};
use crate::catalogue::{BlockEntry, CatalogueCommand};

/// A change. Every command may be sent again: what is done already changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// The birth of the cluster.
    Bootstrap {
        /// What is fixed from now on.
        settings: Settings,
    },
    /// A node comes, or comes back with another address, version or set of roles. A node that drains goes on draining while
    /// it holds replicas.
    Join {
        /// Who; its state is `Joining` or `Active`.
        member: Member,
        /// When, milliseconds since the epoch.
        at_ms: i64,
    },
    /// A member becomes live, down or draining. Leaders on a member that goes down move to other in-sync replicas.
    SetMemberState {
        /// Who.
        node: String,
        /// Any state but `Removed`.
        state: MemberState,
        /// When, milliseconds since the epoch.
        at_ms: i64,
    },
    /// A member is gone for good: it loses its replicas and leases, and its identity never comes back.
    RemoveMember {
        /// Who.
        node: String,
        /// Also when it is live, or holds the last in-sync copy of a shard.
        force: bool,
        /// When, milliseconds since the epoch.
        at_ms: i64,
    },
    /// A member without replicas has left; it may come back as new.
    ForgetMember {
        /// Who.
        node: String,
    },
    /// A replica did not take a write: it is out of sync, and does not learn any more until it is told to again.
    ReportFailed {
        /// The replica.
        node: String,
        /// Which shards, with the epochs under which the write was sent.
        shards: Vec<(u32, u64)>,
        /// Who says so.
        reporter: String,
    },
    /// The first placement of shards that nothing is in sync for.
    PlaceShards {
        /// Where.
        placements: Vec<Placement>,
    },
    /// Adds a replica that has to learn the shard, or lets one that is out of sync learn.
    AddLearner {
        /// Which shard.
        shard: u32,
        /// Who.
        node: String,
    },
    /// A learner has all there is.
    Promote {
        /// Which shard.
        shard: u32,
        /// Who.
        node: String,
        /// The epoch since which it learns ([`super::Learner::since`]).
        epoch: u64,
    },
    /// Takes a replica away.
    RemoveReplica {
        /// Which shard.
        shard: u32,
        /// Whose.
        node: String,
    },
    /// Moves the leader.
    SetLeader {
        /// Which shard.
        shard: u32,
        /// To whom; in sync.
        node: String,
    },
    /// Takes or keeps a lease that is free, or whose holder is down.
    TakeLease {
        /// What only one node does.
        name: String,
        /// Who.
        node: String,
    },
    /// Replaces the state by an export of before.
    Restore {
        /// The export.
        state: Box<ClusterState>,
    },
    /// Changes the catalogue.
    Catalogue(CatalogueCommand),
    /// Makes blocks live that a leader has cut, if it is still the leader of all that they hold.
    ShipBlocks {
        /// Who cut them.
        node: String,
        /// The shards that were cut, with the epochs under which the node led them then.
        cut: Vec<(u32, u64)>,
        /// Whose.
        tenant: String,
        /// What was uploaded.
        blocks: Vec<BlockEntry>,
        /// The sequence of the newest deletion of the tenant that the node had carried out before the cut; 0 for none.
        deletions: u64,
    },
}

impl Command {
    /// The same, made at this time: the leader's clock is the one that counts, at the moment at which it takes a command.
    pub(crate) fn made_at(&self, now_ms: i64) -> Option<Command> {
        let mut command = match self {
            Command::Join { .. } | Command::SetMemberState { .. } | Command::RemoveMember { .. } => self.clone(),
            _ => return None,
        };
        match &mut command {
            Command::Join { at_ms, .. }
            | Command::SetMemberState { at_ms, .. }
            | Command::RemoveMember { at_ms, .. } => *at_ms = now_ms,
            _ => {}
        }
        Some(command)
    }

    /// What it is called, for logs.
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

/// Where a shard goes at first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Which.
    pub shard: u32,
    /// The replicas, all in sync at once; the first one leads.
    pub nodes: Vec<String>,
}
