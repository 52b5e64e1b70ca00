//! The progress of a write, decided purely: views and responses go in, requests and reports come out.
//!
//! A shard is done once every in-sync replica and every learner has its samples durable under the view's epoch, one of
//! them has counted them, and all agree which samples are accepted ([`verdicts`]). A replica that fails is reported, after
//! which the view no longer lists it. A response counts only for its epoch. When the epoch changes, all replicas are asked
//! again, which costs little: a replica may have left and come back without the samples, even without its disk, and another
//! leader may decide. So are they when one of them has applied a newer deletion of the tenant: each sample lies on the same
//! side of each deletion on every replica. A learner of a later epoch gets the samples from the replica that it copies from, which had them
//! before it raised its fence to that epoch.

mod verdicts;

use std::collections::{BTreeMap, BTreeSet};

use pharos_cluster::{Shard, View};
use pharos_model::write::RefusedSample;
use pharos_transport::append::{Appended, ShardTarget};

pub use verdicts::{Correction, Repairs};
use verdicts::{Disagreement, is_same};

/// The next step of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Every shard is durable, and its replicas agree.
    Done,
    /// Send to these replicas.
    Send(BTreeMap<String, Vec<ShardTarget>>),
    /// Force and retract samples where replicas disagree with the leader.
    Repair(Repairs),
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
    corrections: Vec<Correction>,
    /// Whether a leader of an older version decided, which does not name the samples that it rejected.
    has_unnamed_verdicts: bool,
}

#[derive(Debug, Default)]
struct ShardProgress {
    /// The replicas that have the samples durable.
    durable: BTreeMap<String, Confirmed>,
    /// What the replica rejected that has counted the samples; `None` while none has.
    counted: Option<Verdict>,
    /// The replicas that were made to agree with the leader since the last confirmation.
    repaired: BTreeSet<String>,
    /// The newest epoch that a replica knows.
    known_epoch: u64,
}

/// The samples that a replica rejected; `None` if its version does not name them.
type Verdict = Option<Vec<RefusedSample>>;

/// The confirmation of a replica that has the samples durable, apart from those that it rejected.
#[derive(Debug, Default)]
struct Confirmed {
    /// The newest epoch for which it was given.
    epoch: u64,
    /// The deletion after which the replica has the samples.
    deletions: u64,
    verdict: Verdict,
    /// Whether the replica has lost samples of the shard, so that its verdict says nothing about what others have.
    is_undecided: bool,
}

impl Progress {
    /// A write to these shards.
    pub fn new(shards: impl IntoIterator<Item = u32>) -> Self {
        Progress {
            shards: shards.into_iter().map(|shard| (shard, ShardProgress::default())).collect(),
            deletions: None,
            known_deletion: 0,
            is_barrier: false,
            corrections: Vec::new(),
            has_unnamed_verdicts: false,
        }
    }

    /// A write without samples to these shards, which is done once every replica has applied a deletion. Unlike a write, it
    /// is content with the replicas that there are.
    pub fn barrier(shards: impl IntoIterator<Item = u32>) -> Self {
        let mut progress = Progress { is_barrier: true, ..Progress::new(shards) };
        progress.shards.values_mut().for_each(|shard| shard.counted = Some(None));
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
        let mut repairs = Repairs::default();
        let mut reason = None;
        let Progress { shards, is_barrier, corrections, has_unnamed_verdicts, .. } = self;
        shards.retain(|&number, progress| {
            let Some(shard) = view.shard(number) else { return true };
            if shard.epoch < progress.known_epoch {
                reason = Some(format!(
                    "the view has epoch {} of shard {number}, a replica is at {}",
                    shard.epoch, progress.known_epoch
                ));
                return true;
            }
            if shard.in_sync.len() < settings.min_in_sync() && !*is_barrier {
                let have = shard.in_sync.len();
                reason =
                    Some(format!("shard {number} has {have} in-sync replicas, writes need {}", settings.min_in_sync()));
                return true;
            }
            let missing = progress.missing(number, shard, deletions);
            if !missing.is_empty() {
                missing.into_iter().for_each(|(node, target)| requests.entry(node.into()).or_default().push(target));
                return true;
            }
            if progress.is_undecided(shard) {
                reason = Some(format!(
                    "the leader of shard {number} has lost samples and others reject other samples than it does; it catches up first"
                ));
                return true;
            }
            if let Some(disagreement) = progress.disagreement(shard) {
                repairs.add(number, shard.epoch, disagreement);
                return true;
            }
            match progress.decided(shard) {
                Some(decided) => corrections.extend(verdicts::corrections(progress.counted.as_ref(), decided)),
                None => *has_unnamed_verdicts = true,
            }
            false
        });
        match (requests.is_empty(), repairs.is_empty(), reason) {
            (false, ..) => Next::Send(requests),
            (true, false, _) => Next::Repair(repairs),
            (true, true, Some(reason)) => Next::Wait(reason),
            (true, true, None) => Next::Done,
        }
    }

    /// Records that a replica has applied a newer deletion than that of the last step, and changed nothing.
    pub fn deletion_known(&mut self, number: u64) {
        self.known_deletion = self.known_deletion.max(number);
    }

    /// Records that a replica has the samples of these shards durable, except for stale shards, of which it knows a newer
    /// epoch.
    pub fn appended(&mut self, node: &str, targets: &[ShardTarget], appended: &Appended) {
        let deletions = self.deletions.unwrap_or(0);
        for target in self.fresh(targets, &appended.stale) {
            let Some(progress) = self.shards.get_mut(&target.shard) else { continue };
            let of_shard = |refused: &BTreeMap<u32, Vec<_>>| refused.get(&target.shard).cloned().unwrap_or_default();
            let verdict = appended.refused.as_ref().map(of_shard);
            let is_undecided = appended.undecided.contains(&target.shard);
            if target.counted && progress.counted.is_none() {
                progress.counted = Some(verdict.clone());
            }
            progress.repaired.clear();
            // Epoch and deletion only grow from step to step.
            let confirmed = Confirmed { epoch: target.epoch, deletions, verdict, is_undecided };
            progress.durable.insert(node.to_string(), confirmed);
        }
    }

    /// Records that a replica has forced and retracted what it had to of these shards, except for stale ones.
    pub fn repaired(&mut self, node: &str, targets: &[ShardTarget], stale: &[(u32, u64)]) {
        for target in self.fresh(targets, stale) {
            if let Some(progress) = self.shards.get_mut(&target.shard) {
                progress.repaired.insert(node.to_string());
            }
        }
    }

    /// The targets that are not stale. Notes the epochs of the others.
    fn fresh<'a>(&mut self, targets: &'a [ShardTarget], stale: &[(u32, u64)]) -> Vec<&'a ShardTarget> {
        for (shard, epoch) in stale {
            if let Some(progress) = self.shards.get_mut(shard) {
                progress.known_epoch = progress.known_epoch.max(*epoch);
            }
        }
        let is_stale = |target: &ShardTarget| stale.iter().any(|(shard, _)| *shard == target.shard);
        targets.iter().filter(|target| !is_stale(target)).collect()
    }

    /// Whether a replica has had the samples of a shard durable.
    pub fn has_taken(&self, shard: u32, node: &str) -> bool {
        self.shards.get(&shard).is_some_and(|progress| progress.durable.contains_key(node))
    }

    /// How the counted outcome differs from the final one, because another leader decided in the end.
    pub fn corrections(&self) -> &[Correction] {
        &self.corrections
    }

    /// Whether a leader decided that does not name the samples that it rejected. Then its replicas may disagree, and what any
    /// of them rejected is rejected.
    pub fn has_unnamed_verdicts(&self) -> bool {
        self.has_unnamed_verdicts
    }
}

impl ShardProgress {
    /// The replicas that have to be asked.
    fn missing<'a>(&self, number: u32, shard: &'a Shard, deletions: u64) -> Vec<(&'a str, ShardTarget)> {
        let is_current = |known: &Confirmed| known.epoch >= shard.epoch && known.deletions >= deletions;
        let is_durable = |node: &&str| self.durable.get(*node).is_some_and(is_current);
        let counter = shard.leader.as_deref().filter(|_| self.counted.is_none());
        // The leader has the samples but did not count them under its earlier epoch.
        let recount = counter.filter(is_durable);
        let missing = shard.write_targets().filter(|node| !is_durable(node)).chain(recount);
        let target = |node: &str| ShardTarget { shard: number, epoch: shard.epoch, counted: counter == Some(node) };
        missing.map(|node| (node, target(node))).collect()
    }

    /// What the leader rejected, once it has the samples.
    fn decided(&self, shard: &Shard) -> Option<&Vec<RefusedSample>> {
        self.durable.get(shard.leader.as_deref()?)?.verdict.as_ref()
    }

    /// Whether the replicas disagree with a leader that cannot decide.
    fn is_undecided(&self, shard: &Shard) -> bool {
        let leader = shard.leader.as_deref().and_then(|leader| self.durable.get(leader));
        let Some(leader) = leader.filter(|leader| leader.is_undecided) else { return false };
        let others = shard.write_targets().filter_map(|node| self.durable.get(node)?.verdict.as_deref());
        let Some(verdict) = leader.verdict.as_deref() else { return false };
        !others.into_iter().all(|other| is_same(verdict, other))
    }

    /// How the replicas disagree with the leader, once all have the samples; `None` if they agree or were made to.
    fn disagreement<'a>(&self, shard: &'a Shard) -> Option<Disagreement<'a>> {
        let decided = self.decided(shard)?;
        let is_other = |node: &&'a str| shard.leader.as_deref() != Some(*node);
        let verdict = |node: &'a str| {
            let known = self.durable.get(node).filter(|known| !known.is_undecided)?;
            Some((node, known.verdict.as_deref()?))
        };
        let verdicts = || shard.write_targets().filter(is_other).filter_map(verdict);
        if verdicts().all(|(_, verdict)| is_same(decided, verdict)) {
            return None;
        }
        Disagreement::of(decided, verdicts(), |node| !self.repaired.contains(node))
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

/// The in-sync replicas of a shard.
pub fn in_sync(view: &View, shard: u32) -> impl Iterator<Item = &str> {
    view.shard(shard).into_iter().flat_map(|known| known.in_sync.iter().map(String::as_str))
}

/// Whether a node is an in-sync replica of a shard.
pub fn is_in_sync_for(view: &View, node: &str, shard: u32) -> bool {
    view.shard(shard).is_some_and(|known| known.is_in_sync(node))
}

/// Whether a node is an in-sync replica of any of these shards.
pub fn is_in_sync(view: &View, node: &str, targets: &[ShardTarget]) -> bool {
    targets.iter().any(|target| is_in_sync_for(view, node, target.shard))
}

#[cfg(test)]
mod tests;
