//! A read ends: histograms in many blocks, behind two stores whose bucket takes its time, are read once.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use pharos_block::objects::testing::FaultyStore;
use pharos_block::{BlockWriter, WriterOptions, upload};
use pharos_cluster::{Command, DEFAULT_WEIGHT, Member, MemberState, Meta, Placement, Role, View};
use pharos_model::fragment::Steps;
use pharos_model::{
    Histogram, Labels, Matcher, MemoryAccount, SelectRequest, SeriesBatch, SeriesView, SystemClock, TenantId,
    TimeRange, series_hash,
};
use pharos_promql::{Engine, EngineOptions, Querier, QueryOptions, Value, syntax};
use pharos_querier::{ClusterParts, DispatchMetrics, Fanout, StaleReads, TenantQuerier};
use pharos_store::{Store, StoreConfig};
use pharos_testkit::{FakeNetwork, MemorySeries, MemorySource, blocking, budget};
use pharos_transport::QueryServices;
use pharos_transport::query::ReadLimits;
use tokio::runtime::Handle;
use tonic::service::RoutesBuilder;
use ulid::Ulid;

const HOUR: i64 = 3_600_000;
const WINDOW: i64 = 2 * HOUR;
const MINUTE: i64 = 60_000;
/// Five days of blocks, so that both stores read some.
const BLOCKS: i64 = 60;
const SERIES: usize = 12;
/// What a request to the bucket takes.
const LATENCY: Duration = Duration::from_millis(50);
/// Most requests for one block: footers, the series table and the row groups of histograms, of which there is one here.
const MAX_REQUESTS_PER_BLOCK: i64 = 8;

fn labels(series: usize) -> Labels {
    Labels::from_pairs([("__name__", "latency".to_string()), ("i", format!("{series:02}"))])
}

/// Writes a block with a histogram a minute.
async fn put_block(objects: &InMemory, number: i64) {
    let start = number * WINDOW;
    let id = Ulid::from_parts(number as u64 + 1, 7);
    let mut writer = BlockWriter::new(WriterOptions::new(id, TenantId::default(), start, start + WINDOW)).unwrap();
    let ht: Vec<i64> = (start..start + WINDOW).step_by(MINUTE as usize).collect();
    let histogram = |t: &i64| {
        let count = (t / MINUTE) as f64;
        Arc::new(Histogram { count, zero_count: count, sum: count, zero_threshold: 1.0, ..Histogram::default() })
    };
    let h: Vec<Arc<Histogram>> = ht.iter().map(histogram).collect();
    for labels in (0..SERIES).map(labels) {
        let hash = series_hash(&TenantId::default(), labels.as_bytes());
        writer.push(&labels, hash, None, SeriesView { ht: &ht, h: &h, ..SeriesView::EMPTY }).unwrap();
    }
    let block = writer.finish().unwrap();
    upload(objects, &block.meta.folder(), &block).await.unwrap();
}

/// Two stores of a cluster, an ingester with nothing in memory, and a frontend.
struct World {
    _folder: tempfile::TempDir,
    buckets: [FaultyStore; 2],
    fanout: Fanout,
}

impl World {
    async fn new() -> World {
        World::with_placement(true).await
    }

    /// A world whose shards are on an ingester, or on none yet.
    async fn with_placement(is_placed: bool) -> World {
        let folder = tempfile::tempdir().unwrap();
        let objects = Arc::new(InMemory::new());
        for number in 0..BLOCKS {
            put_block(&objects, number).await;
        }
        let meta = Arc::new(Meta::open(folder.path(), "f1").await.unwrap());
        pharos_store::rebuild::rebuild(&*objects, &meta, 1).await.unwrap();
        let roles = [("i1", Role::Ingester), ("s1", Role::Store), ("s2", Role::Store), ("f1", Role::Frontend)];
        for (id, role) in roles {
            let member = Member {
                id: id.into(),
                address: format!("{id}:7946"),
                roles: [role].into(),
                weight: DEFAULT_WEIGHT,
                state: MemberState::Active,
                ..Member::default()
            };
            meta.propose(Command::Join { member, at_ms: 0 }).await.unwrap();
        }
        let placements = (0..64).map(|shard| Placement { shard, nodes: vec!["i1".into()] }).collect();
        if is_placed {
            meta.propose(Command::PlaceShards { placements }).await.unwrap();
        }
        let (network, clock) = (FakeNetwork::new(), Arc::new(SystemClock::new()));
        // It has nothing in memory, and promises nothing.
        let ingester = Arc::new(MemorySource::new(MemorySeries::new()));
        let mut routes = RoutesBuilder::default();
        let limits = ReadLimits::default();
        QueryServices {
            ingester: Some(ingester),
            store: None,
            clock: clock.clone(),
            memory: MemoryAccount::unlimited(),
            limits,
        }
        .add_to(&mut routes);
        network.serve("i1:7946", routes.routes());
        let buckets = ["s1", "s2"].map(|id| {
            let bucket = FaultyStore::slow(objects.clone(), LATENCY);
            let (config, registry) = (StoreConfig::default(), prometheus::Registry::new());
            let objects = Arc::new(bucket.clone());
            let store = Store::create(config, meta.clone(), objects, Handle::current(), &registry).unwrap();
            let mut routes = RoutesBuilder::default();
            let limits = ReadLimits::default();
            QueryServices {
                ingester: None,
                store: Some(store),
                clock: clock.clone(),
                memory: MemoryAccount::unlimited(),
                limits,
            }
            .add_to(&mut routes);
            network.serve(format!("{id}:7946"), routes.routes());
            bucket
        });
        let mut views = meta.watch();
        views.wait_for(|view: &View| view.members.len() == roles.len()).await.unwrap();
        if is_placed {
            views.wait_for(|view| view.shards.iter().any(|shard| !shard.replicas.is_empty())).await.unwrap();
        }
        let fanout = Fanout::of_cluster(ClusterParts {
            views,
            proofs: meta,
            stale_reads: StaleReads::Warn,
            connect: Arc::new(network),
            identity: "f1".into(),
            ingester: None,
            store: None,
            clock,
            runtime: Handle::current(),
            metrics: DispatchMetrics::register(&prometheus::Registry::new()).unwrap(),
        });
        World { _folder: folder, buckets, fanout }
    }

    async fn querier(&self) -> TenantQuerier {
        self.fanout.of_tenant(TenantId::default()).await.unwrap()
    }

    fn requests(&self) -> [i64; 2] {
        [&self.buckets[0], &self.buckets[1]].map(|bucket| i64::from(bucket.requests()))
    }
}

/// Reads all histograms as a remote read does. Returns their number.
async fn read(querier: TenantQuerier) -> usize {
    blocking(move || {
        let range = TimeRange::new(0, BLOCKS * WINDOW);
        let matchers = vec![Matcher::equal("__name__", "latency")];
        let set = querier.select(&SelectRequest { matchers, range, max_series: 0 }, &budget()).unwrap();
        let mut batch = SeriesBatch::default();
        set.fetch(0..set.labels().len(), range, &mut batch).unwrap();
        batch.samples()
    })
    .await
}

/// A range query over all blocks. Returns the number of its points.
async fn evaluate(querier: TenantQuerier) -> usize {
    blocking(move || {
        let engine = Engine::new(EngineOptions::default());
        let expr = syntax::parse("sum(rate(latency[10m]))").unwrap();
        let times = Steps { start: HOUR, end: BLOCKS * WINDOW - HOUR, step: HOUR };
        let options = QueryOptions { budget: Some(budget()), ..QueryOptions::default() };
        let output = querier.evaluate(&engine, &querier, (&expr, times), &options, true).unwrap();
        let Value::Matrix(series) = output.value else { panic!("a range query returns a matrix") };
        series.iter().map(|series| series.histograms.len()).sum()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histograms_in_many_blocks_are_read_in_requests_proportional_to_the_blocks() {
    let world = World::new().await;
    let per_block = (WINDOW / MINUTE) as usize * SERIES;
    assert_eq!(read(world.querier().await).await, BLOCKS as usize * per_block);
    // A slow store may be raced by the other one, which then reads the same blocks.
    let cold = world.requests();
    assert!(cold.iter().all(|requests| *requests <= BLOCKS * MAX_REQUESTS_PER_BLOCK), "{cold:?}");
    assert!(cold.iter().sum::<i64>() >= BLOCKS * 4, "every block was read: {cold:?}");
    assert_eq!(read(world.querier().await).await, BLOCKS as usize * per_block);
    let warm = world.requests();
    assert!(warm.iter().all(|requests| *requests <= BLOCKS * MAX_REQUESTS_PER_BLOCK), "{warm:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_query_over_many_blocks_of_histograms_ends() {
    let world = World::new().await;
    assert_eq!(evaluate(world.querier().await).await as i64, 2 * BLOCKS - 1);
    let requests = world.requests();
    assert!(requests.iter().all(|requests| *requests <= BLOCKS * MAX_REQUESTS_PER_BLOCK), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_are_read_before_any_shard_is_placed() {
    let world = World::with_placement(false).await;
    assert_eq!(read(world.querier().await).await, BLOCKS as usize * (WINDOW / MINUTE) as usize * SERIES);
}
