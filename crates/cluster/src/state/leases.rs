//! Leases of tasks that only one node runs at a time.
//!
//! A lease has no clock of its own. A node holds it while it is a member that is not down, which heartbeats decide. The number
//! increases with every change of the holder and fences earlier holders.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ClusterState, MemberState, Refusal, Response};

/// Most leases that the state holds.
const MAX_LEASES: usize = 100_000;

/// A task that only one node runs at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Identity of the holder; none while it is free.
    pub holder: Option<String>,
    /// Increases with every change of the holder.
    pub number: u64,
}

impl ClusterState {
    pub(super) fn take_lease(&mut self, name: &str, node: &str) -> Result<Response, Refusal> {
        let taker = self.member(node).ok_or_else(|| Refusal::NoMember { node: node.into() })?;
        if taker.state == MemberState::Down {
            let reason = "it cannot acquire a lease".into();
            return Err(Refusal::State { node: node.into(), state: taker.state, reason });
        }
        if name.is_empty() || name.len() > 64 || (!self.leases.contains_key(name) && self.leases.len() >= MAX_LEASES) {
            let value = name.chars().take(64).collect();
            return Err(Refusal::OutOfBounds { what: "lease".into(), value });
        }
        let known = self.leases.get(name).cloned().unwrap_or_default();
        let holds = |holder: &&String| self.member(holder).is_some_and(|m| m.state != MemberState::Down);
        match known.holder.as_ref().filter(holds) {
            Some(holder) if holder == node => Ok(Response::Lease { number: known.number }),
            Some(holder) => Err(Refusal::LeaseHeld { name: name.into(), holder: holder.clone() }),
            None => {
                let number = known.number + 1;
                let lease = Lease { holder: Some(node.into()), number };
                Arc::make_mut(&mut self.leases).insert(name.into(), lease);
                Ok(Response::Lease { number })
            }
        }
    }

    pub(super) fn drop_leases(&mut self, node: &str) {
        if self.leases.values().any(|lease| lease.holder.as_deref() == Some(node)) {
            let held = Arc::make_mut(&mut self.leases).values_mut().filter(|l| l.holder.as_deref() == Some(node));
            held.for_each(|lease| lease.holder = None);
        }
    }
}
