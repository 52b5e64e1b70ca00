//! A simulation of several agents with their real loops. Seeded events let agents join, drain and die, let them learn of
//! changes at different times, and remove targets and series. Time is paused and advances when all tasks wait.
//!
//! Invariant 15: each slot of a target has one scrape, except for the slots of a dead agent until the others know. A series
//! that is gone gets one stale marker, and no other series gets any.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use pharos_cluster::state::Settings;
use pharos_cluster::{ClusterState, Command, Member, MemberState, Role, SlotOwner, Slots, View};
use pharos_discovery::DiscoveredTargets;
use pharos_http_client::{HttpError, ResponseHead};
use pharos_model::{Clock, Hold, MemoryAccount, TenantId, WriteBatch, WriteError, WriteOutcome, is_stale_nan};
use pharos_transport::Ingest;

use super::super::*;
use crate::metrics::ScrapeMetrics;
use crate::ownership::{Ownership, Peers};
use crate::pool::{self, PoolHandle, PoolInput, ScrapeJob};
use crate::shared::Fetch;
use crate::targets::tests::resolved;
use crate::tests::TokioClock;

const INTERVAL_MS: i64 = 5000;
const TARGETS: usize = 12;
/// The longest time until an agent learns of a change.
const MAX_DELAY_MS: u64 = 600;
/// The time from an agent's death until the cluster notices.
const LEASE_MS: u64 = 2500;

/// A seeded generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }
}

/// A sample that reached the store.
#[derive(Clone, Debug)]
struct Arrived {
    target: String,
    series: String,
    t: i64,
    is_stale: bool,
    v: f64,
}

/// What all agents share: the targets and the store.
#[derive(Default)]
struct World {
    arrived: Mutex<Vec<Arrived>>,
    /// Targets whose second series is gone.
    shrunk: Mutex<BTreeSet<String>>,
    agents: Mutex<BTreeMap<String, Arc<Handoffs>>>,
    dice: Mutex<Option<Dice>>,
    /// The course of events, printed for a failing seed.
    events: Mutex<Vec<String>>,
}

impl World {
    fn below(&self, n: u64) -> u64 {
        self.dice.lock().as_mut().map_or(0, |dice| dice.below(n))
    }

    fn note(&self, at_ms: i64, event: String) {
        self.events.lock().push(format!("{at_ms}: {event}"));
    }

    async fn pause(&self, max_ms: u64) {
        let pause = self.below(max_ms);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

#[async_trait]
impl Ingest for World {
    async fn append(&self, _: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        let mut arrived = self.arrived.lock();
        for series in batch.series() {
            let labels = Labels::from_canonical(batch.labels_of(series)).unwrap();
            for sample in batch.samples_of(series) {
                let target = labels.get("instance").unwrap_or_default().to_string();
                let series = labels.metric_name().to_string();
                let is_stale = is_stale_nan(sample.v);
                arrived.push(Arrived { target, series, t: sample.t, is_stale, v: sample.v });
            }
        }
        Ok(WriteOutcome::default())
    }
}

#[async_trait]
impl Fetch for World {
    async fn fetch(
        &self,
        url: &str,
        _: &[(HeaderName, HeaderValue)],
        _: Duration,
        _: u64,
        _: &Hold,
        body: &mut Vec<u8>,
    ) -> Result<ResponseHead, HttpError> {
        self.pause(60).await;
        let shrunk = self.shrunk.lock().iter().any(|target| url.contains(target.as_str()));
        body.extend_from_slice(if shrunk { b"m 1\n" } else { b"m 1\nv 1\n" });
        Ok(ResponseHead { content_type: "text/plain; version=0.0.4".into() })
    }
}

struct SimPeers(Arc<World>, Arc<TokioClock>);

#[async_trait]
impl Peers for SimPeers {
    async fn hand_off(&self, to: &str, record: &HandoffRecord) -> Result<(), String> {
        let request = record.to_parts(usize::MAX).next().ok_or("too many hops")?;
        self.0.pause(80).await;
        let handoffs = self.0.agents.lock().get(to).cloned().ok_or("the agent is dead")?;
        self.0.note(self.1.now_ms(), format!("{} to {to}, hop {}, for {}", record.url, record.hops, record.next_ms));
        handoffs.receive(HandoffRecord::from_request(request, &TenantId::default(), self.1.now_ms())?)
    }
}

struct SimAgent {
    views: Arc<watch::Sender<View>>,
    found: Arc<watch::Sender<DiscoveredTargets>>,
    shared: Arc<Shared>,
    handoffs: Arc<Handoffs>,
    pool: PoolHandle,
}

struct Sim {
    world: Arc<World>,
    clock: Arc<TokioClock>,
    state: Arc<Mutex<ClusterState>>,
    agents: BTreeMap<String, SimAgent>,
    targets: BTreeSet<String>,
    /// When each target was removed.
    gone: BTreeMap<String, i64>,
    /// When the second series of each target was removed.
    shrunk: BTreeMap<String, i64>,
    /// For each death, its time and the time from which on the next owner scrapes.
    deaths: Vec<(i64, i64)>,
    next: u32,
    /// Whether agents take stale views for fresh ones, and learn of changes seconds later.
    trusts_stale_views: bool,
}

fn found(targets: &BTreeSet<String>) -> DiscoveredTargets {
    Some(Arc::new(targets.iter().map(|target| Labels::from_pairs([("__address__", target.as_str())])).collect()))
}

impl Sim {
    fn new(seed: u64, trusts_stale_views: bool) -> Self {
        let world = Arc::new(World { dice: Mutex::new(Some(Dice(seed))), ..World::default() });
        let settings = Settings { cluster: format!("c{seed}"), shards: 1, replication_factor: 1 };
        let mut state = ClusterState::default();
        state.apply(&Command::Bootstrap { settings }).unwrap();
        Sim {
            world,
            clock: TokioClock::new(),
            state: Arc::new(Mutex::new(state)),
            agents: BTreeMap::new(),
            targets: (0..TARGETS).map(|n| format!("t{n}:1")).collect(),
            gone: BTreeMap::new(),
            shrunk: BTreeMap::new(),
            deaths: Vec::new(),
            next: 0,
            trusts_stale_views,
        }
    }

    /// Applies a command. Every agent learns of it after a delay, in order.
    fn command(&self, command: &Command) {
        self.world.note(self.clock.now_ms(), format!("{command:?}"));
        let view = {
            let mut state = self.state.lock();
            state.apply(command).unwrap();
            View::new(Arc::new(state.clone()))
        };
        for agent in self.agents.values() {
            let (views, view, world) = (agent.views.clone(), view.clone(), self.world.clone());
            let max_delay = if self.trusts_stale_views { 10 * MAX_DELAY_MS } else { MAX_DELAY_MS };
            tokio::spawn(async move {
                world.pause(max_delay).await;
                views.send_if_modified(|old| {
                    let newer = old.version < view.version;
                    if newer {
                        *old = view;
                    }
                    newer
                });
            });
        }
    }

    fn join(&mut self) {
        let id = format!("agent-{}", self.next);
        self.next += 1;
        let views = Arc::new(watch::Sender::new(View::new(Arc::new(self.state.lock().clone()))));
        let contact = watch::Sender::new(None);
        let known = if self.trusts_stale_views { Arc::default() } else { self.state.clone() };
        // The agent's clock is wrong until its first heartbeat corrects it.
        let ahead_ms = self.world.below(40_000) as i64 - 20_000;
        let (clock, steps) = (self.clock.ahead_by(ahead_ms), watch::Sender::new(None));
        let peers = Arc::new(SimPeers(self.world.clone(), clock.clone()));
        let (seen, heard, stepped) = (views.subscribe(), contact.subscribe(), steps.subscribe());
        let owner = SlotOwner::new(&id, Slots::Targets, seen.clone(), heard, clock.clone());
        let ownership = Ownership::from_parts(owner, seen, stepped, peers);
        let metrics = ScrapeMetrics::new(&prometheus::Registry::new()).unwrap();
        let shared = Shared::new(
            self.world.clone(),
            clock.clone(),
            TenantId::default(),
            MemoryAccount::unlimited(),
            metrics,
            ownership,
        );
        let (world, beats, seen) = (self.world.clone(), contact.clone(), views.subscribe());
        tokio::spawn(async move {
            world.pause(MAX_DELAY_MS / 2).await;
            clock.step(-ahead_ms);
            steps.send_replace(Some(-ahead_ms));
            stay_in_contact(beats, seen, known, clock).await;
        });
        let handoffs = Handoffs::new(shared.clone());
        self.world.agents.lock().insert(id.clone(), handoffs.clone());
        let config = Arc::new(resolved("job_name: j\nscrape_interval: 5s\nscrape_timeout: 1s"));
        let (publish, watched) = watch::channel(found(&self.targets));
        let job = ScrapeJob { config, fetch: self.world.clone() };
        let pool = pool::start(shared.clone(), handoffs.clone(), PoolInput { job, found: vec![watched] });
        self.agents.insert(id.clone(), SimAgent { views, found: Arc::new(publish), shared, handoffs, pool });
        let roles = [Role::Agent].into();
        let member = Member { id, roles, weight: 100, state: MemberState::Active, ..Member::default() };
        self.command(&Command::Join { member, at_ms: self.clock.now_ms() });
    }

    fn set(&self, node: &str, state: MemberState) {
        self.command(&Command::SetMemberState { node: node.into(), state, at_ms: self.clock.now_ms() });
    }

    fn any_agent(&self) -> String {
        let at = self.world.below(self.agents.len() as u64) as usize;
        self.agents.keys().nth(at).unwrap().clone()
    }

    async fn stop(&mut self, id: &str) {
        self.world.note(self.clock.now_ms(), format!("{id} stops"));
        self.world.agents.lock().remove(id);
        let agent = self.agents.remove(id).unwrap();
        agent.shared.stop();
        agent.pool.stop().await.unwrap();
    }

    async fn kill(&mut self) {
        let id = self.any_agent();
        let died = self.clock.now_ms();
        self.stop(&id).await;
        tokio::time::sleep(Duration::from_millis(LEASE_MS)).await;
        self.set(&id, MemberState::Down);
        self.deaths.push((died, self.clock.now_ms() + pharos_cluster::HANDOFF_MS));
    }

    async fn drain(&mut self) {
        let id = self.any_agent();
        self.set(&id, MemberState::Draining);
        let agent = &self.agents[&id];
        // The agent sees its own state before it acts on it.
        let version = self.state.lock().version;
        agent.views.subscribe().wait_for(|view| view.version >= version).await.unwrap();
        assert!(agent.shared.ownership.await_release().await);
        agent.handoffs.transfer_all(self.clock.now_ms()).await;
        agent.shared.await_idle().await;
        assert!(agent.pool.status.active().is_empty());
        self.stop(&id).await;
    }

    /// Removes a target. Every agent discovers that by itself.
    fn remove_target(&mut self) {
        let at = self.world.below(self.targets.len() as u64) as usize;
        let target = self.targets.iter().nth(at).unwrap().clone();
        self.world.note(self.clock.now_ms(), format!("{target} is removed"));
        self.targets.remove(&target);
        self.gone.insert(target, self.clock.now_ms());
        for agent in self.agents.values() {
            let (found_by, all, world) = (agent.found.clone(), found(&self.targets), self.world.clone());
            tokio::spawn(async move {
                world.pause(MAX_DELAY_MS).await;
                let fewer =
                    |old: &DiscoveredTargets| old.as_ref().map_or(0, |l| l.len()) > all.as_ref().map_or(0, |l| l.len());
                found_by.send_if_modified(|old| {
                    let is_fewer = fewer(old);
                    if is_fewer {
                        *old = all.clone();
                    }
                    is_fewer
                });
            });
        }
    }

    /// Removes the second series of a target.
    fn shrink_target(&mut self) {
        let at = self.world.below(self.targets.len() as u64) as usize;
        let target = self.targets.iter().nth(at).unwrap().clone();
        self.world.note(self.clock.now_ms(), format!("{target} shrinks"));
        self.world.shrunk.lock().insert(target.clone());
        self.shrunk.entry(target).or_insert(self.clock.now_ms());
    }

    async fn run(&mut self) {
        self.join();
        self.join();
        tokio::time::sleep(Duration::from_secs(12)).await;
        for _ in 0..8 {
            match self.world.below(10) {
                0..=2 if self.agents.len() < 5 => self.join(),
                3 | 4 if self.agents.len() > 1 => self.kill().await,
                5 | 6 if self.agents.len() > 1 => self.drain().await,
                7 if self.targets.len() > 2 => self.remove_target(),
                _ => self.shrink_target(),
            }
            let pause = [50, 900, 7000][self.world.below(3) as usize];
            self.world.pause(pause).await;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        let ids: Vec<String> = self.agents.keys().cloned().collect();
        for id in ids {
            self.stop(&id).await;
        }
    }

    /// Whether some agent was dead at some time in a range, and the others did not scrape its targets yet.
    fn is_excused(&self, from: i64, to: i64) -> bool {
        self.deaths.iter().any(|(died, known)| *died <= to && from <= *known)
    }

    fn check(&self, seed: u64) {
        // Printed when the test fails.
        eprintln!("seed {seed}, until {}\n{}", self.clock.now_ms(), self.world.events.lock().join("\n"));
        let arrived = self.world.arrived.lock();
        let end = self.clock.now_ms();
        for n in 0..TARGETS {
            let target = format!("t{n}:1");
            let of = |series: &'static str, is_stale: bool| {
                let target = target.clone();
                arrived.iter().filter(move |a| a.target == target && a.series == series && a.is_stale == is_stale)
            };
            let ups: BTreeSet<i64> = of("up", false).map(|a| a.t).collect();
            let context = format!("seed {seed}, {target}: {:?}", ups.iter().map(|t| t - end).collect::<Vec<_>>());
            assert_eq!(ups.len(), of("up", false).count(), "a slot was scraped twice; {context}");
            let gone = self.gone.get(&target).copied();
            let last = gone.unwrap_or(end) - 2 * INTERVAL_MS;
            let (mut before, mut missed_in_a_row) = (*ups.first().expect(&context), 0);
            for &t in ups.range(before + 1..) {
                assert!(t - before > INTERVAL_MS / 2, "two scrapes in an interval at {}; {context}", t - end);
                let missed = (t - before + INTERVAL_MS / 2) / INTERVAL_MS - 1;
                assert!(missed == 0 || self.is_excused(before, t), "missed {} before {}; {context}", missed, t - end);
                missed_in_a_row = missed_in_a_row.max(missed);
                before = t;
            }
            let deaths_at_once = self.deaths.len().max(1) as i64;
            assert!(missed_in_a_row <= deaths_at_once, "{missed_in_a_row} missed; {context}");
            assert!(
                before >= last || self.is_excused(before, gone.unwrap_or(end)),
                "its scrapes ended at {}; {context}",
                before - end
            );
            self.check_markers(&target, gone, of("up", true).map(|a| a.t).collect(), &context);
            let shrunk = self.shrunk.get(&target).copied();
            let series_gone = [shrunk, gone].into_iter().flatten().min();
            self.check_markers(&target, series_gone, of("v", true).map(|a| a.t).collect(), &context);
            if self.deaths.is_empty() {
                let added: f64 = of("scrape_series_added", false).map(|a| a.v).sum();
                let had = if of("v", false).next().is_some() { 2.0 } else { 1.0 };
                assert_eq!(added, had, "a series was counted as new again; {context}");
            }
        }
    }

    /// A series that is gone gets one marker, any other none.
    fn check_markers(&self, target: &str, gone: Option<i64>, markers: Vec<i64>, context: &str) {
        let Some(gone) = gone else {
            assert!(markers.is_empty(), "markers {markers:?} of a series that exists; {context}");
            return;
        };
        let excused = self.is_excused(gone - 2 * INTERVAL_MS, gone + 4 * INTERVAL_MS);
        let early = gone - if excused { 3 * INTERVAL_MS } else { MAX_DELAY_MS as i64 };
        assert!(markers.iter().all(|t| *t >= early), "a marker came too early; {context}");
        assert!(markers.len() == 1 || (excused && markers.is_empty()), "{target}: markers {markers:?}; {context}");
    }
}

/// Heartbeats, by which an agent knows how fresh its view is.
async fn stay_in_contact(
    contact: watch::Sender<Option<Duration>>,
    mut views: watch::Receiver<View>,
    state: Arc<Mutex<ClusterState>>,
    clock: Arc<TokioClock>,
) {
    loop {
        let (sent, version) = (clock.monotonic(), state.lock().version);
        if views.wait_for(|view| view.version >= version).await.is_err() {
            return;
        }
        contact.send_replace(Some(sent));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// The number of seeds in a run, unless HANDOFF_SEEDS sets it.
const SEEDS: u64 = 200;

#[test]
fn targets_move_between_agents_without_a_missed_or_repeated_scrape() {
    let given = |name: &str| std::env::var(name).ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = given("HANDOFF_SEED").map_or(0..given("HANDOFF_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let failed: Vec<u64> = seeds.filter(|seed| !passes(*seed, false)).collect();
    assert!(failed.is_empty(), "seeds {failed:?} failed, see above; HANDOFF_SEED={} runs one", failed[0]);
}

/// Tests the test: without the wait for a fresh view, late changes must be noticed.
#[test]
fn agents_that_trust_stale_views_are_caught() {
    assert!((0..20).any(|seed| !passes(seed, true)));
}

fn passes(seed: u64, trusts_stale_views: bool) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let run = || {
        runtime.block_on(async {
            let mut sim = Sim::new(seed, trusts_stale_views);
            sim.run().await;
            sim.check(seed);
        });
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok()
}
