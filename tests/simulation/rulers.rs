//! Rules are evaluated once: the production rulers of a cluster that grows, shrinks and fails.
//!
//! Several nodes run the production `Ruler` with the production client of [`crate::meta`]. Their clocks are wrong, views reach
//! them late, some die. An evaluation shows in what a rule writes; [`ledger`] compares it with the slots that there are.

mod ledger;
mod plan;
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pharos_cluster::{Command, MemberState, Meta, Slots};
use pharos_model::Clock;
use prometheus::Registry;
use tokio::task::JoinHandle;

use crate::bugs::Bug;
use crate::env::{Env, Ms, Outcome};
use crate::meta::{ADDRESSES, Group};
use crate::network::{Network, Process};
use crate::{BASE_MS, CHAOS_UNTIL_MS, WRITES_UNTIL_MS};
use ledger::{Excuse, Ledger};
use plan::{Fault, Plan};
use process::{Running, Surroundings};

/// Number of groups of rules.
const GROUPS: usize = 6;
/// Virtual time from which slots count: the first rulers have started.
const FROM_MS: Ms = 5000;
/// The age of the last contact with meta from which a ruler is out of touch.
const OUT_OF_TOUCH: Duration = Duration::from_millis(1000);
/// How far a ruler's time may be off after links were slow, milliseconds.
const CLOCK_ERROR_MS: u64 = 250;
/// For how long a wrong time may matter.
const OFF_MS: Ms = 3000;
/// The counter of missed evaluations.
const MISSED: &str = "prometheus_rule_group_iterations_missed_total";

/// The interval of a group.
fn interval_ms(group: usize) -> i64 {
    [1000, 1000, 1000, 2000, 2000, 5000][group % GROUPS]
}

/// A node. Its clock outlives its processes.
#[derive(Default)]
struct Node {
    ahead_ms: Arc<AtomicI64>,
    running: Option<Running>,
    /// The end of a process that stops, and whether the others knew.
    stopping: Option<(Arc<Meta>, JoinHandle<bool>)>,
    /// Whether it is not there by a fault that others cannot know.
    has_died: bool,
}

/// The end of a fault.
enum Ending {
    Start(String),
    Undrain(String),
    Links(Vec<(String, String)>),
    Views(String),
}

/// The processes with their metrics and what these have shown of missed slots, by group.
#[derive(Default)]
struct Counters {
    processes: Vec<(Process, Registry, BTreeMap<String, u64>)>,
}

struct World {
    env: Env,
    around: Surroundings,
    group: Group,
    nodes: BTreeMap<String, Node>,
    counters: Counters,
    ending: Vec<(Ms, Ending)>,
    reloads: u64,
    /// Whether links have been slow or cut, or meta away.
    has_been_rough: bool,
    /// Until when the time of a ruler may have been wrong lately.
    off_until: Ms,
}

/// Runs a seed.
pub(crate) async fn run(seed: u64, bug: Option<Bug>, is_verbose: bool) -> Outcome {
    let env = Env::new(seed, is_verbose);
    let plan = Plan::new(&mut env.fork());
    env.note(format!("{plan:?}"));
    let mut world = World::new(env.clone(), bug);
    (0..plan.rulers).for_each(|_| world.add());
    world.run(plan).await;
    env.outcome()
}

impl World {
    fn new(env: Env, bug: Option<Bug>) -> World {
        let network = Network::new(env.clone());
        let group = Group::found(&env, &network, 1, bug);
        let around = Surroundings { env: env.clone(), network, ledger: Ledger::new(env.clone()), bug };
        let (nodes, counters, ending) = (BTreeMap::new(), Counters::default(), Vec::new());
        World { env, around, group, nodes, counters, ending, reloads: 0, has_been_rough: false, off_until: 0 }
    }

    async fn run(&mut self, plan: Plan) {
        let mut faults = plan.faults.into_iter().peekable();
        while self.env.now() < WRITES_UNTIL_MS && !self.env.is_violated() {
            while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= self.env.now()) {
                self.inject(fault);
            }
            self.env.sleep(100).await;
            let now = self.env.now();
            let ending = std::mem::take(&mut self.ending).into_iter();
            let (due, later): (Vec<_>, Vec<_>) = ending.partition(|(at, _)| *at <= now || now >= CHAOS_UNTIL_MS);
            self.ending = later;
            for (_, ending) in due {
                self.end(ending).await;
            }
            if now >= CHAOS_UNTIL_MS {
                self.around.network.repair();
            }
            self.look();
        }
        let (from, to) = (BASE_MS + FROM_MS as i64, BASE_MS + self.env.now() as i64 - 3000);
        if !self.env.is_violated() {
            self.around.ledger.check(from, to);
        }
    }

    fn add(&mut self) {
        let name = char::from(b'A' + self.nodes.len() as u8).to_string();
        self.nodes.insert(name.clone(), Node::default());
        let ahead = self.env.between(0, 60_000) as i64 - 30_000;
        self.nodes[&name].ahead_ms.store(ahead, Ordering::Relaxed);
        self.start(&name);
    }

    fn start(&mut self, name: &str) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        self.env.note(format!("{name} starts"));
        let running = Running::start(&self.around, name, &node.ahead_ms);
        self.counters.processes.push((running.process.clone(), running.registry.clone(), BTreeMap::new()));
        node.running = Some(running);
    }

    /// Notes what excuses the moment, and what rulers count.
    fn look(&mut self) {
        let state = self.group.state();
        let now_ms = BASE_MS + self.env.now() as i64;
        let metas = self.nodes.values().flat_map(|node| {
            let stopping = node.stopping.iter().filter(|(_, stopping)| !stopping.is_finished()).map(|(meta, _)| meta);
            stopping.chain(node.running.iter().map(|running| &running.meta))
        });
        let metas: Vec<&Arc<Meta>> = metas.collect();
        // Over links that are slow in one direction the cluster's time is measured badly.
        let is_off = |meta: &&Arc<Meta>| meta.cluster_clock().now_ms().abs_diff(now_ms) > CLOCK_ERROR_MS;
        if self.has_been_rough && metas.iter().any(is_off) {
            self.off_until = self.env.now() + OFF_MS;
        }
        let lags = metas.into_iter().any(|meta| {
            let contact = *meta.contact().borrow();
            let oldest = meta.clock().monotonic().saturating_sub(OUT_OF_TOUCH);
            // A process that starts waits for its first contact.
            let is_in_touch = contact.map_or(!self.has_been_rough, |contact| contact >= oldest);
            !is_in_touch && meta.view().ruler_assignments != state.ruler_assignments
        });
        let lags = lags || self.env.now() < self.off_until;
        let timeline = Slots::Groups.timeline(&state);
        let in_force = timeline.assignments().find(|(from, to, _)| (*from..=*to).contains(&now_ms));
        let owns = |name: &str| in_force.as_ref().is_none_or(|(_, _, owners)| owners.has(name));
        // The last owners remain when all have left, until some time after another one has joined.
        let lacks = self.nodes.iter().any(|(name, node)| node.has_died && owns(name))
            || !self.nodes.iter().any(|(name, node)| node.running.is_some() && owns(name));
        self.around.ledger.excuse(Excuse { lags, lacks });
        for (name, node) in &mut self.nodes {
            if node.has_died && node.running.as_ref().is_some_and(Running::serves) {
                self.env.note(format!("{name} is back"));
                node.has_died = false;
            }
        }
        self.counters.read(&self.around.ledger);
    }

    fn later(&mut self, after: Ms, ending: Ending) {
        self.ending.push((self.env.now() + after, ending));
    }

    fn any_serving(&self) -> Option<String> {
        let serving = |(_, node): &(&String, &Node)| node.running.as_ref().is_some_and(Running::serves);
        let names: Vec<String> = self.nodes.iter().filter(serving).map(|(name, _)| name.clone()).collect();
        self.env.pick(&names)
    }

    fn inject(&mut self, fault: Fault) {
        let Some(name) = self.any_serving() else { return };
        self.env.note(format!("fault at {name}: {fault:?}"));
        self.env.count(format!("{fault:?}").split([' ', '(']).next().unwrap_or_default(), 1);
        self.has_been_rough |= matches!(
            fault,
            Fault::Weather(_) | Fault::LateViews { .. } | Fault::Isolate { .. } | Fault::MetaAway { .. }
        );
        match fault {
            Fault::Crash { after } => {
                let Some(node) = self.nodes.get_mut(&name) else { return };
                node.has_died = true;
                if let Some(running) = node.running.take() {
                    running.crash();
                }
                self.later(after, Ending::Start(name));
            }
            Fault::Stop { after } => {
                let bug = self.around.bug;
                let Some(node) = self.nodes.get_mut(&name) else { return };
                node.stopping =
                    node.running.take().map(|running| (running.meta.clone(), tokio::spawn(running.stop(bug))));
                self.later(after, Ending::Start(name));
            }
            Fault::Drain { time } => {
                self.set_draining(&name, true);
                self.later(time, Ending::Undrain(name));
            }
            Fault::Add if self.nodes.len() < 6 => self.add(),
            Fault::Add => {}
            Fault::Isolate { hears, is_heard, time } => {
                let pairs = ADDRESSES.iter().flat_map(|meta| {
                    let from_meta = (!hears).then(|| (meta.to_string(), name.clone()));
                    let to_meta = (!is_heard).then(|| (name.clone(), meta.to_string()));
                    [from_meta, to_meta].into_iter().flatten()
                });
                let links: Vec<(String, String)> = pairs.collect();
                links.iter().for_each(|(from, to)| self.around.network.cut(from, to));
                self.later(time, Ending::Links(links));
            }
            Fault::LateViews { delay, time } => {
                ADDRESSES.iter().for_each(|from| self.around.network.slow(from, &name, delay));
                self.later(time, Ending::Views(name));
            }
            Fault::MetaAway { time } => self.group.goes_away(self.env.now() + time),
            Fault::Weather(weather) => self.around.network.set_weather(weather),
            Fault::Clock { by } => _ = self.nodes[&name].ahead_ms.fetch_add(by, Ordering::Relaxed),
            Fault::Reload => {
                self.reloads += 1;
                self.nodes[&name].running.iter().for_each(|running| running.reload(self.reloads));
            }
        }
    }

    fn set_draining(&self, name: &str, draining: bool) {
        let state = self.group.state();
        let Some(member) = state.member(name).filter(|member| member.state.is_live()) else { return };
        let others = state.owning_rulers().keys().filter(|other| *other != name).count();
        if draining && others == 0 {
            return;
        }
        let to = if draining { MemberState::Draining } else { MemberState::Active };
        let node = member.id.clone();
        _ = self.group.apply(Command::SetMemberState { node, state: to, at_ms: BASE_MS + self.env.now() as i64 });
    }

    async fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Start(name) => {
                let Some(node) = self.nodes.get_mut(&name) else { return };
                match node.stopping.take() {
                    Some(stopping) if !stopping.1.is_finished() => {
                        node.stopping = Some(stopping);
                        return self.later(100, Ending::Start(name));
                    }
                    // The others find out as they do of a death.
                    Some((_, stopped)) => node.has_died |= !stopped.await.unwrap_or(false),
                    None => {}
                }
                if node.running.is_none() {
                    self.start(&name);
                }
            }
            Ending::Undrain(name) => self.set_draining(&name, false),
            Ending::Links(cut) => cut.iter().for_each(|(from, to)| self.around.network.heal(from, to)),
            Ending::Views(name) => ADDRESSES.iter().for_each(|from| self.around.network.slow(from, &name, 0)),
        }
    }
}

impl Counters {
    /// Adds what has been counted since the last time. A ruler that gives a group away forgets its counters.
    fn read(&mut self, ledger: &Ledger) {
        self.processes.retain(|(process, ..)| !process.has_ended());
        for (_, registry, known) in &mut self.processes {
            let families = registry.gather();
            let family = families.iter().find(|family| family.name() == MISSED);
            let mut counted = BTreeMap::new();
            for metric in family.into_iter().flat_map(|family| family.get_metric()) {
                let group = metric.get_label().first().map(|label| label.value().to_string()).unwrap_or_default();
                counted.insert(group, metric.get_counter().get_value() as u64);
            }
            for (group, now) in &counted {
                let before = known.get(group).copied().unwrap_or(0);
                let number = group.rsplit('g').next().and_then(|number| number.parse().ok());
                if let Some(number) = number.filter(|_| *now > before) {
                    ledger.missed(number, now - before);
                }
            }
            *known = counted;
        }
    }
}
