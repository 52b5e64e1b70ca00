//! Tests of the ruler with scripted queries and paused time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pharos_cluster::{SlotOwner, Slots};
use pharos_model::clock::Sleep;
use pharos_model::{Clock, TenantId, WriteBatch, WriteError, WriteOutcome, is_stale_nan};
use pharos_promql::syntax::ast::Expr;
use pharos_promql::{SampleValue, VectorSample};
use pharos_rules::{QueryFailure, RuleQueries};
use pharos_transport::Ingest;
use prometheus::Registry;
use tokio::task::JoinHandle;

use super::*;
use crate::Ownership;
use crate::components::{AlertSink, OutgoingAlert, RuleEngine, RuleWork};

/// The start of test time, milliseconds.
const START_MS: i64 = 1_700_000_000_000;

/// A clock that follows tokio's, which is paused and advances when all tasks wait. Its wall clock can be set.
struct TokioClock(tokio::time::Instant, AtomicI64);

impl TokioClock {
    fn new() -> Arc<Self> {
        Arc::new(TokioClock(tokio::time::Instant::now(), AtomicI64::new(0)))
    }

    /// Moves the wall clock, and nothing else.
    fn step(&self, by: Duration, is_back: bool) {
        let by_ms = by.as_millis() as i64;
        self.1.fetch_add(if is_back { -by_ms } else { by_ms }, Ordering::Relaxed);
    }
}

impl Clock for TokioClock {
    fn now_ms(&self) -> i64 {
        START_MS + self.0.elapsed().as_millis() as i64 + self.1.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(deadline.saturating_sub(self.0.elapsed())))
    }
}

/// Answers queries with a sample for each of its instances, and records what is written and sent.
struct World {
    clock: Arc<TokioClock>,
    instances: Mutex<Vec<&'static str>>,
    /// How many of the next queries fail for a moment.
    failing_queries: Mutex<usize>,
    failing_writes: Mutex<usize>,
    /// How long a query takes.
    slow: Mutex<Duration>,
    queried: Mutex<Vec<String>>,
    running: Mutex<usize>,
    most_running: Mutex<usize>,
    written: Mutex<Vec<String>>,
    sent: Mutex<Vec<OutgoingAlert>>,
    /// What the series of earlier processes say, by query.
    stored: Mutex<Vec<(&'static str, VectorSample)>>,
}

impl World {
    fn new(instances: &[&'static str]) -> Arc<Self> {
        Arc::new(World {
            clock: TokioClock::new(),
            instances: Mutex::new(instances.to_vec()),
            failing_queries: Mutex::default(),
            failing_writes: Mutex::default(),
            slow: Mutex::default(),
            queried: Mutex::default(),
            running: Mutex::default(),
            most_running: Mutex::default(),
            written: Mutex::default(),
            sent: Mutex::default(),
            stored: Mutex::default(),
        })
    }

    /// Takes what was written, as `series value @seconds`.
    fn take_written(&self) -> Vec<String> {
        std::mem::take(&mut self.written.lock())
    }

    fn count_of(&self, series: &str) -> usize {
        self.written.lock().iter().filter(|line| line.contains(series)).count()
    }
}

impl RuleQueries for World {
    fn query(
        &self,
        _: &Expr,
        text: &str,
        t_ms: i64,
        lookback_ms: Option<i64>,
    ) -> Result<Vec<VectorSample>, QueryFailure> {
        if lookback_ms.is_some() {
            let stored = self.stored.lock();
            return Ok(stored.iter().filter(|(query, _)| *query == text).map(|(_, sample)| sample.clone()).collect());
        }
        self.queried.lock().push(text.to_string());
        let mut failing = self.failing_queries.lock();
        if *failing > 0 {
            *failing -= 1;
            return Err(QueryFailure { reason: "unreachable".into(), is_temporary: true });
        }
        let sample = |name: &&str| VectorSample {
            labels: Labels::from_pairs([("__name__", "up"), ("instance", name)]),
            t: t_ms,
            value: SampleValue::Float(1.0),
        };
        Ok(self.instances.lock().iter().map(sample).collect())
    }
}

struct Engine(Arc<World>);

#[async_trait]
impl RuleEngine for Engine {
    async fn run(&self, _: &TenantId, work: RuleWork) -> Result<(), QueryFailure> {
        {
            let mut running = self.0.running.lock();
            *running += 1;
            let mut most = self.0.most_running.lock();
            *most = (*most).max(*running);
        }
        let slow = *self.0.slow.lock();
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        work(&*self.0);
        *self.0.running.lock() -= 1;
        Ok(())
    }
}

struct Written(Arc<World>);

#[async_trait]
impl Ingest for Written {
    async fn append(&self, _: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        let mut failing = self.0.failing_writes.lock();
        if *failing > 0 {
            *failing -= 1;
            return Err(WriteError::Unavailable("the disk is full".into()));
        }
        for series in batch.series() {
            let labels = Labels::from_canonical(batch.labels_of(series)).unwrap();
            for sample in batch.samples_of(series) {
                let value = if is_stale_nan(sample.v) { "stale".to_string() } else { sample.v.to_string() };
                self.0.written.lock().push(format!("{labels} {value} @{}", (sample.t - START_MS) / 1000));
            }
        }
        Ok(WriteOutcome::default())
    }
}

struct Sent(Arc<World>);

impl AlertSink for Sent {
    fn send(&self, _: &TenantId, alerts: &[OutgoingAlert]) {
        self.0.sent.lock().extend_from_slice(alerts);
    }
}

fn rule_set(groups: &str) -> RuleSet {
    let groups = RuleGroups::parse(&format!("groups:\n{groups}"), false).unwrap();
    let options = GroupOptions { interval_ms: 60_000, external_url: "http://p".into(), ..GroupOptions::default() };
    RuleSet { files: vec![Arc::new(RuleFile::of_default_tenant("rules.yml", groups))], options }
}

/// A running ruler.
struct Running {
    ruler: Arc<Ruler>,
    registry: Registry,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(world: &Arc<World>, groups: &str, max_concurrent_evals: Option<usize>) -> Self {
        Running::start_owning(world, groups, max_concurrent_evals, None)
    }

    fn start_owning(
        world: &Arc<World>,
        groups: &str,
        max_concurrent_evals: Option<usize>,
        ownership: Option<Arc<Ownership>>,
    ) -> Self {
        let config = RulerConfig {
            outage_tolerance: Duration::from_secs(3600),
            grace_period: Duration::from_secs(600),
            resend_delay: Duration::from_secs(60),
            max_concurrent_evals,
        };
        let registry = Registry::new();
        let components = RulerComponents {
            engine: Arc::new(Engine(world.clone())),
            ingest: Arc::new(Written(world.clone())),
            alerts: Arc::new(Sent(world.clone())),
            ownership: ownership.unwrap_or_else(Ownership::everything),
            clock: world.clock.clone(),
            registry: registry.clone(),
        };
        let ruler = Ruler::create(config, components, rule_set(groups)).unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(ruler.clone().run(stopped));
        Running { ruler, registry, stop, task }
    }

    /// The value of a counter of the group `g`.
    fn metric(&self, name: &str) -> f64 {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let start = format!("prometheus_rule_{name}{{rule_group=\"rules.yml;g\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or("-1");
        value.parse().unwrap()
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

async fn minutes(n: u64) {
    tokio::time::sleep(Duration::from_secs(60 * n)).await;
}

const RECORD: &str = "- name: g\n  rules:\n  - {record: r, expr: up}\n";

#[tokio::test(start_paused = true)]
async fn a_group_is_evaluated_once_an_interval_at_its_slot() {
    let world = World::new(&["a"]);
    let running = Running::start(&world, RECORD, None);
    minutes(3).await;
    let written = world.take_written();
    let times: Vec<i64> = written.iter().map(|line| line.split('@').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 60), "{written:?}");
    assert!(written[0].starts_with(r#"{__name__="r", instance="a"} 1 @"#), "{written:?}");
    assert_eq!(running.metric("evaluations_total"), 3.0);
    assert_eq!(running.metric("group_iterations_total"), 3.0);
    assert_eq!(running.metric("group_last_evaluation_samples"), 1.0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_group_misses_evaluations_and_counts_them() {
    let world = World::new(&["a"]);
    *world.slow.lock() = Duration::from_secs(150);
    let running = Running::start(&world, RECORD, None);
    minutes(10).await;
    let evaluated = running.metric("evaluations_total");
    let missed = running.metric("group_iterations_missed_total");
    assert!(evaluated > 1.0 && missed > 1.0, "{evaluated} {missed}");
    assert_eq!(running.metric("group_iterations_total"), evaluated + missed);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_query_that_fails_for_a_moment_is_repeated() {
    let world = World::new(&["a"]);
    *world.failing_queries.lock() = 1;
    let running = Running::start(&world, RECORD, None);
    minutes(1).await;
    assert_eq!(world.take_written().len(), 1);
    assert_eq!(running.metric("evaluation_failures_total"), 0.0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_evaluation_resolves_no_alert_and_is_shown() {
    let world = World::new(&["a"]);
    let running = Running::start(&world, "- name: g\n  rules:\n  - {alert: A, expr: up}\n", None);
    minutes(1).await;
    *world.failing_queries.lock() = 2;
    minutes(1).await;
    let shown = running.ruler.groups().remove(0).rules.remove(0);
    assert_eq!((shown.health.as_str(), shown.last_error.as_str()), ("err", "unreachable"));
    assert_eq!((shown.state.as_str(), shown.alerts.len()), ("firing", 1));
    assert_eq!(world.count_of("stale"), 0);
    assert_eq!(running.metric("evaluation_failures_total"), 1.0);
    minutes(1).await;
    assert_eq!(running.ruler.groups()[0].rules[0].health, "ok");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_repeated_until_the_next_slot() {
    let world = World::new(&["a"]);
    *world.failing_writes.lock() = 5;
    let running = Running::start(&world, RECORD, None);
    minutes(1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.take_written().len(), 1);
    *world.failing_writes.lock() = usize::MAX;
    minutes(2).await;
    assert_eq!(running.ruler.groups()[0].rules[0].last_error, "the disk is full");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn alerts_are_sent_when_they_fire_and_when_they_are_resolved() {
    let world = World::new(&["a"]);
    let running = Running::start(&world, "- name: g\n  rules:\n  - {alert: A, expr: up > 0, for: 1m}\n", None);
    minutes(1).await;
    assert!(world.sent.lock().is_empty());
    minutes(1).await;
    let alert = world.sent.lock().remove(0);
    assert_eq!(alert.labels.to_string(), r#"{alertname="A", instance="a"}"#);
    assert_eq!(alert.generator_url, "http://p/graph?g0.expr=up+%3E+0&g0.tab=1");
    assert_eq!(alert.ends_at_ms - alert.starts_at_ms, 4 * 60_000);
    world.instances.lock().clear();
    minutes(1).await;
    let resolved = world.sent.lock().remove(0);
    assert_eq!(resolved.ends_at_ms - alert.starts_at_ms, 60_000);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_the_state_of_rules() {
    let world = World::new(&["a"]);
    let running = Running::start(&world, "- name: g\n  rules:\n  - {alert: A, expr: up, for: 2m}\n", None);
    minutes(2).await;
    let group = "- name: g\n  rules:\n  - {alert: A, expr: up > 0, for: 2m}\n";
    running.ruler.reload(rule_set(group));
    minutes(1).await;
    let shown = running.ruler.groups().remove(0).rules.remove(0);
    assert_eq!((shown.state.as_str(), shown.query.as_str()), ("firing", "up > 0"));
    assert_eq!(running.metric("evaluations_total"), 3.0, "no evaluation is skipped or doubled");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_series_of_a_removed_rule_end() {
    let world = World::new(&["a"]);
    let running =
        Running::start(&world, "- name: g\n  rules:\n  - {record: r, expr: up}\n  - {record: s, expr: up}\n", None);
    minutes(1).await;
    running.ruler.reload(rule_set(RECORD));
    minutes(1).await;
    assert_eq!(world.count_of(r#"{__name__="s", instance="a"} stale"#), 1);
    assert_eq!(world.count_of(r#"{__name__="r", instance="a"} stale"#), 0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_series_of_a_removed_group_end_unless_another_one_writes_them() {
    let world = World::new(&["a"]);
    let two = "- name: g\n  rules:\n  - {record: r, expr: up}\n- name: h\n  rules:\n  - {record: s, expr: up}\n";
    let running = Running::start(&world, two, None);
    minutes(1).await;
    running.ruler.reload(rule_set("- name: renamed\n  rules:\n  - {record: r, expr: up}\n"));
    assert_eq!(world.count_of("stale"), 0);
    minutes(4).await;
    assert_eq!(world.count_of(r#"{__name__="s", instance="a"} stale"#), 1);
    assert_eq!(world.count_of(r#"{__name__="r", instance="a"} stale"#), 0);
    assert_eq!(running.metric("evaluations_total"), -1.0, "the metrics of a removed group are gone");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn independent_rules_are_evaluated_concurrently_within_the_limit() {
    let world = World::new(&["a"]);
    *world.slow.lock() = Duration::from_secs(1);
    let rules: String = (0..6).map(|n| format!("  - {{record: r{n}, expr: up}}\n")).collect();
    let running = Running::start(&world, &format!("- name: g\n  rules:\n{rules}"), Some(3));
    minutes(1).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(world.count_of("instance"), 6);
    // Three with a permit, and the one that the group evaluates itself.
    assert_eq!(*world.most_running.lock(), 4);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn rules_are_evaluated_in_order_without_concurrency() {
    let world = World::new(&["a"]);
    *world.slow.lock() = Duration::from_secs(1);
    let running =
        Running::start(&world, "- name: g\n  rules:\n  - {record: r, expr: up}\n  - {record: s, expr: up}\n", None);
    minutes(2).await;
    assert_eq!(*world.most_running.lock(), 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_alert_of_an_earlier_process_fires_on() {
    let world = World::new(&["a"]);
    let labels = |name: &str| Labels::from_pairs([("__name__", name), ("alertname", "A"), ("instance", "a")]);
    let stored = |query, labels, value| (query, VectorSample { labels, t: 0, value: SampleValue::Float(value) });
    let since = (START_MS / 1000 - 1000) as f64;
    let seen = (START_MS / 1000 - 600) as f64;
    world.stored.lock().extend([
        stored(r#"{__name__="ALERTS_FOR_STATE", alertname="A"}"#, labels("ALERTS_FOR_STATE"), since),
        stored(
            r#"timestamp({__name__="ALERTS_FOR_STATE", alertname="A"})"#,
            labels("ALERTS_FOR_STATE").without(|n| n == "__name__"),
            seen,
        ),
    ]);
    let running = Running::start(&world, "- name: g\n  rules:\n  - {alert: A, expr: up, for: 5m}\n", None);
    minutes(1).await;
    let shown = running.ruler.groups().remove(0).rules.remove(0);
    assert_eq!((shown.state.as_str(), shown.alerts[0].active_at_ms), ("firing", since as i64 * 1000));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_stops_no_rules() {
    let world = World::new(&["a"]);
    let running = Running::start(&world, RECORD, None);
    minutes(2).await;
    let first = *times(&world, r#"{__name__="r""#).first().unwrap();
    world.clock.step(Duration::from_secs(3600), true);
    minutes(3).await;
    let times = times(&world, r#"{__name__="r""#);
    assert_eq!(times.len(), 5, "{times:?}");
    // Whole seconds of times before the start are cut off towards it.
    assert!((times[2] - (first + 120 - 3600)).abs() <= 1, "{times:?}");
    assert!(times[2..].windows(2).all(|pair| pair[1] - pair[0] == 60), "{times:?}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_step_forward_the_present_is_evaluated_and_the_rest_is_missed() {
    let world = World::new(&["a"]);
    let running = Running::start(&world, RECORD, None);
    minutes(2).await;
    let first = *times(&world, r#"{__name__="r""#).first().unwrap();
    world.clock.step(Duration::from_secs(600), false);
    minutes(2).await;
    let times = times(&world, r#"{__name__="r""#);
    assert_eq!(times[2..], [first + 720, first + 780]);
    assert_eq!(running.metric("group_iterations_missed_total"), 10.0);
    running.stop().await;
}

/// A cluster of rulers, as meta's view shows it.
struct Cluster {
    state: pharos_cluster::ClusterState,
    views: watch::Sender<pharos_cluster::View>,
    contact: watch::Sender<Option<Duration>>,
}

impl Cluster {
    fn of(rulers: &[&str]) -> Self {
        let mut state = pharos_cluster::ClusterState::default();
        for id in rulers {
            let member = pharos_cluster::Member {
                id: id.to_string(),
                roles: [pharos_cluster::Role::Ruler].into(),
                weight: 100,
                state: pharos_cluster::MemberState::Active,
                ..pharos_cluster::Member::default()
            };
            let at_ms = START_MS - 10_000;
            state.apply(&pharos_cluster::Command::Join { member, at_ms }).unwrap();
        }
        let views = watch::Sender::new(pharos_cluster::View::new(Arc::new(state.clone())));
        Cluster { state, views, contact: watch::Sender::new(Some(Duration::MAX)) }
    }

    /// Changes the state of a ruler at a time.
    fn set(&mut self, ruler: &str, state: pharos_cluster::MemberState, at_ms: i64) {
        let node = ruler.to_string();
        self.state.apply(&pharos_cluster::Command::SetMemberState { node, state, at_ms }).unwrap();
        self.views.send_replace(pharos_cluster::View::new(Arc::new(self.state.clone())));
    }

    fn start(&self, world: &Arc<World>, ruler: &str, groups: &str) -> Running {
        let (views, contact) = (self.views.subscribe(), self.contact.subscribe());
        let owner = SlotOwner::new(ruler, Slots::Groups, views, contact, world.clock.clone());
        let ownership = Ownership::of(owner);
        Running::start_owning(world, groups, None, Some(ownership))
    }
}

/// The times of the samples of a series, seconds.
fn times(world: &World, series: &str) -> Vec<i64> {
    let written = world.written.lock();
    let of_series = written.iter().filter(|line| line.starts_with(series) && !line.contains("stale"));
    of_series.map(|line| line.rsplit_once('@').unwrap().1.parse().unwrap()).collect()
}

fn many_groups() -> String {
    (0..20).map(|n| format!("- name: g{n}\n  rules:\n  - {{record: r{n}, expr: up}}\n")).collect()
}

#[tokio::test(start_paused = true)]
async fn each_group_is_evaluated_by_one_ruler() {
    let world = World::new(&["a"]);
    let cluster = Cluster::of(&["A", "B"]);
    let (a, b) = (cluster.start(&world, "A", &many_groups()), cluster.start(&world, "B", &many_groups()));
    minutes(3).await;
    for n in 0..20 {
        let times = times(&world, &format!(r#"{{__name__="r{n}", "#));
        assert_eq!(times.len(), 3, "group {n}: {times:?}");
    }
    let (of_a, of_b) = (a.ruler.groups().len(), b.ruler.groups().len());
    assert!(of_a > 0 && of_b > 0 && of_a + of_b == 20, "{of_a} {of_b}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_ruler_that_drains_hands_its_groups_over_without_a_gap_or_a_double() {
    let world = World::new(&["a"]);
    let mut cluster = Cluster::of(&["A", "B"]);
    let (a, b) = (cluster.start(&world, "A", &many_groups()), cluster.start(&world, "B", &many_groups()));
    minutes(2).await;
    cluster.set("A", pharos_cluster::MemberState::Draining, world.clock.now_ms());
    assert!(a.ruler.hand_off().await);
    a.stop().await;
    minutes(3).await;
    for n in 0..20 {
        let times = times(&world, &format!(r#"{{__name__="r{n}", "#));
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 60), "group {n}: {times:?}");
        assert!(times.len() >= 5, "group {n}: {times:?}");
    }
    assert_eq!(b.ruler.groups().len(), 20);
    b.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_evaluations_that_are_lost_with_a_ruler_are_counted() {
    let world = World::new(&["a"]);
    let mut cluster = Cluster::of(&["A", "B"]);
    let (a, b) = (cluster.start(&world, "A", RECORD), cluster.start(&world, "B", RECORD));
    minutes(2).await;
    let a_owns = !a.ruler.groups().is_empty();
    let (id, dead, heir) = if a_owns { ("A", a, b) } else { ("B", b, a) };
    dead.stop().await;
    let series = r#"{__name__="r", "#;
    let last = *times(&world, series).last().unwrap();
    let seconds = START_MS / 1000 + last;
    let sample = VectorSample { labels: Labels::empty(), t: 0, value: SampleValue::Float(seconds as f64) };
    world.stored.lock().push((r#"max(timestamp({__name__="r"}))"#, sample));
    minutes(3).await;
    cluster.set(id, pharos_cluster::MemberState::Down, world.clock.now_ms());
    minutes(2).await;
    let after = times(&world, series);
    let lost = (after.iter().find(|at| **at > last).unwrap() - last) / 60 - 1;
    assert!(lost >= 2, "{after:?}");
    assert_eq!(heir.metric("group_iterations_missed_total"), lost as f64);
    heir.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_only_ruler_hands_nothing_over() {
    let world = World::new(&["a"]);
    let mut cluster = Cluster::of(&["A"]);
    let a = cluster.start(&world, "A", &many_groups());
    cluster.set("A", pharos_cluster::MemberState::Draining, world.clock.now_ms());
    assert!(!a.ruler.hand_off().await);
    a.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_query_and_no_write() {
    let world = World::new(&["a"]);
    *world.slow.lock() = Duration::from_secs(3600);
    let running = Running::start(&world, RECORD, None);
    minutes(1).await;
    assert_eq!(*world.running.lock(), 1);
    let began = world.clock.monotonic();
    running.stop().await;
    assert!(world.clock.monotonic() - began < Duration::from_secs(1));

    let world = World::new(&["a"]);
    *world.failing_writes.lock() = usize::MAX;
    let running = Running::start(&world, RECORD, None);
    minutes(1).await;
    let began = world.clock.monotonic();
    running.stop().await;
    assert!(world.clock.monotonic() - began < Duration::from_secs(6));
}
