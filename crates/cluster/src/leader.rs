//! The leader's reconciliation: member leases, voters and shard placement.
//!
//! A round waits for nothing but the majority of the group. Pure functions decide what is due ([`heartbeats`], [`voters`], [`placement`]); this file applies it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{BasicNode, ChangeMembers};
use pharos_model::Clock;

use crate::error::MetaError;
use crate::group::Group;
use crate::heartbeats::{self, Heard, Heartbeats};
use crate::placement::{self, Backoff, PlacementContext};
use crate::raft::types::Proposal;
use crate::state::{Command, Member, Refusal, Settings};
use crate::view::View;
use crate::voters::{self, RaftMembership, VoterChange};

/// How long after an election voters that are not members may still join before they are removed.
const UNKNOWN_VOTER_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval at which an unchanged placement is checked again, since some steps are due after a time.
const RECHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Timeout of one command or membership change; the next round retries it.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Log entries by which a learner may lag and still become a voter.
const MAX_LAG: u64 = 256;

/// Reconciles in rounds while this node leads, until it is stopped.
pub(crate) async fn run(group: Arc<Group>) {
    let mut stop = group.stop.subscribe();
    let mut term: Option<LeaderTerm> = None;
    loop {
        let round = async {
            if !group.raft.is_leader() {
                term = None;
                return;
            }
            let now = group.clock.monotonic();
            let term = term.get_or_insert_with(|| {
                // What it heard when it led before is out of date.
                *group.heard.lock() = Heard::default();
                LeaderTerm::starting_at(now)
            });
            if let Err(error) = term.round(&group).await {
                tracing::warn!(%error, retry_in = ?group.config.timing.round, "leader reconciliation failed");
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

/// What the leader remembers from its election on.
struct LeaderTerm {
    since: Duration,
    /// When the first active ingester was seen.
    first_ingester_at: Option<Duration>,
    /// The version for which there was nothing to place, and when that was found.
    settled: Option<(u64, Duration)>,
    backoff: Backoff,
}

impl LeaderTerm {
    fn starting_at(now: Duration) -> LeaderTerm {
        LeaderTerm { since: now, first_ingester_at: None, settled: None, backoff: Backoff::default() }
    }

    async fn round(&mut self, group: &Group) -> Result<(), MetaError> {
        let view = group.feed.view();
        if view.settings.is_none() {
            return apply(group, bootstrap_command(group)).await;
        }
        self.leases(group, &view).await?;
        self.voters(group, &group.feed.view()).await?;
        self.placement(group, &group.feed.view()).await
    }

    async fn leases(&self, group: &Group, view: &View) -> Result<(), MetaError> {
        let due = {
            let mut heard = group.heard.lock();
            heard.retain(view);
            heartbeats::due(view, &self.heartbeats(group, &heard))
        };
        for command in due {
            tracing::info!(?command, "changing the state of a member");
            apply(group, command).await?;
        }
        Ok(())
    }

    fn heartbeats<'a>(&self, group: &'a Group, heard: &'a Heard) -> Heartbeats<'a> {
        let timing = &group.config.timing;
        Heartbeats {
            leader: &group.config.identity,
            heard,
            leading_since: self.since,
            now: group.clock.monotonic(),
            now_ms: group.time.now_ms(),
            lease: timing.lease,
            agent_lease: timing.agent_lease,
            forget_after: timing.forget_after,
        }
    }

    async fn voters(&self, group: &Group, view: &View) -> Result<(), MetaError> {
        let membership = self.raft_membership(group);
        let replace_after = group.config.timing.replace_voter_after.as_millis() as i64;
        let now_ms = group.time.now_ms();
        let long_down = |member: &Member| now_ms.saturating_sub(member.since_ms) >= replace_after;
        let Some(change) = voters::next(view, &membership, long_down) else { return Ok(()) };
        tracing::info!(?change, "changing the Raft group");
        let node = |addr| BasicNode { addr };
        let (change, retain) = match change {
            VoterChange::AddLearner(id, address) => (ChangeMembers::AddNodes([(id, node(address))].into()), true),
            VoterChange::SetAddress(id, address) => (ChangeMembers::SetNodes([(id, node(address))].into()), true),
            VoterChange::SetVoters(voters) => (ChangeMembers::ReplaceAllVoters(voters), true),
            VoterChange::Remove(id) => (ChangeMembers::RemoveNodes(BTreeSet::from([id])), false),
        };
        let changed = tokio::time::timeout(CHANGE_TIMEOUT, group.raft.change_membership(change, retain)).await;
        match changed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(MetaError::Unavailable(format!("changing the Raft group: {error}"))),
            Err(_) => {
                Err(MetaError::Unavailable(format!("changing the Raft group took longer than {CHANGE_TIMEOUT:?}")))
            }
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
        self.backoff.observe(view, now);
        let just_checked =
            |(version, at): (u64, Duration)| version == view.version && now.saturating_sub(at) < RECHECK_INTERVAL;
        if self.settled.is_some_and(just_checked) {
            return Ok(());
        }
        let (silent, incomplete) = {
            let heard = group.heard.lock();
            let interval = group.config.timing.member_heartbeat;
            (heartbeats::silent(view, &self.heartbeats(group, &heard), interval), heard.incomplete(view))
        };
        let backed_off = self.backoff.waiting(now);
        let unwritable = group.unwritable.lock().clone();
        let context = PlacementContext {
            now_ms: group.time.now_ms(),
            silent: &silent,
            backed_off: &backed_off,
            unwritable: &unwritable,
            incomplete: &incomplete,
            settled_for,
        };
        let steps = placement::propose(view, &group.config.placement, context);
        self.settled = steps.is_empty().then_some((view.version, now));
        for command in steps {
            tracing::debug!(?command, "placing shards");
            self.backoff.note(&command);
            apply(group, command).await?;
        }
        Ok(())
    }
}

/// The command that creates the cluster state of a new group.
pub(crate) fn bootstrap_command(group: &Group) -> Command {
    let config = &group.config;
    let cluster = format!("{}-{:x}", config.identity, group.clock.now_ms());
    let settings = Settings { cluster, shards: config.shards, replication_factor: config.replication_factor };
    Command::Bootstrap { settings }
}

/// Applies a command if this node still leads. A refusal is only logged, because the next round decides again.
async fn apply(group: &Group, command: Command) -> Result<(), MetaError> {
    let name = command.name();
    let written = group.raft.client_write(Proposal(Arc::new(command)));
    let written = tokio::time::timeout(CHANGE_TIMEOUT, written).await;
    let written = written
        .map_err(|_| MetaError::Unavailable(format!("{name}: no majority answered within {CHANGE_TIMEOUT:?}")))?;
    let answer = written.map_err(|error| MetaError::Unavailable(format!("{name}: {error}")))?.data;
    match answer.result {
        // A leader that has just started may not have applied the bootstrap of its cluster yet.
        Ok(_) | Err(Refusal::AlreadyBootstrapped { .. }) => {}
        Err(refusal) => tracing::warn!(name, %refusal, "command of the leader was refused"),
    }
    Ok(())
}
