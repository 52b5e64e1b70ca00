//! Which agent scrapes which target: consistent hashing over the agents that are at work. Every node with the same
//! ownership epoch in its view says the same.

use super::ring::Ring;
use crate::state::{ClusterState, MemberState, Role};

/// Points of an agent on the ring.
const POINTS: u32 = 128;

/// The agents of a view, for many look-ups.
pub struct Owners {
    /// The ownership epoch of the view.
    pub epoch: u64,
    agents: Vec<String>,
    ring: Ring,
}

impl Owners {
    /// The agents at work; those that drain own nothing.
    pub fn new(state: &ClusterState) -> Owners {
        let agents = || state.live(Role::Agent).filter(|member| member.state == MemberState::Active);
        let ring = Ring::new(agents().map(|agent| (agent.id.as_str(), agent.weight)), POINTS);
        Owners { epoch: state.ownership_epoch, agents: agents().map(|agent| agent.id.clone()).collect(), ring }
    }

    /// The agent that owns a target; none when there is no agent.
    pub fn owner(&self, target_hash: u64) -> Option<&str> {
        self.agents.get(self.ring.first(target_hash)?).map(String::as_str)
    }
}

/// The agent that owns a target under a view. Who asks for many keeps [`Owners`].
pub fn owner(target_hash: u64, state: &ClusterState) -> Option<String> {
    Owners::new(state).owner(target_hash).map(str::to_string)
}
