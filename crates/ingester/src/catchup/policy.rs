//! Decides which shards are copied from which source, and which are forgotten. Pure: a view and the running copies go in,
//! actions come out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pharos_cluster::{Shard, View};
use pharos_model::ShardSet;

/// Shards to catch up with, each with the epoch since which this node learns it.
pub type WantedShards = BTreeMap<u32, u64>;

/// The inputs of a decision.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Identity of this node.
    pub me: &'a str,
    /// Its view.
    pub view: &'a View,
    /// Running copies, by source.
    pub under_way: &'a BTreeMap<String, WantedShards>,
    /// Sources that failed recently.
    pub backed_off: &'a BTreeSet<String>,
    /// Limit of copies at the same time.
    pub most: usize,
}

/// An action that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Copy shards from a node.
    Copy {
        /// Identity of the source.
        source: String,
        /// The shards to copy.
        shards: WantedShards,
    },
    /// Abort the copy from a node: none of its shards is learned since that epoch any more.
    Stop {
        /// Identity of the source.
        source: String,
    },
}

/// The copies to start and to abort. Shards without a usable source wait.
pub fn decide(inputs: Inputs<'_>) -> Vec<Action> {
    let Inputs { me, view, under_way, .. } = inputs;
    let since = |shard: u32| view.shard(shard)?.learns_since(me);
    let is_useful = |shards: &WantedShards| shards.iter().any(|(shard, epoch)| since(*shard) == Some(*epoch));
    let mut actions: Vec<Action> = Vec::new();
    let mut busy: BTreeSet<&str> = BTreeSet::new();
    for (source, shards) in under_way {
        busy.insert(source);
        if !is_useful(shards) {
            actions.push(Action::Stop { source: source.clone() });
        }
    }
    let is_copied = |shard: u32, epoch: u64| under_way.values().any(|shards| shards.get(&shard) == Some(&epoch));
    let mut copies: BTreeMap<&str, WantedShards> = BTreeMap::new();
    for (number, shard) in view.numbered_shards() {
        let Some(epoch) = shard.learns_since(me).filter(|epoch| !is_copied(number, *epoch)) else { continue };
        let is_usable = |node: &&String| {
            let is_live = view.members.get(*node).is_some_and(|member| member.state.is_live());
            *node != me && is_live && !inputs.backed_off.contains(*node)
        };
        // The leader comes first: it has marked the most samples as flushed, and those need not be copied.
        let rank =
            |node: &&String| (busy.contains(node.as_str()), shard.leader.as_ref() != Some(*node), (*node).clone());
        if let Some(source) = shard.in_sync.iter().filter(is_usable).min_by_key(rank)
            && !busy.contains(source.as_str())
        {
            copies.entry(source).or_default().insert(number, epoch);
        }
    }
    let free = inputs.most.saturating_sub(under_way.len());
    let copies = copies.into_iter().take(free);
    actions.extend(copies.map(|(source, shards)| Action::Copy { source: source.into(), shards }));
    actions
}

/// The shards among some that a node lost with its log, with their epochs: those that it is in sync for while there is another
/// replica, in sync or not, and those that it was learning, because an earlier promotion request of it may still be in flight.
pub fn lost_shards(me: &str, view: &View, among: impl Fn(u32) -> bool) -> WantedShards {
    let is_lost = |(number, shard): &(u32, &Arc<Shard>)| {
        let in_sync = shard.is_in_sync(me) && shard.replicas.len() > 1;
        among(*number) && (in_sync || shard.learns_since(me).is_some())
    };
    view.numbered_shards().filter(is_lost).map(|(number, shard)| (number, shard.epoch)).collect()
}

/// Shards that a node has samples of without being a replica, and since when.
pub type OrphanedShards = BTreeMap<u32, Duration>;

/// The orphaned shards that a node can forget: it stopped being a replica so long ago that no write to it as a replica can
/// still be in flight. Records when each shard became orphaned.
pub fn forgettable(
    me: &str,
    view: &View,
    held: &ShardSet,
    orphaned: &mut OrphanedShards,
    now: Duration,
    after: Duration,
) -> ShardSet {
    // While no replica is in sync, any copy may be needed.
    let is_orphaned =
        |number: u32| view.shard(number).is_some_and(|shard| !shard.has_replica(me) && !shard.in_sync.is_empty());
    orphaned.retain(|shard, _| held.contains(*shard) && is_orphaned(*shard));
    for shard in held.iter().filter(|shard| is_orphaned(*shard)) {
        orphaned.entry(shard).or_insert(now);
    }
    orphaned.iter().filter(|(_, since)| now.saturating_sub(**since) >= after).map(|(shard, _)| *shard).collect()
}

#[cfg(test)]
mod tests;
