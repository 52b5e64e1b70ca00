//! Several ingesters in this process, over a network that can be cut; where shards are is said by the test.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_block::{BlockCache, BlockMeta, BlockReader};
use pharos_cluster::{
    BlockEntry, CatalogueCommand, Command, DEFAULT_WEIGHT, Member, MemberState, Meta, MetaComponents, MetaConfig,
    Placement, Role, View,
};
use pharos_head::fs::RealFs;
use pharos_head::{Head, HeadConfig};
use pharos_model::clock::ManualClock;
use pharos_model::hash::shard_of;
use pharos_model::wire::append::AppendEncoder;
use pharos_model::write::{BatchSeries, RefusedByShard, SampleIndex};
use pharos_model::{
    Clock, Labels, Matcher, Sample, SelectRequest, SeriesBatch, ShardSet, SystemClock, TenantId, TimeRange, WriteBatch,
};
use pharos_transport::append::{
    Action, Appended, Dictionary, EncodedShard, IngestClient, Replica, ShardTarget, Shipment,
};
use pharos_transport::{Channels, Connect, Connection};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::test_objects::TestObjects;
use crate::{Ingester, IngesterConfig};

/// Series, time from the start, value.
pub(crate) type Point = (u32, i64, f64);

pub(crate) const SHARDS: u32 = 4;
pub(crate) const WINDOW: i64 = 60_000;
/// Where the clock begins.
pub(crate) const START: i64 = 1_000 * WINDOW;

/// A network within the process. Nobody reaches an address that is cut off.
#[derive(Default)]
pub(crate) struct Network {
    nodes: Mutex<BTreeMap<String, Routes>>,
    pub(crate) cut_off: Mutex<HashSet<String>>,
}

/// The network as all see it.
struct Link(Arc<Network>);

impl Connect for Link {
    fn connect(&self, address: &str) -> Result<Connection, Status> {
        let (network, to) = (self.0.clone(), address.to_string());
        Ok(Connection::new(tower::service_fn(move |request: http::Request<tonic::body::Body>| {
            let (network, to) = (network.clone(), to.clone());
            async move {
                let reachable = !network.cut_off.lock().contains(&to);
                let routes = network.nodes.lock().get(&to).cloned();
                match routes.filter(|_| reachable) {
                    Some(routes) => routes.oneshot(request).await.map_err(|never| match never {}),
                    None => Err(Status::unavailable(format!("{to} cannot be reached"))),
                }
            }
        })))
    }
}

/// Ingesters of one cluster, whose meta is a node by itself that places nothing.
pub(crate) struct Cluster {
    folder: TempDir,
    window_ms: i64,
    pub(crate) meta: Arc<Meta>,
    pub(crate) network: Arc<Network>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) objects: Arc<TestObjects>,
    pub(crate) nodes: BTreeMap<String, Arc<Ingester>>,
    /// Ends what they serve.
    serving: HashMap<String, watch::Sender<bool>>,
    catching_up: HashMap<String, (watch::Sender<bool>, JoinHandle<()>)>,
}

impl Cluster {
    /// These ingesters hold all shards; the first one leads.
    pub(crate) async fn of(names: &[&str], copies: u32) -> Cluster {
        Cluster::with_window(names, copies, WINDOW).await
    }

    /// As [`Cluster::of`], with windows of another width.
    pub(crate) async fn with_window(names: &[&str], copies: u32, window_ms: i64) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let mut config = MetaConfig::alone("meta");
        (config.shards, config.replication_factor) = (SHARDS, copies);
        (config.timing.round, config.timing.lease) = (Duration::from_secs(3600), Duration::from_secs(3600));
        let parts =
            MetaComponents { clock: Arc::new(SystemClock::new()), connect: Arc::new(Channels::new()), exports: None };
        let meta = Arc::new(Meta::start(&folder.path().join("meta"), config, parts).await.unwrap());
        let mut cluster = Cluster {
            folder,
            window_ms,
            meta,
            network: Arc::default(),
            clock: Arc::new(ManualClock::at(START)),
            objects: Arc::default(),
            nodes: BTreeMap::new(),
            serving: HashMap::new(),
            catching_up: HashMap::new(),
        };
        for name in names {
            cluster.start(name).await;
        }
        cluster.place(names).await;
        cluster
    }

    /// Starts a node, with what its folder holds.
    pub(crate) async fn start(&mut self, name: &str) {
        let member = Member {
            id: name.into(),
            address: name.into(),
            roles: [Role::Ingester].into(),
            weight: DEFAULT_WEIGHT,
            state: MemberState::Active,
            ..Member::default()
        };
        self.propose(Command::Join { member, at_ms: START }).await;
        let registry = prometheus::Registry::new();
        let head = HeadConfig {
            window_ms: self.window_ms,
            shards: SHARDS,
            out_of_order_window_ms: 10 * WINDOW,
            ..HeadConfig::new(self.folder.path().join(name))
        };
        let head = Head::open(head, self.clock.clone(), Arc::new(RealFs), &registry, &mut |_| {}).unwrap();
        let config = IngesterConfig {
            shards_total: SHARDS,
            interval: Duration::from_millis(20),
            ..IngesterConfig::new(name, self.window_ms)
        };
        let (connect, clock) = (Arc::new(Link(self.network.clone())), self.clock.clone());
        let (meta, objects) = (self.meta.clone(), self.objects.clone());
        let ingester = Ingester::create(config, Arc::new(head), meta, objects, clock, connect, &registry).unwrap();
        // What was lost is said when it learns.
        if ingester.lost.lock().is_empty() {
            ingester.report_lost_shards().await;
        }
        let mut routes = Routes::builder();
        let (stop, stopped) = watch::channel(false);
        ingester.add_services(&mut routes, stopped);
        self.serving.insert(name.into(), stop);
        self.network.nodes.lock().insert(name.into(), routes.routes());
        self.nodes.insert(name.into(), ingester);
    }

    /// Stops a node; its folder stays.
    pub(crate) async fn stop(&mut self, name: &str) {
        self.network.nodes.lock().remove(name);
        if let Some((stop, task)) = self.catching_up.remove(name) {
            stop.send_replace(true);
            in_time(task).await.unwrap();
        }
        self.serving.remove(name).unwrap().send_replace(true);
        let ingester = self.nodes.remove(name).unwrap();
        // Tasks that serve others let go of it when they notice.
        until(|| Arc::strong_count(&ingester) == 1).await;
    }

    /// The node learns, forgets and deletes from now on.
    pub(crate) fn catch_up(&mut self, name: &str) {
        let (stop, stopped) = watch::channel(false);
        let ingester = self.nodes[name].clone();
        let task = tokio::spawn(async move {
            ingester.report_lost_shards().await;
            tokio::join!(
                crate::catchup::run(ingester.clone(), stopped.clone()),
                crate::catchup::lost::run(ingester.clone(), stopped.clone()),
                crate::deletions::run(ingester, stopped)
            );
        });
        self.catching_up.insert(name.into(), (stop, task));
    }

    /// Loses what a node that is stopped has on its disk. Returns the folder.
    pub(crate) fn wipe(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::remove_dir_all(&folder).unwrap();
        folder
    }

    /// Waits until the view is as wanted.
    pub(crate) async fn sees(&self, seen: impl Fn(&View) -> bool) {
        let mut watch = self.meta.watch();
        in_time(watch.wait_for(|view| seen(view))).await.unwrap();
    }

    pub(crate) async fn add_learner(&self, name: &str) {
        for shard in 0..SHARDS {
            self.propose(Command::AddLearner { shard, node: name.into() }).await;
        }
    }

    /// Waits until a node is in sync for all shards.
    pub(crate) async fn in_sync(&self, name: &str) {
        self.sees(|view| view.shards.iter().all(|shard| shard.is_in_sync(name))).await;
    }

    pub(crate) fn node(&self, name: &str) -> &Arc<Ingester> {
        &self.nodes[name]
    }

    pub(crate) async fn propose(&self, command: impl Into<Command>) -> View {
        self.meta.propose(command).await.unwrap().view
    }

    /// All shards are in sync on these nodes, of which the first one leads.
    async fn place(&self, names: &[&str]) {
        let nodes: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let placements = (0..SHARDS).map(|shard| Placement { shard, nodes: nodes.clone() }).collect();
        self.propose(Command::PlaceShards { placements }).await;
    }

    /// Writes to all that have to have it, as an agent does, and reports those that fail.
    pub(crate) async fn write(&self, samples: &[Point]) {
        // A stale write is repeated under the next view.
        while self.try_write_under(&self.meta.view(), samples).await.is_err() {}
    }

    /// Fails when no sample is acknowledged: a replica knows a newer epoch or deletion, or the last one in sync has failed.
    pub(crate) async fn try_write_under(&self, view: &View, samples: &[Point]) -> Result<Written, String> {
        self.try_write_in_order(view, samples, |_| {}).await
    }

    /// Like [`Cluster::try_write_under`], to the replicas in an order.
    pub(crate) async fn try_write_in_order(
        &self,
        view: &View,
        samples: &[Point],
        order: impl Fn(&mut Vec<(String, Vec<ShardTarget>)>),
    ) -> Result<Written, String> {
        let mut verdicts: BTreeMap<String, RefusedByShard> = BTreeMap::new();
        let mut requests = write_targets(view, &shards_of(&batch(samples))).into_iter().collect();
        order(&mut requests);
        for (node, targets) in requests {
            let appended = self.send(view, &node, &batch(samples), Action::Append, &targets).await?;
            verdicts.insert(node, appended.refused.unwrap());
        }
        let written = decide(view, samples, &verdicts);
        if is_unanimous(view, samples, &verdicts) {
            return Ok(written);
        }
        for (action, samples) in [(Action::Force, &written.accepted), (Action::Retract, &written.rejected)] {
            for (node, mut targets) in write_targets(view, &shards_of(&batch(samples))) {
                targets.retain(|target| !target.counted);
                self.send(view, &node, &batch(samples), action, &targets).await?;
            }
        }
        Ok(written)
    }

    /// Sends samples to a replica. One that fails is reported, and the write starts over under the next view.
    pub(crate) async fn send(
        &self,
        view: &View,
        node: &str,
        batch: &WriteBatch,
        action: Action,
        targets: &[ShardTarget],
    ) -> Result<Appended, String> {
        let tenant = TenantId::default();
        let deletions = Some(view.catalogue.newest_deletion(tenant.as_str()));
        let shipment = Shipment { action, tenant: &tenant, batch, deletions, shards: encode(batch) };
        match self.client(node).append(&shipment, targets).await {
            Ok(Appended { newer_deletion: Some(number), .. }) => Err(format!("stale: deletion {number}")),
            Ok(appended) if appended.stale.is_empty() => Ok(appended),
            Ok(appended) => Err(format!("stale: {:?}", appended.stale)),
            Err(error) => {
                let shards = targets.iter().map(|t| (t.shard, t.epoch)).collect();
                let report = Command::ReportFailed { node: node.into(), shards, reporter: "test".into() };
                let outcome = self.meta.propose(report).await.map_err(|e| e.to_string())?;
                Err(format!("{error}; {:?}", outcome.response))
            }
        }
    }

    /// Records the deletion of a series up to a time, and returns its number. No ingester applies it yet.
    pub(crate) async fn record_deletion(&self, series: u32, end: i64) -> u64 {
        let matchers = [Matcher::equal("series", series.to_string())];
        let range = TimeRange::new(i64::MIN, START.saturating_add(end));
        let id = self.meta.view().version.to_string();
        let view = self.propose(CatalogueCommand::delete(id, &TenantId::default(), &matchers, range)).await;
        view.catalogue.newest_deletion(TenantId::default().as_str())
    }

    /// Waits until all that receive writes have applied all deletions, as a frontend does.
    pub(crate) async fn try_settle(&self) -> Result<(), String> {
        let view = self.meta.view();
        for (node, targets) in write_targets(&view, &ShardSet::all(SHARDS)) {
            self.send(&view, &node, &WriteBatch::default(), Action::Append, &targets).await?;
        }
        Ok(())
    }

    /// Deletes a series up to a time.
    pub(crate) async fn delete(&self, series: u32, end: i64) {
        self.record_deletion(series, end).await;
        while self.try_settle().await.is_err() {}
    }

    /// Sends samples to one replica only.
    pub(crate) async fn write_to(&self, name: &str, samples: &[Point]) {
        let (tenant, batch, view) = (TenantId::default(), batch(samples), self.meta.view());
        let deletions = Some(view.catalogue.newest_deletion(tenant.as_str()));
        let target = |shard: u32| ShardTarget { shard, epoch: view.epoch(shard), counted: true };
        let targets: Vec<ShardTarget> = shards_of(&batch).iter().map(target).collect();
        let (action, shards) = (Action::Append, encode(&batch));
        let shipment = Shipment { action, tenant: &tenant, batch: &batch, deletions, shards };
        // It may know a newer epoch.
        self.client(name).append(&shipment, &targets).await.unwrap();
    }

    pub(crate) fn client(&self, name: &str) -> IngestClient {
        IngestClient::new(Link(self.network.clone()).connect(name).unwrap())
    }

    pub(crate) async fn lead(&self, name: &str) {
        for shard in 0..SHARDS {
            self.propose(Command::SetLeader { shard, node: name.into() }).await;
        }
    }

    /// What is due on a node happens.
    pub(crate) async fn tick(&mut self, name: &str) {
        let ingester = self.nodes[name].clone();
        ingester.flush_due().await.unwrap();
    }

    /// Goes to the time at which a window of the start is flushed.
    pub(crate) fn end_window(&self) {
        self.clock.set(self.clock.now_ms().max(START + WINDOW) + WINDOW);
    }

    /// The live blocks.
    pub(crate) fn blocks(&self) -> Vec<Arc<BlockEntry>> {
        self.blocks_of(&TenantId::default())
    }

    /// The live blocks of a tenant.
    pub(crate) fn blocks_of(&self, tenant: &TenantId) -> Vec<Arc<BlockEntry>> {
        let view = self.meta.view();
        view.catalogue.tenant(tenant.as_str()).map_or(Vec::new(), |tenant| tenant.blocks.clone())
    }

    /// What the live blocks of a tenant hold: series, times from the start, values. Without deletions.
    pub(crate) async fn in_blocks(&self, tenant: &TenantId) -> BTreeMap<(u32, i64), f64> {
        let mut all = BTreeMap::new();
        for entry in self.blocks_of(tenant) {
            let meta = Arc::new(BlockMeta::from_bytes(entry.meta.as_bytes()).unwrap());
            let (folder, cache) = (meta.folder(), Arc::new(BlockCache::new(0)));
            let reader = BlockReader::open(self.objects.clone(), folder, meta, cache).await.unwrap();
            let selection = reader.select(&[], TimeRange::ALL, 0).await.unwrap();
            let mut out = SeriesBatch::default();
            selection.fetch(0..selection.len(), TimeRange::ALL, &mut out).await.unwrap();
            for (at, labels) in selection.labels().iter().enumerate() {
                let series = labels.get("series").unwrap().parse().unwrap();
                let view = out.view(at);
                all.extend(view.t.iter().zip(view.v).map(|(t, v)| ((series, t - START), *v)));
            }
        }
        all
    }

    /// The samples in memory of a node.
    pub(crate) fn counts(&self, name: &str) -> Counts {
        let windows = self.nodes[name].head().windows(&TenantId::default());
        Counts {
            unflushed: windows.iter().map(|w| w.unflushed_samples).sum(),
            flushed: windows.iter().map(|w| w.flushed_samples).sum(),
        }
    }
}

/// Numbers of samples in memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) unflushed: u64,
    pub(crate) flushed: u64,
}

/// The replicas that the writes of some shards go to. The leaders count.
pub(crate) fn write_targets(view: &View, shards: &ShardSet) -> BTreeMap<String, Vec<ShardTarget>> {
    let mut targets: BTreeMap<String, Vec<ShardTarget>> = BTreeMap::new();
    for shard in shards.iter() {
        let known = &view.shards[shard as usize];
        for node in known.write_targets() {
            let counted = known.leader.as_deref() == Some(node);
            targets.entry(node.into()).or_default().push(ShardTarget { shard, epoch: known.epoch, counted });
        }
    }
    targets
}

/// The shard of each sample with its number there.
fn numbered(samples: &[Point]) -> Vec<(u32, SampleIndex)> {
    let mut counts = [0; SHARDS as usize];
    let number = |series: &BatchSeries| {
        let shard = shard_of(series.hash, SHARDS);
        counts[shard as usize] += 1;
        (shard, SampleIndex { is_histogram: false, at: counts[shard as usize] - 1 })
    };
    batch(samples).series().iter().map(number).collect()
}

fn has_rejected(verdicts: &BTreeMap<String, RefusedByShard>, node: &str, (shard, sample): (u32, SampleIndex)) -> bool {
    verdicts[node].get(&shard).is_some_and(|refused| refused.iter().any(|refused| refused.sample == sample))
}

/// What became of the samples of a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) accepted: Vec<Point>,
    pub(crate) rejected: Vec<Point>,
}

/// What the leaders of their shards decided about samples.
fn decide(view: &View, samples: &[Point], verdicts: &BTreeMap<String, RefusedByShard>) -> Written {
    let is_accepted = |(_, numbered): &(&Point, (u32, SampleIndex))| {
        let leader = view.shards[numbered.0 as usize].leader.as_deref();
        leader.is_some_and(|leader| !has_rejected(verdicts, leader, *numbered))
    };
    let (accepted, rejected): (Vec<_>, Vec<_>) = samples.iter().zip(numbered(samples)).partition(is_accepted);
    let points = |of: Vec<(&Point, _)>| of.into_iter().map(|(point, _)| *point).collect();
    Written { accepted: points(accepted), rejected: points(rejected) }
}

fn is_unanimous(view: &View, samples: &[Point], verdicts: &BTreeMap<String, RefusedByShard>) -> bool {
    numbered(samples).into_iter().all(|numbered| {
        let nodes = view.shards[numbered.0 as usize].write_targets();
        let outcomes: HashSet<bool> = nodes.map(|node| has_rejected(verdicts, node, numbered)).collect();
        outcomes.len() <= 1
    })
}

/// Memory has this many samples, all of them flushed.
pub(crate) fn flushed(samples: u64) -> Counts {
    Counts { unflushed: 0, flushed: samples }
}

/// Memory has this many samples, none of them flushed.
pub(crate) fn unflushed(samples: u64) -> Counts {
    Counts { unflushed: samples, flushed: 0 }
}

pub(crate) async fn until(reached: impl Fn() -> bool) {
    let polling = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(polling).await;
}

pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("in time")
}

pub(crate) fn labels(series: u32) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("series", &series.to_string())])
}

/// Series, times from the start, values.
pub(crate) fn batch(samples: &[Point]) -> WriteBatch {
    batch_of(&TenantId::default(), samples)
}

/// As [`batch`], for a tenant.
pub(crate) fn batch_of(tenant: &TenantId, samples: &[Point]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (series, t, v) in samples {
        batch.begin_series(tenant, |out| out.extend_from_slice(labels(*series).as_bytes()));
        batch.samples.push(Sample { t: START + t, v: *v, st: 0 });
    }
    batch.finish_series();
    batch
}

pub(crate) fn shards_of(batch: &WriteBatch) -> ShardSet {
    batch.series().iter().map(|series| shard_of(series.hash, SHARDS)).collect()
}

pub(crate) fn encode(batch: &WriteBatch) -> Vec<EncodedShard> {
    let of_shard = |shard| batch.series().iter().filter(move |s| shard_of(s.hash, SHARDS) == shard);
    let encode = |shard| Dictionary::default().encode(shard, batch, of_shard(shard), &mut AppendEncoder::default());
    (0..SHARDS).map(encode).collect()
}

/// What is in memory: series, times from the start, values.
pub(crate) fn held(ingester: &Ingester) -> Vec<Point> {
    let request = SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series: 0 };
    let set = ingester.head().select(&TenantId::default(), &request, None).unwrap();
    let mut out = SeriesBatch::default();
    set.fetch(0..set.labels().len(), TimeRange::ALL, &mut out).unwrap();
    let mut found = Vec::new();
    for (at, labels) in set.labels().iter().enumerate() {
        let series = labels.get("series").unwrap().parse().unwrap();
        let view = out.view(at);
        found.extend(view.t.iter().zip(view.v).map(|(t, v)| (series, t - START, *v)));
    }
    found.sort_by_key(|(series, t, _)| (*series, *t));
    found
}

/// Samples of many series.
pub(crate) fn scrape(t: i64) -> Vec<Point> {
    (0..40).map(|series| (series, t, t as f64 + f64::from(series))).collect()
}
