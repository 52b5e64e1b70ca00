//! Restores into the cluster that was exported, and into one that was founded after its loss.

use super::super::tests::{cluster, failed, join, set_state, settings, ship};
use super::super::{Command, Placement, Settings};
use super::*;
use crate::catalogue::CatalogueCommand;

fn restore(state: &mut ClusterState, export: &ClusterState) {
    state.apply(&Command::Restore { state: Box::new(export.clone()), at_ms: 1000 }).unwrap();
    state.check().unwrap();
}

fn blocks(state: &ClusterState) -> Vec<String> {
    let tenant = state.catalogue.tenant("t");
    tenant.iter().flat_map(|t| &t.blocks).map(|block| block.id.clone()).collect()
}

#[test]
fn what_was_shipped_after_the_export_stays_listed() {
    let mut state = cluster(2, 3);
    state.apply(&ship("A", "1", &[(0, 1)], false, 0)).unwrap();
    let export = state.clone();
    state.apply(&ship("A", "2", &[(0, 1)], true, 0)).unwrap();
    restore(&mut state, &export);
    assert_eq!(blocks(&state), ["1", "2"]);
    assert_eq!(state.catalogue.rebuilt_ms, 1000, "what nobody lists is not garbage");
}

#[test]
fn a_replica_that_fell_behind_after_the_export_stays_out_of_sync() {
    let mut state = cluster(1, 3);
    let export = state.clone();
    state.apply(&failed("B", &[(0, state.epoch(0))])).unwrap();
    restore(&mut state, &export);
    assert_eq!(state.shards[0].in_sync, ["A", "C"]);
    assert_eq!(state.shards[0].led_since, state.epoch(0));
}

#[test]
fn no_number_goes_back() {
    let mut state = cluster(2, 3);
    let export = state.clone();
    state.apply(&Command::TakeLease { name: "compactor".into(), node: "A".into() }).unwrap();
    let delete =
        CatalogueCommand::Delete { tenant: "t".into(), selector: "{}".into(), start: 0, end: 1, id: String::new() };
    state.apply(&delete.into()).unwrap();
    state.apply(&set_state("A", MemberState::Down)).unwrap();
    let before = state.clone();
    restore(&mut state, &export);
    assert!(state.version > before.version && state.incarnation > before.incarnation);
    assert!(state.ownership_epoch > before.ownership_epoch + 1000);
    assert!(state.catalogue.sequence > before.catalogue.sequence + 1000);
    assert!(state.leases["compactor"].number > before.leases["compactor"].number + 1000);
    assert!(state.shards.iter().zip(before.shards.iter()).all(|(new, old)| new.epoch > old.epoch + 1000));
    assert_eq!(state.catalogue.newest_deletion("t"), before.catalogue.newest_deletion("t"), "the deletion stays");
}

#[test]
fn a_cluster_knows_the_history_that_was_restored_in_it() {
    let export = cluster(2, 3);
    let mut state = ClusterState::default();
    let settings = Settings { cluster: "another".into(), ..settings(2, 3) };
    state.apply(&Command::Bootstrap { settings }).unwrap();
    restore(&mut state, &export);
    state.apply(&join("N")).unwrap();
    state.apply(&failed("B", &[(0, state.epoch(0))])).unwrap();
    let in_sync = state.shards[0].in_sync.clone();
    restore(&mut state, &export);
    assert_eq!(state.shards[0].in_sync, in_sync, "it knows better than the export which replicas are in sync");
}

#[test]
fn an_export_founds_the_shards_of_a_cluster_that_knows_nothing_of_it() {
    let mut export = cluster(2, 3);
    export.apply(&ship("A", "1", &[(0, 1)], false, 0)).unwrap();
    let mut state = ClusterState::default();
    let settings = Settings { cluster: "another".into(), ..settings(2, 3) };
    state.apply(&Command::Bootstrap { settings }).unwrap();
    state.apply(&join("A")).unwrap();
    let placements = vec![Placement { shard: 0, nodes: vec!["A".into()] }];
    state.apply(&Command::PlaceShards { placements }).unwrap();
    restore(&mut state, &export);
    assert_eq!(state.settings.as_ref().unwrap().cluster, "another", "it keeps its identity");
    assert_eq!(state.shards[0].in_sync, ["A", "B", "C"]);
    assert_eq!(blocks(&state), ["1"]);
    assert_eq!(state.members["A"].state, MemberState::Active);
    assert_eq!(state.members["B"].state, MemberState::Down);
}

#[test]
fn a_restore_of_an_earlier_version_is_read() {
    let state = serde_json::to_value(cluster(1, 1)).unwrap();
    let old = serde_json::json!({"Restore": {"state": state}});
    let command: Command = serde_json::from_value(old).unwrap();
    assert!(matches!(command, Command::Restore { at_ms: 0, .. }));
}
