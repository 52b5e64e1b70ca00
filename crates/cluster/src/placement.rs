//! Where shards should be, and the next small steps there. Pure functions over the state.
//!
//! Consistent hashing proposes, what is there stays where it can: a goal is made of the replicas of now ([`goal`]), and
//! commands lead to it one step at a time ([`steps`]): what is missing learns first, what is too much goes when everything
//! is in sync. A node that joins gets its share and nothing else moves. The state machine refuses whatever would be unsafe.

mod goal;
mod owner;
mod ring;
mod steps;

use std::time::Duration;

pub use goal::{Goal, goal};
pub use owner::{Owners, Timeline, owner};

use crate::state::{ClusterState, Command, Member, MemberState, Role};

/// Settings of placement.
#[derive(Clone, Debug)]
pub struct PlacementConfig {
    /// Replicas that move at the same time, in the whole cluster. Default: 8.
    pub max_moves: usize,
    /// Replicas that move to one node at the same time. Default: 4.
    pub max_moves_to_node: usize,
    /// Replicas that were out of sync and learn again at the same time. Default: 64.
    pub max_catching_up: usize,
    /// Leaders that move in one round. Default: 4.
    pub max_leader_moves: usize,
    /// How long a node is down before its replicas are put elsewhere. Default: 5 minutes.
    pub replace_after: Duration,
    /// How long the first placement waits for more ingesters, while there are fewer than copies. Default: 10 seconds.
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

/// What the functions cannot know: the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlacementContext<'a> {
    /// Milliseconds since the epoch.
    pub now_ms: i64,
    /// Members that have missed signs of life: nothing is begun with them, lest writes wait for them.
    pub silent: &'a [String],
    /// How long there have been ingesters.
    pub settled_for: Duration,
}

/// The next steps towards a good placement; none when it is good, or while steps are under way.
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
    steps.extend(steps::replicas(state, &goal, config, context.silent));
    steps.extend(steps::leaders(state, &goal, config));
    steps
}

/// Whether replicas may stay on a member: it is at work, or not away for long.
fn keeps(member: &Member, config: &PlacementConfig, context: PlacementContext<'_>) -> bool {
    let away = context.now_ms.saturating_sub(member.since_ms);
    let briefly = away < config.replace_after.as_millis() as i64;
    let here = match member.state {
        MemberState::Active => true,
        MemberState::Joining | MemberState::Down => briefly,
        MemberState::Draining | MemberState::Removed => false,
    };
    here && !member.draining && member.has(Role::Ingester)
}

#[cfg(test)]
mod tests;
