//! One query over the cluster: plans what ingesters and stores read, and merges their responses.
//!
//! Invariant: ingesters and stores together cover the query's range. Stores read the time before `Completeness::from`, and
//! every replica that answers has all samples from then on. A replica that has less refuses; the query then plans again with
//! what that replica has, so that stores read more. So a plan may expect of replicas what they had a moment ago.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::{Role, View};
use pharos_model::{Budget, MergedSet, SelectError, SelectRequest, SeriesSet, ShardSet, TenantId, TimeRange};
use pharos_transport::Completeness;
use pharos_transport::query::{Read, ReadCompleteness, Sources};
use tokio::runtime::Handle;

use super::dispatch::{ClusterRead, Dispatcher, Responses};
use super::failover::failover_set;
use super::failure::ReadFailure;
use super::nodes::Cluster;
use super::route::{self, StoreRange, Target};
use super::timing::{Phase, QueryTiming};
use super::view_proof::ViewProof;
use crate::clip::{before, clipped};

/// Most plans for one read: a new one is made when no replica has what the previous one relies on.
const MAX_PLANS: usize = 4;

/// Longest time of reads that have no budget of a query.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// One query.
#[derive(Clone)]
pub(crate) struct ClusterQuery {
    dispatcher: Arc<Dispatcher>,
    complete: Arc<Mutex<Option<Completeness>>>,
}

/// From when on replicas must have all samples of a range whose time before `from` is read from stores.
fn required_from(range: TimeRange, from: i64) -> Option<i64> {
    (range.end >= from && from < i64::MAX).then(|| from.max(range.start))
}

impl ClusterQuery {
    /// A query under a view, with the proof that the view is current.
    pub(crate) fn new(cluster: Arc<Cluster>, tenant: TenantId, view: View, proof: ViewProof) -> Self {
        let dispatcher = Arc::new(Dispatcher::new(cluster, tenant, view, proof, false));
        ClusterQuery { dispatcher, complete: Arc::default() }
    }

    /// The same query, with unavailable data omitted.
    pub(crate) fn partial(self) -> Self {
        let whole = &self.dispatcher;
        let (cluster, tenant) = (whole.cluster.clone(), whole.tenant.clone());
        let dispatcher = Dispatcher::new(cluster, tenant, whole.view(), whole.proof().clone(), true);
        ClusterQuery { dispatcher: Arc::new(dispatcher), complete: Arc::default() }
    }

    /// Waits until the view is proved to be current, or known not to be.
    pub(crate) async fn settle(&self) {
        self.dispatcher.settle().await;
    }

    /// Measures where the time of the query goes from now on.
    pub(crate) fn measure(&self) {
        self.dispatcher.measure();
    }

    /// Where the time of the query went, if that was measured.
    pub(crate) fn timing(&self) -> Option<QueryTiming> {
        let timing = self.dispatcher.timing()?.total();
        Some(QueryTiming { proving: self.dispatcher.proof().took(), ..timing })
    }

    /// What the response may lack: samples since the view was last current, and what was omitted from a partial response.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.dispatcher.warnings()
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.dispatcher.cluster.parts.runtime
    }

    pub(super) fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T, ReadFailure>>) -> Result<T, SelectError> {
        Ok(self.runtime().block_on(future)?)
    }

    pub(super) fn all_shards(&self) -> Target {
        Target::Shards(ShardSet::all(self.dispatcher.view().shards.len() as u32))
    }

    /// The ranges of time that stores read. None when there are neither stores nor blocks.
    pub(super) fn store_ranges(&self, range: TimeRange) -> Vec<StoreRange> {
        let view = self.dispatcher.view();
        let tenant = self.dispatcher.tenant.as_str();
        let has_stores = view.members.values().any(|member| member.has(Role::Store));
        let mut blocks = view.catalogue.tenant(tenant).into_iter().flat_map(|t| &t.blocks);
        if !has_stores && !blocks.any(|block| TimeRange::new(block.min_t, block.max_t).overlaps(&range)) {
            return Vec::new();
        }
        route::store_ranges(&view, tenant, range)
    }

    /// All shards, after the store ranges that cover `blocks`. Later targets have the higher authority in a merge.
    fn targets(&self, blocks: TimeRange) -> Vec<Target> {
        let store_ranges = if blocks.is_empty() { Vec::new() } else { self.store_ranges(blocks) };
        store_ranges.into_iter().map(Target::Blocks).chain([self.all_shards()]).collect()
    }

    /// What the ingesters have together. The first response holds for the whole query, along with what is learned later.
    pub(super) async fn completeness(&self, budget: &Arc<Budget>) -> Result<Completeness, ReadFailure> {
        if let Some(known) = *self.complete.lock() {
            return Ok(known);
        }
        let read = ReadCompleteness { lasting: budget.remaining() };
        let responses = self.reading(read, budget).targets(vec![self.all_shards()]).await?;
        let everything = Completeness { from: i64::MIN, unflushed_from: i64::MAX, version: 0 };
        let mut together = responses.into_iter().fold(everything, |all, (_, one)| all.and(one));
        let shards = &self.dispatcher.view().shards;
        if shards.is_empty() || shards.iter().any(|shard| shard.replicas.is_empty()) {
            // No ingester has samples of a shard without replicas, but a restored cluster has blocks with some.
            together.from = i64::MAX;
        }
        self.dispatcher.cluster.complete_from.insert(&self.dispatcher.tenant, together.from);
        Ok(self.learn_completeness(together))
    }

    /// What to plan a read from `start` on with. If ingesters recently had all of that time, the plan expects that they still
    /// have it, which costs no request: each of them checks it before it answers. Otherwise they are asked.
    pub(super) async fn expected_completeness(
        &self,
        start: i64,
        budget: &Arc<Budget>,
    ) -> Result<Completeness, ReadFailure> {
        let Dispatcher { cluster, tenant, .. } = self.dispatcher.as_ref();
        let is_known = self.complete.lock().is_some();
        match cluster.complete_from.get(tenant).filter(|from| !is_known && *from <= start) {
            Some(from) => Ok(Completeness { from, unflushed_from: i64::MIN, version: 0 }),
            None => self.completeness(budget).await,
        }
    }

    /// Remembers that replicas have less than a plan expected.
    pub(super) fn fell_short(&self, behind: Completeness) {
        self.dispatcher.cluster.complete_from.remove(&self.dispatcher.tenant);
        // Nothing is known yet of the replicas that have not refused.
        if self.complete.lock().is_some() {
            self.learn_completeness(behind);
        }
    }

    /// Remembers that replicas which may have to answer have no more than this: stores read the rest from now on.
    pub(super) fn learn_completeness(&self, learned: Completeness) -> Completeness {
        self.dispatcher.require_store_version(learned.version);
        let mut complete = self.complete.lock();
        let together = complete.map_or(learned, |known| known.and(learned));
        *complete = Some(together);
        together
    }

    pub(super) fn reading<R: Read>(&self, read: R, budget: &Arc<Budget>) -> ClusterRead<R> {
        ClusterRead::new(&self.dispatcher, read, budget)
    }

    /// Reads from all nodes that have a part of the response. Responses of stores come first, those for later time later.
    /// Returns the read as it was answered as well, with what it required of replicas, for reads that are repeated elsewhere.
    async fn read_all<R: Read>(
        &self,
        read: R,
        budget: &Arc<Budget>,
    ) -> Result<(Responses<R::Found>, ClusterRead<R>), ReadFailure> {
        let range = read.range();
        let reading = self.reading(read, budget);
        match R::SOURCES {
            Sources::Ingesters => return Ok((reading.targets(vec![self.all_shards()]).await?, reading)),
            Sources::All => return Ok((reading.targets(self.targets(range)).await?, reading)),
            Sources::Samples => {}
        }
        let mut plans = 0;
        loop {
            plans += 1;
            let complete = self.expected_completeness(range.start, budget).await?;
            let targets = self.targets(before(range, complete.from));
            let reading = reading.clone().requiring_from(required_from(range, complete.from));
            match reading.targets(targets).await {
                Ok(responses) => return Ok((responses, reading)),
                Err(failure) => match failure.behind() {
                    Some(behind) if plans < MAX_PLANS => self.fell_short(behind),
                    _ => return Err(failure),
                },
            }
        }
    }

    /// The responses of all nodes to a read.
    pub(crate) fn read<R: Read>(&self, read: R, budget: &Arc<Budget>) -> Result<Vec<R::Found>, SelectError> {
        let (responses, _) = self.wait(self.read_all(read, budget))?;
        Ok(responses.into_iter().map(|(_, found)| found).collect())
    }

    pub(crate) fn select(
        &self,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError> {
        budget.check()?;
        let (responses, reading) = self.wait(self.read_all(request.clone(), budget))?;
        let sets = responses.into_iter().map(|(assignment, selected)| {
            let range = match &assignment.target {
                Target::Shards(_) => request.range,
                Target::Blocks(store_range) => store_range.range,
            };
            clipped(failover_set(&reading, assignment, selected), range, request.range)
        });
        let merged = self.dispatcher.timed(Phase::Merging, || MergedSet::merge(sets.collect()));
        request.check_series(merged.labels().len())?;
        Ok(merged)
    }
}
