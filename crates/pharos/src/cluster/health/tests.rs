use pharos_cluster::state::Settings;
use pharos_cluster::{Command, Placement};

use super::*;

const BASIC: &[Role] = &[Role::Ingester, Role::Store, Role::Agent, Role::Compactor];

fn state(copies: u32, nodes: &[&str]) -> ClusterState {
    let mut state = ClusterState::default();
    let settings = Settings { cluster: "c".into(), shards: 8, replication_factor: copies };
    state.apply(&Command::Bootstrap { settings }).unwrap();
    for id in nodes {
        let member = Member {
            id: id.to_string(),
            address: format!("{id}:1"),
            version: "0.1.0".into(),
            roles: BASIC.iter().copied().collect(),
            weight: 100,
            state: MemberState::Active,
            ..Member::default()
        };
        state.apply(&Command::Join { member, at_ms: 0 }).unwrap();
    }
    let nodes: Vec<String> = nodes.iter().take(copies as usize).map(|node| node.to_string()).collect();
    let placements = (0..8).map(|shard| Placement { shard, nodes: nodes.clone() }).collect();
    state.apply(&Command::PlaceShards { placements }).unwrap();
    state
}

fn set(state: &mut ClusterState, node: &str, to: MemberState) {
    state.apply(&Command::SetMemberState { node: node.into(), state: to, at_ms: 60_000 }).unwrap();
}

fn group(voters: &[&str], leader: Option<&str>) -> GroupStatus {
    let voters = voters.iter().map(|node| raft_id(node)).collect();
    GroupStatus { voters, leader: leader.map(raft_id), ..GroupStatus::default() }
}

fn reported(state: &ClusterState) -> Vec<String> {
    let group = group(&["A", "B", "C"], Some("A"));
    let problems = problems(state, Some(&group), 120_000);
    problems.iter().map(|problem| format!("{}: {}", problem.severity.name(), problem.what)).collect()
}

#[test]
fn a_healthy_cluster_has_no_problems() {
    assert_eq!(reported(&state(3, &["A", "B", "C"])), [""; 0]);
}

#[test]
fn a_cluster_that_is_not_bootstrapped_has_one_problem() {
    let told = problems(&ClusterState::default(), None, 0);
    assert_eq!((told.len(), told[0].what.as_str()), (1, "the cluster is not bootstrapped yet"));
}

#[test]
fn a_clock_that_is_wrong_is_reported_with_its_offset() {
    let state = state(3, &["A", "B", "C"]);
    let clocks = [("A".into(), 900), ("B".into(), -10_250), ("gone".into(), 5000)].into();
    let group = GroupStatus { clocks, ..group(&["A", "B", "C"], Some("A")) };
    let problems = problems(&state, Some(&group), 120_000);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].what.starts_with("the clock of node B (agent+ingester+store+compactor at B:1) is 10s250ms behind")
    );
}

#[test]
fn a_node_that_is_down_is_reported_with_its_replicas() {
    let mut state = state(3, &["A", "B", "C"]);
    set(&mut state, "C", MemberState::Down);
    assert_eq!(
        reported(&state),
        [
            "warning: 1 of 3 voting meta nodes are down; the cluster tolerates 0 more failures",
            "warning: node C (agent+ingester+store+compactor at C:1) has been down for 1m",
        ]
    );
    let advice = problems(&state, None, 0).pop().unwrap().advice;
    assert!(advice.contains("`pharos cluster remove C`") && advice.contains("replicas of 8 shards"), "{advice}");
    let shards = (0..8).map(|shard| (shard, state.epoch(shard))).collect();
    state.apply(&Command::ReportFailed { node: "C".into(), shards, reporter: "A".into() }).unwrap();
    assert!(reported(&state).contains(&"warning: shards 0-7 have fewer copies than configured".to_string()));
    let shards = vec![(1, state.epoch(1)), (3, state.epoch(3))];
    state.apply(&Command::ReportFailed { node: "B".into(), shards, reporter: "B".into() }).unwrap();
    let first = &reported(&state)[0];
    assert_eq!(first, "critical: shards 1, 3 have too few replicas in sync: writes to them wait, then fail");
}

#[test]
fn unreadable_shards_are_critical_and_name_their_holders() {
    let mut state = state(1, &["A", "B"]);
    set(&mut state, "A", MemberState::Down);
    let group = group(&["A"], None);
    let told = problems(&state, Some(&group), 0);
    assert_eq!(told[0].severity, Severity::Critical);
    assert!(told[0].what.starts_with("meta has no leader"), "{told:?}");
    assert!(told[1].what.starts_with("shards 0-7 have no live in-sync replica"), "{told:?}");
    assert!(told[1].advice.starts_with("restart A"), "{told:?}");
    set(&mut state, "B", MemberState::Down);
    let missing = problems(&state, None, 0).into_iter().filter(|p| p.what.starts_with("no node with the role")).count();
    assert_eq!(missing, 4);
}

#[test]
fn versions_may_be_one_minor_version_apart() {
    let mut state = state(1, &["A", "B"]);
    let mut upgrade = |version: &str| {
        let member = Member { version: version.into(), ..Member::clone(state.member("B").unwrap()) };
        state.apply(&Command::Join { member, at_ms: 0 }).unwrap();
        problems(&state, Some(&group(&["A"], Some("A"))), 0).into_iter().find(|p| p.what.contains("versions")).unwrap()
    };
    assert_eq!(upgrade("0.2.0").severity, Severity::Note);
    let far = upgrade("0.3.0");
    assert_eq!(
        (far.severity, far.what.as_str()),
        (Severity::Warning, "nodes have different versions: 1 at 0.1.0, 1 at 0.3.0")
    );
}

#[test]
fn consecutive_numbers_become_ranges() {
    assert_eq!(ranges(&[1, 4, 5, 6, 9]), "1, 4-6, 9");
    assert_eq!(ranges(&[]), "");
}
