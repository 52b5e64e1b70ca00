//! Where shards should be, and the next small steps towards that. Pure functions of the state.
//!
//! The goal ([`goal`]) keeps existing replicas where it can and fills gaps by consistent hashing. Commands lead to it a few at
//! a time ([`steps`]): missing replicas learn first, and surplus ones leave once everything is in sync. A node that joins
//! receives its share and nothing else moves. The state machine refuses any step that would be unsafe.

mod backoff;
mod goal;
mod owner;
mod ring;
mod steps;

use std::collections::BTreeSet;
use std::time::Duration;

pub use backoff::Backoff;
pub use goal::{Goal, goal};
pub use owner::{Owners, Timeline, owner};

use crate::state::{ClusterState, Command, Member, MemberState, Role};

/// Limits of shard movement.
#[derive(Clone, Debug)]
pub struct PlacementConfig {
    /// Limit of replicas that move at the same time in the whole cluster. Default: 8.
    pub max_moves: usize,
    /// Limit of replicas that move to one node at the same time. Default: 4.
    pub max_moves_to_node: usize,
    /// Limit of out-of-sync replicas that catch up at the same time. Default: 64.
    pub max_catching_up: usize,
    /// Limit of leaders that move in one round. Default: 4.
    pub max_leader_moves: usize,
    /// How long a node is down before its replicas move elsewhere. Default: 5 minutes.
    pub replace_after: Duration,
    /// How long the first placement waits for ingesters while there are fewer than copies. Default: 10 seconds.
    pub settle: Duration,
}

impl Default for PlacementConfig {
    fn default() -> Self {
        PlacementConfig {
            max_moves: 8,
            max_moves_to_node: 4,
            max_catching_up: 64,
            max_leader_moves: 4,
            replace_after: Duration::from_secs(300),
            settle: Duration::from_secs(10),
        }
    }
}

/// What placement needs besides the state: the time, and who is silent.
#[derive(Clone, Copy, Debug)]
pub struct PlacementContext<'a> {
    /// Milliseconds since the epoch.
    pub now_ms: i64,
    /// Members that missed heartbeats. Nothing is moved to them, so that no write waits for them.
    pub silent: &'a [String],
    /// Members that failed lately ([`Backoff`]). Nothing is moved to them yet.
    pub backed_off: &'a [String],
    /// Members that cannot write their log. Nothing is moved to them, and they should lead nothing.
    pub unwritable: &'a BTreeSet<String>,
    /// Members whose logs have lost samples, or may have. Other replicas of their shards stay: they may have what was lost.
    pub incomplete: &'a BTreeSet<String>,
    /// How long there has been an active ingester.
    pub settled_for: Duration,
}

static NOBODY: BTreeSet<String> = BTreeSet::new();

impl Default for PlacementContext<'_> {
    fn default() -> Self {
        let (now_ms, settled_for) = (0, Duration::ZERO);
        let (unwritable, incomplete) = (&NOBODY, &NOBODY);
        PlacementContext { now_ms, silent: &[], backed_off: &[], unwritable, incomplete, settled_for }
    }
}

impl PlacementContext<'_> {
    /// Whether the log of a member is known to have lost nothing.
    fn is_whole(&self, node: &str) -> bool {
        !self.incomplete.contains(node) && !self.silent.iter().any(|silent| silent == node)
    }

    /// Whether a member may receive replicas now.
    fn is_ready(&self, node: &str) -> bool {
        let names = |nodes: &[String]| nodes.iter().any(|other| other == node);
        !names(self.silent) && !names(self.backed_off) && !self.unwritable.contains(node)
    }
}

/// The next steps towards the goal; none if it is reached or enough steps are in progress.
pub fn propose(state: &ClusterState, config: &PlacementConfig, context: PlacementContext<'_>) -> Vec<Command> {
    let Some(settings) = &state.settings else { return Vec::new() };
    let copies = settings.replication_factor as usize;
    let active = state.active_ingesters().count();
    if active == 0 {
        return Vec::new();
    }
    let goal = goal(state, |member| keeps(member, config, context));
    let may_place = active >= copies || context.settled_for >= config.settle;
    let mut steps = if may_place { steps::place(state, &goal) } else { Vec::new() };
    steps.extend(steps::replicas(state, &goal, config, context));
    steps.extend(steps::leaders(state, &goal, config, context));
    steps
}

/// Whether replicas may stay on a member: it is active, or away only briefly.
fn keeps(member: &Member, config: &PlacementConfig, context: PlacementContext<'_>) -> bool {
    let away = context.now_ms.saturating_sub(member.since_ms);
    let is_brief = away < config.replace_after.as_millis() as i64;
    let is_present = match member.state {
        MemberState::Active => true,
        MemberState::Joining | MemberState::Down => is_brief,
        MemberState::Draining | MemberState::Removed => false,
    };
    is_present && !member.draining && member.has(Role::Ingester)
}

#[cfg(test)]
mod tests;
