use pharos_cluster::{Command, HANDOFF_MS, Member, MemberState, Role};
use proptest::prelude::*;

use super::*;

/// A target whose owner and slots follow from the same hash.
fn target(hash: u64) -> Placement {
    Placement { owner: hash, slot: hash }
}

/// A membership change: which agent, whether it joins or leaves, and milliseconds since the previous change.
type Change = (u8, bool, i64);

fn apply(state: &mut ClusterState, (agent, joins, _): Change, at_ms: i64) {
    let id = format!("agent-{agent}");
    let command = if joins {
        let roles = [Role::Agent].into();
        let member = Member { id, roles, weight: 100, state: MemberState::Active, ..Member::default() };
        Command::Join { member, at_ms }
    } else {
        Command::SetMemberState { node: id, state: MemberState::Down, at_ms }
    };
    // An agent that is absent cannot leave.
    let _refused = state.apply(&command);
}

proptest! {
    /// Whatever changes, and however late within the margin each agent learns of it: every slot of every target has one
    /// owner, by that agent's own knowledge at that time.
    #[test]
    fn every_slot_has_one_owner(
        changes in proptest::collection::vec((0u8..5, any::<bool>(), 0i64..4000), 0..20),
        delays in proptest::collection::vec(0..HANDOFF_MS, 20 * 5),
        hash: u64,
        interval in 100i64..6000,
    ) {
        const START: i64 = 1_700_000_000_000;
        let mut state = ClusterState::default();
        apply(&mut state, (0, true, 0), START);
        // The plans of each agent, with the time at which it sees them.
        let mut views: Vec<Vec<(i64, Plan)>> = (0..5).map(|_| Vec::new()).collect();
        let mut at = START;
        let mut delays = delays.into_iter();
        let mut publish = |state: &ClusterState, at: i64| for (agent, seen) in views.iter_mut().enumerate() {
            let seen_at = at + delays.next().unwrap_or(0);
            let seen_at = seen.last().map_or(seen_at, |(previous, _): &(i64, Plan)| seen_at.max(*previous));
            seen.push((seen_at, Plan::of(state, &format!("agent-{agent}"))));
        };
        for change in changes {
            at += change.2;
            apply(&mut state, change, at);
            publish(&state, at);
        }
        let plan = Plan::of(&state, "");
        let mut slot = plan.next_slot(target(hash), interval, START + HANDOFF_MS);
        while slot < at + 3 * HANDOFF_MS {
            let known = |seen: &Vec<(i64, Plan)>| {
                seen.iter().rev().find(|(from, _)| *from <= slot).map(|(_, plan)| plan.owner_at(target(hash), slot))
            };
            let owners = views.iter().filter(|seen| known(seen) == Some(Owner::Me)).count();
            let heard = views.iter().all(|seen| known(seen).is_some());
            prop_assert!(owners <= 1);
            prop_assert!(owners == 1 || !heard, "nobody scrapes at {slot}");
            slot += interval;
        }
    }

    #[test]
    fn the_next_owned_slot_is_the_first_that_is_owned(
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
        let mut slot = plan.next_slot(target(hash), interval, from);
        while slot < horizon && plan.owner_at(target(hash), slot) != Owner::Me {
            slot += interval;
        }
        let found = plan.next_owned_slot(target(hash), interval, from);
        prop_assert_eq!(found.filter(|found| *found < horizon), (slot < horizon).then_some(slot));
    }
}

#[test]
fn an_agent_that_is_alone_owns_every_slot() {
    let plan = Plan::everything(0);
    assert_eq!(plan.owner_at(target(7), 0), Owner::Me);
    assert_eq!(plan.next_owned_slot(target(7), 1000, 1500), Some(2007));
}

#[test]
fn the_slot_does_not_decide_the_owner() {
    let mut state = ClusterState::default();
    for agent in 0..3 {
        apply(&mut state, (agent, true, 0), 0);
    }
    let plan = Plan::of(&state, "agent-0");
    let owners: Vec<Owner> = (0..50).map(|slot| plan.owner_at(Placement { owner: 7, slot }, 10 * HANDOFF_MS)).collect();
    assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
}

#[test]
fn agents_that_are_alone_have_slots_of_their_own() {
    let slot = |seed| Plan::everything(seed).next_slot(target(7), 60_000, 0);
    assert_ne!(slot(1), slot(2));
}

#[test]
fn clusters_have_different_slots() {
    let slot = |cluster: &str| {
        let settings = pharos_cluster::state::Settings { cluster: cluster.into(), shards: 1, replication_factor: 1 };
        let mut state = ClusterState::default();
        state.apply(&Command::Bootstrap { settings }).unwrap();
        Plan::of(&state, "a").next_slot(target(7), 60_000, 0)
    };
    assert_ne!(slot("c1"), slot("c2"));
    assert_eq!(slot("c1"), slot("c1"));
}

#[test]
fn a_cluster_without_agents_has_no_owner() {
    let plan = Plan::of(&ClusterState::default(), "a");
    assert_eq!(plan.owner_at(target(7), 0), Owner::Nobody);
    assert_eq!(plan.next_owned_slot(target(7), 1000, 0), None);
}

#[test]
fn a_target_has_the_same_owner_on_every_agent() {
    let mut state = ClusterState::default();
    for agent in 0..3 {
        apply(&mut state, (agent, true, 0), 0);
    }
    let slot = 10 * HANDOFF_MS;
    for hash in 0..50 {
        let owners: Vec<u8> = (0..3)
            .filter(|n| Plan::of(&state, &format!("agent-{n}")).owner_at(target(hash), slot) == Owner::Me)
            .collect();
        assert_eq!(owners.len(), 1, "target {hash} is owned by {owners:?}");
    }
}

#[test]
fn an_agent_that_joins_owns_nothing_before_its_epoch() {
    let mut state = ClusterState::default();
    apply(&mut state, (0, true, 0), 0);
    apply(&mut state, (1, true, 0), 100_000);
    let plan = Plan::of(&state, "agent-1");
    let first = (0..50).filter_map(|hash| plan.next_owned_slot(target(hash), 1000, 0)).min().unwrap();
    assert!(first >= 100_000 + HANDOFF_MS, "it owns a slot at {first}");
}
