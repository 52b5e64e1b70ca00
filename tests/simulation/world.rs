//! A run: builds the cluster, lets faults happen while clients write, repairs everything, and waits until it has settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::{ClusterState, Command, export};
use pharos_compactor::{Compactor, CompactorConfig};
use tokio::sync::watch;

use crate::blocks::{Blocks, Stored};
use crate::bugs::Bug;
use crate::client::{Agent, connect, tenant};
use crate::env::{Env, Ms, NodeClock, Outcome};
use crate::invariants::{Memory, Moment, shard as shard_of_series};
use crate::meta::{ADDRESSES, CommandFaults, Group};
use crate::model::{Attempt, End, Key, Model};
use crate::network::{Network, Process, Weather};
use crate::node::{Node, Surroundings};
use crate::objects::{Bucket, ObjectFaults};
use crate::plan::{Fault, Plan};
use crate::{
    CHAOS_UNTIL_MS, CHECK_INTERVAL_MS, LONGEST_REPEAT_MS, SETTLE_UNTIL_MS, SHARDS, WINDOW_MS, WRITES_UNTIL_MS,
};

/// Names of the agents.
const AGENTS: [&str; 2] = ["x", "y"];
/// Interval of the exports of the cluster state.
const EXPORT_INTERVAL_MS: Ms = 10_000;

/// How long a replica may be away before another one may take its place.
const LONGEST_ABSENCE_MS: Ms = 5_000;

/// The cluster and what clients know about it.
struct World {
    env: Env,
    around: Surroundings,
    group: Group,
    nodes: BTreeMap<String, Node>,
    /// Nodes whose disks have lost something, until they are whole again.
    damaged: BTreeSet<String>,
    model: Arc<Mutex<Model>>,
    blocks: tokio::sync::Mutex<Blocks>,
    plan: Plan,
    /// The newest export, as the bucket has it.
    exported: Option<Arc<ClusterState>>,
    /// Faults that end at some time.
    ending: Vec<(Ms, Ending)>,
}

/// Whether a node cannot open its log because of what it holds.
fn is_damage(failure: &str) -> bool {
    let is_passing = failure.contains("no space left") || failure.contains("in use by another process");
    failure.starts_with("log") && !is_passing
}

/// The end of a fault.
enum Ending {
    Start(String),
    Links(Vec<(String, String)>),
    Views(String),
    Objects,
    Disk(String),
    Clock(String),
}

/// Runs a seed.
pub(crate) async fn run(seed: u64, bug: Option<Bug>, is_enabled: impl Fn(&str) -> bool, is_verbose: bool) -> Outcome {
    let env = Env::new(seed, is_verbose);
    let plan = Plan::new(&mut env.fork(), |theme| is_enabled(theme), bug.and_then(Bug::theme));
    env.note(format!("{plan:?}"));
    let mut world = World::new(env.clone(), plan, bug).await;
    let limit = Duration::from_millis(SETTLE_UNTIL_MS + 60_000);
    if tokio::time::timeout(limit, world.run()).await.is_err() {
        env.violated("the run does not end");
    }
    env.count("acknowledged samples", world.model.lock().acknowledged() as u64);
    env.outcome()
}

impl World {
    async fn new(env: Env, plan: Plan, bug: Option<Bug>) -> World {
        let network = Network::new(env.clone());
        let bucket = Bucket::new(env.clone(), bug);
        let group = Group::found(&env, &network, plan.copies, bug);
        let (has_replicas, of_group) = (plan.copies > 1, group.clone());
        let around = Surroundings { env: env.clone(), network, bucket, group: of_group, bug, has_replicas };
        let model = Model { window_ms: 10_000, lasting: 2 * LONGEST_REPEAT_MS, ..Model::default() };
        let mut world = World {
            env,
            around,
            group,
            nodes: BTreeMap::new(),
            damaged: BTreeSet::new(),
            model: Arc::new(Mutex::new(model)),
            blocks: tokio::sync::Mutex::default(),
            plan,
            exported: None,
            ending: Vec::new(),
        };
        (0..world.plan.nodes).for_each(|_| world.add_node());
        world
    }

    fn add_node(&mut self) {
        let name = char::from(b'A' + self.nodes.len() as u8).to_string();
        let window_ms = self.nodes.values().next().map_or(WINDOW_MS, |node| node.window_ms);
        let mut node = Node::new(name.clone(), window_ms);
        node.start(&self.around);
        self.nodes.insert(name, node);
    }

    async fn run(&mut self) {
        let is_placed = |state: &ClusterState| state.shards.iter().all(|shard| !shard.in_sync.is_empty());
        while !is_placed(&self.group.state()) && self.env.now() < 60_000 {
            self.env.sleep(100).await;
        }
        let mut clients = tokio::task::JoinSet::new();
        for name in AGENTS {
            clients.spawn(Agent::start(&self.around, name, &self.model, self.plan.themes).run());
        }
        let (stop, stopped) = watch::channel(false);
        if self.plan.themes.garbage {
            self.start_compactor(stopped);
        }
        if self.plan.themes.commands {
            let faults = CommandFaults { loses_answers: 20, repeats: 60, longest: LONGEST_REPEAT_MS };
            self.group.set_faults(faults);
        }
        self.chaos().await;
        self.repair();
        while self.env.now() < WRITES_UNTIL_MS && !self.env.is_violated() {
            self.tick().await;
        }
        while !clients.is_empty() && !self.env.is_violated() {
            let _late = tokio::time::timeout(Duration::from_secs(1), clients.join_next()).await;
            self.tick().await;
        }
        self.settle().await;
        stop.send_replace(true);
    }

    fn start_compactor(&self, stopped: watch::Receiver<bool>) {
        let process = Process::new("gc");
        let (meta, distributor) = connect(&self.around, &process);
        let config = CompactorConfig {
            node: "A".into(),
            interval: Duration::from_secs(7),
            // Garbage collection is safe at any age, because what it condemns can never be committed.
            garbage_age: Duration::from_secs(1),
            ..CompactorConfig::default()
        };
        let registry = prometheus::Registry::new();
        let (objects, barrier) = (self.around.bucket.of(&process), Arc::new(distributor));
        let clock = NodeClock::new(Arc::default());
        if let Ok(compactor) = Compactor::create(config, meta, objects, barrier, clock, &registry) {
            tokio::spawn(compactor.run(stopped));
        }
    }

    async fn chaos(&mut self) {
        let mut faults = std::mem::take(&mut self.plan.faults).into_iter().peekable();
        while self.env.now() < CHAOS_UNTIL_MS && !self.env.is_violated() {
            while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= self.env.now()) {
                self.inject(fault).await;
            }
            self.tick().await;
        }
    }

    /// Waits a little, ends what is due to end, and checks now and then.
    async fn tick(&mut self) {
        self.env.sleep(100).await;
        let now = self.env.now();
        let ending = std::mem::take(&mut self.ending).into_iter();
        let (due, later): (Vec<_>, Vec<_>) = ending.partition(|(at, _)| *at <= now);
        self.ending = later;
        for (_, ending) in due {
            self.end(ending);
        }
        if now % CHECK_INTERVAL_MS < 100 {
            self.supervise();
            self.check().await;
        }
        if self.plan.themes.restore && now % EXPORT_INTERVAL_MS < 100 && now < CHAOS_UNTIL_MS {
            self.export().await;
        }
    }

    async fn export(&mut self) {
        let state = self.group.state();
        if export::write(&*self.around.bucket.inner, &state).await.is_ok() {
            self.exported = Some(state);
        }
    }

    /// Does what an operator does: a node whose log is damaged gets an empty disk. Notes which nodes are whole again.
    fn supervise(&mut self) {
        for (name, node) in &mut self.nodes {
            if let Some(failure) = node.failure().filter(|failure| is_damage(failure)) {
                if !self.damaged.contains(name) && !self.plan.themes.widths {
                    self.env.violated(format!("{name} cannot open a log that is not damaged: {failure}"));
                }
                self.env.note(format!("{name} gets an empty disk"));
                node.crash(&self.around, false);
                node.disk.wipe();
                node.start(&self.around);
            }
            if node.ingester().is_some_and(|ingester| !ingester.head().is_incomplete()) {
                self.damaged.remove(name);
            }
        }
    }

    fn later(&mut self, after: Ms, ending: Ending) {
        self.ending.push((self.env.now() + after, ending));
    }

    fn any_running(&self) -> Option<String> {
        let running: Vec<String> =
            self.nodes.iter().filter(|(_, node)| node.is_running()).map(|(name, _)| name.clone()).collect();
        self.env.pick(&running)
    }

    /// Whether a node starts again before another one may take its place.
    fn returns_soon(&self, name: &str) -> bool {
        let (latest, now) = (self.env.now() + LONGEST_ABSENCE_MS, self.env.now());
        let away_since = self.nodes.get(name).and_then(Node::ended).unwrap_or(0);
        self.ending.iter().any(|(at, ending)| {
            matches!(ending, Ending::Start(starting) if starting == name)
                && *at <= latest
                && now <= away_since + LONGEST_ABSENCE_MS
        })
    }

    /// Notes what is lost with the disk of a node: what no listed block shows, and neither another in-sync replica nor all of
    /// the others have. A replica that is out of sync takes the place of the lost one, unless it is away
    /// for longer than [`LONGEST_ABSENCE_MS`] and is replaced.
    async fn lose(&self, lost: &str) {
        let state = self.group.state();
        let catalogue = state.catalogue.tenant(tenant().as_str());
        let stored = self.blocks.lock().await.stored(&self.around.bucket, catalogue).await.unwrap_or_default();
        let others = self.nodes.iter().filter(|(name, node)| {
            *name != lost && !self.damaged.contains(*name) && (node.is_running() || self.returns_soon(name))
        });
        let held: BTreeMap<&String, _> = others.filter_map(|(name, node)| Some((name, node.held()?))).collect();
        let is_kept = |key: Key, attempt: &Attempt| {
            let value = attempt.value;
            let of_shard = state.shard(shard_of_series(key.series));
            let Some(shard) = of_shard.filter(|shard| shard.has_replica(lost)) else { return true };
            let has = |node: &String| held.get(node).is_some_and(|samples| samples.get(&key) == Some(&value));
            if attempt.end == End::Pending {
                // With others in sync it is not answered by what the lost disk had: the epoch will change.
                return shard.in_sync.iter().any(|node| node != lost);
            }
            let mut others = shard.replicas.iter().filter(|node| *node != lost).peekable();
            let is_stored = |stored: &Stored| stored.value == value && !stored.is_masked;
            shard.in_sync.iter().any(|node| node != lost && has(node))
                || stored.get(&key).into_iter().flatten().any(is_stored)
                || (others.peek().is_some() && others.all(has))
        };
        let samples = self.model.lock().lose(is_kept);
        self.env.note(format!("the disk of {lost} is lost, and {samples} samples with it"));
    }

    /// What a node could not write to its full disk it has in memory only.
    async fn lose_what_was_not_written(&self, name: &str) {
        if self.nodes.get(name).is_some_and(|node| node.disk.is_full()) {
            self.lose(name).await;
        }
    }

    async fn inject(&mut self, fault: Fault) {
        let Some(name) = self.any_running() else { return };
        self.env.note(format!("fault at {name}: {fault:?}"));
        self.env.count(format!("{fault:?}").split([' ', '(']).next().unwrap_or_default(), 1);
        match fault {
            Fault::Crash { power, after } => {
                self.lose_what_was_not_written(&name).await;
                self.crash(&name, power, after);
            }
            Fault::Blackout { after } => {
                let all: Vec<String> = self.nodes.keys().cloned().collect();
                for (at, name) in (0..).zip(all) {
                    self.lose_what_was_not_written(&name).await;
                    self.crash(&name, true, after + at * 300);
                }
            }
            Fault::Stop { after } => {
                self.lose_what_was_not_written(&name).await;
                self.stop(&name, after);
            }
            Fault::Wipe { after } | Fault::Flip { after } => {
                self.lose(&name).await;
                self.damaged.insert(name.clone());
                self.crash(&name, true, after);
                let node = &self.nodes[&name];
                match fault {
                    Fault::Flip { .. } => {
                        let flipped = node.disk.flip(&mut self.env.fork());
                        self.env.note(format!("flipped {flipped:?}"));
                    }
                    _ => node.disk.wipe(),
                }
            }
            Fault::Isolate { some, time } => {
                let others = self.nodes.keys().map(String::as_str).chain(ADDRESSES).chain(AGENTS);
                let links = others
                    .filter(|other| *other != name)
                    .flat_map(|other| [(name.clone(), other.to_string()), (other.to_string(), name.clone())]);
                let cut: Vec<(String, String)> = links.filter(|_| !some || self.env.chance(400)).collect();
                cut.iter().for_each(|(from, to)| self.around.network.cut(from, to));
                self.later(time, Ending::Links(cut));
            }
            Fault::LateViews { delay, time } => {
                ADDRESSES.iter().for_each(|from| self.around.network.slow(from, &name, delay));
                self.later(time, Ending::Views(name));
            }
            Fault::MetaAway { time } => self.group.goes_away(self.env.now() + time),
            Fault::Objects { faults, time } => {
                self.around.bucket.set_faults(faults);
                self.later(time, Ending::Objects);
            }
            Fault::FullDisk { time } => {
                self.nodes[&name].disk.set_full(true);
                self.later(time, Ending::Disk(name));
            }
            Fault::SlowDisk { sync, time } => {
                self.nodes[&name].disk.set_sync_time(Duration::from_millis(sync));
                self.later(time, Ending::Disk(name));
            }
            Fault::Clock { by, time } => {
                self.nodes[&name].set_ahead(by);
                self.later(time, Ending::Clock(name));
            }
            Fault::Width { to } => {
                let all: Vec<String> = self.nodes.keys().cloned().collect();
                for (at, name) in (0..).zip(all) {
                    if let Some(node) = self.nodes.get_mut(&name) {
                        node.window_ms = to;
                    }
                    self.stop(&name, 500 + at * 1000);
                }
            }
            Fault::Restore => self.restore().await,
            Fault::Add if self.nodes.len() < 5 => self.add_node(),
            Fault::Add => {}
            Fault::Drain => self.drain(&name),
            Fault::Lead => {
                let shard = self.env.below(u64::from(SHARDS)) as u32;
                _ = self.group.apply(Command::SetLeader { shard, node: name });
            }
            Fault::Weather(weather) => self.around.network.set_weather(weather),
        }
    }

    fn crash(&mut self, name: &str, power: bool, after: Ms) {
        let Some(node) = self.nodes.get_mut(name).filter(|node| node.is_running()) else { return };
        node.crash(&self.around, power);
        self.later(after, Ending::Start(name.to_string()));
    }

    /// Stops a node in order and starts it again a while after it has ended.
    fn stop(&mut self, name: &str, after: Ms) {
        let Some(node) = self.nodes.get_mut(name).filter(|node| node.is_running()) else { return };
        node.stop(&self.around);
        self.later(after, Ending::Start(name.to_string()));
    }

    fn drain(&mut self, name: &str) {
        let state = self.group.state();
        let active = state.active_ingesters().count();
        if let Some(member) = state.member(name).filter(|_| active > self.plan.copies as usize) {
            let draining = pharos_cluster::Member { draining: true, ..pharos_cluster::Member::clone(member) };
            let node = name.to_string();
            let state = pharos_cluster::MemberState::Draining;
            self.env.note(format!("{} drains", draining.id));
            _ = self.group.apply(Command::SetMemberState { node, state, at_ms: 0 });
        }
    }

    /// Restores the newest export, unless it names a replica in sync that is not any more.
    async fn restore(&mut self) {
        let Some(exported) = self.exported.clone() else { return };
        let state = self.group.state();
        let was_in_sync_only = |(number, was): (u32, &Arc<pharos_cluster::Shard>)| {
            let is = state.shard(number);
            was.in_sync.iter().all(|node| is.is_some_and(|is| is.is_in_sync(node)))
        };
        if !exported.numbered_shards().all(was_in_sync_only) {
            return;
        }
        _ = self.group.apply(Command::Restore {
            state: Box::new(ClusterState::clone(&exported)),
            at_ms: crate::BASE_MS + self.env.now() as i64,
        });
    }

    fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Start(name) => match self.nodes.get_mut(&name) {
                Some(node) if node.can_start() => {
                    self.env.note(format!("{name} starts"));
                    node.start(&self.around);
                }
                Some(node) if !node.is_running() => self.later(100, Ending::Start(name)),
                _ => {}
            },
            Ending::Links(cut) => cut.iter().for_each(|(from, to)| self.around.network.heal(from, to)),
            Ending::Views(name) => ADDRESSES.iter().for_each(|from| self.around.network.slow(from, &name, 0)),
            Ending::Objects => self.around.bucket.set_faults(ObjectFaults::default()),
            Ending::Disk(name) => {
                self.nodes[&name].disk.set_full(false);
                self.nodes[&name].disk.set_sync_time(Duration::ZERO);
            }
            Ending::Clock(name) => self.nodes[&name].set_ahead(0),
        }
    }

    /// Ends all faults.
    fn repair(&mut self) {
        self.env.note("everything is repaired");
        for (_, ending) in std::mem::take(&mut self.ending) {
            self.end(ending);
        }
        self.around.network.repair();
        self.around.network.set_weather(Weather::default());
        self.group.set_faults(CommandFaults::default());
    }

    async fn check(&mut self) {
        let state = self.group.state();
        let catalogue = state.catalogue.tenant(tenant().as_str());
        let stored = match self.blocks.lock().await.stored(&self.around.bucket, catalogue).await {
            Ok(stored) => stored,
            Err(error) => return self.env.violated(error),
        };
        // Looked at after the blocks were read, without waiting in between.
        let memories = self.memories();
        let state = match Arc::ptr_eq(&state, &self.group.state()) {
            true => state,
            false => return,
        };
        let model = self.model.lock();
        Moment { env: &self.env, state: &state, model: &model, memories: &memories, stored: &stored }
            .check(self.plan.themes.reads);
    }

    fn memories(&self) -> Vec<Memory> {
        let serving = self.nodes.iter().filter_map(|(name, node)| Some((name, node.ingester()?)));
        serving.map(|(name, ingester)| Memory::of(name, ingester)).collect()
    }

    /// Why the cluster has not settled yet.
    fn unsettled(&self) -> Option<String> {
        let state = self.group.state();
        let goal = self.group.goal();
        for (number, shard) in state.numbered_shards() {
            let in_sync: BTreeSet<String> = shard.in_sync.iter().cloned().collect();
            if goal.shards.get(number as usize) != Some(&in_sync) || !shard.learners.is_empty() {
                return Some(format!("shard {number} is in sync on {in_sync:?}, {:?}", shard.learners));
            }
        }
        for (name, node) in &self.nodes {
            let Some(ingester) = node.ingester() else { return Some(format!("{name} does not serve")) };
            let held = |w: &pharos_head::WindowInfo| w.unflushed_samples + w.flushed_samples > 0;
            if let Some(window) = ingester.head().windows(&tenant()).into_iter().find(held) {
                return Some(format!("{name} holds {window:?}"));
            }
        }
        None
    }

    async fn settle(&mut self) {
        while let Some(reason) = self.unsettled() {
            if self.env.is_violated() {
                return;
            }
            if self.env.now() > SETTLE_UNTIL_MS {
                return self.env.violated(format!("the cluster does not settle: {reason}"));
            }
            for _ in 0..10 {
                self.tick().await;
            }
        }
        self.env.count("settled after s", (self.env.now() - WRITES_UNTIL_MS) / 1000);
        let state = self.group.state();
        let catalogue = state.catalogue.tenant(tenant().as_str());
        let stored = match Blocks::default().stored(&self.around.bucket, catalogue).await {
            Ok(stored) => stored,
            Err(error) => return self.env.violated(error),
        };
        let memories = self.memories();
        let model = self.model.lock();
        Moment { env: &self.env, state: &state, model: &model, memories: &memories, stored: &stored }.check_settled();
        for (name, node) in &self.nodes {
            let bytes = node.disk.bytes();
            if bytes > 64 << 10 {
                self.env.violated(format!("the log of {name} still has {bytes} bytes"));
            }
        }
    }
}
