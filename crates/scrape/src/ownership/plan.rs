//! Who scrapes which target at which moment: pure.
//!
//! The moments of a target are the same on every agent: they follow from its hash, its interval and the cluster. Each
//! moment has one owner, that of the assignment in which it lies (`pharos_cluster::state`'s assignments). So agents that know the
//! same assignments share the moments out without a word, and an agent that knows an assignment only learns of the next one.

use pharos_cluster::ClusterState;
use pharos_cluster::placement::Timeline;
use xxhash_rust::xxh3::xxh3_64;

use crate::schedule::first_scrape;

/// The owner of a target at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This agent.
    Me,
    /// The agent with this identity.
    Other(String),
    /// There is no agent.
    Nobody,
}

/// What this agent knows of who scrapes what.
pub(crate) struct Plan {
    /// The assignments, and this agent's identity; none when it owns everything.
    shared: Option<(Timeline, String)>,
    /// Spreads the moments of different clusters.
    seed: u64,
    /// The ownership epoch.
    pub(crate) epoch: u64,
}

impl Plan {
    /// The plan of an agent that owns everything.
    pub(crate) fn everything() -> Self {
        Plan { shared: None, seed: 0, epoch: 0 }
    }

    /// The plan of an agent of a cluster under a view.
    pub(crate) fn of(state: &ClusterState, identity: &str) -> Self {
        let cluster = state.settings.as_ref().map_or("", |settings| &settings.cluster);
        let (shared, epoch) = (Some((Timeline::new(state), identity.to_string())), state.ownership_epoch);
        Plan { shared, seed: xxh3_64(cluster.as_bytes()), epoch }
    }

    /// Who scrapes a target at a moment.
    pub(crate) fn owner_at(&self, hash: u64, moment_ms: i64) -> Owner {
        let Some((timeline, identity)) = &self.shared else { return Owner::Me };
        match timeline.owner_at(hash, moment_ms) {
            None => Owner::Nobody,
            Some(owner) if owner == identity => Owner::Me,
            Some(owner) => Owner::Other(owner.to_string()),
        }
    }

    /// The target's first moment at or after `from_ms`.
    pub(crate) fn next_moment(&self, hash: u64, interval_ms: i64, from_ms: i64) -> i64 {
        first_scrape(from_ms, interval_ms, hash ^ self.seed)
    }

    /// Its first moment at or after `from_ms` that is this agent's; none as far as is known.
    pub(crate) fn next_own(&self, hash: u64, interval_ms: i64, from_ms: i64) -> Option<i64> {
        let Some((timeline, identity)) = &self.shared else {
            return Some(self.next_moment(hash, interval_ms, from_ms));
        };
        let own = timeline.assignments().filter(|(_, _, owners)| owners.owner(hash) == Some(identity));
        own.filter(|(_, last_ms, _)| *last_ms >= from_ms).find_map(|(first_ms, last_ms, _)| {
            let moment = self.next_moment(hash, interval_ms, from_ms.max(first_ms));
            (moment <= last_ms).then_some(moment)
        })
    }
}

#[cfg(test)]
mod tests {
    use pharos_cluster::{Command, HANDOFF_MS, Member, MemberState, Role};
    use proptest::prelude::*;

    use super::*;

    /// A change of the cluster: who, whether it comes or goes, how long after the change before, milliseconds.
    type Change = (u8, bool, i64);

    fn apply(state: &mut ClusterState, (agent, comes, _): Change, at_ms: i64) {
        let id = format!("agent-{agent}");
        let command = if comes {
            let roles = [Role::Agent].into();
            let member = Member { id, roles, weight: 100, state: MemberState::Active, ..Member::default() };
            Command::Join { member, at_ms }
        } else {
            Command::SetMemberState { node: id, state: MemberState::Down, at_ms }
        };
        // Who is not there cannot go.
        let _refused = state.apply(&command);
    }

    proptest! {
        /// Whatever the changes and however late each agent hears of them, within the margin: every moment of every target
        /// is one agent's, by that agent's own knowledge at that time.
        #[test]
        fn every_moment_has_one_owner(
            changes in proptest::collection::vec((0u8..5, any::<bool>(), 0i64..4000), 0..20),
            delays in proptest::collection::vec(0..HANDOFF_MS, 20 * 5),
            hash: u64,
            interval in 100i64..6000,
        ) {
            const START: i64 = 1_700_000_000_000;
            let mut state = ClusterState::default();
            apply(&mut state, (0, true, 0), START);
            // What each agent sees from when on.
            let mut views: Vec<Vec<(i64, Plan)>> = (0..5).map(|_| Vec::new()).collect();
            let mut at = START;
            let mut delays = delays.into_iter();
            let mut publish = |state: &ClusterState, at: i64| for (agent, seen) in views.iter_mut().enumerate() {
                let seen_at = at + delays.next().unwrap_or(0);
                let seen_at = seen.last().map_or(seen_at, |(before, _): &(i64, Plan)| seen_at.max(*before));
                seen.push((seen_at, Plan::of(state, &format!("agent-{agent}"))));
            };
            for change in changes {
                at += change.2;
                apply(&mut state, change, at);
                publish(&state, at);
            }
            let plan = Plan::of(&state, "");
            let mut moment = plan.next_moment(hash, interval, START + HANDOFF_MS);
            while moment < at + 3 * HANDOFF_MS {
                let known = |seen: &Vec<(i64, Plan)>| {
                    seen.iter().rev().find(|(from, _)| *from <= moment).map(|(_, plan)| plan.owner_at(hash, moment))
                };
                let owners = views.iter().filter(|seen| known(seen) == Some(Owner::Me)).count();
                let heard = views.iter().all(|seen| known(seen).is_some());
                prop_assert!(owners <= 1);
                prop_assert!(owners == 1 || !heard, "nobody scrapes at {moment}");
                moment += interval;
            }
        }

        #[test]
        fn the_next_own_moment_is_the_first_that_is_owned(
            changes in proptest::collection::vec((0u8..3, any::<bool>(), 0i64..4000), 0..12),
            hash: u64,
            interval in 50i64..3000,
            from in 0i64..40_000,
        ) {
            let (mut state, mut at) = (ClusterState::default(), 0);
            for change in changes {
                at += change.2;
                apply(&mut state, change, at);
            }
            let plan = Plan::of(&state, "agent-1");
            let horizon = at + 2 * HANDOFF_MS + 2 * interval;
            let mut moment = plan.next_moment(hash, interval, from);
            while moment < horizon && plan.owner_at(hash, moment) != Owner::Me {
                moment += interval;
            }
            let found = plan.next_own(hash, interval, from);
            prop_assert_eq!(found.filter(|found| *found < horizon), (moment < horizon).then_some(moment));
        }
    }

    #[test]
    fn alone_everything_is_mine_and_clusters_have_different_moments() {
        let plan = Plan::everything();
        assert_eq!((plan.owner_at(7, 0), plan.next_own(7, 1000, 1500)), (Owner::Me, Some(2007)));
        let moment = |cluster: &str| {
            let settings =
                pharos_cluster::state::Settings { cluster: cluster.into(), shards: 1, replication_factor: 1 };
            let mut state = ClusterState::default();
            state.apply(&Command::Bootstrap { settings }).unwrap();
            Plan::of(&state, "a").next_moment(7, 60_000, 0)
        };
        assert_ne!(moment("c1"), moment("c2"));
        assert_eq!(moment("c1"), moment("c1"));
        assert_eq!(Plan::of(&ClusterState::default(), "a").owner_at(7, 0), Owner::Nobody);
    }
}
