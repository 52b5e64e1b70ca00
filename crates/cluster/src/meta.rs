//! The handle through which every role reads, watches and changes the cluster state.
//!
//! Behind it is a node of the Raft group ([`crate::group`]) or a node that follows the group ([`crate::follow`]).

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use pharos_model::{Clock, SystemClock};
use pharos_transport::meta_v1::meta_server::MetaServer;
use pharos_transport::meta_v1::raft_server::RaftServer;
use pharos_transport::meta_v1::{DescribeAnswer, HeartbeatRequest};
use pharos_transport::{Channels, Connect};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::service::RoutesBuilder;

use crate::backend::Backend;
use crate::bootstrap;
use crate::cluster_clock::ClusterClock;
use crate::config::{BootstrapMode, MetaComponents, MetaConfig, Timing};
use crate::error::MetaError;
use crate::export_task;
use crate::feed::Feed;
use crate::follow::Follower;
use crate::group::{Group, PROPOSE_TIMEOUT};
use crate::heartbeat_task::HeartbeatTask;
use crate::leader;
use crate::proof::{ProveView, Prover, Unproven};
use crate::raft::network::MAX_MESSAGE_BYTES;
use crate::raft::service::RaftService;
use crate::raft::types::raft_id;
use crate::remote::Remote;
use crate::service::MetaService;
use crate::slots::{SlotOwner, Slots};
use crate::state::{Command, Member, MemberState, Response};
use crate::view::View;

/// Interval of log lines while a start reads the log.
const RECOVERY_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How long the leader may take to say what it knows of the clocks. The rest of the status does not wait longer for it.
const CLOCKS_TIMEOUT: Duration = Duration::from_millis(500);

/// The result of a command that took effect.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The answer of the state machine.
    pub response: Response,
    /// A view that includes the effect.
    pub view: View,
}

/// The state of the Raft group as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// Raft id of the leader.
    pub leader: Option<u64>,
    /// Whether this node leads.
    pub leads: bool,
    /// Raft ids of the voters.
    pub voters: Vec<u64>,
    /// Raft ids of the nodes that hold the log without a vote.
    pub learners: Vec<u64>,
    /// Raft's term.
    pub term: u64,
    /// Index of the last log entry that was applied on this node.
    pub applied: u64,
    /// How far the members' wall clocks are ahead of the cluster's time, milliseconds. Empty when the leader does not answer.
    pub clocks: BTreeMap<String, i64>,
}

/// A node's access to the cluster state. Every role reads it, watches it and proposes changes to it.
pub struct Meta {
    pub(crate) backend: Backend,
    feed: Arc<Feed>,
    clock: Arc<dyn Clock>,
    time: Arc<ClusterClock>,
    runtime: Handle,
    timing: Timing,
    prover: Prover,
    /// When, on the monotonic clock, the view was last known to be current.
    contact: watch::Sender<Option<Duration>>,
    /// Turns true when this node leaves, which ends its heartbeats.
    leaving: watch::Sender<bool>,
    /// Whether this node cannot write its samples, as its heartbeats say.
    unwritable: Arc<AtomicBool>,
    incomplete: Arc<AtomicBool>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

/// Asynchronous operations return boxed futures. Their bodies, and all of Raft below them, would otherwise be compiled
/// again in every crate that awaits one.
impl Meta {
    /// Opens a single-node cluster whose state is in a folder, without a network. Ready when this returns.
    pub async fn open(folder: &Path, identity: &str) -> Result<Meta, MetaError> {
        let components =
            MetaComponents { clock: Arc::new(SystemClock::new()), connect: Arc::new(Channels::new()), exports: None };
        Meta::start(folder, MetaConfig::alone(identity), components).await
    }

    /// Starts a node with the meta role.
    ///
    /// A single-node cluster is ready when this returns. A node that has to find others returns at once: mount its services
    /// ([`Meta::add_services`]) and await [`Meta::ready`].
    pub fn start<'a>(
        folder: &'a Path,
        config: MetaConfig,
        components: MetaComponents,
    ) -> BoxFuture<'a, Result<Meta, MetaError>> {
        Box::pin(async move {
            let alone = config.bootstrap == BootstrapMode::Alone;
            let timing = config.timing.clone();
            let time = ClusterClock::new(components.clock.clone());
            let group = Group::open(folder, config, &components, time.clone()).await?;
            let founding = bootstrap::run(group.clone());
            let leading = leader::run(group.clone());
            let mut tasks = Vec::new();
            if alone {
                founding.await?;
            } else {
                tasks.push(tokio::spawn(async move {
                    if let Err(error) = founding.await {
                        tracing::error!(%error, "this node could neither found nor join a cluster");
                    }
                }));
            }
            tasks.push(tokio::spawn(leading));
            if let Some(objects) = components.exports {
                tasks.push(tokio::spawn(export_task::run(group.clone(), objects)));
            }
            let feed = group.feed.clone();
            let meta = Meta::new(Backend::Group(group), feed, components.clock, time, timing, tasks);
            if alone {
                meta.recovered().await?;
            }
            Ok(meta)
        })
    }

    /// Starts a node without the meta role, which follows the meta nodes at these addresses.
    pub fn connect(identity: &str, addresses: Vec<String>, connect: Arc<dyn Connect>, clock: Arc<dyn Clock>) -> Meta {
        let follower = Follower::start(Remote::new(connect), identity, addresses);
        let feed = follower.feed.clone();
        let time = ClusterClock::new(clock.clone());
        Meta::new(Backend::Follower(follower), feed, clock, time, Timing::default(), Vec::new())
    }

    /// Waits until the log that was on disk at the start is applied, if this node is the only voter.
    async fn recovered(&self) -> Result<(), MetaError> {
        let Backend::Group(group) = &self.backend else { return Ok(()) };
        let own = *group.raft.node_id();
        let status = self.status();
        if status.voters.iter().any(|voter| *voter != own) {
            return Ok(());
        }
        // However slow the disk is: a start that gave up would begin again. The waits end with an error when Raft fails.
        let wait = group.raft.wait(None);
        let stopped = |error: openraft::metrics::WaitError| MetaError::Stopped(error.to_string());
        let recovering = async {
            let led = wait.metrics(|metrics| metrics.current_leader == Some(own), "this node leads").await;
            let last = led.map_err(stopped)?.last_log_index;
            wait.applied_index_at_least(last, "the log is applied").await.map_err(stopped)?;
            if self.view().settings.is_none() {
                group.propose(Arc::new(leader::bootstrap_command(group)), false).await?;
            }
            self.ready().await;
            Ok(())
        };
        let mut recovering = pin!(recovering);
        loop {
            match tokio::time::timeout(RECOVERY_LOG_INTERVAL, &mut recovering).await {
                Ok(recovered) => return recovered,
                Err(_) => tracing::warn!(
                    applied = self.status().applied,
                    "still reading the cluster log; waiting until it is applied"
                ),
            }
        }
    }

    /// Waits until the cluster exists and this node has a view of it.
    pub fn ready(&self) -> BoxFuture<'_, View> {
        Box::pin(async move {
            let mut watch = self.feed.watch();
            match watch.wait_for(|view| view.settings.is_some()).await {
                Ok(view) => view.clone(),
                Err(_) => self.view(),
            }
        })
    }

    /// Mounts the gRPC services of a node with the meta role; does nothing on other nodes.
    pub fn add_services(&self, routes: &mut RoutesBuilder) {
        let Backend::Group(group) = &self.backend else { return };
        let raft = RaftServer::new(RaftService { group: group.clone() });
        let meta = MetaServer::new(MetaService::new(group.clone()));
        routes
            .add_service(raft.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
            .add_service(
                meta.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
            );
    }

    /// Makes a command durable on a majority and applies it. The view of this node includes its effect when this returns.
    pub fn propose(&self, command: impl Into<Command>) -> BoxFuture<'_, Result<Outcome, MetaError>> {
        self.propose_command(command.into())
    }

    fn propose_command(&self, command: Command) -> BoxFuture<'_, Result<Outcome, MetaError>> {
        Box::pin(async move {
            let answer = self.backend.propose(Arc::new(command)).await?;
            let response = answer.result?;
            let reached = tokio::time::timeout(PROPOSE_TIMEOUT, self.feed.reach(answer.version)).await;
            let late =
                |_| MetaError::Unavailable(format!("version {} did not reach this node in time", answer.version));
            Ok(Outcome { response, view: reached.map_err(late)? })
        })
    }

    /// As [`Meta::propose`], for threads that may block. Panics on a thread of the runtime.
    pub fn propose_blocking(&self, command: impl Into<Command>) -> Result<Outcome, MetaError> {
        self.runtime.block_on(self.propose(command))
    }

    fn new(
        backend: Backend,
        feed: Arc<Feed>,
        clock: Arc<dyn Clock>,
        time: Arc<ClusterClock>,
        timing: Timing,
        tasks: Vec<tokio::task::JoinHandle<()>>,
    ) -> Meta {
        let contact = watch::Sender::new(None);
        Meta {
            prover: Prover::new(backend.clone(), feed.clone(), clock.clone(), contact.subscribe()),
            backend,
            feed,
            clock,
            time,
            runtime: Handle::current(),
            timing,
            contact,
            leaving: watch::Sender::new(false),
            unwritable: Arc::default(),
            incomplete: Arc::default(),
            tasks: Mutex::new(tasks),
        }
    }

    /// Makes this node a member and sends its heartbeats from now on. Returns a view that lists it.
    pub fn join(&self, member: Member) -> BoxFuture<'_, Result<View, MetaError>> {
        Box::pin(async move {
            let join = Command::Join { member: member.clone(), at_ms: self.clock.now_ms() };
            let joined = self.propose(join).await?.view;
            let interval = match member.is_missed_soon() {
                true => self.timing.agent_heartbeat.min(self.timing.member_heartbeat),
                false => self.timing.member_heartbeat,
            };
            let heartbeats = HeartbeatTask {
                backend: self.backend.clone(),
                feed: self.feed.clone(),
                time: self.time.clone(),
                contact: self.contact.clone(),
                member,
                unwritable: self.unwritable.clone(),
                incomplete: self.incomplete.clone(),
                interval,
            };
            let mut stop = self.backend.stopped();
            let mut leaving = self.leaving.subscribe();
            self.tasks.lock().push(tokio::spawn(async move {
                tokio::select! {
                    () = heartbeats.run() => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                    _ = leaving.wait_for(|leaving| *leaving) => {}
                }
            }));
            Ok(joined)
        })
    }

    /// Announces that this node is about to stop and ends its heartbeats.
    ///
    /// It counts as down at once, so its targets and leaders move, and if it leads meta, another voter takes over; when it returns it takes up its old place. A drained
    /// node is forgotten instead, and takes its share again when it returns.
    pub fn leave<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<View, MetaError>> {
        Box::pin(async move {
            self.leaving.send_replace(true);
            let leave = HeartbeatRequest { node: node.into(), leaving: true, ..HeartbeatRequest::default() };
            self.backend.heartbeat(leave).await?;
            let view = self.view();
            let drained =
                view.member(node).is_some_and(|member| member.draining) && view.shards_of(node).next().is_none();
            let node = node.to_string();
            let command = match drained {
                true => Command::ForgetMember { node },
                false => Command::SetMemberState { node, state: MemberState::Down, at_ms: self.clock.now_ms() },
            };
            let view = self.propose(command).await?.view;
            if let Backend::Group(group) = &self.backend {
                group.step_down().await;
            }
            // The others know. Nobody in this process needs to wait for a newer view any more.
            self.contact.send_replace(Some(Duration::MAX));
            Ok(view)
        })
    }

    /// Says in heartbeats from now on whether this node can write the samples that it receives. A node that cannot stays a
    /// member, but receives no replicas and leads no shards that another node can lead.
    pub fn set_writable(&self, writable: bool) {
        self.unwritable.store(!writable, Ordering::Relaxed);
    }

    /// What [`Meta::set_writable`] said last; true before.
    pub fn is_writable(&self) -> bool {
        !self.unwritable.load(Ordering::Relaxed)
    }

    /// Says in heartbeats from now on whether this node's log has lost samples. As long as it may be the only one in sync, no other
    /// replica of its shards is removed, however long it has been away.
    pub fn set_incomplete(&self, incomplete: bool) {
        self.incomplete.store(incomplete, Ordering::Relaxed);
    }

    /// The clock that [`Meta::contact`] reads.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The time that the cluster goes by, to which heartbeats keep this node.
    pub fn cluster_clock(&self) -> &Arc<ClusterClock> {
        &self.time
    }

    /// The latest time on the monotonic clock for which the view is known to contain everything agreed on before it. Advances
    /// with every heartbeat of this node; none before the first.
    pub fn contact(&self) -> watch::Receiver<Option<Duration>> {
        self.contact.subscribe()
    }

    /// This node as an owner of slots, which go by the cluster's time.
    pub fn slot_owner(&self, identity: &str, slots: Slots) -> SlotOwner {
        SlotOwner::new(identity, slots, self.watch(), self.contact(), self.time.clone())
    }

    /// The newest view.
    pub fn view(&self) -> View {
        self.feed.view()
    }

    /// A receiver that sees every new view.
    pub fn watch(&self) -> watch::Receiver<View> {
        self.feed.watch()
    }

    /// Blocks until the view satisfies a condition, but no longer than `timeout`. Returns the newest view either way.
    pub fn await_view_blocking(&self, timeout: Duration, condition: impl Fn(&View) -> bool) -> View {
        let view = self.view();
        if condition(&view) {
            return view;
        }
        let mut watch = self.watch();
        let waiting = async {
            let _late_or_ended = tokio::time::timeout(timeout, watch.wait_for(condition)).await;
        };
        self.runtime.block_on(waiting);
        self.view()
    }

    /// The state of the Raft group; empty on a node without the meta role.
    pub fn status(&self) -> GroupStatus {
        let Backend::Group(group) = &self.backend else { return GroupStatus::default() };
        // Before the metrics are borrowed: a thread that borrows them twice waits forever for a change that waits for it.
        let clocks = group.clock_offsets();
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
            clocks,
        }
    }

    /// As [`Meta::status`], but a node without the meta role asks one that has it, and the clocks are asked of the leader.
    pub fn group(&self) -> BoxFuture<'_, Result<GroupStatus, MetaError>> {
        Box::pin(async move {
            let (remote, mut status) = match &self.backend {
                Backend::Group(group) => (&group.remote, self.status()),
                Backend::Follower(follower) => (&follower.remote, described(&follower.describe().await?)),
            };
            if !status.leads
                && let Some(leader) = status.leader
                && let Some(member) = self.view().members.values().find(|member| raft_id(&member.id) == leader).cloned()
                && let Ok(Ok(answer)) = tokio::time::timeout(CLOCKS_TIMEOUT, remote.describe(&member.address)).await
            {
                status.clocks = described(&answer).clocks;
            }
            Ok(status)
        })
    }

    /// Waits until Raft fails on this node and returns the reason, which is usually its disk.
    ///
    /// From then on this node neither votes nor sees changes until its process restarts. Never returns after
    /// [`Meta::shutdown`], or on a node without the meta role.
    pub fn failed(&self) -> BoxFuture<'_, String> {
        Box::pin(async move {
            match &self.backend {
                Backend::Group(group) => group.failed().await,
                Backend::Follower(_) => std::future::pending().await,
            }
        })
    }

    /// Triggers a snapshot, after which Raft purges the log up to it.
    pub fn compact(&self) -> BoxFuture<'_, Result<(), MetaError>> {
        Box::pin(async move {
            let Backend::Group(group) = &self.backend else { return Ok(()) };
            group.raft.trigger().snapshot().await.map_err(|fatal| MetaError::Stopped(fatal.to_string()))
        })
    }

    /// Stops all work, so that the folder can be opened again. The view stays readable.
    pub fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match &self.backend {
                Backend::Group(group) => group.shutdown().await,
                Backend::Follower(_) => self.backend.stop(),
            }
            let tasks = std::mem::take(&mut *self.tasks.lock());
            for task in tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a background task of meta panicked");
                }
            }
        })
    }
}

fn described(answer: &DescribeAnswer) -> GroupStatus {
    GroupStatus {
        leader: (answer.leader != 0).then_some(answer.leader),
        leads: false,
        voters: answer.voters.clone(),
        learners: answer.learners.clone(),
        term: answer.term,
        applied: answer.applied,
        clocks: answer.clocks.iter().map(|clock| (clock.node.clone(), clock.ahead_ms)).collect(),
    }
}

impl ProveView for Meta {
    fn prove(&self) -> BoxFuture<'_, Result<View, Unproven>> {
        Box::pin(self.prover.prove())
    }
}

impl Drop for Meta {
    fn drop(&mut self) {
        self.backend.stop();
    }
}

#[cfg(test)]
mod tests;
