//! The progress of a drain: what a node still holds, and what blocks it. Pure.

use pharos_cluster::{ClusterState, GroupStatus, Member, MemberState, Role, raft_id};
use serde::{Deserialize, Serialize};

/// The progress of a node's drain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DrainStatus {
    /// Identity of the node.
    pub node: String,
    /// State of the node, as in [`super::status::MemberStatus`].
    pub state: String,
    /// Whether the node can be stopped without losing data or availability.
    pub done: bool,
    /// Number of shards of which the node has a replica.
    pub replicas: usize,
    /// Number of shards that the node leads.
    pub leads: usize,
    /// What the drain waits for, as sentences. Empty when it is done.
    pub waits_for: Vec<String>,
    /// What an operator has to do before the drain can continue, as sentences.
    pub stuck: Vec<String>,
}

/// The node is not a member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {0} is not a member of this cluster")]
pub struct UnknownNode(pub String);

/// Whether another node can take over from a node, now or after it has caught up.
pub fn has_successors(state: &ClusterState, node: &str) -> bool {
    let is_other = |member: &Member| member.id != node && member.state.is_live() && !member.draining;
    state.members.values().any(|member| is_other(member))
}

/// The progress of a node's drain.
pub fn drain_status(
    state: &ClusterState,
    group: Option<&GroupStatus>,
    node: &str,
    now_ms: i64,
) -> Result<DrainStatus, UnknownNode> {
    let member = state.member(node).ok_or_else(|| UnknownNode(node.to_string()))?;
    let mut drain = DrainStatus {
        node: node.to_string(),
        state: super::status::state_name(member.state).into(),
        replicas: state.shards_of(node).count(),
        leads: state.led().get(node).copied().unwrap_or(0),
        ..DrainStatus::default()
    };
    if !member.draining {
        drain.waits_for.push("no drain was requested".into());
    }
    if member.state == MemberState::Down {
        drain.stuck.push("the node is down: restart it or remove it".into());
    }
    check_shards(state, &mut drain);
    check_targets(state, &mut drain, now_ms);
    check_vote(state, group, &mut drain);
    drain.done = drain.waits_for.is_empty();
    Ok(drain)
}

fn check_shards(state: &ClusterState, drain: &mut DrainStatus) {
    if drain.replicas == 0 {
        return;
    }
    drain.waits_for.push(format!("it still holds {} shards and leads {} of them", drain.replicas, drain.leads));
    let others = state.active_ingesters().filter(|member| member.id != drain.node).count();
    if others == 0 {
        drain.stuck.push("no other ingester is running: start one to take the shards".into());
        return;
    }
    let copies = state.settings.as_ref().map_or(1, |settings| settings.replication_factor as usize);
    let alone =
        |shard: &&std::sync::Arc<pharos_cluster::Shard>| shard.has_replica(&drain.node) && shard.in_sync.is_empty();
    let lost = state.shards.iter().filter(alone).count();
    if lost > 0 {
        let reason = format!("{lost} of its shards have no replica in sync: start the other nodes that hold them");
        drain.stuck.push(reason);
    }
    if others < copies {
        drain.waits_for.push(format!(
            "only {others} other ingesters are running: shards will have {others} instead of {copies} copies"
        ));
    }
}

fn check_targets(state: &ClusterState, drain: &mut DrainStatus, now_ms: i64) {
    let is_agent = state.member(&drain.node).is_some_and(|member| member.has(Role::Agent));
    if !is_agent {
        return;
    }
    let others = state.owning_agents().keys().any(|agent| *agent != drain.node);
    match state.assignments.last() {
        Some(assignment) if assignment.agents.contains_key(&drain.node) => {
            if others {
                drain.waits_for.push("its targets are still being handed over".into());
            } else {
                drain.waits_for.push("it is the only agent and scrapes all targets".into());
                drain.stuck.push("no other agent is running: start one to take the targets".into());
            }
        }
        Some(assignment) if assignment.from_ms > now_ms => {
            drain.waits_for.push("other agents are about to take over its targets".into())
        }
        _ => {}
    }
}

fn check_vote(state: &ClusterState, group: Option<&GroupStatus>, drain: &mut DrainStatus) {
    let Some(group) = group else {
        drain.waits_for.push("no meta node answers".into());
        return;
    };
    let id = raft_id(&drain.node);
    if !group.voters.contains(&id) {
        return;
    }
    drain.waits_for.push("it still votes in the meta group".into());
    let others = state.live(Role::Meta).filter(|member| member.id != drain.node && !member.draining).count();
    if others == 0 {
        drain.stuck.push("no other meta node is running: start one to take its vote".into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pharos_cluster::state::Settings;
    use pharos_cluster::{Assignment, Command, Placement};

    use super::*;

    fn state(nodes: &[(&str, &[Role])]) -> ClusterState {
        let mut state = ClusterState::default();
        let settings = Settings { cluster: "c".into(), shards: 4, replication_factor: 2 };
        state.apply(&Command::Bootstrap { settings }).unwrap();
        for (id, roles) in nodes {
            let roles = roles.iter().copied().collect();
            let member =
                Member { id: id.to_string(), roles, weight: 100, state: MemberState::Active, ..Member::default() };
            state.apply(&Command::Join { member, at_ms: 1000 }).unwrap();
        }
        state
    }

    fn drain(state: &mut ClusterState, node: &str) {
        state.apply(&Command::SetMemberState { node: node.into(), state: MemberState::Draining, at_ms: 5000 }).unwrap();
    }

    fn status(state: &ClusterState, node: &str, now_ms: i64) -> DrainStatus {
        drain_status(state, Some(&GroupStatus::default()), node, now_ms).unwrap()
    }

    #[test]
    fn an_ingester_waits_until_its_shards_have_moved() {
        let roles: &[Role] = &[Role::Ingester];
        let mut state = state(&[("A", roles), ("B", roles), ("C", roles)]);
        let nodes = vec!["A".to_string(), "B".into()];
        state.apply(&Command::PlaceShards { placements: vec![Placement { shard: 1, nodes }] }).unwrap();
        assert_eq!(status(&state, "A", 0).waits_for[0], "no drain was requested");
        drain(&mut state, "A");
        let half = status(&state, "A", 0);
        assert_eq!((half.done, half.replicas, half.leads), (false, 1, 1));
        assert_eq!(half.waits_for, ["it still holds 1 shards and leads 1 of them"]);
        assert!(half.stuck.is_empty());
        state.apply(&Command::AddLearner { shard: 1, node: "C".into() }).unwrap();
        let epoch = state.epoch(1);
        state.apply(&Command::Promote { shard: 1, node: "C".into(), epoch }).unwrap();
        state.apply(&Command::RemoveReplica { shard: 1, node: "A".into() }).unwrap();
        assert!(status(&state, "A", 0).done);
        drain(&mut state, "B");
        drain(&mut state, "C");
        assert_eq!(status(&state, "B", 0).stuck, ["no other ingester is running: start one to take the shards"]);
        assert_eq!(
            drain_status(&state, Some(&GroupStatus::default()), "X", 0).unwrap_err().to_string(),
            "node X is not a member of this cluster"
        );
    }

    #[test]
    fn a_lone_node_has_no_successors() {
        let roles: &[Role] = &[Role::Ingester];
        assert!(!has_successors(&state(&[("A", roles)]), "A"));
        let mut two = state(&[("A", roles), ("B", roles)]);
        assert!(has_successors(&two, "A"));
        drain(&mut two, "B");
        assert!(!has_successors(&two, "A"));
    }

    #[test]
    fn an_agent_waits_until_others_scrape() {
        let roles: &[Role] = &[Role::Agent];
        let mut state = state(&[("A", roles), ("B", roles)]);
        drain(&mut state, "A");
        assert_eq!(status(&state, "A", 5500).waits_for, ["other agents are about to take over its targets"]);
        assert!(status(&state, "A", 7000).done);
        drain(&mut state, "B");
        let last = status(&state, "B", 9000);
        assert_eq!(last.stuck, ["no other agent is running: start one to take the targets"]);
        state.assignments = Arc::new(vec![Assignment { from_ms: 0, epoch: 1, agents: [("A".to_string(), 1)].into() }]);
        assert!(status(&state, "B", 9000).done);
    }

    #[test]
    fn a_voter_waits_until_it_has_lost_its_vote() {
        let roles: &[Role] = &[Role::Meta];
        let mut state = state(&[("A", roles), ("B", roles)]);
        drain(&mut state, "A");
        let group = GroupStatus { voters: vec![raft_id("A"), raft_id("B")], ..GroupStatus::default() };
        let waiting = drain_status(&state, Some(&group), "A", 0).unwrap();
        assert_eq!((waiting.done, waiting.waits_for.len(), waiting.stuck.len()), (false, 1, 0));
        let group = GroupStatus { voters: vec![raft_id("B")], ..GroupStatus::default() };
        assert!(drain_status(&state, Some(&group), "A", 0).unwrap().done);
    }
}
