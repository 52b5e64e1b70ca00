//! How a replica gets in sync, and how it forgets: `pharos_ingester::learn` step by step, with its real decisions. It asks
//! in-sync replicas of its view for all that no block holds, puts that into its log, and asks to be in sync at the epoch
//! since which it learns. An ingester whose log began empty where it should have everything says so first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pharos_cluster::{Command, Refusal, Response};
use pharos_ingester::learn::policy::{self, Action, Facts, Strange, Wanted};
use pharos_model::ShardSet;

use super::FORGET_MS;
use super::bugs::Bug;
use super::env::{Env, Ms, Node};
use super::ingester::{Ingester, OnDurable, Then};
use super::messages::{Message, Timer};
use super::samples::SampleId;

/// A source that says nothing for so long has failed.
const SILENCE_MS: Ms = 20_000;
/// How long a source that failed is not asked again.
const SHUN_MS: Ms = 5000;
/// Most copies at the same time.
const MOST: usize = 2;

/// What is under way.
#[derive(Default)]
pub struct Learn {
    /// By source.
    jobs: BTreeMap<String, Job>,
    shunned: BTreeMap<String, Ms>,
    strange: Strange,
    /// Shards that were lost with the disk, and are not given up yet.
    pub lost: Wanted,
}

struct Job {
    number: u64,
    shards: Wanted,
    /// Those that meta was not asked about yet, once all is durable.
    to_promote: Vec<(u32, u64)>,
}

/// It has entered the cluster.
pub fn begin(node: &mut Ingester, env: &mut Env) {
    let view = node.view.clone();
    if node.head.began_empty() {
        node.learn.lost = policy::lost(&node.identity, &view, |_| true);
    }
    admit_loss(node, env);
}

fn admit_loss(node: &mut Ingester, env: &mut Env) {
    if node.learn.lost.is_empty() {
        return view_changed(node, env);
    }
    env.count("losses admitted");
    let me = node.identity.clone();
    let shards = node.learn.lost.iter().map(|(shard, epoch)| (*shard, *epoch)).collect();
    let report = Command::ReportFailed { node: me.clone(), shards, reporter: me };
    node.proposals.propose(env, node.me, report, Then::Admitted);
}

/// Meta knows what was lost, or does not answer.
pub fn admitted(node: &mut Ingester, env: &mut Env, result: Option<Result<Response, Refusal>>) {
    let lost = std::mem::take(&mut node.learn.lost);
    node.learn.lost = match result {
        // Epochs may have gone up meanwhile; then meta changes nothing.
        Some(Ok(_)) if !env.has(Bug::AdmitLossOnce) => {
            policy::lost(&node.identity, &node.view, |shard| lost.contains_key(&shard))
        }
        Some(_) => Wanted::new(),
        None => lost,
    };
    admit_loss(node, env);
}

/// The view is another one, or a second has passed.
pub fn view_changed(node: &mut Ingester, env: &mut Env) {
    if !node.learn.lost.is_empty() {
        return;
    }
    let now = env.now;
    node.learn.shunned.retain(|_, until| now < *until);
    let under_way: BTreeMap<String, Wanted> =
        node.learn.jobs.iter().map(|(source, job)| (source.clone(), job.shards.clone())).collect();
    let shunned: BTreeSet<String> = node.learn.shunned.keys().cloned().collect();
    let facts = Facts { me: &node.identity, view: &node.view, under_way: &under_way, shunned: &shunned, most: MOST };
    for action in policy::decide(facts) {
        match action {
            Action::Copy { source, shards } => copy(node, env, source, shards),
            Action::Stop { source } => _ = node.learn.jobs.remove(&source),
        }
    }
    forget(node, env);
}

fn copy(node: &mut Ingester, env: &mut Env, source: String, shards: Wanted) {
    let Some(to) = Node::of(&source) else { return };
    let number = env.number();
    env.note(&[130, number], || format!("{} asks {source} for {shards:?}", node.identity));
    let asked: Vec<(u32, u64)> = shards.iter().map(|(shard, since)| (*shard, *since)).collect();
    if env.has(Bug::PromoteEarly) {
        node.learn.jobs.insert(source.clone(), Job { number, shards, to_promote: asked });
        return promote_next(node, env, &source);
    }
    node.learn.jobs.insert(source, Job { number, shards, to_promote: Vec::new() });
    env.send(node.me, to, Message::Copy { number, shards: asked });
    env.wake(node.me, SILENCE_MS, Timer::GiveUp(number));
}

fn source_of(node: &Ingester, number: u64) -> Option<String> {
    node.learn.jobs.iter().find(|(_, job)| job.number == number).map(|(source, _)| source.clone())
}

fn failed(node: &mut Ingester, env: &mut Env, source: &str) {
    node.learn.jobs.remove(source);
    node.learn.shunned.insert(source.to_string(), env.now + SHUN_MS);
}

/// A copy has not come in time.
pub fn give_up(node: &mut Ingester, env: &mut Env, number: u64) {
    if let Some(source) = source_of(node, number)
        && node.learn.jobs[&source].to_promote.is_empty()
    {
        failed(node, env, &source);
    }
}

/// A copy has come, or was refused.
pub fn copied(node: &mut Ingester, env: &mut Env, number: u64, answer: Result<Vec<SampleId>, ()>) {
    let Some(source) = source_of(node, number) else { return };
    let Ok(ids) = answer else { return failed(node, env, &source) };
    env.note(&[131, number], || format!("{} has copied {ids:?} from {source}", node.identity));
    let position = node.head.append(&ids, env.now_ms(), &env.samples);
    node.when_durable(env, position, OnDurable::Copied { number });
}

/// A copy is in the log.
pub fn copy_is_durable(node: &mut Ingester, env: &mut Env, number: u64) {
    let Some(source) = source_of(node, number) else { return };
    if let Some(job) = node.learn.jobs.get_mut(&source) {
        job.to_promote = job.shards.iter().map(|(shard, since)| (*shard, *since)).rev().collect();
    }
    promote_next(node, env, &source);
}

fn promote_next(node: &mut Ingester, env: &mut Env, source: &str) {
    let Some(job) = node.learn.jobs.get_mut(source) else { return };
    match job.to_promote.last().copied() {
        Some((shard, epoch)) => {
            let command = Command::Promote { shard, node: node.identity.clone(), epoch };
            node.proposals.propose(env, node.me, command, Then::Promoted { number: job.number });
        }
        None => {
            node.learn.jobs.remove(source);
            view_changed(node, env);
        }
    }
}

/// Meta has answered, or not.
pub fn promoted(node: &mut Ingester, env: &mut Env, number: u64, answered: bool) {
    let Some(source) = source_of(node, number) else { return };
    if !answered {
        return failed(node, env, &source);
    }
    if let Some(job) = node.learn.jobs.get_mut(&source) {
        job.to_promote.pop();
    }
    promote_next(node, env, &source);
}

/// Samples of shards that the node has held no replica of for long leave it for good.
fn forget(node: &mut Ingester, env: &mut Env) {
    let held = node.head.shards(&env.samples);
    let (now, after) = (Duration::from_millis(env.now), Duration::from_millis(FORGET_MS));
    let due = policy::forgettable(&node.identity, &node.view, &held, &mut node.learn.strange, now, after);
    let closed = node.fence.close();
    let is_strange = |shard: &u32| {
        let known = node.view.shard(*shard);
        known.is_some_and(|s| {
            !s.has_replica(&node.identity) && !s.in_sync.is_empty() && closed.raised(*shard) <= s.epoch
        })
    };
    let moved: ShardSet = due.iter().filter(is_strange).collect();
    drop(closed);
    if !moved.is_empty() {
        env.count("shards that moved away");
        env.note(&[132], || format!("{} forgets {moved}", node.identity));
        node.head.forget(moved, &env.samples);
    }
}
