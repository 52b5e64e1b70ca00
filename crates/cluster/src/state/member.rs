//! A member of the cluster: its identity, addresses, roles and state.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Refusal;

/// What a node does.
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
    /// All of them.
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

    /// As it is written in flags and answers.
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
        Role::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| format!("there is no role {text:?}"))
    }
}

/// How a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// Known, not at work yet.
    #[default]
    Joining,
    /// At work.
    Active,
    /// At work, and everything moves off it.
    Draining,
    /// Its lease has run out.
    Down,
    /// Gone for good.
    Removed,
}

impl MemberState {
    /// Whether a member in this state answers, as far as is known.
    pub fn is_live(self) -> bool {
        matches!(self, MemberState::Active | MemberState::Draining)
    }

    pub(super) fn unless_removed(self, other: MemberState) -> MemberState {
        if self == MemberState::Removed { self } else { other }
    }
}

/// Weight of a member that has the usual share.
pub const DEFAULT_WEIGHT: u32 = 100;

fn default_weight() -> u32 {
    DEFAULT_WEIGHT
}

/// A node of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its identity, a ULID made at its first start.
    pub id: String,
    /// Host and port of its cluster listener.
    pub address: String,
    /// Host and port of its HTTP listener; empty without.
    #[serde(default)]
    pub http_address: String,
    /// Where it stands; replicas of a shard are kept in different zones. May be empty.
    #[serde(default)]
    pub zone: String,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// Version of its program.
    #[serde(default)]
    pub version: String,
    /// Its share against others; 100 is usual.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// How it is.
    #[serde(default)]
    pub state: MemberState,
    /// Whether it was told to drain; kept while it is down.
    #[serde(default)]
    pub draining: bool,
    /// When its state last changed, milliseconds since the epoch.
    #[serde(default)]
    pub since_ms: i64,
}

impl Member {
    /// Whether it has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    pub(super) fn check(&self) -> Result<(), Refusal> {
        let bad = |reason: &str| Err(Refusal::BadMember { node: self.id.clone(), reason: reason.into() });
        let texts = [&self.address, &self.http_address, &self.zone, &self.version];
        if self.id.is_empty() || self.id.len() > 64 || !self.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return bad("its identity is not a ULID");
        }
        if texts.iter().any(|text| text.len() > 256 || text.chars().any(char::is_control)) {
            return bad("a text is too long or has control characters");
        }
        if self.weight == 0 || self.weight > 100 * DEFAULT_WEIGHT {
            return bad("its weight is not between 1 and 10000");
        }
        if !matches!(self.state, MemberState::Joining | MemberState::Active) {
            return bad("it joins neither as joining nor as active");
        }
        Ok(())
    }
}
