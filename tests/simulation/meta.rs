//! The Raft group as a service on two addresses: the real state machine, and the real rules of heartbeats and placement, behind
//! the gRPC service that followers use. How the group agrees is tested elsewhere; here it answers, or does not for a while.
//!
//! A command may be applied although its sender hears nothing, and be applied again much later, as when a leader that was cut
//! off proposes an entry of its once more.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use pharos_cluster::heartbeats::{self, Heard, Heartbeats};
use pharos_cluster::placement::{self, PlacementConfig, PlacementContext};
use pharos_cluster::{ClusterState, Command, Member, MemberState, Refusal, Response as Answer, Role, Settings, codec};
use pharos_model::Clock;
use pharos_transport::meta_v1::meta_server::{self, MetaServer};
use pharos_transport::meta_v1::{
    DescribeAnswer, DescribeRequest, HeartbeatAnswer, HeartbeatRequest, PledgeAnswer, PledgeRequest, ProposeAnswer,
    ProposeRequest, ReadIndexAnswer, ReadIndexRequest, WatchRequest, WatchUpdate,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::bugs::Bug;
use crate::env::{Env, Ms, NodeClock};
use crate::network::{Network, Process};
use crate::{LEASE_MS, REPLACE_MS, SHARDS};

/// The addresses of the group.
pub(crate) const ADDRESSES: [&str; 2] = ["m1", "m2"];
/// Interval of the leader's rounds.
const ROUND: Duration = Duration::from_millis(500);
/// Interval at which an unchanged placement is checked again.
const RECHECK_MS: Ms = 2000;
/// Interval of empty updates while nothing changes.
const KEEP_ALIVE: Duration = Duration::from_millis(500);
/// Size of one part of a state.
const PART_BYTES: usize = 64 << 10;

/// Rates of faults, per thousand commands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommandFaults {
    /// Applied, but the answer is lost.
    pub(crate) loses_answers: u64,
    /// Applied again later.
    pub(crate) repeats: u64,
    /// How much later at most.
    pub(crate) longest: Ms,
}

/// The group. Clones share it.
#[derive(Clone)]
pub(crate) struct Group {
    env: Env,
    clock: Arc<NodeClock>,
    shared: Arc<Mutex<Shared>>,
    /// Changes with the state.
    changed: watch::Sender<u64>,
    bug: Option<Bug>,
}

struct Shared {
    state: Arc<ClusterState>,
    /// The commands that led to the state, each with the version after it.
    commands: VecDeque<(u64, Bytes)>,
    heard: Heard,
    since: Duration,
    first_ingester_at: Option<Ms>,
    placed: Option<(u64, Ms)>,
    away_until: Ms,
    faults: CommandFaults,
    config: PlacementConfig,
}

impl Group {
    /// Founds a cluster and serves it.
    pub(crate) fn found(env: &Env, network: &Network, copies: u32, bug: Option<Bug>) -> Group {
        let config = PlacementConfig {
            replace_after: Duration::from_millis(REPLACE_MS),
            settle: Duration::from_secs(3),
            ..PlacementConfig::default()
        };
        let shared = Shared {
            state: Arc::default(),
            commands: VecDeque::new(),
            heard: Heard::default(),
            since: Duration::ZERO,
            first_ingester_at: None,
            placed: None,
            away_until: 0,
            faults: CommandFaults::default(),
            config,
        };
        let group = Group {
            env: env.clone(),
            clock: NodeClock::new(Arc::default()),
            shared: Arc::new(Mutex::new(shared)),
            changed: watch::Sender::new(0),
            bug,
        };
        let settings = Settings { cluster: "c".into(), shards: SHARDS, replication_factor: copies };
        _ = group.apply(Command::Bootstrap { settings });
        for address in ADDRESSES {
            let service = MetaServer::new(Service { group: group.clone(), name: address });
            network.serve(&Process::new(address), Routes::new(service));
        }
        let leader = group.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(ROUND).await;
                leader.round();
            }
        });
        group
    }

    /// The state that the group has agreed on.
    pub(crate) fn state(&self) -> Arc<ClusterState> {
        self.shared.lock().state.clone()
    }

    /// Where the replicas should be once every node is there.
    pub(crate) fn goal(&self) -> placement::Goal {
        let keeps =
            |member: &Member| member.state == MemberState::Active && !member.draining && member.has(Role::Ingester);
        placement::goal(&self.state(), keeps)
    }

    pub(crate) fn set_faults(&self, faults: CommandFaults) {
        self.shared.lock().faults = faults;
    }

    /// No leader until a time; a new term begins then.
    pub(crate) fn goes_away(&self, until: Ms) {
        let mut shared = self.shared.lock();
        shared.away_until = until;
        shared.since = self.clock.monotonic() + Duration::from_millis(until.saturating_sub(self.env.now()));
        (shared.first_ingester_at, shared.placed) = (None, None);
        shared.heard = Heard::default();
    }

    fn is_away(&self) -> bool {
        self.env.now() < self.shared.lock().away_until
    }

    /// Applies a command, or what a bug makes of it.
    pub(crate) fn apply(&self, command: Command) -> Result<Answer, Refusal> {
        let Some(bug) = self.bug else { return self.apply_one(command) };
        if let Some(repeated) = bug.repeated(&command) {
            let (group, later) = (self.clone(), self.env.between(500, 8000));
            tokio::spawn(async move {
                group.env.sleep(later).await;
                _ = group.apply_one(repeated);
            });
        }
        let commands = bug.commands(&self.state(), command);
        let mut results = commands.into_iter().map(|command| self.apply_one(command));
        let first = results.next().unwrap_or(Ok(Answer::Done));
        results.for_each(drop);
        first
    }

    fn apply_one(&self, command: Command) -> Result<Answer, Refusal> {
        let mut shared = self.shared.lock();
        let before = shared.state.clone();
        let mut next = ClusterState::clone(&before);
        let result = next.apply(&command);
        let shown = match &command {
            Command::Restore { state, .. } => format!("Restore of version {}", state.version),
            Command::ShipBlocks { node, cut, blocks, .. } => {
                let shown = |b: &pharos_cluster::BlockEntry| {
                    let (kind, start) = (if b.delta { "delta" } else { "main" }, b.window_start);
                    format!("{kind} {} of {start} shards {:?} samples {} {:?}", b.id, b.shards, b.samples, b.cut)
                };
                let blocks: Vec<String> = blocks.iter().map(shown).collect();
                format!("ShipBlocks by {node} cut {cut:?}: {}", blocks.join(", "))
            }
            other => format!("{other:?}"),
        };
        match &result {
            Ok(answer) => {
                shared.state = Arc::new(next);
                let version = shared.state.version;
                self.env.note(format!("meta {version} {shown} -> {answer:?}"));
                if shared.state.incarnation == before.incarnation {
                    let bytes = serde_json::to_vec(&command).unwrap_or_default();
                    shared.commands.push_back((version, bytes.into()));
                } else {
                    shared.commands.clear();
                }
                if let Err(broken) = shared.state.check() {
                    self.env.violated(format!("cluster state: {broken}"));
                }
                if let Some(back) = went_back(&before, &shared.state) {
                    self.env.violated(back);
                }
                drop(shared);
                self.changed.send_modify(|n| *n += 1);
            }
            Err(refusal) => self.env.note(format!("meta refuses {shown}: {refusal}")),
        }
        result
    }

    /// One round of the leader: heartbeats and placement.
    fn round(&self) {
        if self.is_away() {
            return;
        }
        for command in self.due() {
            _ = self.apply(command);
        }
        for command in self.steps() {
            _ = self.apply(command);
        }
    }

    fn with_heartbeats<T>(&self, use_them: impl FnOnce(&ClusterState, &Heartbeats<'_>, &PlacementConfig) -> T) -> T {
        let shared = self.shared.lock();
        let heartbeats = Heartbeats {
            leader: "m",
            heard: &shared.heard,
            leading_since: shared.since,
            now: self.clock.monotonic(),
            now_ms: self.clock.now_ms(),
            lease: Duration::from_millis(LEASE_MS),
            agent_lease: Duration::from_millis(LEASE_MS),
            forget_after: Duration::from_secs(600),
        };
        use_them(&shared.state, &heartbeats, &shared.config)
    }

    fn due(&self) -> Vec<Command> {
        self.with_heartbeats(|state, heartbeats, _| heartbeats::due(state, heartbeats))
    }

    fn steps(&self) -> Vec<Command> {
        let now = self.env.now();
        let settled_for = {
            let mut shared = self.shared.lock();
            if shared.first_ingester_at.is_none() && shared.state.active_ingesters().next().is_some() {
                shared.first_ingester_at = Some(now);
            }
            let version = shared.state.version;
            if shared.placed.is_some_and(|(placed, at)| placed == version && now - at < RECHECK_MS) {
                return Vec::new();
            }
            Duration::from_millis(shared.first_ingester_at.map_or(0, |first| now - first))
        };
        let steps = self.with_heartbeats(|state, heartbeats, config| {
            let silent = heartbeats::silent(state, heartbeats, Duration::from_secs(1));
            let context = PlacementContext {
                now_ms: heartbeats.now_ms,
                silent: &silent,
                incomplete: &heartbeats.heard.incomplete(state),
                settled_for,
                ..PlacementContext::default()
            };
            placement::propose(state, config, context)
        });
        let mut shared = self.shared.lock();
        let version = shared.state.version;
        shared.placed = steps.is_empty().then_some((version, now));
        steps
    }

    /// What a follower at a version lacks: the commands and the version after them, or none if it needs the whole state.
    fn since(&self, incarnation: u64, version: u64) -> Option<(Vec<Bytes>, u64)> {
        let shared = self.shared.lock();
        let state = &shared.state;
        if (incarnation, version) >= (state.incarnation, state.version) {
            return Some((Vec::new(), version));
        }
        if incarnation != state.incarnation {
            return None;
        }
        let from = shared.commands.len().checked_sub((state.version - version) as usize)?;
        Some((shared.commands.range(from..).map(|(_, command)| command.clone()).collect(), state.version))
    }
}

/// A number that a change has moved back.
fn went_back(before: &ClusterState, after: &ClusterState) -> Option<String> {
    if after.incarnation < before.incarnation {
        return Some(format!("the incarnation went back from {} to {}", before.incarnation, after.incarnation));
    }
    if after.version < before.version {
        return Some(format!("the version went back from {} to {}", before.version, after.version));
    }
    for (number, shard) in before.numbered_shards() {
        if after.epoch(number) < shard.epoch {
            return Some(format!(
                "the epoch of shard {number} went back from {} to {}",
                shard.epoch,
                after.epoch(number)
            ));
        }
    }
    let (was, is) = (before.catalogue.sequence, after.catalogue.sequence);
    (is < was).then(|| format!("the catalogue's sequence went back from {was} to {is}"))
}

/// A command under the leader's clock.
fn under_the_clock(mut command: Command, now_ms: i64) -> Command {
    match &mut command {
        Command::Join { at_ms, .. } | Command::SetMemberState { at_ms, .. } | Command::RemoveMember { at_ms, .. } => {
            *at_ms = now_ms;
        }
        _ => {}
    }
    command
}

/// The service of one address.
struct Service {
    group: Group,
    name: &'static str,
}

impl Service {
    fn is_here(&self) -> Result<(), Status> {
        if self.group.is_away() { Err(Status::unavailable("no leader is known")) } else { Ok(()) }
    }
}

#[tonic::async_trait]
impl meta_server::Meta for Service {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeAnswer>, Status> {
        let state = self.group.state();
        Ok(Response::new(DescribeAnswer {
            node: self.name.into(),
            address: self.name.into(),
            cluster: state.settings.as_ref().map(|s| s.cluster.clone()).unwrap_or_default(),
            initialized: true,
            version: state.version,
            ..DescribeAnswer::default()
        }))
    }

    async fn pledge(&self, _: Request<PledgeRequest>) -> Result<Response<PledgeAnswer>, Status> {
        Ok(Response::new(PledgeAnswer { granted: false }))
    }

    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeAnswer>, Status> {
        self.is_here()?;
        let (group, env) = (&self.group, &self.group.env);
        let malformed = |e: serde_json::Error| Status::invalid_argument(format!("malformed command: {e}"));
        let command: Command = serde_json::from_slice(&request.into_inner().command).map_err(malformed)?;
        let command = under_the_clock(command, group.clock.now_ms());
        let faults = group.shared.lock().faults;
        if env.chance(faults.repeats) {
            let (group, command, later) = (group.clone(), command.clone(), env.between(1, faults.longest.max(1)));
            tokio::spawn(async move {
                group.env.sleep(later).await;
                group.env.note(format!("a {} is applied again", command.name()));
                _ = group.apply(command);
            });
        }
        let joining = if let Command::Join { member, .. } = &command { Some(member.id.clone()) } else { None };
        let result = group.apply(command);
        if let Some(node) = joining {
            group.shared.lock().heard.joined(&node, group.clock.monotonic());
        }
        if env.chance(faults.loses_answers) {
            env.note("its answer is lost");
            env.sleep(20_000).await;
            return Err(Status::unavailable("the leader was cut off"));
        }
        let mut answer = ProposeAnswer { version: group.state().version, ..ProposeAnswer::default() };
        let unreadable = |e: serde_json::Error| Status::internal(e.to_string());
        match &result {
            Ok(response) => answer.response = serde_json::to_vec(response).map_err(unreadable)?.into(),
            Err(refusal) => answer.refusal = serde_json::to_vec(refusal).map_err(unreadable)?.into(),
        }
        Ok(Response::new(answer))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatAnswer>, Status> {
        self.is_here()?;
        let beat = request.into_inner();
        let now = self.group.clock.monotonic();
        let mut shared = self.group.shared.lock();
        let known = shared.state.member(&beat.node).is_some();
        if beat.leaving {
            shared.heard.left(&beat.node);
        } else if known {
            shared.heard.beat(&beat.node, beat.incomplete, now);
        }
        let bug = self.group.bug;
        let version = if bug == Some(Bug::ViewsSeemFresh) { 0 } else { shared.state.version };
        let now_ms = now.as_millis() as u64;
        Ok(Response::new(HeartbeatAnswer {
            known,
            version,
            clock: u64::from(bug != Some(Bug::ClocksAreTrusted)),
            received_ms: now_ms,
            answered_ms: now_ms,
            time_ms: Some(self.group.clock.now_ms() - now_ms as i64),
        }))
    }

    async fn read_index(&self, _: Request<ReadIndexRequest>) -> Result<Response<ReadIndexAnswer>, Status> {
        self.is_here()?;
        Ok(Response::new(ReadIndexAnswer { version: self.group.state().version }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchUpdate, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.is_here()?;
        let (updates, stream) = mpsc::channel(4);
        tokio::spawn(follow(self.group.clone(), request.into_inner(), updates));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// Keeps the view of one follower up to date until it closes the stream.
async fn follow(group: Group, from: WatchRequest, updates: mpsc::Sender<Result<WatchUpdate, Status>>) {
    let mut changed = group.changed.subscribe();
    let (mut incarnation, mut version) = (from.incarnation, from.version);
    let mut is_known = group.state().settings.as_ref().is_some_and(|settings| settings.cluster == from.cluster);
    loop {
        changed.borrow_and_update();
        let missing = if is_known { group.since(incarnation, version) } else { None };
        is_known = true;
        let sent = match missing {
            Some((commands, _)) if commands.is_empty() => {
                let quiet = tokio::time::timeout(KEEP_ALIVE, changed.changed()).await.is_err();
                match quiet && !group.is_away() {
                    true => updates.send(Ok(WatchUpdate { version, ..WatchUpdate::default() })).await.is_ok(),
                    false => !updates.is_closed(),
                }
            }
            Some((commands, reached)) => {
                version = reached;
                updates.send(Ok(WatchUpdate { commands, version, ..WatchUpdate::default() })).await.is_ok()
            }
            None => {
                let state = group.state();
                (incarnation, version) = (state.incarnation, state.version);
                send_state(&state, &updates).await
            }
        };
        if !sent {
            return;
        }
    }
}

async fn send_state(state: &ClusterState, updates: &mpsc::Sender<Result<WatchUpdate, Status>>) -> bool {
    let Ok(mut bytes) = codec::encode(state) else { return false };
    while !bytes.is_empty() {
        let part = bytes.split_to(bytes.len().min(PART_BYTES));
        let update =
            WatchUpdate { state: part, last: bytes.is_empty(), version: state.version, ..WatchUpdate::default() };
        if updates.send(Ok(update)).await.is_err() {
            return false;
        }
    }
    true
}
