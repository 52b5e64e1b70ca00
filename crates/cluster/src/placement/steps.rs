//! Commands that lead from the current placement to the goal, a few at a time. The order never gives up a copy before there is
//! another.

use std::collections::BTreeMap;

use super::{Goal, PlacementConfig, PlacementContext};
use crate::state::{ClusterState, Command, MemberState, Placement, Shard};

/// Places shards without an in-sync replica. Active replicas that are out of sync come first, because they may have samples
/// that are lost otherwise.
pub(super) fn place(state: &ClusterState, goal: &Goal) -> Vec<Command> {
    let mut placements = Vec::new();
    for (number, (shard, wanted)) in (0u32..).zip(state.shards.iter().zip(&goal.shards)) {
        if !shard.in_sync.is_empty() {
            continue;
        }
        let is_active = |node: &&String| is_active(state, node);
        let left: Vec<String> = shard.replicas.iter().filter(is_active).cloned().collect();
        let mut nodes = if left.is_empty() { wanted.iter().filter(is_active).cloned().collect() } else { left };
        if !nodes.is_empty() {
            // Rotate the first node, which leads, so that leaders are spread from the start.
            let first = number as usize % nodes.len();
            nodes.rotate_left(first);
            placements.push(Placement { shard: number, nodes });
        }
    }
    if placements.is_empty() { Vec::new() } else { vec![Command::PlaceShards { placements }] }
}

fn is_active(state: &ClusterState, node: &str) -> bool {
    state.member(node).is_some_and(|member| member.state == MemberState::Active)
}

/// Adds learners for missing and out-of-sync replicas, and removes surplus replicas of shards whose goal is in sync. Until then
/// a surplus replica catches up like others, even on a node that drains: it may have what those in sync have lost. If all of these
/// have lost something, it stays even while its node is away.
pub(super) fn replicas(
    state: &ClusterState,
    goal: &Goal,
    config: &PlacementConfig,
    context: PlacementContext<'_>,
) -> Vec<Command> {
    let mut steps = Vec::new();
    let mut learning: BTreeMap<&str, usize> = BTreeMap::new();
    for learner in state.shards.iter().flat_map(|shard| &shard.learners) {
        *learning.entry(&learner.node).or_default() += 1;
    }
    let mut all: usize = learning.values().sum();
    let urgent_first = |(_, shard, _): &(u32, &Shard, _)| shard.in_sync.len();
    let mut pairs: Vec<_> =
        (0u32..).zip(state.shards.iter().zip(&goal.shards)).map(|(n, (shard, wanted))| (n, &**shard, wanted)).collect();
    pairs.sort_by_key(urgent_first);
    for (number, shard, wanted) in pairs.into_iter().filter(|(_, shard, _)| !shard.in_sync.is_empty()) {
        let in_place = |node: &&String| shard.is_in_sync(node) || shard.learns_since(node).is_some();
        let answers = |node: &&String| is_active(state, node) && context.is_ready(node);
        let is_reached = wanted.iter().all(|node| shard.is_in_sync(node));
        let is_left = |node: &&String| {
            let is_live = state.member(node).is_some_and(|member| member.state.is_live());
            !is_reached && !wanted.contains(*node) && is_live && context.is_ready(node)
        };
        let missing = wanted.iter().filter(answers).chain(shard.replicas.iter().filter(is_left));
        for node in missing.filter(|node| !in_place(node)) {
            let here = learning.entry(node).or_default();
            let returns = shard.has_replica(node);
            let may = match returns {
                true => all < config.max_catching_up,
                false => all < config.max_moves && *here < config.max_moves_to_node,
            };
            if may {
                *here += 1;
                all += 1;
                steps.push(Command::AddLearner { shard: number, node: node.clone() });
            }
        }
        if is_reached && wanted.iter().any(|node| context.is_whole(node)) {
            let surplus = shard.replicas.iter().filter(|node| !wanted.contains(*node));
            steps.extend(surplus.map(|node| Command::RemoveReplica { shard: number, node: node.clone() }));
        }
    }
    steps
}

/// Moves leaders off nodes that are inactive, cannot write or are not in the goal, and from nodes that lead many shards to nodes
/// that lead few.
pub(super) fn leaders(
    state: &ClusterState,
    goal: &Goal,
    config: &PlacementConfig,
    context: PlacementContext<'_>,
) -> Vec<Command> {
    let mut steps = Vec::new();
    let mut led: BTreeMap<String, usize> = state.led().into_iter().map(|(node, led)| (node.to_string(), led)).collect();
    for (number, (shard, wanted)) in (0u32..).zip(state.shards.iter().zip(&goal.shards)) {
        if steps.len() >= config.max_leader_moves {
            break;
        }
        let Some(leader) = &shard.leader else { continue };
        let can_lead = |node: &&String| is_active(state, node) && !context.unwritable.contains(*node);
        let fit = |node: &&String| wanted.contains(*node) && can_lead(node);
        let load = |node: &str| {
            let weight = state.member(node).map_or(1, |member| member.weight.max(1));
            led.get(node).copied().unwrap_or(0) as f64 / f64::from(weight)
        };
        let best = shard.in_sync.iter().filter(fit).min_by(|a, b| load(a).total_cmp(&load(b)));
        let Some(best) = best.filter(|best| *best != leader) else { continue };
        let one = state.member(best).map_or(1.0, |member| 1.0 / f64::from(member.weight.max(1)));
        if !fit(&leader) || load(leader) - load(best) > 1.5 * one {
            *led.entry(leader.clone()).or_default() -= 1;
            *led.entry(best.clone()).or_default() += 1;
            steps.push(Command::SetLeader { shard: number, node: best.clone() });
        }
    }
    steps
}
