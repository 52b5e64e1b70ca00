//! Leases of what only one node does at a time, and limits of tenants.
//!
//! A lease has no clock of its own: its holder has it while it is a member that is not down, which the members' own leases
//! decide. The number goes up with the holder, so that what an earlier one still does can be told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ClusterState, MemberState, Refusal, Response};

/// Most leases, and tenants with limits of their own.
const MOST: usize = 100_000;

/// Who does what only one node does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who; none while it is free.
    pub holder: Option<String>,
    /// Goes up with every change of the holder.
    pub number: u64,
}

/// What a tenant may; where nothing is said, what is configured holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantLimits {
    /// Series in memory, on all ingesters together.
    #[serde(default)]
    pub max_series: Option<u64>,
    /// Samples a second, on all agents together.
    #[serde(default)]
    pub max_samples_per_second: Option<u64>,
    /// How late samples may be, milliseconds.
    #[serde(default)]
    pub out_of_order_ms: Option<u64>,
    /// How long samples are kept, milliseconds.
    #[serde(default)]
    pub retention_ms: Option<u64>,
}

fn out_of_bounds(what: &str, value: &str) -> Refusal {
    Refusal::OutOfBounds { what: what.into(), value: value.chars().take(64).collect() }
}

impl ClusterState {
    pub(super) fn take_lease(&mut self, name: &str, node: &str) -> Result<Response, Refusal> {
        let taker = self.member(node).ok_or_else(|| Refusal::NoMember { node: node.into() })?;
        if taker.state == MemberState::Down {
            let reason = "it takes no lease".into();
            return Err(Refusal::State { node: node.into(), state: taker.state, reason });
        }
        if name.is_empty() || name.len() > 64 || (!self.leases.contains_key(name) && self.leases.len() >= MOST) {
            return Err(out_of_bounds("lease", name));
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

    pub(super) fn give_lease(&mut self, name: &str, node: &str) -> Result<Response, Refusal> {
        if self.leases.get(name).is_some_and(|lease| lease.holder.as_deref() == Some(node))
            && let Some(lease) = Arc::make_mut(&mut self.leases).get_mut(name)
        {
            lease.holder = None;
        }
        Ok(Response::Done)
    }

    pub(super) fn drop_leases(&mut self, node: &str) {
        if self.leases.values().any(|lease| lease.holder.as_deref() == Some(node)) {
            let held = Arc::make_mut(&mut self.leases).values_mut().filter(|l| l.holder.as_deref() == Some(node));
            held.for_each(|lease| lease.holder = None);
        }
    }

    pub(super) fn set_limits(&mut self, tenant: &str, limits: Option<&TenantLimits>) -> Result<Response, Refusal> {
        let table = Arc::make_mut(&mut self.limits);
        match limits {
            None => {
                table.remove(tenant);
            }
            Some(_) if tenant.is_empty() || tenant.len() > 256 || table.len() >= MOST => {
                return Err(out_of_bounds("tenant", tenant));
            }
            Some(limits) => {
                table.insert(tenant.into(), limits.clone());
            }
        }
        Ok(Response::Done)
    }
}
