//! How long a node that failed waits before it receives replicas again.
//!
//! A node may answer meta and still fail every write, for example because its disk is full or because senders cannot reach
//! it. Each attempt to let it learn again costs every shard two epochs and its writers a timeout. So the pause between two
//! attempts doubles.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::state::{ClusterState, Command};

/// Pause after the first failure.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Time without another failure, after the end of its pause, after which a node starts again with the shortest pause. It is
/// added to the pause itself.
const FORGET_AFTER: Duration = Duration::from_secs(10);

/// What the leader remembers of nodes that failed. Times are of its monotonic clock.
#[derive(Debug, Default)]
pub struct Backoff {
    /// The nodes that are in sync or learning, by shard, as last observed.
    in_place: BTreeSet<(u32, String)>,
    failed: BTreeMap<String, Pause>,
}

#[derive(Debug)]
struct Pause {
    length: Duration,
    until: Duration,
}

impl Backoff {
    /// Observes a state. A replica that was in sync or learning, and is neither although it still is a replica, has failed.
    pub fn observe(&mut self, state: &ClusterState, now: Duration) {
        let mut in_place = BTreeSet::new();
        for (number, shard) in state.numbered_shards() {
            in_place.extend(shard.write_targets().map(|node| (number, node.to_string())));
        }
        let gone = self.in_place.difference(&in_place);
        let failed = gone.filter(|(number, node)| state.shard(*number).is_some_and(|shard| shard.has_replica(node)));
        let failed: BTreeSet<String> = failed.map(|(_, node)| node.clone()).collect();
        self.in_place = in_place;
        self.failed.retain(|_, pause| now < pause.until + pause.length + FORGET_AFTER);
        for node in failed {
            let pause = self.failed.entry(node).or_insert(Pause { length: Duration::ZERO, until: Duration::ZERO });
            // Failures during a pause are consequences of the one before.
            if now >= pause.until {
                pause.length = (pause.length * 2).clamp(MIN_PAUSE, MAX_PAUSE);
                pause.until = now + pause.length;
            }
        }
    }

    /// Notes a step, so that a learner that fails before the next observation is noticed.
    pub fn note(&mut self, step: &Command) {
        if let Command::AddLearner { shard, node } = step {
            self.in_place.insert((*shard, node.clone()));
        }
    }

    /// The nodes whose pause lasts, ascending.
    pub fn waiting(&self, now: Duration) -> Vec<String> {
        self.failed.iter().filter(|(_, pause)| now < pause.until).map(|(node, _)| node.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{cluster, config};
    use super::super::{PlacementContext, propose};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes a node out of sync, as its senders do.
    fn fail(state: &mut ClusterState, node: &str) {
        let shards =
            state.numbered_shards().map(|(number, shard)| (number, shard.learns_since(node).unwrap_or(shard.epoch)));
        let report = Command::ReportFailed { node: node.into(), shards: shards.collect(), reporter: "Z".into() };
        state.apply(&report).unwrap();
    }

    /// A cluster of three ingesters whose N001 fails at each attempt; the times of these attempts within a while.
    fn attempts(of: Duration) -> Vec<u64> {
        let mut state = cluster(3, 0, 4, 3);
        let mut backoff = Backoff::default();
        let mut attempts = Vec::new();
        let mut now = Duration::ZERO;
        while now < of {
            backoff.observe(&state, now);
            let waiting = backoff.waiting(now);
            let context = PlacementContext { backed_off: &waiting, ..PlacementContext::default() };
            let steps = propose(&state, &config(), context);
            let adds = steps.iter().any(|step| matches!(step, Command::AddLearner { .. }));
            attempts.extend(adds.then_some(now.as_secs()));
            for step in steps {
                backoff.note(&step);
                state.apply(&step).unwrap();
            }
            fail(&mut state, "N001");
            now += SECOND / 2;
        }
        attempts
    }

    #[test]
    fn a_node_that_fails_each_time_is_tried_less_and_less_often() {
        let attempts = attempts(400 * SECOND);
        let gaps: Vec<u64> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.windows(2).all(|pair| pair[0] <= pair[1] + 1), "{gaps:?}");
        assert!(gaps.ends_with(&[60, 60]) || gaps.last().is_some_and(|gap| *gap >= 60), "{gaps:?}");
        assert!(attempts.len() < 14, "{attempts:?}");
    }

    #[test]
    fn a_node_that_stays_in_sync_is_forgiven() {
        let mut state = cluster(3, 0, 4, 3);
        let mut backoff = Backoff::default();
        propose(&state, &config(), PlacementContext::default()).iter().for_each(|step| drop(state.apply(step)));
        backoff.observe(&state, Duration::ZERO);
        fail(&mut state, "N001");
        backoff.observe(&state, SECOND);
        assert_eq!(backoff.waiting(SECOND), ["N001"]);
        assert!(backoff.waiting(2 * SECOND).is_empty());
        backoff.observe(&state, 100 * SECOND);
        assert!(backoff.failed.is_empty());
    }

    #[test]
    fn a_replica_that_is_moved_away_has_not_failed() {
        let mut state = cluster(4, 0, 4, 3);
        let mut backoff = Backoff::default();
        propose(&state, &config(), PlacementContext::default()).iter().for_each(|step| drop(state.apply(step)));
        backoff.observe(&state, Duration::ZERO);
        let node = state.shards[0].in_sync[0].clone();
        state.apply(&Command::RemoveMember { node, force: true, at_ms: 1 }).unwrap();
        backoff.observe(&state, SECOND);
        assert!(backoff.waiting(SECOND).is_empty());
    }
}
