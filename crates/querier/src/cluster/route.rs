//! Who is asked for what: pure functions over a view.
//!
//! Of each shard one in-sync replica is asked: the local one if there is one, else the one that rendezvous hashing
//! prefers, so that all frontends spread the shards evenly and alike. Of blocks, a store node is asked for a slice of time,
//! by rendezvous hashing of tenant and slice, so that each slice is in one cache. Nodes that gave no answer lately come last;
//! those that gave none to this query are not asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pharos_cluster::{ClusterState, Member, MemberState, Role};
use pharos_model::hash::name_hash;
use pharos_model::{ShardSet, TimeRange};

/// A slice of blocks' time, milliseconds: what one store node is asked for.
const SLICE_MS: i64 = 86_400_000;
/// Most slices of a query; they get longer when there would be more.
const MAX_SLICES: i64 = 32;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Shards, of ingesters.
    Shards(ShardSet),
    /// Time, of stores.
    Time(Slice),
}

/// A slice of blocks' time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The time.
    pub(crate) range: TimeRange,
    /// What it is placed by.
    pub(crate) key: i64,
}

/// Who is asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) member: Arc<Member>,
    pub(crate) target: Target,
}

/// Whom not to ask, and for which shards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excluded {
    pub(crate) nodes: BTreeSet<String>,
    pub(crate) shards: BTreeSet<(String, u32)>,
    /// Those that are asked when there is nobody else.
    pub(crate) avoided: BTreeSet<String>,
}

impl Excluded {
    /// The same without a node.
    pub(crate) fn and(&self, node: &str) -> Self {
        let mut excluded = self.clone();
        excluded.nodes.insert(node.to_string());
        excluded
    }
}

/// What can be asked, and the shards that nobody can be asked for.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) assignments: Vec<Assignment>,
    /// Shards without a replica that could answer.
    pub(crate) missing: ShardSet,
    /// Time that no store could be asked for.
    pub(crate) missing_time: Option<TimeRange>,
}

impl Routes {
    /// Whether somebody can be asked for everything.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.missing_time.is_none()
    }
}

/// Whom to ask for a target.
pub(crate) fn route(state: &ClusterState, tenant: &str, local: &str, target: &Target, excluded: &Excluded) -> Routes {
    match target {
        Target::Shards(shards) => route_shards(state, tenant, local, shards, excluded),
        Target::Time(slice) => {
            let best = stores(state, tenant, slice.key, excluded).into_iter().next();
            let assignment = |member: &Arc<Member>| Assignment { member: member.clone(), target: target.clone() };
            Routes {
                missing_time: best.is_none().then_some(slice.range),
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
        let Some(placed) = state.shard(shard).filter(|shard| !shard.replicas.is_empty()) else {
            continue; // Nobody has ever written to it.
        };
        let may_answer =
            |node: &&String| !excluded.nodes.contains(*node) && !excluded.shards.contains(&(node.to_string(), shard));
        let candidates = placed.in_sync.iter().filter(may_answer).filter_map(|node| state.member(node));
        // Those that are said to be down are tried when there is nobody else: that may have been the network.
        let rank = |member: &&Arc<Member>| {
            let is_avoided = !member.state.is_live() || excluded.avoided.contains(&member.id);
            let weight = name_hash(&format!("{tenant}/{shard}/{}", member.id));
            (is_avoided, member.id != local, std::cmp::Reverse(weight))
        };
        match candidates.min_by_key(rank) {
            Some(member) => {
                groups.entry(&member.id).or_insert_with(|| (member, ShardSet::new())).1.insert(shard);
            }
            None => {
                routes.missing.insert(shard);
            }
        }
    }
    routes.assignments = groups
        .into_values()
        .map(|(member, shards)| Assignment { member: member.clone(), target: Target::Shards(shards) })
        .collect();
    routes
}

/// The stores that may answer for a slice of time, the preferred one first.
fn stores<'a>(state: &'a ClusterState, tenant: &str, key: i64, excluded: &Excluded) -> Vec<&'a Arc<Member>> {
    let is_known = |member: &&Arc<Member>| {
        member.has(Role::Store)
            && !matches!(member.state, MemberState::Removed | MemberState::Joining)
            && !excluded.nodes.contains(&member.id)
    };
    let mut stores: Vec<&Arc<Member>> = state.members.values().filter(is_known).collect();
    stores.sort_by_cached_key(|member| {
        // What drains goes on with what it does, and gets nothing new.
        let is_avoided = member.state != MemberState::Active || excluded.avoided.contains(&member.id);
        (is_avoided, std::cmp::Reverse(name_hash(&format!("{tenant}/{key}/{}", member.id))))
    });
    stores
}

/// A range of time in slices for stores; neighbouring slices of one store are one.
pub(crate) fn slices(state: &ClusterState, tenant: &str, range: TimeRange) -> Vec<Slice> {
    if range.is_empty() {
        return Vec::new();
    }
    // A range without an end is as long as the samples are.
    let blocks = state.catalogue.tenant(tenant).into_iter().flat_map(|t| &t.blocks);
    let (first, last) = blocks.fold((i64::MAX, i64::MIN), |(first, last), b| (first.min(b.min_t), last.max(b.max_t)));
    let bounded = TimeRange::new(range.start.max(first.min(range.end)), range.end.min(last.max(range.start)));
    let (start, end) = if bounded.is_empty() { (range.start, range.start) } else { (bounded.start, bounded.end) };
    let mut width = SLICE_MS;
    while end.saturating_sub(start) / width >= MAX_SLICES && width < i64::MAX / 4 {
        width *= 2;
    }
    let mut slices: Vec<(Slice, Option<&str>)> = Vec::new();
    let mut at = start;
    loop {
        let slice_start = pharos_model::time::window_start(at, width);
        let slice_end = slice_start.saturating_add(width - 1).min(end);
        let owner = stores(state, tenant, slice_start, &Excluded::default()).first().map(|member| member.id.as_str());
        match slices.last_mut() {
            Some((last, of)) if *of == owner => last.range.end = slice_end,
            _ => slices.push((Slice { range: TimeRange::new(at, slice_end), key: slice_start }, owner)),
        }
        if slice_end >= end {
            break;
        }
        at = slice_end + 1;
    }
    // What lies before the first block and behind the last one belongs to the outermost slices.
    if let Some((first, _)) = slices.first_mut() {
        first.range.start = range.start;
    }
    if let Some((last, _)) = slices.last_mut() {
        last.range.end = range.end;
    }
    slices.into_iter().map(|(slice, _)| slice).collect()
}

#[cfg(test)]
mod tests;
