//! How a replica gets in sync: it asks an in-sync replica of its view for all that no block holds, puts that into its log, and
//! asks to be in sync at the epoch since which it learns. It begins again when that epoch changes.

use pharos_meta::Command;
use pharos_model::ShardSet;

use super::bugs::Bug;
use super::env::Node;
use super::env::{Env, Ms};
use super::ingester::{Ingester, OnDurable, Then};
use super::messages::{Message, Timer};
use super::samples::SampleId;

/// Longest time for a copy.
const COPY_MS: Ms = 5000;

/// How far a shard is learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learning {
    /// The epoch since which it is learnt.
    pub since: u64,
    /// What is under way.
    pub step: Step,
}

/// What is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the next round asks somebody.
    Idle,
    /// A copy was asked for, by this number.
    Asked(u64),
    /// The copy is not durable yet.
    Storing,
    /// Meta was asked.
    Promoting,
}

/// The view is another one.
pub fn view_changed(node: &mut Ingester, env: &mut Env) {
    let view = node.view.clone();
    node.learning.retain(|shard, learning| {
        let known = view.shards.get(*shard as usize);
        known.and_then(|s| s.learns_since(&node.identity)) == Some(learning.since)
    });
    for (shard, known) in (0..).zip(view.shards.iter()) {
        if let Some(since) = known.learns_since(&node.identity) {
            node.learning.entry(shard).or_insert(Learning { since, step: Step::Idle });
        }
    }
    go_on(node, env);
}

/// What is done every second.
pub fn round(node: &mut Ingester, env: &mut Env) {
    go_on(node, env);
    forget_what_moved(node, env);
}

fn go_on(node: &mut Ingester, env: &mut Env) {
    let idle = node.learning.iter().filter(|(_, learning)| learning.step == Step::Idle);
    for (shard, since) in idle.map(|(shard, learning)| (*shard, learning.since)).collect::<Vec<_>>() {
        if env.has(Bug::PromoteEarly) {
            promote(node, env, shard, since);
            continue;
        }
        let sources = node.view.shards[shard as usize].in_sync.clone();
        let Some(source) = node.rng.pick(&sources).and_then(|source| Node::of(source)) else { continue };
        let number = env.number();
        env.note(&[130, shard.into()], || format!("{} asks {source:?} for shard {shard} since {since}", node.identity));
        env.send(node.me, source, Message::Copy { number, shard, since });
        env.wake(node.me, COPY_MS, Timer::GiveUp(number));
        node.learning.insert(shard, Learning { since, step: Step::Asked(number) });
    }
}

/// A copy has not come in time.
pub fn give_up(node: &mut Ingester, number: u64) {
    let asked = node.learning.values_mut().filter(|learning| learning.step == Step::Asked(number));
    asked.for_each(|learning| learning.step = Step::Idle);
}

/// A copy has come, or was refused.
pub fn copied(node: &mut Ingester, env: &mut Env, number: u64, answer: Result<Vec<SampleId>, ()>) {
    let asked = |(_, learning): &(&u32, &mut Learning)| learning.step == Step::Asked(number);
    let Some((shard, learning)) = node.learning.iter_mut().find(asked) else { return };
    let (shard, since) = (*shard, learning.since);
    let Ok(ids) = answer else {
        learning.step = Step::Idle;
        return;
    };
    learning.step = Step::Storing;
    env.note(&[131, shard.into()], || format!("{} has copied {ids:?} of shard {shard} since {since}", node.identity));
    let position = node.head.append(&ids, env.now_ms(), &env.samples);
    node.when_durable(env, position, OnDurable::Copied { shard, since });
}

/// A copy is in the log.
pub fn copy_is_durable(node: &mut Ingester, env: &mut Env, shard: u32, since: u64) {
    let storing = Learning { since, step: Step::Storing };
    if node.learning.get(&shard) == Some(&storing) {
        promote(node, env, shard, since);
    }
}

fn promote(node: &mut Ingester, env: &mut Env, shard: u32, since: u64) {
    node.learning.insert(shard, Learning { since, step: Step::Promoting });
    let command = Command::Promote { shard, node: node.identity.clone(), epoch: since };
    node.proposals.propose(env, node.me, command, Then::Promoted { shard, since });
}

/// Meta has answered, or not: if the shard is still learnt, it is so from the start.
pub fn promoted(node: &mut Ingester, shard: u32, since: u64) {
    if let Some(learning) = node.learning.get_mut(&shard).filter(|learning| learning.since == since) {
        learning.step = Step::Idle;
    }
}

/// Samples of shards that the node holds no replica of leave it for good. A newer epoch than the view's, which a request
/// has named, may have brought a shard back: then the view tells first.
fn forget_what_moved(node: &mut Ingester, env: &mut Env) {
    let held = node.head.shards(&env.samples);
    let moved = held.iter().filter(|shard| {
        let known = node.view.shards.get(*shard as usize);
        let raised = node.raised.get(shard).copied().unwrap_or(0);
        known.is_some_and(|s| !s.has_replica(&node.identity) && raised <= s.epoch)
    });
    let moved: ShardSet = moved.collect();
    if !moved.is_empty() {
        env.count("shards that moved away");
        env.note(&[132], || format!("{} forgets {moved}", node.identity));
        node.head.forget(moved, &env.samples);
    }
}
