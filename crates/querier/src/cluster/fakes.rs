//! A cluster of fake nodes in this process: samples in memory, real calls between nodes, faults on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use pharos_cluster::{
    ClusterState, Command, Member, MemberState, Placement, ProveView, Role, Settings, Unproven, View,
};
use pharos_model::hash::shard_of;
use pharos_model::{
    Budget, Fragment, FragmentAnswer, FragmentError, Labels, Matcher, MemoryAccount, MergedSet, Metadata, SelectError,
    SelectRequest, SeriesBatch, SeriesSet, ShardSet, SystemClock, TenantId, TimeRange, series_hash,
};
use pharos_promql::promqltest::MemoryStore;
use pharos_promql::{Querier, fragment};
use pharos_testkit::{FakeNetwork, blocking, budget};
use pharos_transport::query::{Admitted, ReadLimits, ReadView, Refused};
use pharos_transport::{Completeness, QueryServices, Scope, SeriesExemplars, SeriesSource};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::service::RoutesBuilder;

use super::ClusterParts;
use crate::clip::clipped;
use crate::{DispatchMetrics, Fanout, StaleReads};

pub(crate) const SHARDS: u32 = 12;

/// How a node misbehaves when it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Fails every read with a storage error.
    Fails,
    /// Tells its completeness, and fails every other read.
    FailsToSelect,
    /// Blocks until the budget of the read ends.
    Hangs,
    /// Selects, and fails to fetch.
    FailsToFetch,
    /// Selects and fetches the first series, and fails to fetch others.
    FailsToFetchMore,
    /// Selects, and blocks when it fetches.
    HangsToFetch,
    /// Selects, and finds a damaged block when it fetches.
    IsDamaged,
    /// Is not in sync for the first shard of every read.
    Refuses,
}

/// A role of a fake node.
pub(crate) struct FakeSource {
    name: String,
    samples_by_shard: Vec<MemoryStore>,
    complete: Completeness,
    /// It has nothing before this time.
    pub(crate) lacks_before: Mutex<i64>,
    pub(crate) fault: Mutex<Fault>,
    /// The version of its view, if an epoch of every shard is newer there.
    pub(crate) newest_view: Mutex<Option<u64>>,
    /// The reads that it answered.
    pub(crate) asked: Mutex<Vec<(Option<ShardSet>, TimeRange)>>,
    /// The views of all reads.
    pub(crate) views: Mutex<Vec<ReadView>>,
    /// Fragments that it evaluated.
    pub(crate) fragments: Mutex<usize>,
    pub(crate) fetches: Arc<Fetches>,
}

struct FaultySet(Arc<dyn SeriesSet>, Fault, Arc<Budget>, Arc<Fetches>);

/// Counts the fetches of a node.
#[derive(Default)]
pub(crate) struct Fetches {
    pub(crate) begun: AtomicUsize,
    /// Those that hung until their budget ended.
    pub(crate) ended: AtomicUsize,
}

fn hang(budget: &Budget) -> SelectError {
    loop {
        match budget.check() {
            Ok(()) => std::thread::yield_now(),
            Err(error) => return error,
        }
    }
}

impl SeriesSet for FaultySet {
    fn labels(&self) -> &[Labels] {
        self.0.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        self.3.begun.fetch_add(1, Ordering::SeqCst);
        match self.1 {
            Fault::FailsToFetchMore if series.start == 0 => self.0.fetch(series, range, out),
            Fault::FailsToFetch | Fault::FailsToFetchMore => Err(SelectError::Storage("disk unavailable".into())),
            Fault::HangsToFetch => {
                let ended = hang(&self.2);
                self.3.ended.fetch_add(1, Ordering::SeqCst);
                Err(ended)
            }
            Fault::IsDamaged => Err(SelectError::Damaged("block 7 is damaged".into())),
            _ => self.0.fetch(series, range, out),
        }
    }
}

impl FakeSource {
    fn answer(&self, scope: &Scope, range: TimeRange, budget: Option<&Budget>) -> Result<Fault, SelectError> {
        let fault = *self.fault.lock();
        match fault {
            Fault::Fails | Fault::FailsToSelect => {
                return Err(SelectError::Storage(format!("{}: disk broken", self.name)));
            }
            Fault::Hangs => return Err(budget.map_or_else(|| SelectError::Storage("hangs".into()), hang)),
            _ => self.asked.lock().push((scope.shards.as_deref().cloned(), range)),
        }
        Ok(fault)
    }

    fn find(&self, scope: &Scope, request: &SelectRequest, budget: &Arc<Budget>) -> Arc<dyn SeriesSet> {
        let asked = self
            .samples_by_shard
            .iter()
            .zip(0..)
            .filter(|(_, shard)| scope.shards.as_ref().is_none_or(|shards| shards.contains(*shard)));
        let found = MergedSet::merge(asked.map(|(samples, _)| samples.select(request, budget).unwrap()).collect());
        clipped(found, TimeRange::new(*self.lacks_before.lock(), i64::MAX), TimeRange::ALL)
    }

    fn labels(&self, scope: &Scope, matchers: &[Matcher], range: TimeRange) -> Result<Vec<Labels>, SelectError> {
        self.answer(scope, range, None)?;
        let request = SelectRequest { matchers: matchers.to_vec(), range, max_series: 0 };
        Ok(self.find(scope, &request, &Arc::new(Budget::unlimited())).labels().to_vec())
    }
}

impl SeriesSource for FakeSource {
    fn admit(&self, _: &TenantId, view: &ReadView) -> Result<Admitted, Refused> {
        self.views.lock().push(view.clone());
        match (*self.fault.lock(), view.epochs.first()) {
            (Fault::Refuses, Some((shard, _))) => {
                let reason = format!("{} is not in sync for {shard}", self.name);
                Err(Refused { shards: ShardSet::of(*shard), reason, complete: None })
            }
            _ => Ok(Admitted { newer_version: self.newest_view.lock().filter(|newest| *newest > view.version) }),
        }
    }

    fn completeness(&self, _: &Scope, _: Duration) -> Result<Completeness, SelectError> {
        match *self.fault.lock() {
            Fault::Fails => Err(SelectError::Storage(format!("{}: disk broken", self.name))),
            _ => Ok(Completeness { from: self.complete.from.max(*self.lacks_before.lock()), ..self.complete }),
        }
    }

    fn select(
        &self,
        scope: &Scope,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let fault = self.answer(scope, request.range, Some(budget))?;
        let request = SelectRequest { max_series: 0, ..request.clone() };
        Ok(Arc::new(FaultySet(self.find(scope, &request, budget), fault, budget.clone(), self.fetches.clone())))
    }

    fn series(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        _: usize,
        _: &Arc<Budget>,
    ) -> Result<Vec<Labels>, SelectError> {
        self.labels(scope, matchers, range)
    }

    fn names(
        &self,
        scope: &Scope,
        label: Option<&str>,
        matchers: &[Matcher],
        range: TimeRange,
        _: &Arc<Budget>,
    ) -> Result<Vec<String>, SelectError> {
        let found = self.labels(scope, matchers, range)?;
        let names: BTreeSet<&str> = match label {
            Some(label) => found.iter().filter_map(|labels| labels.get(label)).collect(),
            None => found.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect(),
        };
        Ok(names.into_iter().map(str::to_string).collect())
    }

    fn exemplars(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        _: &Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, SelectError> {
        let found = self.labels(scope, matchers, range)?;
        Ok(found.into_iter().map(|labels| SeriesExemplars { labels, exemplars: Vec::new() }).collect())
    }

    fn evaluate(
        &self,
        scope: &Scope,
        fragment: &Fragment,
        budget: &Arc<Budget>,
    ) -> Result<FragmentAnswer, FragmentError> {
        self.answer(scope, TimeRange::new(fragment.steps.start, fragment.steps.end), Some(budget))?;
        *self.fragments.lock() += 1;
        fragment::evaluate(&|request: &_, budget: &_| Ok(self.find(scope, request, budget)), fragment, budget)
    }

    fn metadata(&self, scope: &Scope) -> Result<Vec<(String, Metadata)>, SelectError> {
        self.answer(scope, TimeRange::ALL, None)?;
        Ok(vec![("x".into(), Metadata::default())])
    }
}

/// Proves every view, unless it is said to be unproven.
struct FakeProofs {
    views: watch::Receiver<View>,
    unproven: Arc<Mutex<Option<Unproven>>>,
    /// Whether meta answers.
    answering: watch::Receiver<bool>,
}

impl ProveView for FakeProofs {
    fn prove(&self) -> BoxFuture<'_, Result<View, Unproven>> {
        Box::pin(async {
            self.answering.clone().wait_for(|answering| *answering).await.unwrap();
            let unproven = self.unproven.lock().clone();
            unproven.map_or_else(|| Ok(self.views.borrow().clone()), Err)
        })
    }
}

/// Ingesters i1 to i3 and stores s1 and s2; a frontend that is none of them.
pub(crate) struct FakeCluster {
    pub(crate) network: FakeNetwork,
    pub(crate) sources: BTreeMap<String, Arc<FakeSource>>,
    pub(crate) views: watch::Sender<View>,
    /// Why views cannot be proved.
    pub(crate) unproven: Arc<Mutex<Option<Unproven>>>,
    /// Whether proofs come to an end.
    pub(crate) proving: watch::Sender<bool>,
    pub(crate) stale_reads: Mutex<StaleReads>,
    /// Shared by all frontends.
    pub(crate) metrics: DispatchMetrics,
    /// All samples.
    pub(crate) all: MemoryStore,
}

/// A sample of a series.
pub(crate) enum Value {
    Float(f64),
    Histogram(Arc<pharos_model::Histogram>),
}

/// A series with its samples.
pub(crate) type Series = (Labels, Vec<(i64, Value)>);

fn add(store: &mut MemoryStore, labels: &Labels, samples: &[(i64, Value)], has: impl Fn(i64) -> bool) {
    for (t, value) in samples.iter().filter(|(t, _)| has(*t)) {
        match value {
            Value::Float(value) => store.add_floats(labels, [(*t, *value, 0)]),
            Value::Histogram(h) => store.add_histograms(labels, [(*t, h.clone(), 0)]),
        }
    }
}

pub(crate) fn tenant() -> TenantId {
    TenantId::default()
}

/// Commits a block of all samples up to a time.
fn blocks(flushed_to: i64) -> Command {
    let block = pharos_cluster::BlockEntry {
        id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".into(),
        window_end: flushed_to,
        max_t: flushed_to - 1,
        shards: (0..SHARDS).collect(),
        bytes: 1,
        series: 1,
        samples: 1,
        ..pharos_cluster::BlockEntry::default()
    };
    let (tenant, blocks) = (tenant().as_str().to_string(), vec![block]);
    Command::Catalogue(pharos_cluster::CatalogueCommand::CommitBlocks { tenant, blocks, flushed_until: None })
}

fn state(replicas: usize) -> ClusterState {
    let mut state = ClusterState::default();
    let settings = Settings { cluster: "c".into(), shards: SHARDS, replication_factor: replicas as u32 };
    state.apply(&Command::Bootstrap { settings }).unwrap();
    for (id, role) in [
        ("i1", Role::Ingester),
        ("i2", Role::Ingester),
        ("i3", Role::Ingester),
        ("s1", Role::Store),
        ("s2", Role::Store),
        ("f1", Role::Frontend),
    ] {
        let member = Member {
            id: id.into(),
            address: format!("{id}:7946"),
            roles: [role].into(),
            weight: 100,
            state: MemberState::Active,
            ..Member::default()
        };
        state.apply(&Command::Join { member, at_ms: 0 }).unwrap();
    }
    let nodes = |shard: u32| (0..replicas).map(|r| format!("i{}", (shard as usize + r) % 3 + 1)).collect();
    let placements = (0..SHARDS).map(|shard| Placement { shard, nodes: nodes(shard) }).collect();
    state.apply(&Command::PlaceShards { placements }).unwrap();
    state
}

impl FakeCluster {
    /// A cluster with these series. Ingesters are complete from `complete_from` on and have 100 s of older samples; stores have
    /// the samples before `flushed_to`.
    pub(crate) fn new(series: &[Series], replicas: usize, complete_from: i64, flushed_to: i64) -> Self {
        let mut state = state(replicas);
        state.apply(&blocks(flushed_to)).unwrap();
        let shard = |labels: &Labels| shard_of(series_hash(&tenant(), labels.as_bytes()), SHARDS);
        let mut all = MemoryStore::default();
        series.iter().for_each(|(labels, samples)| add(&mut all, labels, samples, |_| true));
        all.finish_load();
        let network = FakeNetwork::new();
        let mut sources = BTreeMap::new();
        for member in state.members.values().filter(|m| !m.has(Role::Frontend)) {
            let is_store = member.has(Role::Store);
            let mut samples = vec![MemoryStore::default(); SHARDS as usize];
            for (labels, values) in series {
                let shard = shard(labels);
                let holds = is_store || state.shards[shard as usize].is_in_sync(&member.id);
                let has =
                    |t| holds && if is_store { t < flushed_to } else { t >= complete_from.saturating_sub(100_000) };
                add(&mut samples[shard as usize], labels, values, has);
            }
            samples.iter_mut().for_each(MemoryStore::finish_load);
            let source = Arc::new(FakeSource {
                name: member.id.clone(),
                samples_by_shard: samples,
                complete: Completeness { from: complete_from, unflushed_from: flushed_to, version: 3 },
                lacks_before: Mutex::new(i64::MIN),
                fault: Mutex::default(),
                newest_view: Mutex::default(),
                asked: Mutex::default(),
                views: Mutex::default(),
                fragments: Mutex::default(),
                fetches: Arc::default(),
            });
            let mut routes = RoutesBuilder::default();
            let source_here: Arc<dyn SeriesSource> = source.clone();
            let services = QueryServices {
                ingester: (!is_store).then(|| source_here.clone()),
                store: is_store.then_some(source_here),
                clock: Arc::new(SystemClock::new()),
                memory: MemoryAccount::unlimited(),
                limits: ReadLimits::default(),
            };
            services.add_to(&mut routes);
            network.serve(&member.address, routes.routes());
            sources.insert(member.id.clone(), source);
        }
        let views = watch::Sender::new(View::new(Arc::new(state)));
        let metrics = DispatchMetrics::register(&prometheus::Registry::new()).unwrap();
        let (unproven, stale_reads) = (Arc::default(), Mutex::default());
        let proving = watch::Sender::new(true);
        FakeCluster { network, sources, views, unproven, proving, stale_reads, metrics, all }
    }

    /// The fan-out of a node, with that node's roles in its own process.
    pub(crate) fn frontend(&self, identity: &str) -> Fanout {
        let roles = self.views.borrow().member(identity).map(|member| member.roles.clone());
        self.frontend_with(identity, roles.into_iter().flatten())
    }

    /// As [`FakeCluster::frontend`], with these roles of the node.
    pub(crate) fn frontend_with(&self, identity: &str, roles: impl IntoIterator<Item = Role>) -> Fanout {
        let roles: Vec<Role> = roles.into_iter().collect();
        let local = |role: Role| -> Option<Arc<dyn SeriesSource>> {
            let source: Arc<dyn SeriesSource> = self.sources.get(identity)?.clone();
            roles.contains(&role).then_some(source)
        };
        Fanout::of_cluster(ClusterParts {
            views: self.views.subscribe(),
            proofs: Arc::new(FakeProofs {
                views: self.views.subscribe(),
                unproven: self.unproven.clone(),
                answering: self.proving.subscribe(),
            }),
            stale_reads: *self.stale_reads.lock(),
            connect: Arc::new(self.network.clone()),
            identity: identity.into(),
            ingester: local(Role::Ingester),
            store: local(Role::Store),
            clock: Arc::new(SystemClock::new()),
            runtime: Handle::current(),
            metrics: self.metrics.clone(),
        })
    }

    pub(crate) fn set_fault(&self, node: &str, fault: Fault) {
        *self.sources[node].fault.lock() = fault;
    }

    /// Takes the samples before a time away from a node, and has `fanout` quarantine it, so that others are read first.
    pub(crate) async fn fall_behind(&self, fanout: &Fanout, node: &str, from: i64) {
        self.set_fault(node, Fault::Fails);
        let querier = fanout.of_tenant(tenant()).await.unwrap();
        let request = SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series: 0 };
        blocking(move || querier.select(&request, &budget()).map(|_| ())).await.unwrap();
        self.set_fault(node, Fault::None);
        *self.sources[node].lacks_before.lock() = from;
    }

    /// Changes the state of the cluster.
    pub(crate) fn change(&self, command: &Command) {
        let mut state = ClusterState::clone(self.views.borrow().state());
        state.apply(command).unwrap();
        self.views.send_replace(View::new(Arc::new(state)));
    }

    /// The number of reads that each node answered.
    pub(crate) fn answers(&self) -> BTreeMap<&str, usize> {
        self.sources.iter().map(|(name, source)| (name.as_str(), source.asked.lock().len())).collect()
    }
}
