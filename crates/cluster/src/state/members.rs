//! Members: who is there, in which role and state. Agents' ownership epoch goes up with every change of the live agents.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ClusterState, Refusal, Response};

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
pub const USUAL_WEIGHT: u32 = 100;

fn usual_weight() -> u32 {
    USUAL_WEIGHT
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
    #[serde(default = "usual_weight")]
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

    fn check(&self) -> Result<(), Refusal> {
        let bad = |reason: &str| Err(Refusal::BadMember { node: self.id.clone(), reason: reason.into() });
        let texts = [&self.address, &self.http_address, &self.zone, &self.version];
        if self.id.is_empty() || self.id.len() > 64 || !self.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return bad("its identity is not a ULID");
        }
        if texts.iter().any(|text| text.len() > 256 || text.chars().any(char::is_control)) {
            return bad("a text is too long or has control characters");
        }
        if self.weight == 0 || self.weight > 100 * USUAL_WEIGHT {
            return bad("its weight is not between 1 and 10000");
        }
        if !matches!(self.state, MemberState::Joining | MemberState::Active) {
            return bad("it joins neither as joining nor as active");
        }
        Ok(())
    }
}

impl ClusterState {
    /// A member that was not removed.
    pub fn member(&self, node: &str) -> Option<&Arc<Member>> {
        self.members.get(node).filter(|member| member.state != MemberState::Removed)
    }

    /// The members with a role that are at work, in the order of their identities.
    pub fn live(&self, role: Role) -> impl Iterator<Item = &Arc<Member>> {
        self.members.values().filter(move |member| member.state.is_live() && member.has(role))
    }

    /// The ingesters that replicas may be put on.
    pub fn active_ingesters(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.live(Role::Ingester).filter(|member| member.state == MemberState::Active)
    }

    fn known(&self, node: &str) -> Result<Member, Refusal> {
        match self.members.get(node) {
            None => Err(Refusal::NoMember { node: node.into() }),
            Some(member) if member.state == MemberState::Removed => Err(Refusal::Removed { node: node.into() }),
            Some(member) => Ok(Member::clone(member)),
        }
    }

    /// Puts a member into the table; who owns targets follows the set of live agents.
    fn put(&mut self, member: Option<Member>, node: &str, at_ms: Option<i64>) {
        let before = self.owning_agents();
        let members = Arc::make_mut(&mut self.members);
        match member {
            Some(member) => members.insert(node.to_string(), Arc::new(member)),
            None => members.remove(node),
        };
        self.agents_changed(before, at_ms);
    }

    pub(super) fn join(&mut self, member: &Member, at_ms: i64) -> Result<Response, Refusal> {
        member.check()?;
        let known = self.members.get(&member.id);
        if known.is_some_and(|known| known.state == MemberState::Removed) {
            return Err(Refusal::Removed { node: member.id.clone() });
        }
        // What was drained and starts again is meant to work again; what still holds replicas was broken off.
        let drains = |known: &Arc<Member>| known.draining && self.shards_of(&known.id).next().is_some();
        let (draining, before, since) =
            known.map_or((false, None, at_ms), |known| (drains(known), Some(known.state), known.since_ms));
        let state = if draining { MemberState::Draining } else { member.state };
        let since_ms = if before == Some(state) { since } else { at_ms };
        self.put(Some(Member { state, draining, since_ms, ..member.clone() }), &member.id, Some(at_ms));
        if !member.has(Role::Ingester) {
            self.keep_replicas_on_ingesters(&member.id)?;
        }
        Ok(Response::Done)
    }

    /// A node that holds replicas cannot come back without the role that keeps them.
    fn keep_replicas_on_ingesters(&self, node: &str) -> Result<(), Refusal> {
        match self.shards_of(node).count() {
            0 => Ok(()),
            shards => Err(Refusal::HoldsShards { node: node.into(), shards }),
        }
    }

    pub(super) fn set_member_state(&mut self, node: &str, state: MemberState, at_ms: i64) -> Result<Response, Refusal> {
        let mut member = self.known(node)?;
        match state {
            MemberState::Removed => {
                let reason = "members are removed by a command of its own".into();
                return Err(Refusal::State { node: node.into(), state, reason });
            }
            MemberState::Draining => member.draining = true,
            // Told to be active while it is live: the drain is called off. Back from being down: the drain goes on.
            MemberState::Active if member.state == MemberState::Draining => member.draining = false,
            _ => {}
        }
        let state = match state {
            MemberState::Active if member.draining => MemberState::Draining,
            MemberState::Draining if member.state == MemberState::Down => MemberState::Down,
            other => other,
        };
        if member.state != state {
            (member.state, member.since_ms) = (state, at_ms);
        }
        self.put(Some(member), node, Some(at_ms));
        if state == MemberState::Down {
            self.move_leaders_off(node);
        }
        Ok(Response::Done)
    }

    pub(super) fn remove_member(&mut self, node: &str, force: bool, at_ms: i64) -> Result<Response, Refusal> {
        let Some(known) = self.members.get(node) else { return Err(Refusal::NoMember { node: node.into() }) };
        if known.state == MemberState::Removed {
            return Ok(Response::Done);
        }
        let mut member = Member::clone(known);
        let held = self.shards_of(node).count();
        if !force && held > 0 {
            if member.state.is_live() {
                return Err(Refusal::HoldsShards { node: node.into(), shards: held });
            }
            let last = |shard: &u32| self.shards[*shard as usize].in_sync == [node];
            if let Some(shard) = self.shards_of(node).find(last) {
                return Err(Refusal::LastInSync { shard, node: node.into() });
            }
        }
        (member.state, member.draining, member.since_ms) = (MemberState::Removed, false, at_ms);
        self.put(Some(member), node, Some(at_ms));
        self.drop_from_shards(node);
        self.drop_leases(node);
        Ok(Response::Done)
    }

    pub(super) fn forget_member(&mut self, node: &str) -> Result<Response, Refusal> {
        let shards = self.shards_of(node).count();
        if shards > 0 {
            return Err(Refusal::HoldsShards { node: node.into(), shards });
        }
        self.put(None, node, None);
        self.drop_leases(node);
        Ok(Response::Done)
    }
}
