//! The progress of a write, decided purely: views and responses go in, requests and reports come out.
//!
//! A shard is done once every in-sync replica and every learner has its samples durable under the view's epoch, and one of
//! them has counted them. A replica that fails is reported, after which the view no longer lists it. A response counts only
//! for its epoch. When the epoch changes, all replicas are asked again, which costs little: a replica may have left and come
//! back without the samples, even without its disk. So are they when one of them has applied a newer deletion of the tenant:
//! each sample lies on the same side of each deletion on every replica. A learner of a later epoch gets the samples from the replica that it
//! copies from, which had them before it raised its fence to that epoch.

use std::collections::BTreeMap;

use pharos_cluster::View;
use pharos_transport::append::ShardTarget;

/// The next step of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Every shard is durable.
    Done,
    /// Send to these replicas.
    Send(BTreeMap<String, Vec<ShardTarget>>),
    /// Wait for another view, for this reason.
    Wait(String),
}

/// A write in progress.
#[derive(Debug)]
pub struct Progress {
    shards: BTreeMap<u32, ShardProgress>,
    /// The deletion after which the samples are appended.
    deletions: Option<u64>,
    /// The number of the newest deletion that a replica has applied.
    known_deletion: u64,
    /// Whether there are no samples, but a deletion that every replica must have applied.
    is_barrier: bool,
}

#[derive(Debug, Default)]
struct ShardProgress {
    /// The replicas that have the samples durable, with what they confirmed last.
    durable: BTreeMap<String, Confirmed>,
    /// Whether a replica has counted the samples.
    counted: bool,
    /// The newest epoch that a replica knows.
    known_epoch: u64,
}

/// What a replica confirmed.
#[derive(Clone, Copy, Debug, Default)]
struct Confirmed {
    epoch: u64,
    deletions: u64,
}

impl Progress {
    /// A write to these shards.
    pub fn new(shards: impl IntoIterator<Item = u32>) -> Self {
        Progress {
            shards: shards.into_iter().map(|shard| (shard, ShardProgress::default())).collect(),
            deletions: None,
            known_deletion: 0,
            is_barrier: false,
        }
    }

    /// A write without samples to these shards, which is done once every replica has applied a deletion. Unlike a write, it
    /// is content with the replicas that there are.
    pub fn barrier(shards: impl IntoIterator<Item = u32>) -> Self {
        let mut progress = Progress { is_barrier: true, ..Progress::new(shards) };
        progress.shards.values_mut().for_each(|shard| shard.counted = true);
        progress
    }

    /// Whether there are no samples, but a deletion that every replica must have applied.
    pub fn is_barrier(&self) -> bool {
        self.is_barrier
    }

    /// The deletion after which the samples are appended, of the last step.
    pub fn deletions(&self) -> Option<u64> {
        self.deletions
    }

    /// The next step under a view, in which the tenant's newest deletion has the number `newest_deletion`. Shards that are
    /// done are removed.
    pub fn next(&mut self, view: &View, newest_deletion: u64) -> Next {
        let Some(settings) = &view.settings else { return Next::Wait("the cluster is not bootstrapped yet".into()) };
        if newest_deletion < self.known_deletion {
            return Next::Wait(format!(
                "the view has deletion {newest_deletion} of the tenant, a replica has applied {}",
                self.known_deletion
            ));
        }
        // Once samples are on their way they keep their place, unless a replica is past it.
        let deletions = self.deletions.filter(|number| *number >= self.known_deletion).unwrap_or(newest_deletion);
        self.deletions = Some(deletions);
        let mut requests: BTreeMap<String, Vec<ShardTarget>> = BTreeMap::new();
        let mut reason = None;
        self.shards.retain(|&number, progress| {
            let Some(shard) = view.shard(number) else { return true };
            if shard.epoch < progress.known_epoch {
                reason = Some(format!(
                    "the view has epoch {} of shard {number}, a replica is at {}",
                    shard.epoch, progress.known_epoch
                ));
                return true;
            }
            if shard.in_sync.len() < settings.min_in_sync() && !self.is_barrier {
                let have = shard.in_sync.len();
                reason =
                    Some(format!("shard {number} has {have} in-sync replicas, writes need {}", settings.min_in_sync()));
                return true;
            }
            let is_current = |had: &Confirmed| had.epoch >= shard.epoch && had.deletions >= deletions;
            let is_durable = |node: &&str| progress.durable.get(*node).is_some_and(is_current);
            let missing: Vec<&str> = shard.write_targets().filter(|node| !is_durable(node)).collect();
            let counter = shard.leader.as_deref().filter(|_| !progress.counted);
            // The leader has the samples but did not count them under its earlier epoch.
            let recount = counter.filter(is_durable);
            if missing.is_empty() && recount.is_none() {
                return false;
            }
            for node in missing.into_iter().chain(recount) {
                let target = ShardTarget { shard: number, epoch: shard.epoch, counted: counter == Some(node) };
                requests.entry(node.to_string()).or_default().push(target);
            }
            true
        });
        match (requests.is_empty(), reason) {
            (false, _) => Next::Send(requests),
            (true, Some(reason)) => Next::Wait(reason),
            (true, None) => Next::Done,
        }
    }

    /// Records that a replica has applied a newer deletion than that of the last step, and appended nothing.
    pub fn deletion_known(&mut self, number: u64) {
        self.known_deletion = self.known_deletion.max(number);
    }

    /// Records that a replica has the samples of these shards durable, except for `stale` shards, of which it knows a newer
    /// epoch.
    pub fn appended(&mut self, node: &str, targets: &[ShardTarget], stale: &[(u32, u64)]) {
        let deletions = self.deletions.unwrap_or(0);
        for target in targets {
            let Some(progress) = self.shards.get_mut(&target.shard) else { continue };
            match stale.iter().find(|(shard, _)| *shard == target.shard) {
                Some((_, epoch)) => progress.known_epoch = progress.known_epoch.max(*epoch),
                None => {
                    // Both only grow from step to step.
                    progress.durable.insert(node.to_string(), Confirmed { epoch: target.epoch, deletions });
                    progress.counted |= target.counted;
                }
            }
        }
    }
}

/// The shards to report again for a failed replica, when meta left some `unchanged`: those that have a newer epoch by now and
/// are still written to the replica. An unrelated change of a shard thus costs no second wait for the replica.
pub fn report_again(view: &View, node: &str, reported: &[(u32, u64)], unchanged: &[u32]) -> Vec<(u32, u64)> {
    let again = |&(number, epoch): &(u32, u64)| {
        let shard = view.shard(number).filter(|shard| shard.epoch > epoch)?;
        (unchanged.contains(&number) && is_written_to(view, node, number)).then_some((number, shard.epoch))
    };
    reported.iter().filter_map(again).collect()
}

/// Whether a node receives the writes of a shard, as an in-sync replica or a learner.
pub fn is_written_to(view: &View, node: &str, shard: u32) -> bool {
    view.shard(shard).is_some_and(|shard| shard.write_targets().any(|n| n == node))
}

/// Whether a node is an in-sync replica of any of these shards.
pub fn is_in_sync(view: &View, node: &str, targets: &[ShardTarget]) -> bool {
    targets.iter().any(|target| view.shard(target.shard).is_some_and(|shard| shard.is_in_sync(node)))
}

#[cfg(test)]
mod tests;
