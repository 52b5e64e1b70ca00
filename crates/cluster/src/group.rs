//! A node of the Raft group: its Raft instance, and how it takes proposals, heartbeats and pledges.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, RaftError};
use openraft::{BasicNode, Config, Instant, RaftMetrics, ReadPolicy, SnapshotPolicy};
use parking_lot::Mutex;
use pharos_model::Clock;
use pharos_transport::meta_v1::{HeartbeatAnswer, HeartbeatRequest};
use tokio::sync::watch;
use tonic::Status;

use crate::clocks::{Clocks, Crossing};
use crate::cluster_clock::ClusterClock;
use crate::config::{BootstrapMode, MetaComponents, MetaConfig};
use crate::error::MetaError;
use crate::feed::Feed;
use crate::heartbeats::Heard;
use crate::raft::disk::Disk;
use crate::raft::log_store::LogStore;
use crate::raft::machine::Machine;
use crate::raft::network::Network;
use crate::raft::types::{Answer, Proposal, Types, raft_id};
use crate::remote::Remote;
use crate::rounds::Rounds;
use crate::state::Command;
use crate::view::View;

/// How long a command is retried while the group has no leader.
pub(crate) const PROPOSE_TIMEOUT: Duration = Duration::from_secs(15);
/// Wait before a command is retried.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// Maximum time for a majority to confirm that this node leads.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a leader that stops waits for its successor.
const STEP_DOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a pledge to a candidate for founding the cluster holds.
const PLEDGE_LEASE: Duration = Duration::from_secs(10);
const DISK_FULL: &str = "the disk of this node's cluster log is full";
const NO_LEADER: &str = "no leader is known";

/// A running Raft over the state machine of the cluster.
pub(crate) type Raft = openraft::Raft<Types, Machine>;

/// This node's part in the group.
pub(crate) struct Group {
    pub(crate) config: MetaConfig,
    pub(crate) raft: Raft,
    pub(crate) disk: Arc<Disk>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The time with which this node stamps commands while it leads.
    pub(crate) time: Arc<ClusterClock>,
    pub(crate) remote: Remote,
    /// When this node, if it leads, heard of each member.
    pub(crate) heard: Mutex<Heard>,
    /// The members that said in their last heartbeat that they cannot write.
    pub(crate) unwritable: Mutex<BTreeSet<String>>,
    /// What members reported of their clocks while this node led.
    clocks: Mutex<Clocks>,
    /// Identifies this process's monotonic clock.
    clock_id: u64,
    /// When this node last heard of its leader, on its monotonic clock.
    heard_leader: Mutex<Option<Duration>>,
    /// The candidate that holds this node's pledge, and until when.
    pledged: Mutex<Option<(String, Duration)>>,
    /// Confirmations that this node leads. Each returns the version of its view at that time.
    confirmations: Rounds<Result<u64, String>>,
    /// Read indexes of the leader, if that is another node.
    forwarded: Rounds<Result<u64, String>>,
    pub(crate) stop: watch::Sender<bool>,
}

/// A number that tells the monotonic clock of this process from those of others. Never 0.
fn clock_id(identity: &str, clock: &dyn Clock) -> u64 {
    raft_id(&format!("{identity} since {}", clock.now_ms())).max(1)
}

fn raft_config(config: &MetaConfig) -> Result<Arc<Config>, MetaError> {
    let millis = |time: Duration| time.as_millis() as u64;
    let timing = &config.timing;
    let config = Config {
        cluster_name: "pharos".into(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election),
        election_timeout_max: millis(timing.election * 2),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(timing.commands_per_snapshot),
        max_in_snapshot_log_to_keep: timing.commands_per_snapshot / 4,
        replication_lag_threshold: timing.commands_per_snapshot,
        max_payload_entries: 64,
        // The defaults allocate 60 MB at the start of every process.
        api_channel_size: Some(1024),
        notification_channel_size: Some(4096),
        enable_pre_vote: Some(true),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|e| MetaError::Storage(io::Error::other(e.to_string())))
}

impl Group {
    /// Opens the log and state in a folder and starts Raft.
    pub(crate) async fn open(
        folder: &Path,
        config: MetaConfig,
        components: &MetaComponents,
        time: Arc<ClusterClock>,
    ) -> Result<Arc<Group>, MetaError> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("raft.redb");
        let (identity, cluster) = (config.identity.clone(), components.connect.identity());
        let opened = tokio::task::spawn_blocking(move || {
            let disk = Arc::new(Disk::open(&path, &identity)?);
            let machine = Machine::open(disk.clone(), cluster)?;
            io::Result::Ok((disk, machine))
        });
        let (disk, machine) = opened.await.map_err(io::Error::other)??;
        let feed = machine.feed().clone();
        let network = Network { connect: components.connect.clone() };
        let log = LogStore::new(disk.clone());
        let raft = Raft::new(raft_id(&config.identity), raft_config(&config)?, network, log, machine).await;
        Ok(Arc::new(Group {
            raft: raft.map_err(|fatal| MetaError::Stopped(fatal.to_string()))?,
            disk,
            feed,
            clock_id: clock_id(&config.identity, &*components.clock),
            clock: components.clock.clone(),
            time,
            remote: Remote::new(components.connect.clone()),
            heard: Mutex::default(),
            unwritable: Mutex::default(),
            clocks: Mutex::default(),
            heard_leader: Mutex::default(),
            pledged: Mutex::default(),
            confirmations: Rounds::default(),
            forwarded: Rounds::default(),
            stop: watch::Sender::new(false),
            config,
        }))
    }

    /// Founds a group with these voters, unless this node is in one already.
    pub(crate) async fn found(&self, voters: BTreeMap<u64, BasicNode>) -> Result<(), MetaError> {
        match self.raft.initialize(voters).await {
            Ok(()) => Ok(()),
            // Already in a group.
            Err(RaftError::APIError(_)) => Ok(()),
            Err(RaftError::Fatal(fatal)) => Err(MetaError::Stopped(fatal.to_string())),
        }
    }

    /// Whether this node belongs to a group.
    pub(crate) async fn is_initialized(&self) -> bool {
        self.raft.is_initialized().await.unwrap_or(false)
    }

    /// Pledges to let a candidate found the cluster. Refused while another candidate holds the pledge, and once there is a
    /// cluster.
    pub(crate) async fn pledge(&self, candidate: &str) -> bool {
        if self.is_initialized().await {
            return false;
        }
        let now = self.clock.monotonic();
        let mut pledged = self.pledged.lock();
        if pledged.as_ref().is_some_and(|(other, until)| other != candidate && now < *until) {
            return false;
        }
        *pledged = Some((candidate.to_string(), now + PLEDGE_LEASE));
        true
    }

    /// Applies a command through this node or the leader. A command that was forwarded once is not forwarded again.
    pub(crate) async fn propose(&self, command: Arc<Command>, forwarded: bool) -> Result<Answer, MetaError> {
        let tried = self.unless_the_disk_is_full(self.propose_until_done(command, forwarded));
        let late = |_| MetaError::Unavailable(format!("no leader took the command within {PROPOSE_TIMEOUT:?}"));
        tokio::time::timeout(PROPOSE_TIMEOUT, tried).await.map_err(late)?
    }

    /// Gives up on work as soon as the disk of the log is full, so that another node is asked: Raft on this node answers nothing
    /// until there is space.
    async fn unless_the_disk_is_full<T>(
        &self,
        work: impl Future<Output = Result<T, MetaError>>,
    ) -> Result<T, MetaError> {
        tokio::select! {
            done = work => done,
            () = self.disk.full() => Err(MetaError::Unavailable(DISK_FULL.into())),
        }
    }

    async fn propose_until_done(&self, command: Arc<Command>, forwarded: bool) -> Result<Answer, MetaError> {
        loop {
            if let Some(refused) = self.refuse_unsupported(&command) {
                return Ok(refused);
            }
            let made_now = if self.raft.is_leader() { command.made_at(self.time.now_ms()) } else { None };
            let proposal = Proposal(made_now.map_or_else(|| command.clone(), Arc::new));
            let forward = match self.raft.client_write(proposal).await {
                Ok(written) => {
                    self.note_joined(&command);
                    return Ok(written.data);
                }
                Err(RaftError::Fatal(fatal)) => return Err(MetaError::Stopped(fatal.to_string())),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => forward,
                // The entry may still be in another leader's log. Commands are idempotent, so sending it twice is safe.
                Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(forward))) => forward,
                Err(RaftError::APIError(error)) => return Err(MetaError::Unavailable(error.to_string())),
            };
            if forwarded {
                return Err(MetaError::Unavailable("this node is not the leader".into()));
            }
            let elsewhere = forward.leader_id.is_some_and(|leader| leader != *self.raft.node_id());
            let leader = forward.leader_node.filter(|_| elsewhere).map(|node| (node.addr, true));
            let asked = leader.into_iter().chain(self.others_to_ask().await);
            for (address, is_leader) in asked {
                let proposed = self.remote.propose(&address, &command, is_leader);
                let proposed = async { proposed.await.map_err(|status| status.message().to_string()) };
                match if is_leader { self.while_leading(&address, proposed).await } else { proposed.await } {
                    Ok(answer) => return Ok(answer),
                    Err(reason) => {
                        tracing::debug!(address, reason, "meta node did not take the command; trying the next")
                    }
                }
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// The refusal of a command that some member could not read, if this node leads.
    pub(crate) fn refuse_unsupported(&self, command: &Command) -> Option<Answer> {
        if command.protocol() == 0 || !self.raft.is_leader() {
            return None;
        }
        let view = self.feed.view();
        let refusal = view.supports(command.protocol()).err()?;
        Some(Answer { version: view.version, result: Err(refusal) })
    }

    /// The join addresses while this node is in no group; none afterwards.
    async fn others_to_ask(&self) -> Vec<(String, bool)> {
        let join = if self.is_initialized().await { &[][..] } else { &self.config.join };
        let others = join.iter().filter(|address| **address != self.config.address);
        others.map(|address| (address.clone(), false)).collect()
    }

    /// Returns a version that includes everything agreed on before this call. A leader returns its own once a majority has
    /// confirmed that it leads, and its log is applied; any other node asks the leader. A request that was forwarded once is
    /// not forwarded again.
    pub(crate) async fn read_index(self: &Arc<Self>, forwarded: bool) -> Result<u64, MetaError> {
        let group = self.clone();
        let round = if self.raft.is_leader() || forwarded {
            self.confirmations.join(|| async move { group.confirm().await })
        } else {
            self.forwarded.join(|| async move { group.ask_leader().await })
        };
        self.unless_the_disk_is_full(async { round.await.map_err(MetaError::Unavailable) }).await
    }

    /// Asks the leader for its version.
    async fn ask_leader(&self) -> Result<u64, String> {
        let leader = self.leader_address().ok_or(NO_LEADER)?;
        let asked = self.remote.read_index(&leader, true);
        let asked = async { asked.await.map_err(|status| format!("leader {leader}: {}", status.message())) };
        self.while_leading(&leader, asked).await
    }

    /// Waits for the answer of a leader, and gives up as soon as it no longer leads, because a dead leader does not answer.
    async fn while_leading<T>(
        &self,
        leader: &str,
        asked: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        tokio::select! {
            answer = asked => answer,
            () = self.deposed(leader) => Err(format!("{leader} no longer leads")),
        }
    }

    /// Waits until the node at an address no longer leads, as far as this node knows.
    async fn deposed(&self, leader: &str) {
        let mut metrics = self.raft.metrics();
        while self.leader_address().as_deref() == Some(leader) {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until a majority has confirmed that this node leads, and returns the version of its view, which then includes
    /// everything that was committed before.
    async fn confirm(&self) -> Result<u64, String> {
        let confirming = async {
            self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await.map_err(|error| error.to_string())?;
            // A leader's log contains everything that was committed. After a restart in its own term it does not know how much of
            // the log that is, so Raft's read index may be too low.
            let last = self.raft.with_raft_state(|state| state.log_ids.last().map(|id| id.index)).await;
            let last = last.map_err(|fatal| fatal.to_string())?;
            let applied = self.raft.wait(None).applied_index_at_least(last, "the leader's log is applied").await;
            applied.map_err(|error| error.to_string()).map(|_| self.feed.view().version)
        };
        let late = |_| Err(format!("no majority confirmed within {CONFIRM_TIMEOUT:?} that this node leads"));
        tokio::time::timeout(CONFIRM_TIMEOUT, confirming).await.unwrap_or_else(late)
    }

    fn note_joined(&self, command: &Command) {
        if let Command::Join { member, .. } = command {
            self.heard.lock().joined(&member.id, self.clock.monotonic());
        }
    }

    /// Whether this node is the only voter, so that nothing is committed without it.
    pub(crate) fn is_alone(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        // A node that starts has no voters at first.
        metrics.current_leader == Some(metrics.id)
            && metrics.membership_config.membership().voter_ids().eq([metrics.id])
    }

    /// Records a member's heartbeat or departure if this node leads; forwards it to the leader otherwise. A heartbeat is
    /// answered once a majority has confirmed the leader, because the answer tells the member how new a view has to be.
    pub(crate) async fn heartbeat(self: &Arc<Self>, beat: HeartbeatRequest) -> Result<HeartbeatAnswer, Status> {
        if self.disk.is_full() {
            return Err(Status::unavailable(DISK_FULL));
        }
        if self.raft.is_leader() {
            return self.note_heartbeat(beat).await;
        }
        let Some(leader) = self.leader_address().filter(|_| !beat.forwarded) else {
            for (address, _) in self.others_to_ask().await {
                if let Ok(answer) = self.remote.heartbeat(&address, beat.clone()).await {
                    return Ok(answer);
                }
            }
            return Err(Status::unavailable(NO_LEADER));
        };
        self.remote.heartbeat(&leader, HeartbeatRequest { forwarded: true, ..beat }).await
    }

    async fn note_heartbeat(self: &Arc<Self>, beat: HeartbeatRequest) -> Result<HeartbeatAnswer, Status> {
        let view = self.feed.view();
        let received = self.clock.monotonic();
        let known = view.member(&beat.node).is_some();
        self.note_writable(&beat, known);
        if beat.leaving {
            self.heard.lock().left(&beat.node);
            return Ok(HeartbeatAnswer { known, version: view.version, ..HeartbeatAnswer::default() });
        }
        if known {
            self.heard.lock().beat(&beat.node, beat.incomplete, received);
        }
        let version = self.read_index(true).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let known = self.feed.view().member(&beat.node).is_some();
        let answer = HeartbeatAnswer { known, version, ..HeartbeatAnswer::default() };
        if self.config.bootstrap == BootstrapMode::Alone {
            return Ok(answer);
        }
        Ok(HeartbeatAnswer {
            clock: self.clock_id,
            received_ms: received.as_millis() as u64,
            time_ms: self.note_clock(&beat, &view),
            answered_ms: self.clock.monotonic().as_millis() as u64,
            ..answer
        })
    }

    /// Takes what a member measured of its wall clock. Returns the cluster's time minus this node's monotonic clock.
    fn note_clock(&self, beat: &HeartbeatRequest, view: &View) -> Option<i64> {
        let mut clocks = self.clocks.lock();
        let is_live = |node: &str| view.member(node).is_some_and(|member| member.state.is_live());
        clocks.retain(is_live);
        if beat.clock == self.clock_id && is_live(&beat.node) {
            clocks.note(&beat.node, beat.wall_ms);
        }
        let live = view.members.values().filter(|member| member.state.is_live()).count();
        let time = clocks.time(live, self.time.base_ms())?;
        let node = &beat.node;
        match clocks.crossed(node, time) {
            Some(Crossing::Far(ahead_ms)) => {
                tracing::warn!(
                    node,
                    ahead_ms,
                    "the wall clock of a member is wrong; its scrapes go by the cluster's time"
                )
            }
            Some(Crossing::Near) => tracing::info!(node, "the wall clock of a member is right again"),
            None => {}
        }
        Some(time)
    }

    /// How far the members' wall clocks are ahead of the cluster's time, milliseconds; nothing while another node leads.
    pub(crate) fn clock_offsets(&self) -> BTreeMap<String, i64> {
        match self.raft.is_leader() {
            true => self.clocks.lock().offsets(self.time.base_ms()),
            false => BTreeMap::new(),
        }
    }

    /// Records whether a member can write. Changes are logged.
    fn note_writable(&self, beat: &HeartbeatRequest, known: bool) {
        let mut unwritable = self.unwritable.lock();
        if known && beat.unwritable && !beat.leaving {
            if unwritable.insert(beat.node.clone()) {
                tracing::warn!(node = beat.node, "member cannot write its log; it receives no replicas until it can");
            }
        } else if unwritable.remove(&beat.node) {
            tracing::info!(node = beat.node, "member can write its log again, or is leaving");
        }
    }

    /// Records that the leader has sent a message.
    pub(crate) fn note_leader_contact(&self) {
        *self.heard_leader.lock() = Some(self.clock.monotonic());
    }

    /// Whether this node sees changes: its leader sent something recently, or it leads and a majority answers.
    pub(crate) fn is_in_touch(&self) -> bool {
        if self.disk.is_full() {
            return false;
        }
        let lately = 5 * self.config.timing.election;
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.current_leader == Some(metrics.id) {
            let is_alone = metrics.membership_config.membership().voter_ids().count() == 1;
            return is_alone || metrics.last_quorum_acked.as_ref().is_some_and(|at| at.elapsed() < lately);
        }
        let heard = *self.heard_leader.lock();
        heard.is_some_and(|at| self.clock.monotonic().saturating_sub(at) < lately)
    }

    /// The address of the leader if that is another node.
    fn leader_address(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.filter(|leader| *leader != metrics.id)?;
        metrics.membership_config.membership().get_node(&leader).map(|node| node.addr.clone())
    }

    /// Waits until Raft fails and returns the reason, which is usually the disk. Only a restart of the process helps then.
    pub(crate) async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            let state = metrics.borrow_watched().running_state.clone();
            match state {
                Ok(()) => {}
                Err(Fatal::Stopped) => return std::future::pending().await,
                Err(fatal) => return fatal.to_string(),
            }
            // The sender is gone without a reason, so its task panicked.
            if metrics.changed().await.is_err() && metrics.borrow_watched().running_state.is_ok() {
                return Fatal::<Types>::Panicked.to_string();
            }
        }
    }

    /// Passes leadership on if this node leads and another voter can take over, and waits until it has.
    pub(crate) async fn step_down(&self) {
        let Some(successor) = self.successor() else { return };
        if let Err(fatal) = self.raft.trigger().transfer_leader(successor).await {
            return tracing::warn!(%fatal, "cannot pass leadership of meta on");
        }
        let another_leads =
            |metrics: &RaftMetrics<Types>| metrics.current_leader.is_some_and(|leader| leader != metrics.id);
        match self.raft.wait(Some(STEP_DOWN_TIMEOUT)).metrics(another_leads, "another voter leads").await {
            Ok(_) => tracing::info!("passed leadership of meta on"),
            Err(_) => {
                tracing::warn!(waited = ?STEP_DOWN_TIMEOUT, "no voter took over leadership of meta; the others elect one")
            }
        }
    }

    /// The voter with the longest log besides this node; none if this node does not lead.
    fn successor(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        // Only a leader knows how far the logs of others are.
        let logs = metrics.replication.iter().flatten();
        let others = logs.filter(|(id, _)| **id != metrics.id && voters.contains(id));
        others.max_by_key(|(_, log)| log.as_ref().map(|log| log.index)).map(|(id, _)| *id)
    }

    /// Stops Raft and closes the log, so that the folder can be opened again.
    pub(crate) async fn shutdown(&self) {
        self.stop.send_replace(true);
        self.disk.stop_waiting();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "stopping Raft failed");
        }
        let disk = self.disk.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || disk.close()).await {
            tracing::warn!(%error, "closing the cluster log was aborted");
        }
    }
}
