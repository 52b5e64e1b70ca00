//! What the cluster agrees on, as a pure state machine: members, shards, blocks and leases.
//!
//! [`ClusterState::apply`] takes a [`Command`] and answers or refuses it. It knows no clock, network or disk, so nodes that
//! apply the same commands have the same state. A refused command changes nothing. Cloning is cheap, because the parts are
//! shared until they change.
//!
//! Invariants ([`ClusterState::check`]): the epoch of a shard grows with every change of its replicas, in-sync set or leader
//! and never otherwise. The leader is in sync. In-sync nodes and learners are replicas, and no node is both. Replicas are
//! members that were not removed. A learner is promoted only at the epoch since which it learns. The last in-sync replica
//! stays until it is removed by force.

mod answer;
mod command;
mod leases;
mod member;
mod members;
mod ownership;
mod restore;
mod shards;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
pub use answer::{Refusal, Response};
pub use command::{Command, Placement};
pub use leases::Lease;
pub use member::{DEFAULT_WEIGHT, Member, MemberState, PROTOCOL, Role};
pub use ownership::{Assignment, HANDOFF_MS};
pub use shards::{Learner, Shard};

/// Number of shards of a new cluster, unless configured.
pub const DEFAULT_SHARDS: u32 = 64;

/// Largest width of windows: Prometheus's largest block.
const MAX_WINDOW_MS: i64 = 31 * 86_400_000;

/// The protocol from which on nodes name their cluster in every call.
pub(crate) const IDENTITY_PROTOCOL: u32 = 1;

/// What was fixed when the cluster was bootstrapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Identity of the cluster, which no other cluster has.
    pub cluster: String,
    /// Number of shards, fixed forever.
    pub shards: u32,
    /// Copies of each shard.
    pub replication_factor: u32,
}

impl Settings {
    /// How many replicas must be in sync for a write to be accepted.
    pub fn min_in_sync(&self) -> usize {
        if self.replication_factor <= 2 { 1 } else { self.replication_factor as usize / 2 + 1 }
    }
}

/// The whole state of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterState {
    /// Number of commands that took effect. Identifies the state within an incarnation.
    pub version: u64,
    /// Increases when the state is restored from an export, which invalidates earlier versions.
    #[serde(default)]
    pub incarnation: u64,
    /// None before the bootstrap.
    #[serde(default)]
    pub settings: Option<Settings>,
    /// Width of the windows of ingesters that start from now on, milliseconds; 0 until one has said it.
    #[serde(default)]
    pub window_ms: i64,
    /// Identities of the clusters whose exports were restored in this one, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<String>,
    /// Members by identity, including removed ones.
    #[serde(default)]
    pub members: Arc<BTreeMap<String, Arc<Member>>>,
    /// Shards; the index is the number.
    #[serde(default)]
    pub shards: Arc<Vec<Arc<Shard>>>,
    /// Blocks and deletions.
    #[serde(default)]
    pub catalogue: Arc<Catalogue>,
    /// Leases of tasks that only one node runs at a time, by name.
    #[serde(default)]
    pub leases: Arc<BTreeMap<String, Lease>>,
    /// Increases when the set of live agents changes. Targets are assigned under it.
    #[serde(default)]
    pub ownership_epoch: u64,
    /// Assignments of targets to agents, ascending by start. Empty in a state from before there were any; the live agents own
    /// the targets then.
    #[serde(default, rename = "eras")]
    pub assignments: Arc<Vec<Assignment>>,
    /// Increases when the set of live rulers changes. Rule groups are assigned under it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ruler_epoch: u64,
    /// Assignments of rule groups to rulers, ascending by start. Empty until there are rulers.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub ruler_assignments: Arc<Vec<Assignment>>,
}

fn is_zero(epoch: &u64) -> bool {
    *epoch == 0
}

fn is_empty(assignments: &Arc<Vec<Assignment>>) -> bool {
    assignments.is_empty()
}

impl ClusterState {
    /// Applies a command and increments the version, or refuses it and changes nothing.
    pub fn apply(&mut self, command: &Command) -> Result<Response, Refusal> {
        let mut next = self.clone();
        let response = next.dispatch(command)?;
        next.version += 1;
        *self = next;
        Ok(response)
    }

    fn dispatch(&mut self, command: &Command) -> Result<Response, Refusal> {
        match command {
            Command::Bootstrap { settings } => self.bootstrap(settings),
            Command::Join { member, at_ms } => self.join(member, *at_ms),
            Command::SetMemberState { node, state, at_ms } => self.set_member_state(node, *state, *at_ms),
            Command::RemoveMember { node, force, at_ms } => self.remove_member(node, *force, *at_ms),
            Command::ForgetMember { node } => self.forget_member(node),
            Command::ReportFailed { node, shards, reporter } => self.report_failed(node, shards, reporter),
            Command::PlaceShards { placements } => self.place_shards(placements),
            Command::AddLearner { shard, node } => self.add_learner(*shard, node),
            Command::Promote { shard, node, epoch } => self.promote(*shard, node, *epoch),
            Command::RemoveReplica { shard, node } => self.remove_replica(*shard, node),
            Command::SetLeader { shard, node } => self.set_leader(*shard, node),
            Command::TakeLease { name, node } => self.take_lease(name, node),
            Command::SetWindow { window_ms } => self.set_window(*window_ms),
            Command::Restore { state, at_ms } => self.restore(state, *at_ms),
            Command::ShipBlocks { node, cut, tenant, blocks, deletions, as_replica } => {
                self.ship_blocks(node, cut, tenant, blocks, *deletions, *as_replica)
            }
            Command::Catalogue(change) => {
                Arc::make_mut(&mut self.catalogue).apply(change.clone())?;
                Ok(Response::Done)
            }
        }
    }

    fn bootstrap(&mut self, settings: &Settings) -> Result<Response, Refusal> {
        let fits = (1..=65_536).contains(&settings.shards) && (1..=16).contains(&settings.replication_factor);
        if !fits || settings.cluster.is_empty() {
            return Err(Refusal::Settings { settings: settings.clone() });
        }
        match &self.settings {
            None => {
                self.shards = Arc::new(vec![Arc::default(); settings.shards as usize]);
                self.settings = Some(settings.clone());
                Ok(Response::Done)
            }
            Some(existing) if existing == settings => Ok(Response::Done),
            Some(existing) => Err(Refusal::AlreadyBootstrapped { cluster: existing.cluster.clone() }),
        }
    }

    fn set_window(&mut self, window_ms: i64) -> Result<Response, Refusal> {
        if !(1..=MAX_WINDOW_MS).contains(&window_ms) {
            return Err(Refusal::OutOfBounds { what: "width of windows".into(), value: format!("{window_ms} ms") });
        }
        self.window_ms = window_ms;
        Ok(Response::Done)
    }

    /// The epoch of a shard; 0 for a shard that does not exist. No write is sent under epoch 0.
    pub fn epoch(&self, shard: u32) -> u64 {
        self.shard(shard).map_or(0, |shard| shard.epoch)
    }

    /// A shard by its number.
    pub fn shard(&self, number: u32) -> Option<&Arc<Shard>> {
        self.shards.get(number as usize)
    }

    /// The shards with their numbers, ascending.
    pub fn numbered_shards(&self) -> impl DoubleEndedIterator<Item = (u32, &Arc<Shard>)> + ExactSizeIterator {
        self.shards.iter().enumerate().map(|(number, shard)| (number as u32, shard))
    }

    /// Checks the invariants; the error names the one that is broken. For tests and for states from outside.
    pub fn check(&self) -> Result<(), String> {
        for assignments in [&self.assignments, &self.ruler_assignments] {
            if !assignments.windows(2).all(|pair| pair[0].from_ms < pair[1].from_ms) {
                return Err("the assignments are not ascending".into());
            }
        }
        let expected = self.settings.as_ref().map_or(0, |settings| settings.shards as usize);
        if self.shards.len() != expected {
            return Err(format!("{} shards, expected {expected} by the settings", self.shards.len()));
        }
        for (number, shard) in self.shards.iter().enumerate() {
            shard.check().map_err(|reason| format!("shard {number}: {reason}"))?;
            let is_unknown = |node: &&String| self.members.get(*node).is_none_or(|m| m.state == MemberState::Removed);
            if let Some(node) = shard.replicas.iter().find(is_unknown) {
                return Err(format!("shard {number}: replica {node} is not a member"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
