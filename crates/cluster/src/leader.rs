//! What the leader of the group does in rounds: it sees to members' leases, to who votes, to where shards are, and exports
//! the state. What is due is decided by pure functions; here it is carried out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{BasicNode, ChangeMembers};

use crate::error::MetaError;
use crate::export;
use crate::group::Group;
use crate::heartbeats::{self, Heartbeats};
use crate::placement::{self, PlacementContext};
use crate::raft::types::Proposal;
use crate::state::{Command, Member, Refusal, Settings};
use crate::view::View;
use crate::voters::{self, RaftMembership, VoterChange};

/// How long the group waits for a voter that never was a member.
const UNKNOWN_VOTER_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause before a placement is looked at again that nothing has changed but the time.
const RECHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Longest time for one change of the group; it is tried again.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Entries that a learner may lack and vote all the same.
const MAX_LAG: u64 = 256;

/// Works in rounds while this node leads, until it is stopped.
pub(crate) async fn run(group: Arc<Group>, exports: Option<Arc<dyn ObjectStore>>) {
    let mut stop = group.stop.subscribe();
    let mut term: Option<LeaderTerm> = None;
    loop {
        let round = async {
            if !group.raft.is_leader() {
                term = None;
                return;
            }
            let now = group.clock.monotonic();
            let term = term.get_or_insert(LeaderTerm {
                since: now,
                exported: None,
                export_due: now,
                first_ingester_at: None,
                placed: None,
            });
            if let Err(error) = term.round(&group, exports.as_deref()).await {
                tracing::warn!(%error, "a round of the leader of meta broke off");
            }
        };
        tokio::select! {
            () = round => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        tokio::select! {
            () = tokio::time::sleep(group.config.timing.round) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// The time in which this node leads.
struct LeaderTerm {
    since: Duration,
    exported: Option<(u64, u64)>,
    export_due: Duration,
    /// When the first ingester was seen while shards had no place.
    first_ingester_at: Option<Duration>,
    /// The version for which nothing was left to place, and when.
    placed: Option<(u64, Duration)>,
}

impl LeaderTerm {
    async fn round(&mut self, group: &Group, exports: Option<&dyn ObjectStore>) -> Result<(), MetaError> {
        let view = group.feed.view();
        if view.settings.is_none() {
            return carry_out(group, bootstrap_command(group)).await;
        }
        self.leases(group, &view).await?;
        self.voters(group, &group.feed.view()).await?;
        self.placement(group, &group.feed.view()).await?;
        self.export(group, exports).await
    }

    async fn leases(&self, group: &Group, view: &View) -> Result<(), MetaError> {
        let due = {
            let mut heard = group.heard.lock();
            heard.retain(|node, _| view.members.contains_key(node));
            heartbeats::due(view, &self.heartbeats(group, &heard))
        };
        for command in due {
            tracing::info!(?command, "a member's state changes");
            carry_out(group, command).await?;
        }
        Ok(())
    }

    fn heartbeats<'a>(&self, group: &'a Group, heard: &'a HashMap<String, Duration>) -> Heartbeats<'a> {
        let timing = &group.config.timing;
        Heartbeats {
            leader: &group.config.identity,
            heard,
            leading_since: self.since,
            now: group.clock.monotonic(),
            now_ms: group.clock.now_ms(),
            lease: timing.lease,
            agent_lease: timing.agent_lease,
            forget_after: timing.forget_after,
        }
    }

    async fn voters(&self, group: &Group, view: &View) -> Result<(), MetaError> {
        let membership = self.raft_membership(group);
        let replace_after = group.config.timing.replace_voter_after.as_millis() as i64;
        let now_ms = group.clock.now_ms();
        let long_down = |member: &Member| now_ms.saturating_sub(member.since_ms) >= replace_after;
        let Some(change) = voters::next(view, &membership, long_down) else { return Ok(()) };
        tracing::info!(?change, "the group of meta changes");
        let node = |addr| BasicNode { addr };
        let (change, retain) = match change {
            VoterChange::Learn(id, address) => (ChangeMembers::AddNodes([(id, node(address))].into()), true),
            VoterChange::Move(id, address) => (ChangeMembers::SetNodes([(id, node(address))].into()), true),
            VoterChange::Vote(voters) => (ChangeMembers::ReplaceAllVoters(voters), true),
            VoterChange::Leave(id) => (ChangeMembers::RemoveNodes(BTreeSet::from([id])), false),
        };
        let changed = tokio::time::timeout(CHANGE_TIMEOUT, group.raft.change_membership(change, retain)).await;
        match changed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(MetaError::Unavailable(format!("changing the group: {error}"))),
            Err(_) => Err(MetaError::Unavailable(format!("changing the group took longer than {CHANGE_TIMEOUT:?}"))),
        }
    }

    fn raft_membership(&self, group: &Group) -> RaftMembership {
        let metrics = group.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let last = metrics.last_log_index.unwrap_or(0);
        let replication = metrics.replication.iter().flatten();
        let matched = replication.filter(|(_, log)| log.as_ref().is_some_and(|log| log.index + MAX_LAG >= last));
        RaftMembership {
            voters: membership.voter_ids().collect(),
            nodes: membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect(),
            caught_up: matched.map(|(id, _)| *id).collect(),
            unknown_voters_are_gone: group.clock.monotonic().saturating_sub(self.since) > UNKNOWN_VOTER_TIMEOUT,
        }
    }

    async fn placement(&mut self, group: &Group, view: &View) -> Result<(), MetaError> {
        let now = group.clock.monotonic();
        if self.first_ingester_at.is_none() && view.active_ingesters().next().is_some() {
            self.first_ingester_at = Some(now);
        }
        let settled_for = self.first_ingester_at.map_or(Duration::ZERO, |first| now.saturating_sub(first));
        let just_looked =
            |(version, at): (u64, Duration)| version == view.version && now.saturating_sub(at) < RECHECK_INTERVAL;
        if self.placed.is_some_and(just_looked) {
            return Ok(());
        }
        let silent = {
            let heard = group.heard.lock();
            heartbeats::silent(view, &self.heartbeats(group, &heard), group.config.timing.member_heartbeat)
        };
        let context = PlacementContext { now_ms: group.clock.now_ms(), silent: &silent, settled_for };
        let steps = placement::propose(view, &group.config.placement, context);
        self.placed = steps.is_empty().then_some((view.version, now));
        for command in steps {
            tracing::debug!(?command, "placement");
            carry_out(group, command).await?;
        }
        Ok(())
    }

    async fn export(&mut self, group: &Group, exports: Option<&dyn ObjectStore>) -> Result<(), MetaError> {
        let (now, view) = (group.clock.monotonic(), group.feed.view());
        let version = (view.incarnation, view.version);
        let Some(objects) = exports.filter(|_| now >= self.export_due && self.exported != Some(version)) else {
            return Ok(());
        };
        self.export_due = now + group.config.timing.export;
        export::write(objects, &view).await?;
        self.exported = Some(version);
        Ok(())
    }
}

/// The birth of the cluster whose group this node leads.
pub(crate) fn bootstrap_command(group: &Group) -> Command {
    let config = &group.config;
    let cluster = format!("{}-{:x}", config.identity, group.clock.now_ms());
    let (shards, replication_factor) = (config.shards, config.replication_factor);
    Command::Bootstrap { settings: Settings { cluster, shards, replication_factor } }
}

/// Has a command carried out if this node still leads; a refusal is noted, the next round sees what is then.
async fn carry_out(group: &Group, command: Command) -> Result<(), MetaError> {
    let name = command.name();
    let written = group.raft.client_write(Proposal(Arc::new(command)));
    let written = tokio::time::timeout(CHANGE_TIMEOUT, written).await;
    let written = written.map_err(|_| MetaError::Unavailable(format!("{name}: no majority answers")))?;
    let answer = written.map_err(|error| MetaError::Unavailable(format!("{name}: {error}")))?.data;
    match answer.result {
        // A leader that has just started may not have read yet that its cluster was born.
        Ok(_) | Err(Refusal::AlreadyBootstrapped { .. }) => {}
        Err(refusal) => tracing::warn!(name, %refusal, "a command of the leader was refused"),
    }
    Ok(())
}
