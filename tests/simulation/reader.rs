//! Queries of an agent's process, as `querier` reads: a query proves its view by asking meta for its version, waits for that
//! version, and reads a shard from one in-sync replica of the view.
//!
//! **Invariant** (INV-CURRENT-VIEW): a response without a warning has every sample that was acknowledged before the query
//! began. A query that cannot prove its view in time would be answered with a warning, of which nothing is expected.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_cluster::{ClusterState, View};
use pharos_testkit::Rng;

use super::SHARDS;
use super::bugs::Bug;
use super::env::{Env, Ms, Node};
use super::invariants::in_blocks;
use super::messages::{Message, Timer};
use super::samples::SampleSet;

/// Longest time that a query waits for the proof of its view.
const PROOF_MS: Ms = 1000;
/// Longest time that a query waits for one replica.
const READ_MS: Ms = 1500;

/// A replica's answer: its samples, and its view. An error means that it refuses.
pub type Read = Result<(Arc<SampleSet>, Arc<ClusterState>), ()>;

struct Query {
    shard: u32,
    /// What was acknowledged when it began.
    expected: SampleSet,
    /// The version that its view must have, once meta has said it.
    version: Option<u64>,
    /// The view under which it reads.
    view: Option<View>,
    tried: Vec<String>,
}

/// The queries in flight of one process.
pub struct Reader {
    me: Node,
    rng: Rng,
    queries: BTreeMap<u64, Query>,
}

impl Reader {
    pub fn new(env: &mut Env, me: Node) -> Self {
        Reader { me, rng: env.rng.fork(), queries: BTreeMap::new() }
    }

    /// Forgets the queries of an earlier life.
    pub fn restart(&mut self) {
        self.queries.clear();
    }

    /// Begins a query, and schedules the next one.
    pub fn begin(&mut self, env: &mut Env, view: &View) {
        let after = self.rng.between(100, 900);
        env.wake(self.me, after, Timer::NextQuery);
        let number = env.number();
        let shard = self.rng.below(SHARDS.into()) as u32;
        let expected = env.samples.acknowledged(shard).clone();
        let query = Query { shard, expected, version: None, view: None, tried: Vec::new() };
        self.queries.insert(number, query);
        env.count("queries");
        if env.has(Bug::ReadWithoutProof) {
            return self.proved(env, view, number, 0);
        }
        env.send(self.me, Node::Meta, Message::ReadIndex { number });
        env.wake(self.me, PROOF_MS, Timer::ProofTimeout(number));
    }

    /// Meta has said which version the view must have.
    pub fn proved(&mut self, env: &mut Env, view: &View, number: u64, version: u64) {
        if let Some(query) = self.queries.get_mut(&number).filter(|query| query.version.is_none()) {
            query.version = Some(version);
            self.view_changed(env, view);
        }
    }

    /// Reads for the queries whose view has come.
    pub fn view_changed(&mut self, env: &mut Env, view: &View) {
        let is_due = |query: &Query| query.view.is_none() && query.version.is_some_and(|v| v <= view.version);
        let due: Vec<u64> = self.queries.iter().filter(|(_, query)| is_due(query)).map(|(number, _)| *number).collect();
        for number in due {
            if let Some(query) = self.queries.get_mut(&number) {
                query.view = Some(view.clone());
            }
            self.read_next(env, number);
        }
    }

    /// Nothing is expected of a query whose view is not proved in time.
    pub fn proof_is_late(&mut self, env: &mut Env, number: u64) {
        if self.queries.get(&number).is_some_and(|query| query.view.is_none()) {
            self.queries.remove(&number);
            env.count("queries with a warning");
        }
    }

    /// A replica has not answered in time.
    pub fn read_is_late(&mut self, env: &mut Env, number: u64, tries: usize) {
        if self.queries.get(&number).is_some_and(|query| query.tried.len() == tries) {
            self.read_next(env, number);
        }
    }

    /// Asks another in-sync replica, if there is one.
    fn read_next(&mut self, env: &mut Env, number: u64) {
        let Some(query) = self.queries.get_mut(&number) else { return };
        let Some(shard) = query.view.as_ref().and_then(|view| view.shard(query.shard)) else { return };
        let left: Vec<String> = shard.in_sync.iter().filter(|node| !query.tried.contains(node)).cloned().collect();
        let Some(node) = self.rng.pick(&left).cloned() else {
            self.queries.remove(&number);
            return env.count("queries without a replica");
        };
        query.tried.push(node.clone());
        let Some(to) = Node::of(&node) else { return };
        env.send(self.me, to, Message::Read { number, shard: query.shard, epoch: shard.epoch });
        env.wake(self.me, READ_MS, Timer::ReadTimeout(number, query.tried.len()));
    }

    /// A replica has answered.
    pub fn answered(&mut self, env: &mut Env, from: Node, number: u64, read: Read) {
        let is_awaited = |query: &&Query| query.tried.last().is_some_and(|node| *node == from.identity());
        if self.queries.get(&number).filter(is_awaited).is_none() {
            return;
        }
        let Ok((held, state)) = read else { return self.read_next(env, number) };
        let Some(Query { shard, expected, view: Some(view), .. }) = self.queries.remove(&number) else { return };
        env.count("queries answered");
        // Blocks are read under a view that lists those which the replica relies on.
        let newer = if state.version > view.version { &state } else { view.state() };
        let missing = expected.missing_from(&held, &in_blocks(env, newer)).next();
        if let Some(id) = missing {
            let (sample, version) = (env.samples.get(id), view.version);
            env.violated("current view", || {
                format!(
                    "sample {id} {sample:?} is missing from {from:?}'s answer for shard {shard} under view {version}"
                )
            });
        }
    }
}
