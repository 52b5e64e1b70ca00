//! Decides what is copied from whom, and which shards are forgotten. Pure: a view and what is under way in, actions out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pharos_cluster::{Shard, View};
use pharos_model::ShardSet;

/// Shards to learn, each with the epoch since which it is learned.
pub type WantedShards = BTreeMap<u32, u64>;

/// What a decision is made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Who decides.
    pub me: &'a str,
    /// What it knows.
    pub view: &'a View,
    /// Copies under way, by source.
    pub under_way: &'a BTreeMap<String, WantedShards>,
    /// Sources that failed lately.
    pub backed_off: &'a BTreeSet<String>,
    /// Most copies at the same time.
    pub most: usize,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Copy shards from a node.
    Copy {
        /// Which one.
        source: String,
        /// What.
        shards: WantedShards,
    },
    /// The copy from that node is of no use any more: none of its shards is learned since that epoch.
    Stop {
        /// Which one.
        source: String,
    },
}

/// What to copy now. What is learned and can be copied from nobody at the moment waits.
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
        // The leader has marked most as flushed: what it has marked need not be copied.
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

/// Of some shards, those that a node has lost with its disk, with their epochs: those that it is in sync for, if others have what
/// it has not, and those that it was learning, lest an old word of it puts it in sync.
pub fn lost_shards(me: &str, view: &View, among: impl Fn(u32) -> bool) -> WantedShards {
    let is_lost = |(number, shard): &(u32, &Arc<Shard>)| {
        let in_sync = shard.is_in_sync(me) && shard.in_sync.len() > 1;
        among(*number) && (in_sync || shard.learns_since(me).is_some())
    };
    view.numbered_shards().filter(is_lost).map(|(number, shard)| (number, shard.epoch)).collect()
}

/// Since when a node that has samples of shards is no replica of them, by shard.
pub type OrphanedShards = BTreeMap<u32, Duration>;

/// The shards that a node has samples of and shall forget: it has been no replica of them for so long that no write
/// which it took part in as one can still be under way. Notes when each became orphaned.
pub fn forgettable(
    me: &str,
    view: &View,
    held: &ShardSet,
    orphaned: &mut OrphanedShards,
    now: Duration,
    after: Duration,
) -> ShardSet {
    // While nothing is in sync, whoever has some of it may be needed.
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
