//! The progress of a write, decided purely: views and responses go in, requests and reports come out.
//!
//! A shard is done once every in-sync replica and every learner has its samples durable under the view's epoch, and one of
//! them has counted them. A replica that fails is reported, after which the view no longer lists it. A response counts only
//! for its epoch. When the epoch changes, all replicas are asked again, which costs little: a replica may have left and come
//! back without the samples, even without its disk. A learner of a later epoch gets the samples from the replica that it
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
}

#[derive(Debug, Default)]
struct ShardProgress {
    /// The replicas that have the samples durable, with the newest epoch for which they confirmed it.
    durable: BTreeMap<String, u64>,
    /// Whether a replica has counted the samples.
    counted: bool,
    /// The newest epoch that a replica knows.
    known_epoch: u64,
}

impl Progress {
    /// A write to these shards.
    pub fn new(shards: impl IntoIterator<Item = u32>) -> Self {
        Progress { shards: shards.into_iter().map(|shard| (shard, ShardProgress::default())).collect() }
    }

    /// The next step under a view. Shards that are done are removed.
    pub fn next(&mut self, view: &View) -> Next {
        let Some(settings) = &view.settings else { return Next::Wait("the cluster is not bootstrapped yet".into()) };
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
            if shard.in_sync.len() < settings.min_in_sync() {
                let have = shard.in_sync.len();
                reason =
                    Some(format!("shard {number} has {have} in-sync replicas, writes need {}", settings.min_in_sync()));
                return true;
            }
            let is_durable = |node: &&str| progress.durable.get(*node).is_some_and(|epoch| *epoch >= shard.epoch);
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

    /// Records that a replica has the samples of these shards durable, except for `stale` shards, of which it knows a newer
    /// epoch.
    pub fn appended(&mut self, node: &str, targets: &[ShardTarget], stale: &[(u32, u64)]) {
        for target in targets {
            let Some(progress) = self.shards.get_mut(&target.shard) else { continue };
            match stale.iter().find(|(shard, _)| *shard == target.shard) {
                Some((_, epoch)) => progress.known_epoch = progress.known_epoch.max(*epoch),
                None => {
                    let newest = progress.durable.entry(node.to_string()).or_default();
                    *newest = target.epoch.max(*newest);
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
