//! The handle that every role uses: what it knows, what it is told, what it asks for. Behind it is a node of the group
//! ([`crate::group`]) or one that follows it ([`crate::follow`]).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use pharos_model::{Clock, SystemClock};
use pharos_transport::meta_v1::meta_server::MetaServer;
use pharos_transport::meta_v1::raft_server::RaftServer;
use pharos_transport::{Channels, Connect};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::service::RoutesBuilder;

use crate::backend::Backend;
use crate::bootstrap;
use crate::config::{BootstrapMode, MetaComponents, MetaConfig, Timing};
use crate::error::MetaError;
use crate::feed::Feed;
use crate::follow::Follower;
use crate::group::{Group, PROPOSE_TIME};
use crate::heartbeat_task::HeartbeatTask;
use crate::leader;
use crate::raft::network::MOST_MESSAGE_BYTES;
use crate::raft::service::RaftService;
use crate::remote::Remote;
use crate::service::MetaService;
use crate::state::{Command, Member, MemberState, Response, Role};
use crate::view::View;

/// What a command that took effect led to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the state machine answered.
    pub response: Response,
    /// A view that has its effect.
    pub view: View,
}

/// How the group of meta is, as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// Raft id of the leader.
    pub leader: Option<u64>,
    /// Whether this node leads.
    pub leads: bool,
    /// Raft ids of those that vote.
    pub voters: Vec<u64>,
    /// Raft ids of those that stand by.
    pub learners: Vec<u64>,
    /// Raft's term.
    pub term: u64,
    /// Position of the last entry that was applied here.
    pub applied: u64,
}

/// What knows who owns what: every role asks it, watches it, and proposes changes to it.
pub struct Meta {
    backend: Backend,
    feed: Arc<Feed>,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    timing: Timing,
    /// When, on the monotonic clock, the view was last known to lack nothing.
    contact: watch::Sender<Option<Duration>>,
    /// Turns true when this node leaves, so that it gives no more signs of heartbeats.
    leaving: watch::Sender<bool>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Meta {
    /// A node by itself: the state in a folder, without a network. Ready when this returns.
    pub async fn open(folder: &Path, identity: &str) -> Result<Meta, MetaError> {
        let (clock, connect) = (Arc::new(SystemClock::new()), Arc::new(Channels::new()));
        Meta::start(folder, MetaConfig::alone(identity), MetaComponents { clock, connect, exports: None }).await
    }

    /// A node with the meta role. Returns at once, or when it is ready if it is by itself; a node that has to find others
    /// needs its services mounted ([`Meta::add_services`]), and is ready when [`Meta::ready`] says so.
    pub async fn start(folder: &Path, config: MetaConfig, components: MetaComponents) -> Result<Meta, MetaError> {
        let alone = config.bootstrap == BootstrapMode::Alone;
        let timing = config.timing.clone();
        let group = Group::open(folder, config, &components).await?;
        let (founding, leading) = (bootstrap::run(group.clone()), leader::run(group.clone(), components.exports));
        let mut tasks = Vec::new();
        if alone {
            founding.await?;
        } else {
            tasks.push(tokio::spawn(async move {
                if let Err(error) = founding.await {
                    tracing::error!(%error, "this node could not come to its cluster");
                }
            }));
        }
        tasks.push(tokio::spawn(leading));
        let feed = group.feed.clone();
        let (clock, runtime) = (components.clock, Handle::current());
        let meta = Meta::of(Backend::Group(group), feed, clock, runtime, timing, tasks);
        if alone {
            meta.recovered().await?;
        }
        Ok(meta)
    }

    /// A node without the meta role, which follows those at these addresses.
    pub fn connect(addresses: Vec<String>, connect: Arc<dyn Connect>, clock: Arc<dyn Clock>) -> Meta {
        let follower = Follower::start(Remote::new(connect), addresses);
        let feed = follower.feed.clone();
        let (runtime, timing) = (Handle::current(), Timing::default());
        Meta::of(Backend::Follower(follower), feed, clock, runtime, timing, Vec::new())
    }

    /// Waits until what the log held at the start is applied, if this node is the only voter.
    async fn recovered(&self) -> Result<(), MetaError> {
        let Backend::Group(group) = &self.backend else { return Ok(()) };
        let own = *group.raft.node_id();
        let status = self.status();
        if status.voters.iter().any(|voter| *voter != own) {
            return Ok(());
        }
        let wait = group.raft.wait(Some(PROPOSE_TIME));
        let unavailable = |error: openraft::metrics::WaitError| MetaError::Unavailable(error.to_string());
        let led = wait.metrics(|metrics| metrics.current_leader == Some(own), "this node leads").await;
        let last = led.map_err(unavailable)?.last_log_index;
        wait.applied_index_at_least(last, "the log is applied").await.map_err(unavailable)?;
        if self.view().settings.is_none() {
            group.propose(Arc::new(leader::bootstrap_command(group)), false).await?;
        }
        self.ready().await;
        Ok(())
    }

    /// Waits until there is a cluster and this node has a view of it.
    pub async fn ready(&self) -> View {
        let mut watch = self.feed.watch();
        match watch.wait_for(|view| view.settings.is_some()).await {
            Ok(view) => view.clone(),
            Err(_) => self.view(),
        }
    }

    /// Adds what other nodes ask of this one, if it has the meta role.
    pub fn add_services(&self, routes: &mut RoutesBuilder) {
        let Backend::Group(group) = &self.backend else { return };
        let raft = RaftServer::new(RaftService { group: group.clone() });
        let meta = MetaServer::new(MetaService::new(group.clone()));
        routes
            .add_service(
                raft.max_decoding_message_size(MOST_MESSAGE_BYTES).max_encoding_message_size(MOST_MESSAGE_BYTES),
            )
            .add_service(
                meta.max_decoding_message_size(MOST_MESSAGE_BYTES).max_encoding_message_size(MOST_MESSAGE_BYTES),
            );
    }

    /// Makes a command durable on a majority and has it carried out. What it leads to is in the view when this returns.
    pub async fn propose(&self, command: impl Into<Command>) -> Result<Outcome, MetaError> {
        let answer = self.backend.propose(Arc::new(command.into())).await?;
        let response = answer.result?;
        let reached = tokio::time::timeout(PROPOSE_TIME, self.feed.reach(answer.version)).await;
        let late = |_| MetaError::Unavailable(format!("version {} did not reach this node in time", answer.version));
        Ok(Outcome { response, view: reached.map_err(late)? })
    }

    /// As [`Meta::propose`], for threads that may block; not for those of the runtime.
    pub fn propose_blocking(&self, command: impl Into<Command>) -> Result<Outcome, MetaError> {
        self.runtime.block_on(self.propose(command))
    }

    fn of(
        backend: Backend,
        feed: Arc<Feed>,
        clock: Arc<dyn Clock>,
        runtime: Handle,
        timing: Timing,
        tasks: Vec<tokio::task::JoinHandle<()>>,
    ) -> Meta {
        let (contact, leaving) = (watch::Sender::new(None), watch::Sender::new(false));
        Meta { backend, feed, clock, runtime, timing, contact, leaving, tasks: Mutex::new(tasks) }
    }

    /// Makes this node a member and keeps its lease from now on.
    pub async fn join(&self, member: Member) -> Result<View, MetaError> {
        let join = Command::Join { member: member.clone(), at_ms: self.clock.now_ms() };
        let entered = self.propose(join).await?.view;
        let interval = match member.has(Role::Agent) {
            true => self.timing.agent_heartbeat.min(self.timing.member_heartbeat),
            false => self.timing.member_heartbeat,
        };
        let heartbeats = HeartbeatTask {
            backend: self.backend.clone(),
            feed: self.feed.clone(),
            clock: self.clock.clone(),
            contact: self.contact.clone(),
            member,
            interval,
        };
        let (mut stop, mut leaving) = (self.backend.stopped(), self.leaving.subscribe());
        self.tasks.lock().push(tokio::spawn(async move {
            tokio::select! {
                () = heartbeats.run() => {}
                _ = stop.wait_for(|stop| *stop) => {}
                _ = leaving.wait_for(|leaving| *leaving) => {}
            }
        }));
        Ok(entered)
    }

    /// What its tasks run on.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Tells the others that this node is about to stop, and gives no more signs of heartbeats: it counts as down at once, its
    /// targets and leaders move, and when it comes back it is what it was before. A node that was drained is forgotten:
    /// when it comes back, it takes its share again.
    pub async fn leave(&self, node: &str) -> Result<View, MetaError> {
        self.leaving.send_replace(true);
        self.backend.heartbeat(node, true).await?;
        let view = self.view();
        let drained = view.member(node).is_some_and(|member| member.draining) && view.shards_of(node).next().is_none();
        let (node, at_ms) = (node.to_string(), self.clock.now_ms());
        let command = match drained {
            true => Command::ForgetMember { node },
            false => Command::SetMemberState { node, state: MemberState::Down, at_ms },
        };
        let view = self.propose(command).await?.view;
        // What others have to know is known; nothing is worth waiting for until this node ends.
        self.contact.send_replace(Some(Duration::MAX));
        Ok(view)
    }

    /// The clock of this part of meta, by which [`Meta::contact`] counts.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The moment, on the monotonic clock, of which the view is known to lack nothing that had been agreed on before it.
    /// Goes on with every sign of heartbeats that this node gives; none before the first.
    pub fn contact(&self) -> watch::Receiver<Option<Duration>> {
        self.contact.subscribe()
    }

    /// The newest view.
    pub fn view(&self) -> View {
        self.feed.view()
    }

    /// A watch on the view.
    pub fn watch(&self) -> watch::Receiver<View> {
        self.feed.watch()
    }

    /// How the group is; nothing is known of it on a node without the meta role.
    pub fn status(&self) -> GroupStatus {
        let Backend::Group(group) = &self.backend else { return GroupStatus::default() };
        let metrics = group.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        GroupStatus {
            leader: metrics.current_leader,
            leads: metrics.state.is_leader(),
            voters: membership.voter_ids().collect(),
            learners: membership.learner_ids().collect(),
            term: metrics.current_term,
            applied: metrics.last_applied.map_or(0, |applied| applied.index),
        }
    }

    /// As [`Meta::status`]; a node without the meta role asks one that has it.
    pub async fn group(&self) -> Result<GroupStatus, MetaError> {
        let Backend::Follower(follower) = &self.backend else { return Ok(self.status()) };
        let answer = follower.describe().await?;
        Ok(GroupStatus {
            leader: (answer.leader != 0).then_some(answer.leader),
            leads: false,
            voters: answer.voters,
            learners: answer.learners,
            term: answer.term,
            applied: answer.applied,
        })
    }

    /// Waits until this node's part of the group has ended by itself, and says why: its disk failed, mostly. From then on this
    /// node neither votes nor hears of changes until its process starts anew. Never returns after [`Meta::shutdown`], or on a
    /// node without the meta role.
    pub async fn failed(&self) -> String {
        match &self.backend {
            Backend::Group(group) => group.failed().await,
            Backend::Follower(_) => std::future::pending().await,
        }
    }

    /// Writes a snapshot now and drops the log that it holds, as far as Raft finds that right.
    pub async fn compact(&self) -> Result<(), MetaError> {
        let Backend::Group(group) = &self.backend else { return Ok(()) };
        group.raft.trigger().snapshot().await.map_err(|fatal| MetaError::Stopped(fatal.to_string()))
    }

    /// Ends the work, so that the folder can be opened again. The view stays readable.
    pub async fn shutdown(&self) {
        match &self.backend {
            Backend::Group(group) => group.shutdown().await,
            Backend::Follower(follower) => {
                follower.stop.send_replace(true);
            }
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of meta ended unexpectedly");
            }
        }
    }
}

impl Drop for Meta {
    fn drop(&mut self) {
        match &self.backend {
            Backend::Group(group) => {
                group.stop.send_replace(true);
            }
            Backend::Follower(follower) => {
                follower.stop.send_replace(true);
            }
        }
    }
}

#[cfg(test)]
mod tests;
