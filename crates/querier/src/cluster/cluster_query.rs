//! One query over the cluster: plans what ingesters and stores read, and merges their responses.
//!
//! Invariant: ingesters and stores together cover the query's range. Stores read the time before `Completeness::from`, and
//! every replica that answers has all samples from then on. A replica that has less refuses; the query then plans again with
//! what that replica has, so that stores read more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::{Role, View};
use pharos_model::{
    Budget, Labels, Matcher, MergedSet, Metadata, SelectError, SelectRequest, SeriesSet, ShardSet, TenantId, TimeRange,
};
use pharos_transport::{Completeness, SeriesExemplars};
use tokio::runtime::Handle;

use super::dispatch::{Dispatcher, NodeRead, ReadFailure, Responses};
use super::failover::{failover_set, select_read};
use super::nodes::Cluster;
use super::route::{self, StoreRange, Target};
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

/// Makes a read of shards fail on replicas that lack samples from a timestamp on.
fn requiring<T: 'static>(from: Option<i64>, read: NodeRead<T>) -> NodeRead<T> {
    Arc::new(move |node, scope, target| {
        let from = from.filter(|_| matches!(target, Target::Shards(_)));
        read(node, scope.requiring_from(from), target)
    })
}

impl ClusterQuery {
    pub(crate) fn new(cluster: Arc<Cluster>, tenant: TenantId, view: View) -> Self {
        let dispatcher = Arc::new(Dispatcher::new(cluster, tenant, view, false));
        ClusterQuery { dispatcher, complete: Arc::default() }
    }

    /// The same query, with unavailable data omitted.
    pub(crate) fn partial(self) -> Self {
        let whole = &self.dispatcher;
        let dispatcher = Dispatcher::new(whole.cluster.clone(), whole.tenant.clone(), whole.view(), true);
        ClusterQuery { dispatcher: Arc::new(dispatcher), complete: Arc::default() }
    }

    /// What was omitted from a partial response.
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
        let lasting = budget.remaining();
        let budget = budget.clone();
        let read: NodeRead<Completeness> = Arc::new(move |node, scope, _| {
            let budget = budget.clone();
            Box::pin(async move { node.completeness(scope, lasting, budget).await })
        });
        let targets = vec![self.all_shards()];
        let responses = self.dispatcher.dispatch(targets, |cluster| &cluster.selections, read).await?;
        let everything = Completeness { from: i64::MIN, unflushed_from: i64::MAX, version: 0 };
        let together = responses.into_iter().fold(everything, |all, (_, one)| all.and(one));
        Ok(self.learn_completeness(together))
    }

    /// Remembers that replicas which may have to answer have no more than this: stores read the rest from now on.
    pub(super) fn learn_completeness(&self, learned: Completeness) -> Completeness {
        self.dispatcher.require_store_version(learned.version);
        let mut complete = self.complete.lock();
        let together = complete.map_or(learned, |known| known.and(learned));
        *complete = Some(together);
        together
    }

    /// Reads a range from all nodes that may have samples of it. Responses of stores come first, those for later time later.
    /// Returns the read as it was answered as well, with what it required of replicas, for reads that are repeated elsewhere.
    async fn read_all<T: Send + 'static>(
        &self,
        range: TimeRange,
        budget: &Arc<Budget>,
        read: NodeRead<T>,
    ) -> Result<(Responses<T>, NodeRead<T>), ReadFailure> {
        let mut plans = 0;
        loop {
            plans += 1;
            let complete = self.completeness(budget).await?;
            let targets = self.targets(before(range, complete.from));
            let read = requiring(required_from(range, complete.from), read.clone());
            match self.dispatcher.dispatch(targets, |cluster| &cluster.selections, read.clone()).await {
                Ok(responses) => return Ok((responses, read)),
                Err(failure) => match failure.behind() {
                    Some(behind) if plans < MAX_PLANS => _ = self.learn_completeness(behind),
                    _ => return Err(failure),
                },
            }
        }
    }

    pub(crate) fn select(
        &self,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError> {
        budget.check()?;
        let read = select_read(request, budget);
        let (responses, read) = self.wait(self.read_all(request.range, budget, read))?;
        let sets = responses.into_iter().map(|(assignment, selected)| {
            let range = match &assignment.target {
                Target::Shards(_) => request.range,
                Target::Blocks(store_range) => store_range.range,
            };
            clipped(failover_set(&self.dispatcher, &read, assignment, selected), range, request.range)
        });
        let merged = MergedSet::merge(sets.collect());
        request.check_series(merged.labels().len())?;
        Ok(merged)
    }

    pub(crate) fn series(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &Arc<Budget>,
    ) -> Result<BTreeSet<Labels>, SelectError> {
        let mut found = BTreeSet::new();
        for matchers in selectors {
            let matchers: Arc<[Matcher]> = matchers.clone().into();
            let of_read = budget.clone();
            let read: NodeRead<Vec<Labels>> = Arc::new(move |node, scope, target| {
                let (matchers, budget) = (matchers.clone(), of_read.clone());
                let range = target.clip(range);
                Box::pin(async move { node.series(scope, matchers, range, limit, budget).await })
            });
            let (responses, _) = self.wait(self.read_all(range, budget, read))?;
            found.extend(responses.into_iter().flat_map(|(_, labels)| labels));
        }
        Ok(found)
    }

    /// Label names, or the values of a label.
    pub(crate) fn names(
        &self,
        label: Option<&str>,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        budget: &Arc<Budget>,
    ) -> Result<Vec<String>, SelectError> {
        let label: Option<Arc<str>> = label.map(Into::into);
        let mut found = BTreeSet::new();
        for matchers in selectors {
            let matchers: Arc<[Matcher]> = matchers.clone().into();
            let label = label.clone();
            let of_read = budget.clone();
            let read: NodeRead<Vec<String>> = Arc::new(move |node, scope, target| {
                let (matchers, label, budget) = (matchers.clone(), label.clone(), of_read.clone());
                let range = target.clip(range);
                Box::pin(async move { node.names(scope, label, matchers, range, budget).await })
            });
            let (responses, _) = self.wait(self.read_all(range, budget, read))?;
            found.extend(responses.into_iter().flat_map(|(_, names)| names));
        }
        Ok(found.into_iter().collect())
    }

    /// Exemplars of ingesters and stores for the whole range: no source keeps all exemplars, so none of them is complete.
    pub(crate) fn exemplars(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        budget: &Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, SelectError> {
        let mut found = Vec::new();
        for matchers in selectors {
            let matchers: Arc<[Matcher]> = matchers.clone().into();
            let budget = budget.clone();
            let read: NodeRead<Vec<SeriesExemplars>> = Arc::new(move |node, scope, target| {
                let (matchers, budget) = (matchers.clone(), budget.clone());
                let range = target.clip(range);
                Box::pin(async move { node.exemplars(scope, matchers, range, budget).await })
            });
            let targets = self.targets(range);
            let responses = self.wait(self.dispatcher.dispatch(targets, |cluster| &cluster.selections, read))?;
            found.extend(responses.into_iter().flat_map(|(_, exemplars)| exemplars));
        }
        Ok(found)
    }

    pub(crate) fn metadata(&self, budget: &Arc<Budget>) -> Result<Vec<(String, Metadata)>, SelectError> {
        let budget = budget.clone();
        let read: NodeRead<Vec<(String, Metadata)>> = Arc::new(move |node, scope, _| {
            let budget = budget.clone();
            Box::pin(async move { node.metadata(scope, budget).await })
        });
        let targets = vec![self.all_shards()];
        let responses = self.wait(self.dispatcher.dispatch(targets, |cluster| &cluster.selections, read))?;
        Ok(responses.into_iter().flat_map(|(_, families)| families).collect())
    }
}
