//! Which members' leases have expired, and which members are back. Only the leader's clock is read, so clocks of different
//! nodes are never compared.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::state::{ClusterState, Command, Member, MemberState, Role};

/// When the leader heard of each member in its term, on its monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    at: HashMap<String, Duration>,
    /// Members that have said that they leave, and have not joined again.
    left: HashSet<String>,
    /// Members that said in their last heartbeat that their logs have lost nothing.
    whole: HashSet<String>,
}

impl Heard {
    /// A heartbeat has arrived. One that was on its way when its sender left says nothing.
    /// `incomplete` says whether the sender's log has lost samples.
    pub fn beat(&mut self, node: &str, incomplete: bool, now: Duration) {
        if self.left.contains(node) {
            return;
        }
        self.at.insert(node.to_string(), now);
        match incomplete {
            true => self.whole.remove(node),
            false => self.whole.insert(node.to_string()),
        };
    }

    /// A member has joined, so it is alive and has a full lease before its first heartbeat.
    pub fn joined(&mut self, node: &str, now: Duration) {
        self.left.remove(node);
        self.whole.remove(node);
        self.at.insert(node.to_string(), now);
    }

    /// A member has said that it leaves.
    pub fn left(&mut self, node: &str) {
        self.at.remove(node);
        self.whole.remove(node);
        self.left.insert(node.to_string());
    }

    /// The members whose logs have lost samples, or may have: nothing was heard of them yet.
    pub fn incomplete(&self, state: &ClusterState) -> BTreeSet<String> {
        state.members.keys().filter(|node| !self.whole.contains(*node)).cloned().collect()
    }

    /// Forgets all but the members of a state.
    pub fn retain(&mut self, state: &ClusterState) {
        self.at.retain(|node, _| state.members.contains_key(node));
        self.left.retain(|node| state.members.contains_key(node));
        self.whole.retain(|node| state.members.contains_key(node));
    }

    fn of(&self, node: &str) -> Option<Duration> {
        self.at.get(node).copied()
    }
}

/// The heartbeats that the leader has received, and the leases that it applies.
pub struct Heartbeats<'a> {
    /// The leader, which is always considered alive.
    pub leader: &'a str,
    /// When the leader heard of each member.
    pub heard: &'a Heard,
    /// When it became the leader. Every member had a full lease then.
    pub leading_since: Duration,
    /// The leader's monotonic clock.
    pub now: Duration,
    /// The leader's wall clock, milliseconds since the epoch.
    pub now_ms: i64,
    /// Time without a heartbeat after which a member is down.
    pub lease: Duration,
    /// The lease of an agent or a ruler that is neither an ingester nor a meta node. It is shorter, so that its targets and
    /// rule groups move quickly.
    pub agent_lease: Duration,
    /// How long a member without shards and vote is down before it is forgotten.
    pub forget_after: Duration,
}

/// The state changes of members that are due.
pub fn due(state: &ClusterState, heartbeats: &Heartbeats<'_>) -> Vec<Command> {
    let mut due = Vec::new();
    for member in state.members.values() {
        let heard = heartbeats.heard.of(&member.id).filter(|heard| *heard >= heartbeats.leading_since);
        let silent_for = heartbeats.now.saturating_sub(heard.unwrap_or(heartbeats.leading_since));
        let keeps = member.has(Role::Ingester) || member.has(Role::Meta);
        let lease = if member.is_missed_soon() && !keeps { heartbeats.agent_lease } else { heartbeats.lease };
        let silent = silent_for > lease && member.id != heartbeats.leader;
        let set = |to| Command::SetMemberState { node: member.id.clone(), state: to, at_ms: heartbeats.now_ms };
        match member.state {
            MemberState::Active | MemberState::Draining | MemberState::Joining if silent => {
                due.push(set(MemberState::Down));
            }
            MemberState::Joining | MemberState::Down if heard.is_some() && !silent => {
                due.push(set(MemberState::Active))
            }
            MemberState::Down => {
                let down_for = heartbeats.now_ms.saturating_sub(member.since_ms);
                if !keeps && down_for > heartbeats.forget_after.as_millis() as i64 {
                    due.push(Command::ForgetMember { node: member.id.clone() });
                }
            }
            _ => {}
        }
    }
    due
}

/// The live members that have missed two heartbeats of this interval, even if their leases have not expired yet.
pub fn silent(state: &ClusterState, heartbeats: &Heartbeats<'_>, interval: Duration) -> Vec<String> {
    let is_silent = |member: &&Arc<Member>| {
        let since = heartbeats.leading_since;
        let heard = heartbeats.heard.of(&member.id).unwrap_or(since).max(since);
        member.id != heartbeats.leader && heartbeats.now.saturating_sub(heard) > interval * 5 / 2
    };
    let live = state.members.values().filter(|member| member.state.is_live());
    live.filter(is_silent).map(|member| member.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(members: &[(&str, Role, MemberState)]) -> ClusterState {
        let mut state = ClusterState::default();
        for (id, role, to) in members {
            let joining = Member { id: id.to_string(), roles: [*role].into(), weight: 1, ..Member::default() };
            state.apply(&Command::Join { member: joining, at_ms: 0 }).unwrap();
            state.apply(&Command::SetMemberState { node: id.to_string(), state: *to, at_ms: 0 }).unwrap();
        }
        state
    }

    fn names(due: Vec<Command>) -> Vec<String> {
        due.into_iter()
            .map(|command| match command {
                Command::SetMemberState { node, state, .. } => format!("{node} {state:?}"),
                Command::ForgetMember { node } => format!("{node} forgotten"),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    const HOUR_MS: i64 = 3_600_000;

    /// A leader A since second 100, whose members were last heard at these seconds.
    fn at<'a>(now: u64, heard: &'a Heard) -> Heartbeats<'a> {
        Heartbeats {
            leader: "A",
            heard,
            leading_since: Duration::from_secs(100),
            now: Duration::from_secs(now),
            now_ms: HOUR_MS,
            lease: Duration::from_secs(10),
            agent_lease: Duration::from_secs(3),
            forget_after: Duration::from_secs(600),
        }
    }

    fn heard(of: &[(&str, u64)]) -> Heard {
        let mut heard = Heard::default();
        of.iter().for_each(|(id, second)| heard.beat(id, false, Duration::from_secs(*second)));
        heard
    }

    #[test]
    fn a_heartbeat_that_was_on_its_way_when_its_sender_left_revives_nobody() {
        let mut known = heard(&[("B", 105)]);
        known.left("B");
        known.beat("B", false, Duration::from_secs(106));
        let state = with(&[("B", Role::Ingester, Down)]);
        assert!(due(&state, &at(107, &known)).is_empty());
        known.joined("B", Duration::from_secs(108));
        known.beat("B", false, Duration::from_secs(109));
        assert_eq!(names(due(&state, &at(110, &known))), ["B Active"]);
    }

    #[test]
    fn whoever_joins_has_a_full_lease() {
        let mut known = Heard::default();
        known.joined("B", Duration::from_secs(200));
        let state = with(&[("B", Role::Ingester, Active)]);
        assert!(due(&state, &at(210, &known)).is_empty());
        assert_eq!(names(due(&state, &at(211, &known))), ["B Down"]);
    }

    use MemberState::{Active, Down, Draining};

    #[test]
    fn every_member_has_a_full_lease_after_an_election() {
        let state = with(&[("B", Role::Ingester, Active)]);
        let before_the_election = heard(&[("B", 95)]);
        assert!(due(&state, &at(110, &before_the_election)).is_empty());
        assert_eq!(names(due(&state, &at(111, &before_the_election))), ["B Down"]);
    }

    #[test]
    fn a_heartbeat_renews_the_lease() {
        let state = with(&[("B", Role::Ingester, Active), ("C", Role::Ingester, Draining)]);
        let heard = heard(&[("C", 108)]);
        assert_eq!(names(due(&state, &at(118, &heard))), ["B Down"]);
        assert_eq!(names(due(&state, &at(119, &heard))), ["B Down", "C Down"]);
    }

    #[test]
    fn the_leader_never_expires() {
        assert!(due(&with(&[("A", Role::Meta, Active)]), &at(9999, &Heard::default())).is_empty());
    }

    #[test]
    fn agents_and_rulers_without_shards_have_the_short_lease() {
        let state = with(&[("B", Role::Agent, Active), ("C", Role::Ingester, Active), ("D", Role::Ruler, Active)]);
        assert_eq!(names(due(&state, &at(104, &Heard::default()))), ["B Down", "D Down"]);
    }

    #[test]
    fn a_member_that_is_heard_again_becomes_active() {
        let state = with(&[("B", Role::Ingester, Down)]);
        assert_eq!(names(due(&state, &at(109, &heard(&[("B", 108)])))), ["B Active"]);
        assert!(due(&state, &at(109, &heard(&[("B", 99)]))).is_empty(), "a heartbeat to an earlier leader");
    }

    #[test]
    fn a_member_that_holds_nothing_is_forgotten_after_a_while() {
        let state = with(&[("D", Role::Ingester, Down), ("E", Role::Agent, Down)]);
        assert_eq!(names(due(&state, &at(110, &Heard::default()))), ["E forgotten"], "an ingester may hold shards");
        let unheard = Heard::default();
        let soon = Heartbeats { now_ms: 600_000, ..at(110, &unheard) };
        assert!(due(&state, &soon).is_empty());
    }

    #[test]
    fn two_missed_heartbeats_make_a_member_silent() {
        let state = with(&[("A", Role::Meta, Active), ("B", Role::Ingester, Active), ("C", Role::Ingester, Active)]);
        let heard = heard(&[("C", 108)]);
        let silent = |now| silent(&state, &at(now, &heard), Duration::from_secs(1));
        assert_eq!(silent(102), Vec::<String>::new());
        assert_eq!(silent(103), ["B"]);
        assert_eq!(silent(110), ["B"]);
        assert_eq!(silent(111), ["B", "C"]);
    }

    #[test]
    fn members_that_are_down_are_not_silent() {
        let state = with(&[("B", Role::Ingester, Down)]);
        assert!(silent(&state, &at(200, &Heard::default()), Duration::from_secs(1)).is_empty());
    }
}
