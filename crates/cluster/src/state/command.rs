//! What can be asked of the state, and what it answers. Commands are written to the replicated log as JSON: variants and
//! fields are only ever added, and a new one is proposed only once every node knows it.

use serde::{Deserialize, Serialize};

use super::{ClusterState, Member, MemberState, Settings, TenantLimits};
use crate::catalogue::{self, BlockEntry, CatalogueCommand};

/// A change. Every command may be sent again: what is done already changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// The birth of the cluster.
    Bootstrap {
        /// What is fixed from now on.
        settings: Settings,
    },
    /// Changes the number of copies of each shard.
    SetReplicationFactor {
        /// Copies, 1 to 16.
        replicas: u32,
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
    /// Gives a lease back.
    GiveLease {
        /// Which.
        name: String,
        /// Who had it.
        node: String,
    },
    /// Sets the limits of a tenant.
    SetLimits {
        /// Whose.
        tenant: String,
        /// None for the configured ones.
        limits: Option<TenantLimits>,
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
            Command::SetReplicationFactor { .. } => "set replication factor",
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
            Command::GiveLease { .. } => "give lease",
            Command::SetLimits { .. } => "set limits",
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
    Born {
        /// Its identity.
        cluster: String,
    },
    /// It does not exist yet.
    #[error("the cluster is not born yet")]
    Unborn,
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
