//! Verdicts: which samples of a shard each replica rejected, and how the replicas come to agree.
//!
//! A replica accepts or rejects a sample by what it holds, by its clock and by how many series it has, so replicas may
//! differ. The shard's leader decides. A sample that it accepted is forced on all others, and one that it rejected is
//! retracted from them, before the write is answered. All others are told, even if only one of them disagrees: a
//! learner must not copy a value again that is being overruled at its source.
//!
//! The leader's verdict stands as long as the epoch does: it accepts one value for a timestamp, and no request of that epoch
//! forces another value on it. So repairs of concurrent writes agree, in any order. A sender that dies between the
//! phases has acknowledged nothing.

use std::collections::{BTreeMap, BTreeSet};

use pharos_model::write::{RefusedSample, SampleIndex};
use pharos_transport::append::ShardTarget;

/// What replicas have to change to agree with the leaders of their shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// The replicas, each with the shards to change.
    pub requests: BTreeMap<String, Vec<ShardTarget>>,
    /// By shard, the samples that its leader accepted, ascending.
    pub force: BTreeMap<u32, Vec<SampleIndex>>,
    /// By shard, the samples that its leader rejected, ascending.
    pub retract: BTreeMap<u32, Vec<SampleIndex>>,
}

impl Repairs {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn add(&mut self, shard: u32, epoch: u64, disagreement: Disagreement<'_>) {
        for node in disagreement.nodes {
            let target = ShardTarget { shard, epoch, counted: false };
            self.requests.entry(node.into()).or_default().push(target);
        }
        let lists = [(&mut self.force, disagreement.force), (&mut self.retract, disagreement.retract)];
        for (by_shard, samples) in lists.into_iter().filter(|(_, samples)| !samples.is_empty()) {
            by_shard.insert(shard, samples);
        }
    }
}

/// A disagreement between a shard's leader and other replicas.
pub(super) struct Disagreement<'a> {
    /// The replicas that were not made to agree yet.
    nodes: Vec<&'a str>,
    force: Vec<SampleIndex>,
    retract: Vec<SampleIndex>,
}

impl<'a> Disagreement<'a> {
    /// Compares what the leader rejected with what others rejected. `None` if it is the same, or if no replica `is_open`.
    pub(super) fn of<'v>(
        decided: &[RefusedSample],
        others: impl Iterator<Item = (&'a str, &'v [RefusedSample])>,
        is_open: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        let others: Vec<(&str, &[RefusedSample])> = others.collect();
        let (mut force, mut retract) = (BTreeSet::new(), BTreeSet::new());
        for (_, verdict) in others.iter().filter(|(_, verdict)| !is_same(decided, verdict)) {
            force.extend(missing_in(decided, verdict));
            retract.extend(missing_in(verdict, decided));
        }
        let nodes: Vec<&str> = others.iter().map(|(node, _)| *node).filter(|node| is_open(node)).collect();
        let is_settled = nodes.is_empty() || (force.is_empty() && retract.is_empty());
        (!is_settled).then(|| Disagreement {
            nodes,
            force: force.into_iter().collect(),
            retract: retract.into_iter().collect(),
        })
    }
}

/// Whether two replicas rejected the same samples, whatever their reasons.
pub(super) fn is_same(a: &[RefusedSample], b: &[RefusedSample]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.sample == b.sample)
}

/// The samples of `of` that `within` lacks. Both ascend.
fn missing_in<'v>(within: &'v [RefusedSample], of: &'v [RefusedSample]) -> impl Iterator<Item = SampleIndex> + 'v {
    let is_missing = |sample: &SampleIndex| within.binary_search_by_key(sample, |refused| refused.sample).is_err();
    of.iter().map(|refused| refused.sample).filter(is_missing)
}

/// A difference between the verdict that was counted and the final one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// The sample was counted as accepted and is rejected.
    Rejected(RefusedSample),
    /// The sample was counted as rejected and is accepted.
    Accepted(RefusedSample),
}

/// The differences between the counted verdict of a shard and the final one.
pub(super) fn corrections(counted: Option<&Option<Vec<RefusedSample>>>, decided: &[RefusedSample]) -> Vec<Correction> {
    let Some(Some(counted)) = counted else { return Vec::new() };
    if is_same(counted, decided) {
        return Vec::new();
    }
    let only_in = |these: &[RefusedSample], those: &[RefusedSample]| -> Vec<RefusedSample> {
        let is_other = |refused: &&RefusedSample| those.binary_search_by_key(&refused.sample, |r| r.sample).is_err();
        these.iter().filter(is_other).copied().collect()
    };
    let rejected = only_in(decided, counted).into_iter().map(Correction::Rejected);
    rejected.chain(only_in(counted, decided).into_iter().map(Correction::Accepted)).collect()
}

#[cfg(test)]
mod tests;
