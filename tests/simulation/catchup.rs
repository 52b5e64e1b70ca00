//! Catches up on shards and forgets shards that moved away. Follows the steps of `pharos_ingester::catchup` and uses
//! its real decisions.
//!
//! A learner asks the in-sync replicas of its view for all samples that are in no block, and appends them to its log.
//! Then it asks for promotion at the epoch since which it has been catching up. An ingester that should be in sync but
//! started with an empty log first reports its loss.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pharos_cluster::{Command, Refusal, Response};
use pharos_ingester::catchup::policy::{self, Action, Inputs, OrphanedShards, WantedShards};
use pharos_model::ShardSet;

use super::FORGET_MS;
use super::bugs::Bug;
use super::env::{Env, Ms, Node};
use super::ingester::{Ingester, OnDurable, Then};
use super::messages::{Message, Timer};
use super::samples::SampleId;

/// Time without an answer after which a source counts as failed.
const SILENCE_MS: Ms = 20_000;
/// Backoff before a failed source is asked again.
const SOURCE_BACKOFF_MS: Ms = 5000;
/// Maximum number of concurrent copies.
const MOST: usize = 2;

/// The catch-up state of an ingester.
#[derive(Default)]
pub struct CatchUp {
    /// Copies in progress, by source.
    jobs: BTreeMap<String, Job>,
    backed_off: BTreeMap<String, Ms>,
    orphaned: OrphanedShards,
    /// Shards that were lost with the disk, with their epochs, until meta knows of the loss.
    pub lost: WantedShards,
}

struct Job {
    number: u64,
    shards: WantedShards,
    /// Shards that still need promotion, in reverse order. Empty until the copy is durable.
    to_promote: Vec<(u32, u64)>,
}

/// Starts to catch up after the ingester has joined the cluster.
pub fn begin(node: &mut Ingester, env: &mut Env) {
    let view = node.view.clone();
    if node.head.began_empty() {
        node.catchup.lost = policy::lost_shards(&node.identity, &view, |shard| is_elsewhere(node, shard));
    }
    report_lost_shards(node, env);
}

/// Whether another node is in sync for a shard. If none is, this model loses the shard for good.
fn is_elsewhere(node: &Ingester, shard: u32) -> bool {
    node.view.shard(shard).is_some_and(|known| known.in_sync.iter().any(|other| *other != node.identity))
}

fn report_lost_shards(node: &mut Ingester, env: &mut Env) {
    if node.catchup.lost.is_empty() {
        return view_changed(node, env);
    }
    env.count("losses loss_reported");
    let me = node.identity.clone();
    let shards = node.catchup.lost.iter().map(|(shard, epoch)| (*shard, *epoch)).collect();
    let report = Command::ReportFailed { node: me.clone(), shards, reporter: me };
    node.proposals.propose(env, node.me, report, Then::LossReported);
}

/// Handles the result of a loss report. Without a result, meta did not answer.
pub fn loss_reported(node: &mut Ingester, env: &mut Env, result: Option<Result<Response, Refusal>>) {
    let lost = std::mem::take(&mut node.catchup.lost);
    node.catchup.lost = match result {
        // Meta ignores the report of a shard whose epoch has increased since, so that shard is reported again.
        Some(Ok(_)) if !env.has(Bug::ReportLossOnce) => {
            policy::lost_shards(&node.identity, &node.view, |n| lost.contains_key(&n) && is_elsewhere(node, n))
        }
        Some(_) => WantedShards::new(),
        None => lost,
    };
    report_lost_shards(node, env);
}

/// Starts and stops copies after a change of the view, and in every round.
pub fn view_changed(node: &mut Ingester, env: &mut Env) {
    if !node.catchup.lost.is_empty() {
        return;
    }
    let now = env.now;
    node.catchup.backed_off.retain(|_, until| now < *until);
    let under_way: BTreeMap<String, WantedShards> =
        node.catchup.jobs.iter().map(|(source, job)| (source.clone(), job.shards.clone())).collect();
    let backed_off: BTreeSet<String> = node.catchup.backed_off.keys().cloned().collect();
    let inputs =
        Inputs { me: &node.identity, view: &node.view, under_way: &under_way, backed_off: &backed_off, most: MOST };
    for action in policy::decide(inputs) {
        match action {
            Action::Copy { source, shards } => copy(node, env, source, shards),
            Action::Stop { source } => _ = node.catchup.jobs.remove(&source),
        }
    }
    forget(node, env);
}

fn copy(node: &mut Ingester, env: &mut Env, source: String, shards: WantedShards) {
    let Some(to) = Node::of(&source) else { return };
    let number = env.number();
    env.note(&[130, number], || format!("{} asks {source} for {shards:?}", node.identity));
    let asked: Vec<(u32, u64)> = shards.iter().map(|(shard, since)| (*shard, *since)).collect();
    if env.has(Bug::PromoteEarly) {
        node.catchup.jobs.insert(source.clone(), Job { number, shards, to_promote: asked });
        return promote_next(node, env, &source);
    }
    node.catchup.jobs.insert(source, Job { number, shards, to_promote: Vec::new() });
    env.send(node.me, to, Message::Copy { number, shards: asked });
    env.wake(node.me, SILENCE_MS, Timer::GiveUp(number));
}

fn source_of(node: &Ingester, number: u64) -> Option<String> {
    node.catchup.jobs.iter().find(|(_, job)| job.number == number).map(|(source, _)| source.clone())
}

fn failed(node: &mut Ingester, env: &mut Env, source: &str) {
    node.catchup.jobs.remove(source);
    node.catchup.backed_off.insert(source.to_string(), env.now + SOURCE_BACKOFF_MS);
}

/// Gives up on a copy that has not arrived in time.
pub fn give_up(node: &mut Ingester, env: &mut Env, number: u64) {
    if let Some(source) = source_of(node, number)
        && node.catchup.jobs[&source].to_promote.is_empty()
    {
        failed(node, env, &source);
    }
}

/// Handles the answer to a copy request.
pub fn copied(node: &mut Ingester, env: &mut Env, number: u64, answer: Result<Vec<SampleId>, ()>) {
    let Some(source) = source_of(node, number) else { return };
    let Ok(ids) = answer else { return failed(node, env, &source) };
    env.note(&[131, number], || format!("{} has copied {ids:?} from {source}", node.identity));
    let position = node.head.append(&ids, env.now_ms(), &env.samples);
    node.when_durable(env, position, OnDurable::Copied { number });
}

/// Starts the promotion for the shards of a copy that is durable in the log.
pub fn copy_is_durable(node: &mut Ingester, env: &mut Env, number: u64) {
    let Some(source) = source_of(node, number) else { return };
    if let Some(job) = node.catchup.jobs.get_mut(&source) {
        job.to_promote = job.shards.iter().map(|(shard, since)| (*shard, *since)).rev().collect();
    }
    promote_next(node, env, &source);
}

fn promote_next(node: &mut Ingester, env: &mut Env, source: &str) {
    let Some(job) = node.catchup.jobs.get_mut(source) else { return };
    match job.to_promote.last().copied() {
        Some((shard, epoch)) => {
            let command = Command::Promote { shard, node: node.identity.clone(), epoch };
            node.proposals.propose(env, node.me, command, Then::Promoted { number: job.number });
        }
        None => {
            node.catchup.jobs.remove(source);
            view_changed(node, env);
        }
    }
}

/// Handles the result of a promotion, and asks for the next one.
pub fn promoted(node: &mut Ingester, env: &mut Env, number: u64, answered: bool) {
    let Some(source) = source_of(node, number) else { return };
    if !answered {
        return failed(node, env, &source);
    }
    if let Some(job) = node.catchup.jobs.get_mut(&source) {
        job.to_promote.pop();
    }
    promote_next(node, env, &source);
}

/// Frees the samples of shards that have had no replica on this node for a long time.
fn forget(node: &mut Ingester, env: &mut Env) {
    let held = node.head.shards(&env.samples);
    let (now, after) = (Duration::from_millis(env.now), Duration::from_millis(FORGET_MS));
    let due = policy::forgettable(&node.identity, &node.view, &held, &mut node.catchup.orphaned, now, after);
    let closed = node.fence.close();
    let is_orphaned = |shard: &u32| {
        let known = node.view.shard(*shard);
        known.is_some_and(|s| {
            !s.has_replica(&node.identity) && !s.in_sync.is_empty() && closed.raised(*shard) <= s.epoch
        })
    };
    let moved: ShardSet = due.iter().filter(is_orphaned).collect();
    drop(closed);
    if !moved.is_empty() {
        env.count("shards that moved away");
        env.note(&[132], || format!("{} forgets {moved}", node.identity));
        node.head.forget(moved, &env.samples);
    }
}
