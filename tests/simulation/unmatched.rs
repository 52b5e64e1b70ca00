//! Finds windows whose samples on a replica differ from their blocks, as `pharos_ingester::flush::unmatched` does. The
//! replica reads the blocks and ships what none of them has ([`super::flush`]).

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_cluster::View;
use pharos_ingester::flush::coverage::WindowBlocks;
use pharos_ingester::flush::policy::is_comparison_due;
use pharos_model::ShardSet;

use super::env::{Env, Ms};
use super::ingester::Ingester;
use super::{FORGET_MS, TENANT, WINDOW_MS};

/// The windows of an ingester that are to be compared with blocks, by their start.
#[derive(Default)]
pub struct Unmatched {
    windows: BTreeMap<i64, Comparison>,
}

/// The shards of a window that match no blocks.
struct Comparison {
    /// The samples below this number are compared.
    number: u32,
    shards: ShardSet,
    since: Ms,
}

/// Returns whether another node leads a shard for which this ingester is in sync.
fn is_of_another(node: &Ingester, shard: u32) -> bool {
    let leader = node.view.shard(shard).and_then(|s| s.leader.as_ref());
    leader.is_some_and(|leader| *leader != node.identity) && node.is_whole(shard)
}

/// Records windows that ended at least a window's length ago and have unflushed samples in shards that other nodes
/// lead.
pub fn note(node: &mut Ingester, env: &mut Env) {
    let windows = node.head.windows(&env.samples);
    let long_over = env.now_ms() - WINDOW_MS;
    let is_old = |end: i64, unflushed: u64| unflushed > 0 && end <= long_over;
    let mut wanted: BTreeMap<i64, ShardSet> = BTreeMap::new();
    for window in windows.iter().filter(|w| is_old(w.end, w.unflushed_samples)) {
        wanted.insert(window.start, window.unflushed().iter().filter(|shard| is_of_another(node, *shard)).collect());
    }
    wanted.retain(|_, shards| !shards.is_empty());
    node.flush.unmatched.windows.retain(|start, known| {
        known.shards = wanted.get(start).map_or(ShardSet::new(), |shards| known.shards.intersection(shards));
        !known.shards.is_empty()
    });
    for (start, shards) in wanted {
        if !node.flush.unmatched.windows.contains_key(&start) {
            let number = node.head.end_epoch(start, env.now_ms(), &env.samples);
            env.count("unmatched windows");
            node.flush.unmatched.windows.insert(start, Comparison { number, shards, since: env.now });
        }
    }
}

/// Returns the windows whose wait is over.
pub fn due(node: &Ingester, env: &Env) -> Vec<i64> {
    let starts = node.flush.unmatched.windows.keys().copied();
    starts.filter(|start| due_shards(node, env, &node.view, *start).is_some()).collect()
}

/// Returns the shards of a window whose wait is over, and the number below which samples are compared.
pub fn due_shards(node: &Ingester, env: &Env, view: &View, start: i64) -> Option<(u32, ShardSet)> {
    let known = node.flush.unmatched.windows.get(&start)?;
    let info = node.head.window(start, &env.samples)?;
    let covered = WindowBlocks::of(view.catalogue.tenant(TENANT), &info).covered();
    let (since, now) = (Duration::from_millis(known.since), Duration::from_millis(env.now));
    let wait = Duration::from_millis(FORGET_MS);
    let is_due = |shard: &u32| is_comparison_due(since, wait, WINDOW_MS, covered.contains(*shard), now);
    let shards: ShardSet = known.shards.iter().filter(is_due).collect();
    (!shards.is_empty()).then_some((known.number, shards))
}

/// Forgets a window. If it still differs, it is noted again.
pub fn forget(node: &mut Ingester, start: i64) {
    node.flush.unmatched.windows.remove(&start);
}
