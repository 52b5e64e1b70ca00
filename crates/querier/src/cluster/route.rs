//! Routes targets to nodes: pure functions over a view.
//!
//! Each shard goes to one in-sync replica: the local one if there is one, else the one that rendezvous hashing prefers, so
//! that all frontends spread the shards evenly and identically. Queries that are known to be small go to as few nodes as
//! possible instead. Blocks are divided by time, and each range goes to one store by rendezvous hashing of tenant and range,
//! so that a block is cached by one store. Nodes in quarantine are ranked last; nodes that failed within the read are not
//! candidates.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pharos_cluster::{ClusterState, Member, MemberState, Role};
use pharos_model::hash::name_hash;
use pharos_model::{ShardSet, TimeRange};

/// The time of blocks that one store reads, milliseconds.
const STORE_RANGE_MS: i64 = 86_400_000;
/// Most store ranges of a query; they are widened when there would be more.
const MAX_STORE_RANGES: i64 = 32;

/// A part of a query's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Shards, read from ingesters.
    Shards(ShardSet),
    /// Blocks of a range of time, read from stores.
    Blocks(StoreRange),
}

impl Target {
    /// The part of a range that the target covers. Shards cover all time.
    pub(crate) fn clip(&self, range: TimeRange) -> TimeRange {
        match self {
            Target::Shards(_) => range,
            Target::Blocks(store_range) => store_range.range.intersect(&range),
        }
    }
}

/// A range of time whose blocks one store reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreRange {
    pub(crate) range: TimeRange,
    /// Places the range on a store. Independent of the ends of the query's range.
    pub(crate) key: i64,
}

/// A node and what it reads.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) member: Arc<Member>,
    pub(crate) target: Target,
}

/// The nodes that a read does not go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excluded {
    pub(crate) nodes: BTreeSet<String>,
    /// Nodes that are excluded for single shards.
    pub(crate) shards: BTreeSet<(String, u32)>,
    /// Nodes that are asked only as a last resort.
    pub(crate) avoided: BTreeSet<String>,
}

impl Excluded {
    /// Excludes one more node.
    pub(crate) fn and(&self, node: &str) -> Self {
        let mut excluded = self.clone();
        excluded.nodes.insert(node.to_string());
        excluded
    }
}

/// The nodes that a target goes to, and the parts of it that no node can read.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) assignments: Vec<Assignment>,
    /// Shards that were never placed as of the view, so that nothing was written to them.
    pub(crate) unplaced_shards: ShardSet,
    pub(crate) missing_shards: ShardSet,
    pub(crate) missing_time: Option<TimeRange>,
}

impl Routes {
    /// Whether every part of the target has a node.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing_shards.is_empty() && self.missing_time.is_none()
    }
}

/// Routes a target to nodes. `local` is the node that asks.
pub(crate) fn route(state: &ClusterState, tenant: &str, local: &str, target: &Target, excluded: &Excluded) -> Routes {
    match target {
        Target::Shards(shards) => route_shards(state, tenant, local, shards, excluded),
        Target::Blocks(store_range) => {
            let best = stores(state, tenant, store_range.key, excluded).into_iter().next();
            let assignment = |member: &Arc<Member>| Assignment { member: member.clone(), target: target.clone() };
            Routes {
                missing_time: best.is_none().then_some(store_range.range),
                assignments: best.map(assignment).into_iter().collect(),
                ..Routes::default()
            }
        }
    }
}

fn route_shards(state: &ClusterState, tenant: &str, local: &str, shards: &ShardSet, excluded: &Excluded) -> Routes {
    let mut routes = Routes::default();
    let mut groups: BTreeMap<&str, (&Arc<Member>, ShardSet)> = BTreeMap::new();
    for shard in shards.iter() {
        // A shard that was placed and has no replicas has lost them.
        let Some(placed) = state.shard(shard).filter(|shard| shard.epoch > 0) else {
            routes.unplaced_shards.insert(shard);
            continue;
        };
        let is_candidate =
            |node: &&String| !excluded.nodes.contains(*node) && !excluded.shards.contains(&(node.to_string(), shard));
        let candidates = placed.in_sync.iter().filter(is_candidate).filter_map(|node| state.member(node));
        // A node that is down in the view may be reachable from here, so it is tried last rather than not at all.
        let rank = |member: &&Arc<Member>| {
            let is_avoided = !member.state.is_live() || excluded.avoided.contains(&member.id);
            let weight = name_hash(&format!("{tenant}/{shard}/{}", member.id));
            (is_avoided, member.id != local, Reverse(weight))
        };
        match candidates.min_by_key(rank) {
            Some(member) => {
                let (_, shards) = groups.entry(&member.id).or_insert_with(|| (member, ShardSet::new()));
                shards.insert(shard);
            }
            None => {
                routes.missing_shards.insert(shard);
            }
        }
    }
    let assignment = |(member, shards): (&Arc<Member>, ShardSet)| Assignment {
        member: member.clone(),
        target: Target::Shards(shards),
    };
    routes.assignments = groups.into_values().map(assignment).collect();
    routes
}

/// Assigns shards to as few ingesters as possible, for reads that cost less than asking one more node. `key` decides among nodes
/// that are equally good, so that different keys spread over the nodes. None if a shard has no live replica in sync.
pub(crate) fn fewest_nodes(state: &ClusterState, local: &str, shards: &ShardSet, key: u64) -> Option<Vec<Assignment>> {
    let mut holders: BTreeMap<&str, (&Arc<Member>, ShardSet)> = BTreeMap::new();
    let mut left = ShardSet::new();
    for shard in shards.iter() {
        // Nothing was written to shards that were never placed.
        let Some(placed) = state.shard(shard).filter(|shard| shard.epoch > 0) else { continue };
        left.insert(shard);
        let members = placed.in_sync.iter().filter_map(|node| state.member(node));
        for member in members.filter(|member| member.state.is_live()) {
            holders.entry(&member.id).or_insert_with(|| (member, ShardSet::new())).1.insert(shard);
        }
    }
    let mut assignments = Vec::new();
    while !left.is_empty() {
        let parts = holders.values().map(|(member, held)| (*member, held.intersection(&left)));
        let rank = |(member, part): &(&Arc<Member>, ShardSet)| {
            (part.len(), member.id == local, name_hash(&format!("{key}/{}", member.id)))
        };
        let (member, part) = parts.max_by_key(rank).filter(|(_, part)| !part.is_empty())?;
        left = left.difference(&part);
        assignments.push(Assignment { member: member.clone(), target: Target::Shards(part) });
    }
    Some(assignments)
}

/// The stores that may read a range, the preferred one first.
fn stores<'a>(state: &'a ClusterState, tenant: &str, key: i64, excluded: &Excluded) -> Vec<&'a Arc<Member>> {
    let is_candidate = |member: &&Arc<Member>| {
        member.has(Role::Store)
            && !matches!(member.state, MemberState::Removed | MemberState::Joining)
            && !excluded.nodes.contains(&member.id)
    };
    let mut stores: Vec<&Arc<Member>> = state.members.values().filter(is_candidate).collect();
    stores.sort_by_cached_key(|member| {
        // A draining store finishes its reads and gets no new ones as long as there are others.
        let is_avoided = member.state != MemberState::Active || excluded.avoided.contains(&member.id);
        (is_avoided, Reverse(name_hash(&format!("{tenant}/{key}/{}", member.id))))
    });
    stores
}

/// Divides a range among the stores. Neighbouring ranges of one store are merged.
pub(crate) fn store_ranges(state: &ClusterState, tenant: &str, range: TimeRange) -> Vec<StoreRange> {
    if range.is_empty() {
        return Vec::new();
    }
    let (start, end) = bounds(state, tenant, range);
    let mut width = STORE_RANGE_MS;
    while end.saturating_sub(start) / width >= MAX_STORE_RANGES && width < i64::MAX / 4 {
        width *= 2;
    }
    let mut ranges: Vec<(StoreRange, Option<&str>)> = Vec::new();
    let mut at = start;
    loop {
        let key = pharos_model::time::window_start(at, width);
        let range_end = key.saturating_add(width - 1).min(end);
        let owner = stores(state, tenant, key, &Excluded::default()).first().map(|member| member.id.as_str());
        match ranges.last_mut() {
            Some((last, last_owner)) if *last_owner == owner => last.range.end = range_end,
            _ => ranges.push((StoreRange { range: TimeRange::new(at, range_end), key }, owner)),
        }
        if range_end >= end {
            break;
        }
        at = range_end + 1;
    }
    // Time before the first block and after the last one belongs to the outermost ranges.
    if let Some((first, _)) = ranges.first_mut() {
        first.range.start = range.start;
    }
    if let Some((last, _)) = ranges.last_mut() {
        last.range.end = range.end;
    }
    ranges.into_iter().map(|(range, _)| range).collect()
}

/// The first and last timestamp of a range for which there may be blocks: a range without an end is as long as the blocks.
fn bounds(state: &ClusterState, tenant: &str, range: TimeRange) -> (i64, i64) {
    let blocks = state.catalogue.tenant(tenant).into_iter().flat_map(|t| &t.blocks);
    let (first, last) = blocks.fold((i64::MAX, i64::MIN), |(first, last), b| (first.min(b.min_t), last.max(b.max_t)));
    let bounded = TimeRange::new(range.start.max(first.min(range.end)), range.end.min(last.max(range.start)));
    if bounded.is_empty() { (range.start, range.start) } else { (bounded.start, bounded.end) }
}

#[cfg(test)]
mod tests;
