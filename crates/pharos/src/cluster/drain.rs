//! When a node can be stopped without harm: what is still on it, and what stands in the way. Pure.

use pharos_cluster::{ClusterState, GroupStatus, MemberState, Role, raft_id};
use serde::{Deserialize, Serialize};

/// How far the drain of a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DrainStatus {
    /// Which node.
    pub node: String,
    /// Its state.
    pub state: String,
    /// Whether it can be stopped now.
    pub done: bool,
    /// Shards that it still holds.
    pub replicas: usize,
    /// Shards that it still leads.
    pub leads: usize,
    /// What it waits for, as sentences.
    pub waits_for: Vec<String>,
    /// What has to be done before it can go on; empty while nothing.
    pub stuck: Vec<String>,
}

/// How far the drain of a node is. The error says that it is no member.
pub fn drain_status(
    state: &ClusterState,
    group: Option<&GroupStatus>,
    node: &str,
    now_ms: i64,
) -> Result<DrainStatus, String> {
    let member = state.member(node).ok_or_else(|| format!("node {node} is no member of this cluster"))?;
    let mut drain = DrainStatus {
        node: node.to_string(),
        state: super::status::state_name(member.state).into(),
        replicas: state.shards_of(node).count(),
        leads: state.led().get(node).copied().unwrap_or(0),
        ..DrainStatus::default()
    };
    if !member.draining {
        drain.waits_for.push("it was not told to drain".into());
    }
    if member.state == MemberState::Down {
        drain.stuck.push("the node is down: start it again, or remove it".into());
    }
    shards(state, &mut drain);
    targets(state, &mut drain, now_ms);
    vote(state, group, &mut drain);
    drain.done = drain.waits_for.is_empty();
    Ok(drain)
}

fn shards(state: &ClusterState, drain: &mut DrainStatus) {
    let (replicas, leads) = (drain.replicas, drain.leads);
    if replicas == 0 {
        return;
    }
    drain.waits_for.push(format!("{replicas} shards are still on it, of which it leads {leads}"));
    let others = state.active_ingesters().filter(|member| member.id != drain.node).count();
    if others == 0 {
        drain.stuck.push("no other ingester is at work: start one that takes the shards".into());
        return;
    }
    let copies = state.settings.as_ref().map_or(1, |settings| settings.replication_factor as usize);
    let alone =
        |shard: &&std::sync::Arc<pharos_cluster::Shard>| shard.has_replica(&drain.node) && shard.in_sync.is_empty();
    let lost = state.shards.iter().filter(alone).count();
    if lost > 0 {
        let reason = format!("{lost} of its shards have nothing in sync: start the other nodes that hold them");
        drain.stuck.push(reason);
    }
    if others < copies {
        drain
            .waits_for
            .push(format!("{others} other ingesters are at work: shards keep {others} instead of {copies} copies"));
    }
}

fn targets(state: &ClusterState, drain: &mut DrainStatus, now_ms: i64) {
    let is_agent = state.member(&drain.node).is_some_and(|member| member.has(Role::Agent));
    if !is_agent {
        return;
    }
    let others = state.owning_agents().keys().any(|agent| *agent != drain.node);
    match state.assignments.last() {
        Some(assignment) if assignment.agents.contains_key(&drain.node) => {
            if others {
                drain.waits_for.push("its targets are not handed over yet".into());
            } else {
                drain.waits_for.push("it scrapes all targets".into());
                drain.stuck.push("no other agent is at work: start one that scrapes the targets".into());
            }
        }
        Some(assignment) if assignment.from_ms > now_ms => {
            drain.waits_for.push("other agents are about to take its targets over".into())
        }
        _ => {}
    }
}

fn vote(state: &ClusterState, group: Option<&GroupStatus>, drain: &mut DrainStatus) {
    let Some(group) = group else {
        drain.waits_for.push("no node of meta answers".into());
        return;
    };
    let id = raft_id(&drain.node);
    if !group.voters.contains(&id) {
        return;
    }
    drain.waits_for.push("it votes in meta".into());
    let others = state.live(Role::Meta).filter(|member| member.id != drain.node && !member.draining).count();
    if others == 0 {
        drain.stuck.push("no other node with the meta role is at work: start one that takes the vote".into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pharos_cluster::state::Settings;
    use pharos_cluster::{Assignment, Command, Member, Placement};

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
    fn an_ingester_waits_until_its_shards_are_elsewhere() {
        let roles: &[Role] = &[Role::Ingester];
        let mut state = state(&[("A", roles), ("B", roles), ("C", roles)]);
        let nodes = vec!["A".to_string(), "B".into()];
        state.apply(&Command::PlaceShards { placements: vec![Placement { shard: 1, nodes }] }).unwrap();
        assert_eq!(status(&state, "A", 0).waits_for[0], "it was not told to drain");
        drain(&mut state, "A");
        let half = status(&state, "A", 0);
        assert_eq!((half.done, half.replicas, half.leads), (false, 1, 1));
        assert_eq!(half.waits_for, ["1 shards are still on it, of which it leads 1"]);
        assert!(half.stuck.is_empty());
        state.apply(&Command::AddLearner { shard: 1, node: "C".into() }).unwrap();
        let epoch = state.epoch(1);
        state.apply(&Command::Promote { shard: 1, node: "C".into(), epoch }).unwrap();
        state.apply(&Command::RemoveReplica { shard: 1, node: "A".into() }).unwrap();
        assert!(status(&state, "A", 0).done);
        drain(&mut state, "B");
        drain(&mut state, "C");
        assert_eq!(status(&state, "B", 0).stuck, ["no other ingester is at work: start one that takes the shards"]);
        assert_eq!(
            drain_status(&state, Some(&GroupStatus::default()), "X", 0).unwrap_err(),
            "node X is no member of this cluster"
        );
    }

    #[test]
    fn an_agent_waits_until_others_scrape() {
        let roles: &[Role] = &[Role::Agent];
        let mut state = state(&[("A", roles), ("B", roles)]);
        drain(&mut state, "A");
        assert_eq!(status(&state, "A", 5500).waits_for, ["other agents are about to take its targets over"]);
        assert!(status(&state, "A", 7000).done);
        drain(&mut state, "B");
        let last = status(&state, "B", 9000);
        assert_eq!(last.stuck, ["no other agent is at work: start one that scrapes the targets"]);
        state.assignments = Arc::new(vec![Assignment { from_ms: 0, epoch: 1, agents: [("A".to_string(), 1)].into() }]);
        assert!(status(&state, "B", 9000).done);
    }

    #[test]
    fn a_voter_waits_until_another_one_votes() {
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
