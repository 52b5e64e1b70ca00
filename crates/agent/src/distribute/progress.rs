//! How far a write is, decided purely: views and answers in, requests and reports out.
//!
//! A shard is done when every replica that is in sync has its samples durable, one has counted them, and each learner either
//! has them too or was reported for missing them, so that it is not promoted without. An answer stays valid when the
//! shard's epoch changes: what is durable is durable. A replica that became one after the samples were sent gets them from
//! the one that it copies from, which has them or would have refused them.

use std::collections::{BTreeMap, BTreeSet};

use pharos_meta::View;
use pharos_rpc::append::ShardTarget;

/// What a write needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// All is durable where it must be.
    Done,
    /// Ask these replicas.
    Send(BTreeMap<String, Vec<ShardTarget>>),
    /// Only another view helps; the text says why.
    Wait(String),
}

/// A write under way.
#[derive(Debug)]
pub struct Progress {
    shards: BTreeMap<u32, ShardProgress>,
}

#[derive(Debug, Default)]
struct ShardProgress {
    /// Replicas that have the samples durable.
    durable: BTreeSet<String>,
    /// Replicas that were reported for missing them, and the epoch under which they were asked.
    reported: BTreeMap<String, u64>,
    counted: bool,
    /// Some replica knows this epoch.
    known_epoch: u64,
}

impl Progress {
    /// A write of samples of these shards.
    pub fn new(shards: impl IntoIterator<Item = u32>) -> Self {
        Progress { shards: shards.into_iter().map(|shard| (shard, ShardProgress::default())).collect() }
    }

    /// What to do under a view. What is done is forgotten.
    pub fn next(&mut self, view: &View) -> Next {
        let Some(settings) = &view.settings else { return Next::Wait("the cluster is not born yet".into()) };
        let mut requests: BTreeMap<String, Vec<ShardTarget>> = BTreeMap::new();
        let mut waits = None;
        self.shards.retain(|&number, progress| {
            let Some(shard) = view.shards.get(number as usize) else { return true };
            if shard.epoch < progress.known_epoch {
                waits = Some(format!(
                    "the view has epoch {} of shard {number}, it is at {}",
                    shard.epoch, progress.known_epoch
                ));
                return true;
            }
            if shard.in_sync.len() < settings.min_in_sync() {
                let have = shard.in_sync.len();
                waits =
                    Some(format!("shard {number} has {have} replicas in sync, {} are needed", settings.min_in_sync()));
                return true;
            }
            let learners = shard.learners.iter().map(|learner| &learner.node);
            let open_learners = learners.filter(|node| !progress.reported.contains_key(*node));
            let missing: Vec<&String> =
                shard.in_sync.iter().chain(open_learners).filter(|node| !progress.durable.contains(*node)).collect();
            let counter = shard.leader.as_ref().filter(|_| !progress.counted);
            let again = counter.filter(|node| progress.durable.contains(*node));
            if missing.is_empty() && again.is_none() {
                return false;
            }
            for node in missing.into_iter().chain(again) {
                let target = ShardTarget { shard: number, epoch: shard.epoch, counted: counter == Some(node) };
                requests.entry(node.clone()).or_default().push(target);
            }
            true
        });
        match (requests.is_empty(), waits) {
            (false, _) => Next::Send(requests),
            (true, Some(why)) => Next::Wait(why),
            (true, None) => Next::Done,
        }
    }

    /// A replica has the samples of these shards durable, but for those of which it knows a newer epoch.
    pub fn appended(&mut self, node: &str, targets: &[ShardTarget], stale: &[(u32, u64)]) {
        for target in targets {
            let Some(progress) = self.shards.get_mut(&target.shard) else { continue };
            match stale.iter().find(|(shard, _)| *shard == target.shard) {
                Some((_, epoch)) => progress.known_epoch = progress.known_epoch.max(*epoch),
                None => {
                    progress.durable.insert(node.to_string());
                    progress.counted |= target.counted;
                }
            }
        }
    }

    /// Meta knows that a replica lacks the samples.
    pub fn reported(&mut self, node: &str, targets: &[ShardTarget]) {
        for target in targets {
            if let Some(progress) = self.shards.get_mut(&target.shard) {
                progress.reported.insert(node.to_string(), target.epoch);
            }
        }
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
