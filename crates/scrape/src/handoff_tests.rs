//! Several agents with their real loops in one process, over a seeded course of events: agents join, drain and are killed,
//! hear of everything at different times, and targets and series go away. Time stands still until all tasks wait.
//!
//! What must hold (invariant 15): each moment of a target has one scrape, but for the moments of an agent that was killed
//! until the others know; a stale marker is written for what is gone, once, and for nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pharos_cluster::state::Settings;
use pharos_cluster::{ClusterState, Command, Member, MemberState, Role, View};
use pharos_model::{Clock, Labels, TenantId, WriteBatch, WriteError, WriteOutcome, is_stale_nan};
use pharos_transport::Ingest;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::sync::watch;

use crate::departed::Departed;
use crate::handed::Handed;
use crate::metrics::ScrapeMetrics;
use crate::ownership::{Ownership, Peers};
use crate::pool::{self, PoolHandle, Prepared};
use crate::shared::{Fetch, Shared};
use crate::target_loop::Stop;
use crate::targets::tests::resolved;
use crate::tests::TokioClock;
use pharos_discovery::Found;
use pharos_http_client::{Answer, HttpError};

const INTERVAL_MS: i64 = 5000;
const TARGETS: usize = 12;
/// Longest time until an agent hears of a change.
const MOST_DELAY_MS: u64 = 600;
/// From an agent's death until it is noted.
const LEASE_MS: u64 = 2500;

/// Numbers that a seed gives.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }
}

/// A sample as it arrived: of which target and series, when, and whether it is a stale marker.
#[derive(Clone, Debug)]
struct Arrived {
    target: String,
    series: String,
    t: i64,
    stale: bool,
    v: f64,
}

/// What all agents share: the targets, and where samples go.
#[derive(Default)]
struct World {
    arrived: Mutex<Vec<Arrived>>,
    /// The second series of these targets is gone.
    shrunk: Mutex<BTreeSet<String>>,
    agents: Mutex<BTreeMap<String, Arc<Departed>>>,
    dice: Mutex<Option<Dice>>,
    /// What happened, for people.
    events: Mutex<Vec<String>>,
}

impl World {
    fn below(&self, n: u64) -> u64 {
        self.dice.lock().as_mut().map_or(0, |dice| dice.below(n))
    }

    fn note(&self, at_ms: i64, event: String) {
        self.events.lock().push(format!("{at_ms}: {event}"));
    }

    async fn pause(&self, most_ms: u64) {
        let pause = self.below(most_ms);
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
                let (series, stale) = (labels.metric_name().to_string(), is_stale_nan(sample.v));
                arrived.push(Arrived { target, series, t: sample.t, stale, v: sample.v });
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
        body: &mut Vec<u8>,
    ) -> Result<Answer, HttpError> {
        self.pause(60).await;
        let shrunk = self.shrunk.lock().iter().any(|target| url.contains(target.as_str()));
        body.extend_from_slice(if shrunk { b"m 1\n" } else { b"m 1\nv 1\n" });
        Ok(Answer { content_type: "text/plain; version=0.0.4".into(), ..Answer::default() })
    }
}

struct SimPeers(Arc<World>, Arc<TokioClock>);

#[async_trait]
impl Peers for SimPeers {
    async fn hand_over(&self, to: &str, handed: &Handed) -> Result<(), String> {
        let request = handed.passed_on().ok_or("too often")?;
        self.0.pause(80).await;
        let departed = self.0.agents.lock().get(to).cloned().ok_or("it is dead")?;
        self.0.note(self.1.now_ms(), format!("{} to {to}, hop {}, for {}", handed.url, handed.hops, handed.next_ms));
        departed.receive(Handed::read(request, &TenantId::default(), self.1.now_ms())?)
    }
}

struct SimAgent {
    views: Arc<watch::Sender<View>>,
    found: Arc<watch::Sender<Found>>,
    shared: Arc<Shared>,
    departed: Arc<Departed>,
    pool: PoolHandle,
}

struct Sim {
    world: Arc<World>,
    clock: Arc<TokioClock>,
    state: Arc<Mutex<ClusterState>>,
    agents: BTreeMap<String, SimAgent>,
    targets: BTreeSet<String>,
    /// When targets went, and series.
    gone: BTreeMap<String, i64>,
    shrunk: BTreeMap<String, i64>,
    /// Deaths: from then on until the others know and have waited.
    deaths: Vec<(i64, i64)>,
    next: u32,
    /// Whether agents believe that their views are new, and hear of changes seconds later.
    credulous: bool,
}

fn found(targets: &BTreeSet<String>) -> Found {
    Some(Arc::new(targets.iter().map(|target| Labels::from_pairs([("__address__", target.as_str())])).collect()))
}

impl Sim {
    fn new(seed: u64, credulous: bool) -> Self {
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
            credulous,
        }
    }

    /// Carries a command out; every agent hears of it after a while, in order.
    fn command(&self, command: &Command) {
        self.world.note(self.clock.now_ms(), format!("{command:?}"));
        let view = {
            let mut state = self.state.lock();
            state.apply(command).unwrap();
            View::new(Arc::new(state.clone()))
        };
        for agent in self.agents.values() {
            let (views, view, world) = (agent.views.clone(), view.clone(), self.world.clone());
            let most_delay = if self.credulous { 10 * MOST_DELAY_MS } else { MOST_DELAY_MS };
            tokio::spawn(async move {
                world.pause(most_delay).await;
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
        let known = if self.credulous { Arc::default() } else { self.state.clone() };
        tokio::spawn(stay_in_contact(contact.clone(), views.subscribe(), known, self.clock.clone()));
        let peers = Arc::new(SimPeers(self.world.clone(), self.clock.clone()));
        let ownership = Ownership::over(&id, views.subscribe(), contact.subscribe(), self.clock.clone(), peers);
        let metrics = ScrapeMetrics::new(&prometheus::Registry::new()).unwrap();
        let shared = Shared::new(self.world.clone(), self.clock.clone(), TenantId::default(), metrics, ownership);
        let departed = Departed::new(shared.clone());
        self.world.agents.lock().insert(id.clone(), departed.clone());
        let config = Arc::new(resolved("job_name: j\nscrape_interval: 5s\nscrape_timeout: 1s"));
        let (publish, watched) = watch::channel(found(&self.targets));
        let prepared = Prepared { config, fetch: self.world.clone() };
        let pool = pool::start(shared.clone(), departed.clone(), prepared, vec![watched]);
        self.agents.insert(id.clone(), SimAgent { views, found: Arc::new(publish), shared, departed, pool });
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
        agent.departed.stop();
        agent.pool.stop(Stop::Now).await;
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
        // Who tells it to drain sees the effect first.
        let version = self.state.lock().version;
        agent.views.subscribe().wait_for(|view| view.version >= version).await.unwrap();
        assert!(agent.shared.ownership.released().await);
        agent.departed.pass_all(self.clock.now_ms()).await;
        agent.shared.idle().await;
        assert!(agent.pool.status.active().is_empty());
        self.stop(&id).await;
    }

    /// A target goes; every agent finds out by itself.
    fn lose_target(&mut self) {
        let at = self.world.below(self.targets.len() as u64) as usize;
        let target = self.targets.iter().nth(at).unwrap().clone();
        self.world.note(self.clock.now_ms(), format!("{target} goes"));
        self.targets.remove(&target);
        self.gone.insert(target, self.clock.now_ms());
        for agent in self.agents.values() {
            let (found_by, all, world) = (agent.found.clone(), found(&self.targets), self.world.clone());
            tokio::spawn(async move {
                world.pause(MOST_DELAY_MS).await;
                let fewer = |old: &Found| old.as_ref().map_or(0, |l| l.len()) > all.as_ref().map_or(0, |l| l.len());
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

    /// The second series of a target goes.
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
                7 if self.targets.len() > 2 => self.lose_target(),
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

    /// Whether an agent was dead, or not known to be, in some part of a time.
    fn is_excused(&self, from: i64, to: i64) -> bool {
        self.deaths.iter().any(|(died, known)| *died <= to && from <= *known)
    }

    fn check(&self, seed: u64) {
        // Shown when the test fails.
        eprintln!("seed {seed}, until {}\n{}", self.clock.now_ms(), self.world.events.lock().join("\n"));
        let arrived = self.world.arrived.lock();
        let end = self.clock.now_ms();
        for n in 0..TARGETS {
            let target = format!("t{n}:1");
            let of = |series: &'static str, stale: bool| {
                let target = target.clone();
                arrived.iter().filter(move |a| a.target == target && a.series == series && a.stale == stale)
            };
            let ups: BTreeSet<i64> = of("up", false).map(|a| a.t).collect();
            let context = format!("seed {seed}, {target}: {:?}", ups.iter().map(|t| t - end).collect::<Vec<_>>());
            assert_eq!(ups.len(), of("up", false).count(), "a moment twice; {context}");
            let gone = self.gone.get(&target).copied();
            let last = gone.unwrap_or(end) - 2 * INTERVAL_MS;
            let (mut before, mut missed_in_a_row) = (*ups.first().expect(&context), 0);
            for &t in ups.range(before + 1..) {
                assert!(t - before > INTERVAL_MS / 2, "twice in an interval at {}; {context}", t - end);
                let missed = (t - before + INTERVAL_MS / 2) / INTERVAL_MS - 1;
                assert!(missed == 0 || self.is_excused(before, t), "missed {} before {}; {context}", missed, t - end);
                missed_in_a_row = missed_in_a_row.max(missed);
                before = t;
            }
            let deaths_at_once = self.deaths.len().max(1) as i64;
            assert!(missed_in_a_row <= deaths_at_once, "{missed_in_a_row} missed; {context}");
            assert!(
                before >= last || self.is_excused(before, gone.unwrap_or(end)),
                "it ended at {}; {context}",
                before - end
            );
            self.check_markers(&target, gone, of("up", true).map(|a| a.t).collect(), &context);
            let shrunk = self.shrunk.get(&target).copied();
            let series_gone = [shrunk, gone].into_iter().flatten().min();
            self.check_markers(&target, series_gone, of("v", true).map(|a| a.t).collect(), &context);
            if self.deaths.is_empty() {
                let added: f64 = of("scrape_series_added", false).map(|a| a.v).sum();
                let had = if of("v", false).next().is_some() { 2.0 } else { 1.0 };
                assert_eq!(added, had, "series were new again; {context}");
            }
        }
    }

    /// What is gone is marked once; what is not never is.
    fn check_markers(&self, target: &str, gone: Option<i64>, markers: Vec<i64>, context: &str) {
        let Some(gone) = gone else {
            assert!(markers.is_empty(), "markers {markers:?} of what is there; {context}");
            return;
        };
        let excused = self.is_excused(gone - 2 * INTERVAL_MS, gone + 4 * INTERVAL_MS);
        let early = gone - if excused { 3 * INTERVAL_MS } else { MOST_DELAY_MS as i64 };
        assert!(markers.iter().all(|t| *t >= early), "marked too early; {context}");
        assert!(markers.len() == 1 || (excused && markers.is_empty()), "{target}: markers {markers:?}; {context}");
    }
}

/// An agent gives signs of life, by which it knows from when its view is.
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

/// Seeds that every run of the tests tries, unless HANDOFF_SEEDS says how many.
const SEEDS: u64 = 200;

#[test]
fn targets_move_between_agents_without_a_gap_or_a_double() {
    let given = |name: &str| std::env::var(name).ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = given("HANDOFF_SEED").map_or(0..given("HANDOFF_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let failed: Vec<u64> = seeds.filter(|seed| !runs_well(*seed, false)).collect();
    assert!(failed.is_empty(), "seeds {failed:?} failed, see above; HANDOFF_SEED={} runs one", failed[0]);
}

/// The test of the test: without the wait for a new view, late news show.
#[test]
fn agents_that_trust_old_views_are_found_out() {
    assert!((0..20).any(|seed| !runs_well(seed, true)));
}

fn runs_well(seed: u64, credulous: bool) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let run = || {
        runtime.block_on(async {
            let mut sim = Sim::new(seed, credulous);
            sim.run().await;
            sim.check(seed);
        });
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok()
}
