//! Resolves windows whose samples on a replica differ from their blocks. The replica asks the shard leaders, as
//! `pharos_ingester::flush::unmatched` does.

use std::collections::BTreeMap;

use pharos_model::ShardSet;

use super::env::{Env, Ms, Node};
use super::ingester::Ingester;
use super::messages::{Message, Unflushed};
use super::{FORGET_MS, WINDOW_MS};

/// Interval between two requests about a window.
const PAUSE_MS: Ms = 10_000;

/// The unmatched windows of an ingester and the requests about them.
#[derive(Default)]
pub struct Unmatched {
    /// Unmatched windows by their start.
    windows: BTreeMap<i64, UnmatchedWindow>,
    /// Unanswered requests by number: the leader, and the shards with their epochs.
    asked: BTreeMap<u64, (String, Vec<(u32, u64)>)>,
}

/// The shards of a window whose samples match no blocks.
struct UnmatchedWindow {
    /// The number that ended the epoch. The samples in question are below it.
    number: u32,
    shards: ShardSet,
    ask_at: Ms,
    /// Whether the leaders have been asked about the window.
    is_due: bool,
}

fn leader(node: &Ingester, shard: u32) -> Option<String> {
    node.view.shard(shard).and_then(|s| s.leader.clone()).filter(|leader| *leader != node.identity)
}

/// Records windows that ended at least a window's length ago and have unflushed samples in shards that other nodes
/// lead.
pub fn note(node: &mut Ingester, env: &mut Env) {
    let windows = node.head.windows(&env.samples);
    let unmatched = &mut node.flush.unmatched.windows;
    unmatched.retain(|start, _| windows.iter().any(|w| w.start == *start));
    for window in &windows {
        if let Some(entry) = unmatched.get_mut(&window.start) {
            entry.shards = entry.shards.intersection(&window.unflushed());
        }
    }
    unmatched.retain(|_, entry| !entry.shards.is_empty());
    let long_over = env.now_ms() - WINDOW_MS;
    for window in windows.iter().filter(|w| w.unflushed_samples > 0 && w.end <= long_over) {
        let shards: ShardSet = window.unflushed().iter().filter(|shard| leader(node, *shard).is_some()).collect();
        if shards.is_empty() || node.flush.unmatched.windows.contains_key(&window.start) {
            continue;
        }
        let number = node.head.end_epoch(window.start, env.now_ms(), &env.samples);
        env.count("unmatched windows");
        node.flush
            .unmatched
            .windows
            .insert(window.start, UnmatchedWindow { number, shards, ask_at: env.now + FORGET_MS, is_due: false });
    }
}

/// Asks the shard leaders about the windows that are due.
pub fn resolve(node: &mut Ingester, env: &mut Env) {
    let mut by_leader: BTreeMap<String, ShardSet> = BTreeMap::new();
    let mut due = ShardSet::new();
    for window in node.flush.unmatched.windows.values_mut().filter(|window| window.ask_at <= env.now) {
        (window.ask_at, window.is_due) = (env.now + PAUSE_MS, true);
        due = due.union(&window.shards);
    }
    for shard in due.iter() {
        if let Some(leader) = leader(node, shard) {
            by_leader.entry(leader).or_default().insert(shard);
        }
    }
    if !by_leader.is_empty() {
        // The new requests supersede the older ones.
        node.flush.unmatched.asked.clear();
    }
    for (leader, shards) in by_leader {
        let Some(to) = Node::of(&leader) else { continue };
        let shards: Vec<(u32, u64)> = shards.iter().map(|shard| (shard, node.view.epoch(shard))).collect();
        let number = env.number();
        node.flush.unmatched.asked.insert(number, (leader, shards.clone()));
        env.send(node.me, to, Message::Unflushed { number, shards });
    }
}

/// Handles a leader's answer: marks the windows that are not unflushed on the leader. An answer by a view newer than
/// this node's is discarded, and the request is repeated later.
pub fn answered(node: &mut Ingester, env: &mut Env, number: u64, answer: Result<Unflushed, ()>) {
    let Some((leader, asked)) = node.flush.unmatched.asked.remove(&number) else { return };
    let Some(answer) = answer.ok().filter(|answer| answer.version <= node.view.version) else { return };
    let is_same = |(shard, epoch): &&(u32, u64)| {
        let known = node.view.shard(*shard).filter(|s| s.leader.as_ref() == Some(&leader));
        known.is_some_and(|s| s.epoch == *epoch) && node.fence.raised(*shard) <= *epoch && !answer.stale.contains(shard)
    };
    let sure: ShardSet = asked.iter().filter(is_same).map(|(shard, _)| *shard).collect();
    let mut settled: Vec<(i64, u32, ShardSet)> = Vec::new();
    for (start, window) in node.flush.unmatched.windows.iter_mut().filter(|(_, window)| window.is_due) {
        let open: ShardSet = answer.windows.iter().filter(|(w, _)| w == start).map(|(_, shard)| *shard).collect();
        let flushed = window.shards.intersection(&sure).difference(&open);
        if !flushed.is_empty() {
            window.shards = window.shards.difference(&flushed);
            settled.push((*start, window.number, flushed));
        }
    }
    node.flush.unmatched.windows.retain(|_, window| !window.shards.is_empty());
    for (window, number, shards) in settled {
        env.count("marks by the leader's word");
        env.note(&[144, number.into()], || format!("{} marks {shards} below {number} of {window}", node.identity));
        node.head.mark_flushed(window, number, shards, &env.samples);
    }
}
