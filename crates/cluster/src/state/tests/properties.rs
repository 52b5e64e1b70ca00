//! The invariants hold after any commands in any order.

use proptest::prelude::*;

use super::*;

fn any_node() -> impl Strategy<Value = String> {
    proptest::sample::select(&NODES[..]).prop_map(str::to_string)
}

fn any_state() -> impl Strategy<Value = MemberState> {
    proptest::sample::select(
        &[MemberState::Active, MemberState::Active, MemberState::Draining, MemberState::Down, MemberState::Joining][..],
    )
}

/// A block of one shard, shipped by its leader, by a replica or by somebody else.
fn any_shipment() -> impl Strategy<Value = Command> {
    (any_node(), 0u32..3, 1u32..50, any::<bool>(), any::<bool>()).prop_map(|(node, shard, id, delta, as_replica)| {
        ship_as(as_replica, &node, &id.to_string(), &[(shard, 0)], delta, 0)
    })
}

/// Commands with epochs as distances from the present one, so that most of them mean something.
fn any_command() -> impl Strategy<Value = (Command, u64)> {
    let shard = 0u32..3;
    let nodes = proptest::collection::vec(any_node(), 0..4);
    let command = prop_oneof![
        1 => any_node().prop_map(|node| join(&node)),
        2 => (any_node(), any_state()).prop_map(|(node, state)| set_state(&node, state)),
        1 => (any_node(), any::<bool>()).prop_map(|(node, force)| Command::RemoveMember { node, force, at_ms: 3 }),
        1 => any_node().prop_map(|node| Command::ForgetMember { node }),
        4 => (any_node(), shard.clone()).prop_map(|(node, shard)| failed(&node, &[(shard, 0)])),
        3 => (shard.clone(), nodes).prop_map(|(shard, nodes)| Command::PlaceShards { placements: vec![Placement { shard, nodes }] }),
        6 => (shard.clone(), any_node()).prop_map(|(shard, node)| add(shard, &node)),
        6 => (shard.clone(), any_node()).prop_map(|(shard, node)| promote(shard, &node, 0)),
        3 => (shard.clone(), any_node()).prop_map(|(shard, node)| drop_replica(shard, &node)),
        2 => (shard, any_node()).prop_map(|(shard, node)| Command::SetLeader { shard, node }),
        1 => any_node().prop_map(|node| Command::TakeLease { name: "l".into(), node }),
        4 => any_shipment(),
    ];
    (command, prop_oneof![5 => Just(0u64), 1 => 1u64..3])
}

/// Replaces distances in a command by the current epochs minus the distance.
fn dated(state: &ClusterState, command: Command, behind: u64) -> Command {
    match command {
        Command::ReportFailed { node, shards, reporter } => {
            let dated = shards.iter().map(|(n, _)| (*n, state.epoch(*n).saturating_sub(behind)));
            Command::ReportFailed { node, shards: dated.collect(), reporter }
        }
        Command::Promote { shard, node, .. } => {
            let since = state.shards[shard as usize].learns_since(&node).unwrap_or(1);
            Command::Promote { shard, epoch: since.saturating_sub(behind), node }
        }
        Command::ShipBlocks { node, cut, tenant, blocks, deletions, as_replica } => {
            let cut = cut.iter().map(|(n, _)| (*n, state.epoch(*n).saturating_sub(behind))).collect();
            Command::ShipBlocks { node, cut, tenant, blocks, deletions, as_replica }
        }
        other => other,
    }
}

/// Who may ship what, and what the catalogue lists then.
fn check_shipment(old: &ClusterState, new: &ClusterState, command: &Command) -> Result<(), TestCaseError> {
    let Command::ShipBlocks { node, cut, blocks, as_replica, .. } = command else { return Ok(()) };
    let listed = |state: &ClusterState| state.catalogue.tenant("t").map_or(0, |tenant| tenant.blocks.len());
    if listed(old) == listed(new) {
        return Ok(()); // Sent again.
    }
    for (number, _) in cut {
        let shard = &old.shards[*number as usize];
        let may_ship = match as_replica {
            true => shard.is_in_sync(node) && blocks.iter().all(|block| block.delta),
            false => shard.leader.as_ref() == Some(node),
        };
        prop_assert!(may_ship, "{command:?}: {shard:?}");
        let tenant = new.catalogue.tenant("t").unwrap();
        let mains = tenant.blocks.iter().filter(|block| !block.delta && block.shards.contains(number));
        prop_assert!(mains.count() <= 1, "{command:?}");
    }
    Ok(())
}

/// What a step may do to a shard.
fn check_step(old: &ClusterState, new: &ClusterState, command: &Command) -> Result<(), TestCaseError> {
    prop_assert!(new.check().is_ok(), "{:?} after {command:?}", new.check());
    check_shipment(old, new, command)?;
    prop_assert!(new.ownership_epoch >= old.ownership_epoch && new.version == old.version + 1);
    for (number, (old_shard, shard)) in (0u32..).zip(old.shards.iter().zip(new.shards.iter())) {
        let same = old_shard == shard;
        prop_assert!(if same { true } else { shard.epoch > old_shard.epoch }, "{command:?}: {old_shard:?} {shard:?}");
        for node in shard.in_sync.iter().filter(|node| !old_shard.is_in_sync(node)) {
            let earned = match command {
                Command::Promote { epoch, .. } => old_shard.learns_since(node) == Some(*epoch),
                Command::PlaceShards { .. } => old_shard.in_sync.is_empty(),
                _ => false,
            };
            prop_assert!(earned, "{node} got in sync for shard {number} by {command:?}");
        }
        if shard.in_sync.is_empty() && !old_shard.in_sync.is_empty() {
            prop_assert!(matches!(command, Command::RemoveMember { force: true, .. }), "{command:?}");
        }
        if let Command::RemoveReplica { .. } = command
            && !same
        {
            let live = |n: &&String| new.member(n).is_some_and(|m| m.state.is_live());
            let left = shard.in_sync.iter().filter(live).count();
            prop_assert!(!shard.in_sync.is_empty() && left >= new.copies_needed());
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_step_keeps_the_invariants(steps in proptest::collection::vec(any_command(), 1..120)) {
        let mut state = cluster(3, 3);
        let mut replayed = state.clone();
        for (command, behind) in steps {
            let command = dated(&state, command, behind);
            let before = state.clone();
            match state.apply(&command) {
                Ok(_) => check_step(&before, &state, &command)?,
                Err(_) => prop_assert_eq!(&state, &before),
            }
            let wire = serde_json::to_vec(&command).unwrap();
            let _same_answer = replayed.apply(&serde_json::from_slice(&wire).unwrap());
            prop_assert_eq!(&state, &replayed);
        }
        let exported: ClusterState = serde_json::from_slice(&serde_json::to_vec(&state).unwrap()).unwrap();
        prop_assert_eq!(exported, state);
    }
}
