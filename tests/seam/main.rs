//! Between memory and blocks nothing is missed and nothing shown twice, and blocks are asked only for time that memory
//! does not have: a head, its ingester, the store and the fan-out against a model, under a clock of its own.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use pharos_block::objects::{Counting, StoreMetrics};
use pharos_cluster::{Command, DEFAULT_WEIGHT, Member, MemberState, Meta, Placement, Role};
use pharos_head::fs::RealFs;
use pharos_head::{Head, HeadConfig};
use pharos_ingester::{Ingester, IngesterConfig};
use pharos_model::clock::ManualClock;
use pharos_model::{Budget, Labels, Sample, SelectRequest, SeriesBatch, TenantId, TimeRange, WriteBatch};
use pharos_promql::Querier;
use pharos_querier::Fanout;
use pharos_store::{Store, StoreConfig};
use pharos_transport::{Channels, Scope, SeriesSource};
use proptest::prelude::*;
use tokio::runtime::Runtime;

const SECOND: i64 = 1000;
const WINDOW: i64 = 60 * SECOND;
/// How long a query may take; grace is half a window.
const LASTING: Duration = Duration::from_secs(10);

/// Samples by series and time.
type Model = BTreeMap<(String, i64), f64>;

/// One process, without its listeners.
struct World {
    folder: tempfile::TempDir,
    runtime: Runtime,
    clock: Arc<ManualClock>,
    objects: Arc<dyn ObjectStore>,
    requests: StoreMetrics,
    meta: Arc<Meta>,
    ingester: Option<Arc<Ingester>>,
    store: Arc<Store>,
    model: Model,
}

fn open_ingester(
    folder: &std::path::Path,
    clock: &Arc<ManualClock>,
    meta: &Arc<Meta>,
    objects: &Arc<dyn ObjectStore>,
) -> Arc<Ingester> {
    let registry = prometheus::Registry::new();
    let config = HeadConfig {
        window_ms: WINDOW,
        out_of_order_window_ms: 2 * WINDOW,
        segment_bytes: 2048,
        ..HeadConfig::new(folder.join("wal"))
    };
    let head = Head::open(config, clock.clone(), Arc::new(RealFs), &registry, &mut |_| {}).unwrap();
    let config = IngesterConfig::new("me", WINDOW);
    let (connect, head) = (Arc::new(Channels::new()), Arc::new(head));
    Ingester::create(config, head, meta.clone(), objects.clone(), clock.clone(), connect, &registry).unwrap()
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let clock = Arc::new(ManualClock::at(1_000 * WINDOW));
        let registry = prometheus::Registry::new();
        let requests = StoreMetrics::new(&registry).unwrap();
        let objects: Arc<dyn ObjectStore> = Arc::new(Counting::new(InMemory::new(), requests.clone()));
        let meta = Arc::new(runtime.block_on(Meta::open(&folder.path().join("meta"), "me")).unwrap());
        let member = Member {
            id: "me".into(),
            roles: Role::ALL.into(),
            weight: DEFAULT_WEIGHT,
            state: MemberState::Active,
            ..Member::default()
        };
        let nodes = vec!["me".to_string()];
        let placements = (0..64).map(|shard| Placement { shard, nodes: nodes.clone() }).collect();
        for command in [Command::Join { member, at_ms: 0 }, Command::PlaceShards { placements }] {
            runtime.block_on(meta.propose(command)).unwrap();
        }
        let ingester = open_ingester(folder.path(), &clock, &meta, &objects);
        // As a server does before it serves: an empty log is incomplete until then.
        runtime.block_on(ingester.report_lost_shards());
        // Nothing is cached, so that every use of a block is a request.
        let config = StoreConfig { cache_bytes: 0 };
        let store = Store::create(config, meta.clone(), objects.clone(), runtime.handle().clone(), &registry).unwrap();
        let model = Model::new();
        World { folder, runtime, clock, objects, requests, meta, ingester: Some(ingester), store, model }
    }

    fn ingester(&self) -> &Arc<Ingester> {
        self.ingester.as_ref().unwrap()
    }

    fn now(&self) -> i64 {
        pharos_model::Clock::now_ms(&*self.clock)
    }

    fn append(&mut self, series: u8, t: i64, v: f64) {
        let (tenant, name) = (TenantId::default(), format!("m{series}"));
        let mut batch = WriteBatch::default();
        let labels = Labels::from_pairs([("__name__", &name)]);
        batch.begin_series(&tenant, |out| out.extend_from_slice(labels.as_bytes()));
        batch.samples.push(Sample { t, v, st: 0 });
        batch.finish_series();
        let (outcome, commit) = self.ingester().head().append(&tenant, &batch).unwrap();
        commit.wait().unwrap();
        if outcome.samples == 1 {
            self.model.insert((name, t), v);
        }
    }

    /// What is due happens: windows are shipped and leave memory.
    fn tick(&mut self) {
        let ingester = self.ingester.clone().unwrap();
        self.runtime.block_on(ingester.flush_due()).unwrap();
    }

    fn restart(&mut self) {
        self.ingester = None;
        self.ingester = Some(open_ingester(self.folder.path(), &self.clock, &self.meta, &self.objects));
    }

    /// From when on the ingester has everything.
    fn complete_from(&self) -> i64 {
        self.ingester().completeness(&Scope::all(TenantId::default()), LASTING).unwrap().from
    }

    fn gets(&self) -> u64 {
        self.requests.requests("get")
    }

    /// Reads a range as a query does, whose samples are fetched `pause` after its series were found; then whatever is due happened.
    fn read(&mut self, range: TimeRange, pause: Duration) -> Model {
        let sources: Vec<Arc<dyn SeriesSource>> = vec![self.ingester().clone(), self.store.clone()];
        let fanout = Fanout::new(sources);
        let querier = self.runtime.block_on(fanout.of_tenant(TenantId::default())).unwrap();
        let budget = Arc::new(Budget::new(self.clock.clone(), LASTING, u64::MAX));
        let request = SelectRequest { matchers: Vec::new(), range, max_series: 0 };
        let set = querier.select(&request, &budget).unwrap();
        self.clock.advance(pause);
        self.tick();
        let mut out = SeriesBatch::default();
        set.fetch(0..set.labels().len(), range, &mut out).unwrap();
        let mut read = Model::new();
        for (at, labels) in set.labels().iter().enumerate() {
            let view = out.view(at);
            assert!(view.t.windows(2).all(|t| t[0] < t[1]), "{:?}", view.t);
            let name = labels.metric_name().to_string();
            read.extend(view.t.iter().zip(view.v).map(|(t, v)| ((name.clone(), *t), *v)));
        }
        read
    }

    fn check(&mut self, range: TimeRange, pause: Duration) {
        let complete_from = self.complete_from();
        let before = self.gets();
        let expected: Model =
            self.model.iter().filter(|((_, t), _)| range.contains(*t)).map(|(k, v)| (k.clone(), *v)).collect();
        assert_eq!(self.read(range, pause), expected, "{range:?} at {}, complete from {complete_from}", self.now());
        if complete_from <= range.start {
            assert_eq!(self.gets(), before, "blocks were read although memory has all from {complete_from} on");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append { series: u8, age_s: i64 },
    Advance(u64),
    Restart,
    Check { age_s: i64, length_s: i64, pause_s: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..3, prop_oneof![3 => 0i64..5, 1 => 0i64..150]).prop_map(|(series, age_s)| Step::Append { series, age_s }),
        4 => (1u64..40).prop_map(Step::Advance),
        1 => Just(Step::Restart),
        3 => (0i64..300, 0i64..300, 0u64..10).prop_map(|(age_s, length_s, pause_s)| Step::Check { age_s, length_s, pause_s }),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_blocks_together_are_what_was_written(steps in steps()) {
        let mut world = World::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append { series, age_s } => {
                    let t = world.now() - age_s * SECOND;
                    world.append(series, t, number as f64);
                }
                Step::Advance(seconds) => {
                    world.clock.advance(Duration::from_secs(seconds));
                    world.tick();
                }
                Step::Restart => world.restart(),
                Step::Check { age_s, length_s, pause_s } => {
                    let start = world.now() - age_s * SECOND;
                    world.check(TimeRange::new(start, start + length_s * SECOND), Duration::from_secs(pause_s));
                }
            }
        }
        world.check(TimeRange::ALL, Duration::ZERO);
    }
}

#[test]
fn flushed_samples_are_served_from_memory_alone_until_the_grace_period_ends() {
    let mut world = World::new();
    for second in 0..30 {
        world.append(0, world.now() + second * SECOND, second as f64);
    }
    let written = TimeRange::new(world.now(), world.now() + WINDOW - 1);
    world.clock.advance(Duration::from_secs(70));
    world.tick();
    assert_eq!(world.meta.view().catalogue.tenant("anonymous").unwrap().blocks.len(), 1, "it is shipped");
    let gets = world.gets();
    world.check(written, Duration::ZERO);
    world.restart();
    world.check(written, Duration::ZERO);
    assert_eq!(world.gets(), gets, "no block was read");
    // Ten seconds, the time of a query, before the grace period ends.
    world.clock.advance(Duration::from_secs(20));
    world.check(written, Duration::ZERO);
    assert!(world.gets() > gets, "from now on blocks are asked too");
    world.clock.advance(Duration::from_secs(11));
    world.tick();
    assert_eq!(world.complete_from(), written.start + 29 * SECOND + 1);
    world.check(written, Duration::ZERO);
}

#[test]
fn another_value_for_a_time_that_only_a_block_knows_takes_its_place() {
    let mut world = World::new();
    let t = world.now();
    world.append(0, t, 1.0);
    // Shipped, and a grace period later gone from memory.
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(35));
        world.tick();
    }
    world.append(0, t, 2.0);
    assert_eq!(world.model[&("m0".to_string(), t)], 2.0, "memory knows of no other");
    for _ in 0..4 {
        world.check(TimeRange::ALL, Duration::ZERO);
        world.clock.advance(Duration::from_secs(35));
        world.tick();
    }
    let blocks = world.meta.view().catalogue.tenant("anonymous").unwrap().blocks.len();
    assert_eq!(blocks, 2, "both values are in blocks only");
    assert_eq!(world.complete_from(), t + 1, "both values are in blocks only");
    world.check(TimeRange::ALL, Duration::ZERO);
}
