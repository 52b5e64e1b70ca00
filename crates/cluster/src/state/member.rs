//! A member of the cluster: its identity, addresses, roles and state.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Refusal;

/// A role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names of the roles say it")]
pub enum Role {
    Meta,
    Agent,
    Ingester,
    Store,
    Compactor,
    Frontend,
    Ruler,
    Alertmanager,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 8] = [
        Role::Meta,
        Role::Agent,
        Role::Ingester,
        Role::Store,
        Role::Compactor,
        Role::Frontend,
        Role::Ruler,
        Role::Alertmanager,
    ];

    /// The name in flags and answers.
    pub fn name(self) -> &'static str {
        match self {
            Role::Meta => "meta",
            Role::Agent => "agent",
            Role::Ingester => "ingester",
            Role::Store => "store",
            Role::Compactor => "compactor",
            Role::Frontend => "frontend",
            Role::Ruler => "ruler",
            Role::Alertmanager => "alertmanager",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Role::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| format!("unknown role {text:?}"))
    }
}

/// The state of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// Joined, but not working yet.
    #[default]
    Joining,
    /// Working.
    Active,
    /// Working while everything moves off it.
    Draining,
    /// Its lease has expired.
    Down,
    /// Removed for good.
    Removed,
}

impl MemberState {
    /// Whether a member in this state is expected to answer.
    pub fn is_live(self) -> bool {
        matches!(self, MemberState::Active | MemberState::Draining)
    }

    pub(super) fn unless_removed(self, other: MemberState) -> MemberState {
        if self == MemberState::Removed { self } else { other }
    }
}

/// Weight of a member without a configured one.
pub const DEFAULT_WEIGHT: u32 = 100;

fn default_weight() -> u32 {
    DEFAULT_WEIGHT
}

/// Which commands this version of Pharos can read ([`super::Command::protocol`]). Increases with every new command.
pub const PROTOCOL: u32 = 1;

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its identity, a ULID generated at its first start.
    pub id: String,
    /// Host and port of its cluster listener.
    pub address: String,
    /// Host and port of its HTTP listener; empty if it has none.
    #[serde(default)]
    pub http_address: String,
    /// Its failure domain; replicas of a shard are placed in different zones. May be empty.
    #[serde(default)]
    pub zone: String,
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// The version of Pharos that it runs.
    #[serde(default)]
    pub version: String,
    /// Its share of shards and targets relative to other members; 100 by default.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Its state.
    #[serde(default)]
    pub state: MemberState,
    /// Whether it was told to drain; remembered while it is down.
    #[serde(default)]
    pub draining: bool,
    /// Time of the last change of its state, milliseconds since the epoch.
    #[serde(default)]
    pub since_ms: i64,
    /// Which commands it can read; 0 for versions that do not say so.
    #[serde(default)]
    pub protocol: u32,
}

impl Default for Member {
    /// A member without identity, addresses, roles and weight, of this version of Pharos.
    fn default() -> Self {
        Member {
            id: String::new(),
            address: String::new(),
            http_address: String::new(),
            zone: String::new(),
            roles: BTreeSet::new(),
            version: String::new(),
            weight: 0,
            state: MemberState::default(),
            draining: false,
            since_ms: 0,
            protocol: PROTOCOL,
        }
    }
}

impl Member {
    /// Whether it has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether others must notice soon that it is gone: it owns targets or rule groups.
    pub fn is_missed_soon(&self) -> bool {
        self.has(Role::Agent) || self.has(Role::Ruler)
    }

    pub(super) fn check(&self) -> Result<(), Refusal> {
        let bad = |reason: &str| Err(Refusal::BadMember { node: self.id.clone(), reason: reason.into() });
        let texts = [&self.address, &self.http_address, &self.zone, &self.version];
        if self.id.is_empty() || self.id.len() > 64 || !self.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return bad("its identity is not a ULID");
        }
        if texts.iter().any(|text| text.len() > 256 || text.chars().any(char::is_control)) {
            return bad("a field is longer than 256 bytes or contains control characters");
        }
        if self.weight == 0 || self.weight > 100 * DEFAULT_WEIGHT {
            return bad("its weight is not between 1 and 10000");
        }
        if !matches!(self.state, MemberState::Joining | MemberState::Active) {
            return bad("its state is neither joining nor active");
        }
        Ok(())
    }
}
