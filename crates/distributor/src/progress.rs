//! How far a write is, decided purely: views and answers in, requests and reports out.
//!
//! A shard is done when every replica that is in sync and every learner has its samples durable under the epoch of the view, and
//! one has counted them. One that does not take them is reported, and is then none of these any more, as the view tells. An
//! answer counts for its epoch only: when that changes, all are asked again, which costs little, since a replica may have left
//! and come back without the samples, even without its disk. A learner of a later epoch gets the samples from the one that
//! it copies from: that one had them before it fenced this epoch.

use std::collections::BTreeMap;

use pharos_cluster::View;
use pharos_transport::append::ShardTarget;

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
    /// Replicas that have the samples durable, and the newest epoch under which they said so.
    durable: BTreeMap<String, u64>,
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
            let Some(shard) = view.shard(number) else { return true };
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
            let is_durable = |node: &&str| progress.durable.get(*node).is_some_and(|epoch| *epoch >= shard.epoch);
            let missing: Vec<&str> = shard.write_targets().filter(|node| !is_durable(node)).collect();
            let counter = shard.leader.as_deref().filter(|_| !progress.counted);
            let again = counter.filter(is_durable);
            if missing.is_empty() && again.is_none() {
                return false;
            }
            for node in missing.into_iter().chain(again) {
                let target = ShardTarget { shard: number, epoch: shard.epoch, counted: counter == Some(node) };
                requests.entry(node.to_string()).or_default().push(target);
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
                    let newest = progress.durable.entry(node.to_string()).or_default();
                    *newest = target.epoch.max(*newest);
                    progress.counted |= target.counted;
                }
            }
        }
    }
}

/// What to report again of a replica that did not take samples, when meta has left some shards as they were: those that the view
/// has at another epoch by now and still writes to it. So a change of something else costs no second wait for the replica.
pub fn report_again(view: &View, node: &str, reported: &[(u32, u64)], unchanged: &[u32]) -> Vec<(u32, u64)> {
    let again = |&(number, epoch): &(u32, u64)| {
        let shard = view.shard(number).filter(|shard| shard.epoch > epoch)?;
        (unchanged.contains(&number) && is_written_to(view, node, number)).then_some((number, shard.epoch))
    };
    reported.iter().filter_map(again).collect()
}

/// Whether samples of a shard are written to a node, as a replica that is in sync or one that learns.
pub fn is_written_to(view: &View, node: &str, shard: u32) -> bool {
    view.shard(shard).is_some_and(|shard| shard.write_targets().any(|n| n == node))
}

/// Whether a node is in sync for any of these shards.
pub fn is_in_sync(view: &View, node: &str, targets: &[ShardTarget]) -> bool {
    targets.iter().any(|target| view.shard(target.shard).is_some_and(|shard| shard.is_in_sync(node)))
}

#[cfg(test)]
mod tests;
