//! A run: its nodes, its event loop, the application of faults, and the checks of the invariants.

use std::sync::Arc;

use pharos_cluster::{Command, MemberState, View};

use super::agent::Agent;
use super::bugs::Bug;
use super::env::{Env, Event, Ms, Node};
use super::faults::{Fault, Plan};
use super::ingester::Ingester;
use super::invariants;
use super::meta::Meta;
use super::{CHAOS_UNTIL_MS, CHECK_INTERVAL_MS, SETTLE_UNTIL_MS, WRITES_UNTIL_MS};

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// The hash of the record of events.
    pub hash: u64,
    /// The first violation, if any.
    pub violation: Option<String>,
    /// Number of occurrences, by name.
    pub counts: std::collections::BTreeMap<&'static str, u64>,
    /// The last lines of the record, if they are kept.
    pub lines: Vec<String>,
}

/// A run in progress.
pub struct World {
    pub env: Env,
    pub meta: Meta,
    pub ingesters: Vec<Ingester>,
    pub agents: Vec<Agent>,
    pub plan: Plan,
    pub decisions: invariants::ownership::Decisions,
    /// The time at which an ingester died forever.
    pub died_at: Option<Ms>,
    /// Nodes that are down or cut off, with the time of their return.
    returns: Vec<(Ms, Node)>,
}

/// Runs a seed, optionally with a planted bug. `keep_lines` keeps the last lines of the record.
pub fn run(seed: u64, bug: Option<Bug>, keep_lines: bool) -> Report {
    let mut world = World::new(seed, bug, keep_lines);
    world.go();
    let env = &mut world.env;
    env.counts.insert("samples", env.samples.len() as u64);
    env.counts.insert("samples acknowledged", env.samples.count_acknowledged() as u64);
    Report {
        hash: env.hash(),
        violation: env.violations.first().cloned(),
        counts: std::mem::take(&mut env.counts),
        lines: env.lines().cloned().collect(),
    }
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, keep_lines: bool) -> World {
        let mut env = Env::new(seed, bug, keep_lines);
        let plan = Plan::new(&mut env.rng.fork());
        env.note(&[], || format!("{plan:?}"));
        let meta = Meta::new(&mut env, plan.copies);
        let (ingesters, agents, returns) = (Vec::new(), Vec::new(), Vec::new());
        let decisions = Default::default();
        let mut world = World { env, meta, ingesters, agents, plan, decisions, died_at: None, returns };
        (0..world.plan.ingesters).for_each(|_| world.add_ingester());
        for number in 0..world.plan.agents {
            let agent = Agent::new(&mut world.env, number);
            world.meta.watched_by(Node::Agent(number));
            world.agents.push(agent);
            world.agents[number].start(&mut world.env);
        }
        for (number, (at, _)) in world.plan.faults.iter().enumerate() {
            world.env.at(*at, Event::Fault(number));
        }
        world.env.at(CHECK_INTERVAL_MS, Event::Check);
        world
    }

    fn add_ingester(&mut self) {
        let number = self.ingesters.len();
        let ingester = Ingester::new(&mut self.env, number);
        self.meta.watched_by(Node::Ingester(number));
        self.ingesters.push(ingester);
        self.ingesters[number].start(&mut self.env);
    }

    /// Returns the distinct views of meta and of all nodes that are running and ready, in ascending order of version.
    pub fn views(&self) -> Vec<View> {
        let mut views = vec![View::new(self.meta.state.clone())];
        let up = |node: Node| self.env.life(node).up;
        views.extend(self.ingesters.iter().filter(|i| up(i.me) && i.is_ready()).map(|i| i.view.clone()));
        let agents = (0..).zip(&self.agents).filter(|(n, a)| up(Node::Agent(*n)) && a.is_ready());
        views.extend(agents.map(|(_, agent)| agent.view.clone()));
        views.sort_by_key(|view| view.version);
        views.dedup_by_key(|view| view.version);
        views
    }

    fn go(&mut self) {
        while self.env.violations.is_empty()
            && let Some(event) = self.env.next()
        {
            let before = self.meta.state.clone();
            match event {
                Event::Deliver { from, to, message, .. } => {
                    let (kind, number) = message.key();
                    self.env.note(&[kind, number], || format!("{from:?} -> {to:?} {:?} {number}", Short(kind)));
                    match to {
                        Node::Meta => self.meta.receive(&mut self.env, from, message),
                        Node::Ingester(n) => self.ingesters[n].receive(&mut self.env, from, message),
                        Node::Agent(n) => self.agents[n].receive(&mut self.env, from, message),
                    }
                }
                Event::Wake { node, timer, .. } => {
                    let (kind, number) = timer.key();
                    self.env.note(&[kind, number], String::new);
                    match node {
                        Node::Meta => self.meta.round(&mut self.env),
                        Node::Ingester(n) => self.ingesters[n].wake(&mut self.env, timer),
                        Node::Agent(n) => self.agents[n].wake(&mut self.env, timer),
                    }
                }
                Event::Fault(number) => self.fault(self.plan.faults[number].1),
                Event::Check => {
                    if self.check() {
                        return;
                    }
                }
            }
            self.after(&before);
        }
    }

    /// Records the effects of an event and checks the invariants that concern them.
    fn after(&mut self, before: &Arc<pharos_cluster::ClusterState>) {
        for batch in std::mem::take(&mut self.env.acknowledged) {
            for (shard, ids) in batch.iter() {
                let epoch = self.meta.state.epoch(*shard);
                ids.iter().for_each(|id| self.env.samples.acknowledge(*id, epoch));
            }
        }
        for (node, gone) in std::mem::take(&mut self.env.dropped) {
            invariants::dropping::dropped(self, &node, &gone);
        }
        invariants::ownership::decided(self);
        if before.version != self.meta.state.version {
            invariants::promotion::changed(self, before);
        }
    }

    /// Checks the periodic invariants and restores nodes that are due. Returns whether the run is over.
    fn check(&mut self) -> bool {
        let now = self.env.now;
        invariants::look(self);
        self.agents.iter_mut().for_each(|agent| agent.took.clear());
        self.env.at(now + CHECK_INTERVAL_MS, Event::Check);
        let due: Vec<Node> = self.returns.iter().filter(|(at, _)| *at <= now).map(|(_, node)| *node).collect();
        self.returns.retain(|(at, _)| *at > now);
        due.into_iter().for_each(|node| self.comes_back(node));
        if now >= CHAOS_UNTIL_MS {
            self.heal();
        }
        if now >= WRITES_UNTIL_MS {
            self.agents.iter_mut().for_each(|agent| agent.writes_go_on = false);
            let wrong = invariants::settled(self);
            if wrong.is_empty() {
                self.env.note(&[150], || "settled".into());
                return true;
            }
            if now >= SETTLE_UNTIL_MS {
                self.env.violated("settling", || wrong.join("; "));
            }
        }
        false
    }

    /// Restarts a process and restores its links.
    fn comes_back(&mut self, node: Node) {
        self.env.net.restore(node);
        if self.env.life(node).up {
            return;
        }
        self.env.note(&[151], || format!("{node:?} starts"));
        match node {
            Node::Ingester(n) => self.ingesters[n].start(&mut self.env),
            Node::Agent(n) => self.agents[n].start(&mut self.env),
            Node::Meta => {}
        }
    }

    fn heal(&mut self) {
        self.env.net.heal();
        self.env.objects.fails = 0;
        let back: Vec<Node> = std::mem::take(&mut self.returns).into_iter().map(|(_, node)| node).collect();
        back.into_iter().for_each(|node| self.comes_back(node));
    }

    /// Returns a random running ingester.
    fn some_ingester(&mut self) -> Option<usize> {
        let up: Vec<usize> = (0..self.ingesters.len()).filter(|n| self.env.life(Node::Ingester(*n)).up).collect();
        self.env.rng.pick(&up).copied()
    }

    /// Returns whether the cluster can lose an ingester: each of its shards has two other in-sync replicas that are
    /// running, so that one is left even if the other is lost as well.
    fn can_do_without(&self, node: usize) -> bool {
        let is_needed = |shard: &Arc<pharos_cluster::Shard>| {
            let id = &self.ingesters[node].identity;
            let others = shard.in_sync.iter().filter(|other| *other != id);
            let live = others.filter(|other| Node::of(other).is_some_and(|other| self.env.life(other).up)).count();
            shard.has_replica(id) && live < 2
        };
        !self.meta.state.shards.iter().any(is_needed)
    }

    fn fault(&mut self, fault: Fault) {
        self.env.note(&[152], || format!("{fault:?}"));
        let now = self.env.now;
        match fault {
            Fault::CrashIngester { after } => {
                let Some(node) = self.some_ingester() else { return };
                self.crash(node);
                self.returns.push((now + after, Node::Ingester(node)));
            }
            Fault::WipeIngester { after } => {
                let Some(node) = self.some_ingester().filter(|node| self.can_do_without(*node)) else { return };
                self.crash(node);
                self.env.note(&[156], || format!("I{node} loses its disk"));
                self.ingesters[node].wipe();
                self.returns.push((now + after, Node::Ingester(node)));
            }
            Fault::KillIngester => {
                let Some(node) = self.some_ingester().filter(|node| self.can_do_without(*node)) else { return };
                self.crash(node);
                self.env.note(&[153], || format!("I{node} never returns"));
                self.died_at = Some(now);
            }
            Fault::PauseIngester { time } => {
                let Some(node) = self.some_ingester() else { return };
                self.env.pause(Node::Ingester(node), now + time);
            }
            Fault::CrashAgent { after } => {
                let agent = Node::Agent(self.env.rng.below(self.agents.len() as u64) as usize);
                self.env.stop(agent);
                self.returns.push((now + after, agent));
            }
            Fault::PauseAgent { time } => {
                let agent = Node::Agent(self.env.rng.below(self.agents.len() as u64) as usize);
                self.env.pause(agent, now + time);
            }
            Fault::Isolate { .. } | Fault::CutSome { .. } => self.cut(fault),
            Fault::LateViews { time } => self.views_are_late(now + time),
            Fault::MetaAway { time } => self.meta.goes_away(&self.env, now + time),
            Fault::ObjectsAway { time } => {
                self.env.objects.away_until = now + time;
                self.env.objects.fails = 50;
            }
            Fault::SlowDisk { time } => {
                let Some(node) = self.some_ingester() else { return };
                self.ingesters[node].slow_disk_until = now + time;
            }
            Fault::Drain | Fault::StopDraining => self.drain(fault == Fault::Drain),
            Fault::AddIngester if self.ingesters.len() < 8 => self.add_ingester(),
            Fault::AddIngester => {}
            Fault::Weather { loses, repeats, delays, longest } => {
                let net = &mut self.env.net;
                (net.loses, net.repeats, net.delays, net.longest_delay) = (loses, repeats, delays, longest);
            }
        }
    }

    fn crash(&mut self, node: usize) {
        self.env.note(&[154], || format!("I{node} dies"));
        self.ingesters[node].crash(&mut self.env);
    }

    fn cut(&mut self, fault: Fault) {
        let now = self.env.now;
        let mut all: Vec<Node> = (0..self.ingesters.len()).map(Node::Ingester).collect();
        all.extend((0..self.agents.len()).map(Node::Agent));
        all.push(Node::Meta);
        let (node, time) = match fault {
            Fault::Isolate { ingester: false, time } => (Node::Agent(0), time),
            Fault::Isolate { time, .. } | Fault::CutSome { time } => match self.some_ingester() {
                Some(node) => (Node::Ingester(node), time),
                None => return,
            },
            _ => return,
        };
        for other in all {
            let whole = matches!(fault, Fault::Isolate { .. });
            if whole || self.env.rng.chance(500) {
                self.env.net.cut(node, other);
            }
            if whole || self.env.rng.chance(300) {
                self.env.net.cut(other, node);
            }
        }
        self.env.note(&[155], || format!("{node:?} is cut off"));
        self.returns.push((now + time, node));
    }

    fn views_are_late(&mut self, until: Ms) {
        let but_the_newest = 0..self.ingesters.len() - 1;
        let mut late: Vec<Node> = but_the_newest.map(Node::Ingester).collect();
        late.extend((0..self.agents.len()).map(Node::Agent));
        for node in late {
            self.env.net.cut(Node::Meta, node);
            self.returns.push((until, node));
        }
    }

    fn drain(&mut self, begin: bool) {
        let state = &self.meta.state;
        let wanted = if begin { MemberState::Active } else { MemberState::Draining };
        let fit: Vec<String> =
            state.live(pharos_cluster::Role::Ingester).filter(|m| m.state == wanted).map(|m| m.id.clone()).collect();
        // A draining ingester needs another one to hand its shards to.
        if begin && fit.len() <= self.plan.copies as usize {
            return;
        }
        let Some(node) = self.env.rng.pick(&fit).cloned() else { return };
        let to = if begin { MemberState::Draining } else { MemberState::Active };
        let at_ms = self.env.now_ms();
        let _refused = self.meta.apply(&mut self.env, &Command::SetMemberState { node, state: to, at_ms });
    }
}

/// Displays the name of a message kind.
struct Short(u64);

impl std::fmt::Debug for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 10] =
            ["", "Propose", "Proposed", "Heartbeat", "View", "Append", "Appended", "Copy", "Copied", "Heard"];
        f.write_str(NAMES.get(self.0 as usize).copied().unwrap_or("?"))
    }
}
