//! The Raft group as a single node: the real state machine, and the real rules of heartbeats and placement.
//!
//! The protocol within the group is tested elsewhere. Here, meta either answers or is unavailable for a while. After an
//! outage, its leader starts a new term.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pharos_cluster::heartbeats::{self, Heartbeats};
use pharos_cluster::placement::{self, PlacementConfig, PlacementContext};
use pharos_cluster::{ClusterState, Command, Refusal, Response, Settings};

use super::env::{Env, Ms, Node};
use super::invariants;
use super::messages::{Message, Timer};
use super::{AGENT_LEASE_MS, HEARTBEAT_MS, LEASE_MS, REPLACE_MS, SHARDS};

/// Interval of the leader's rounds.
const ROUND_MS: Ms = 500;
/// Interval at which an unchanged placement is checked again.
const RECHECK_INTERVAL_MS: Ms = 2000;

/// The single node of meta.
pub struct Meta {
    /// The cluster state.
    pub state: Arc<ClusterState>,
    heard: HashMap<String, Duration>,
    since: Ms,
    first_ingester_at: Option<Ms>,
    placed: Option<(u64, Ms)>,
    config: PlacementConfig,
    /// End of an outage. Meta has no leader before this time.
    pub away_until: Ms,
    /// Nodes that receive every new view.
    watchers: Vec<Node>,
}

impl Meta {
    /// Bootstraps a cluster.
    pub fn new(env: &mut Env, replication_factor: u32) -> Self {
        let config = PlacementConfig {
            replace_after: Duration::from_millis(REPLACE_MS),
            settle: Duration::from_secs(3),
            ..PlacementConfig::default()
        };
        let mut meta = Meta {
            state: Arc::default(),
            heard: HashMap::new(),
            since: 0,
            first_ingester_at: None,
            placed: None,
            config,
            away_until: 0,
            watchers: Vec::new(),
        };
        env.start(Node::Meta);
        env.wake(Node::Meta, 1, Timer::Round);
        let settings = Settings { cluster: "c".into(), shards: SHARDS, replication_factor };
        let _first = meta.apply(env, &Command::Bootstrap { settings });
        meta
    }

    /// Adds a node that receives every new view.
    pub fn watched_by(&mut self, node: Node) {
        self.watchers.push(node);
    }

    /// Applies a command to the cluster state, and sends the new view to all watchers if it succeeds.
    pub fn apply(&mut self, env: &mut Env, command: &Command) -> Result<Response, Refusal> {
        let mut next = ClusterState::clone(&self.state);
        let result = next.apply(command);
        let number = self.state.version;
        match &result {
            Ok(response) => env.note(&[100, number], || format!("meta {} {command:?} -> {response:?}", number + 1)),
            Err(refusal) => env.note(&[101, number], || format!("meta refuses {command:?}: {refusal}")),
        }
        if result.is_ok() {
            let before = std::mem::replace(&mut self.state, Arc::new(next));
            invariants::step(env, &before, &self.state, command);
            for watcher in &self.watchers {
                env.send(Node::Meta, *watcher, Message::View { state: self.state.clone() });
            }
        }
        result
    }

    /// Makes meta unavailable until a time.
    pub fn goes_away(&mut self, env: &Env, until: Ms) {
        self.away_until = until.max(env.now);
        (self.since, self.first_ingester_at, self.placed) = (self.away_until, None, None);
        self.heard.clear();
    }

    /// Handles a message.
    pub fn receive(&mut self, env: &mut Env, from: Node, message: Message) {
        if env.now < self.away_until {
            return;
        }
        match message {
            Message::Propose { number, command } => {
                let result = self.apply(env, &command);
                env.send(Node::Meta, from, Message::Proposed { number, result, state: self.state.clone() });
            }
            Message::Heartbeat { sent, version } => {
                env.send(Node::Meta, from, Message::Heard { sent, version: self.state.version });
                self.heard.insert(from.identity(), Duration::from_millis(env.now));
                if version < self.state.version {
                    env.send(Node::Meta, from, Message::View { state: self.state.clone() });
                }
            }
            _ => {}
        }
    }

    /// Runs a round of the leader: heartbeats and placement.
    pub fn round(&mut self, env: &mut Env) {
        env.wake(Node::Meta, ROUND_MS, Timer::Round);
        if env.now < self.away_until {
            return;
        }
        self.heard.retain(|node, _| self.state.members.contains_key(node));
        for command in heartbeats::due(&self.state, &self.heartbeats(env)) {
            let _refused = self.apply(env, &command);
        }
        self.place(env);
    }

    fn heartbeats(&self, env: &Env) -> Heartbeats<'_> {
        Heartbeats {
            leader: "M",
            heard: &self.heard,
            leading_since: Duration::from_millis(self.since),
            now: Duration::from_millis(env.now),
            now_ms: env.now_ms(),
            lease: Duration::from_millis(LEASE_MS),
            agent_lease: Duration::from_millis(AGENT_LEASE_MS),
            forget_after: Duration::from_secs(600),
        }
    }

    fn place(&mut self, env: &mut Env) {
        if self.first_ingester_at.is_none() && self.state.active_ingesters().next().is_some() {
            self.first_ingester_at = Some(env.now);
        }
        let settled_for = Duration::from_millis(self.first_ingester_at.map_or(0, |first| env.now - first));
        let just_looked =
            |(version, at): (u64, Ms)| version == self.state.version && env.now - at < RECHECK_INTERVAL_MS;
        if self.placed.is_some_and(just_looked) {
            return;
        }
        let silent = heartbeats::silent(&self.state, &self.heartbeats(env), Duration::from_millis(HEARTBEAT_MS));
        let now_ms = env.now_ms();
        let context = PlacementContext { now_ms, silent: &silent, settled_for, ..PlacementContext::default() };
        let steps = placement::propose(&self.state, &self.config, context);
        self.placed = steps.is_empty().then_some((self.state.version, env.now));
        for command in steps {
            let _refused = self.apply(env, &command);
        }
    }

    /// Returns the placement that the cluster should reach.
    pub fn goal(&self, env: &Env) -> placement::Goal {
        let replace_after = self.config.replace_after.as_millis() as i64;
        placement::goal(&self.state, |member| {
            let is_here = match member.state {
                pharos_cluster::MemberState::Active => true,
                pharos_cluster::MemberState::Down => env.now_ms() - member.since_ms < replace_after,
                _ => false,
            };
            is_here && !member.draining && member.has(pharos_cluster::Role::Ingester)
        })
    }
}
