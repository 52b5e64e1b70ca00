//! Transitions of members: joining, changing state, leaving. Every change of the live agents starts a new assignment of
//! targets.

use std::sync::Arc;

use super::{ClusterState, Member, MemberState, Refusal, Response, Role};

impl ClusterState {
    /// A member, unless it was removed.
    pub fn member(&self, node: &str) -> Option<&Arc<Member>> {
        self.members.get(node).filter(|member| member.state != MemberState::Removed)
    }

    /// The live members with a role, ascending by identity.
    pub fn live(&self, role: Role) -> impl Iterator<Item = &Arc<Member>> {
        self.members.values().filter(move |member| member.state.is_live() && member.has(role))
    }

    /// The ingesters that may receive replicas: live and not draining.
    pub fn active_ingesters(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.live(Role::Ingester).filter(|member| member.state == MemberState::Active)
    }

    /// Whether every member can read what needs this protocol. The error names one that cannot.
    pub fn supports(&self, protocol: u32) -> Result<(), Refusal> {
        let lacks = |member: &&Arc<Member>| member.state != MemberState::Removed && member.protocol < protocol;
        match self.members.values().find(lacks) {
            None => Ok(()),
            Some(member) => {
                let (node, version) = (member.id.clone(), member.version.clone());
                Err(Refusal::Unsupported { needed: protocol, node, version, has: member.protocol })
            }
        }
    }

    fn known(&self, node: &str) -> Result<Member, Refusal> {
        match self.members.get(node) {
            None => Err(Refusal::NoMember { node: node.into() }),
            Some(member) if member.state == MemberState::Removed => Err(Refusal::Removed { node: node.into() }),
            Some(member) => Ok(Member::clone(member)),
        }
    }

    /// Inserts or removes a member, and starts new assignments if the live agents or rulers changed.
    fn put(&mut self, member: Option<Member>, node: &str, at_ms: Option<i64>) {
        let before = self.owners_before();
        let members = Arc::make_mut(&mut self.members);
        match member {
            Some(member) => members.insert(node.to_string(), Arc::new(member)),
            None => members.remove(node),
        };
        self.owners_changed(before, at_ms);
    }

    pub(super) fn join(&mut self, member: &Member, at_ms: i64) -> Result<Response, Refusal> {
        member.check()?;
        let known = self.members.get(&member.id);
        if known.is_some_and(|known| known.state == MemberState::Removed) {
            return Err(Refusal::Removed { node: member.id.clone() });
        }
        // A drained node that restarts is meant to work again. One that still holds replicas was interrupted and keeps draining.
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

    /// Refuses a node that holds replicas and returns without the ingester role.
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
                let reason = "members are removed by a separate command".into();
                return Err(Refusal::State { node: node.into(), state, reason });
            }
            MemberState::Draining => member.draining = true,
            // Set active while it is live cancels a drain. Returning from down continues it.
            MemberState::Active if member.state == MemberState::Draining => member.draining = false,
            _ => {}
        }
        let state = match state {
            MemberState::Active if member.draining => MemberState::Draining,
            MemberState::Draining if member.state == MemberState::Down => MemberState::Down,
            other => other,
        };
        if member.state != state {
            member.state = state;
            member.since_ms = at_ms;
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
