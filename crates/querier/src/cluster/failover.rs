//! A selection on another node that survives the node: when fetching samples fails or is slow, other nodes select the same
//! series, and the first samples win.
//!
//! Invariants: a fetch appends the samples of exactly one selection. No node is tried twice. The selection that lost is
//! closed, which ends its work on the node.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::{BoxFuture, Either, FutureExt, select, try_join_all};
use parking_lot::Mutex;
use pharos_model::{Labels, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, TimeRange, Union};
use pharos_transport::query::{ReadError, RemoteSet, Selected};

use super::dispatch::ClusterRead;
use super::failure::ReadFailure;
use super::nodes::Cluster;
use super::route::{Assignment, Excluded};

/// Longest wait for samples before other nodes are asked for them as well.
const MAX_HEDGE_DELAY: Duration = Duration::from_secs(30);

/// The series that a node selected.
enum NodeSet {
    /// In this process.
    Local(Arc<dyn SeriesSet>),
    /// On another node.
    Remote(Box<FailoverSet>),
}

/// A remote selection, with what it takes to select again elsewhere.
struct FailoverSet {
    reading: ClusterRead<SelectRequest>,
    assignment: Assignment,
    first: Arc<RemoteSet>,
    /// The nodes that were tried so far, this one included.
    tried: BTreeSet<String>,
    /// The selection on other nodes that replaces the first one, once it failed or was slower.
    replacement: Mutex<Option<Arc<Replacement>>>,
    /// A selection on other nodes that is racing against the first one.
    racing: tokio::sync::Mutex<Weak<Replacement>>,
}

/// The same selection on other nodes.
struct Replacement {
    sets: Vec<NodeSet>,
    union: Union,
    /// For each series of the first selection its position in the union. A series that is not there has no samples there.
    positions: Vec<Option<usize>>,
}

/// Why other nodes could not replace a selection.
enum NotReplaced {
    /// None of them can answer.
    NoNode,
    Failed(SelectError),
}

/// Wraps a selection, so that a remote one survives its node.
pub(super) fn failover_set(
    reading: &ClusterRead<SelectRequest>,
    assignment: Assignment,
    selected: Selected,
) -> Arc<dyn SeriesSet> {
    match node_set(reading, assignment, selected, &BTreeSet::new()) {
        NodeSet::Local(set) => set,
        NodeSet::Remote(set) => Arc::new(*set),
    }
}

fn node_set(
    reading: &ClusterRead<SelectRequest>,
    assignment: Assignment,
    selected: Selected,
    tried: &BTreeSet<String>,
) -> NodeSet {
    let first = match selected {
        Selected::Local(set) => return NodeSet::Local(set),
        Selected::Remote(first) => first,
    };
    let mut tried = tried.clone();
    tried.insert(assignment.member.id.clone());
    let (replacement, racing) = (Mutex::default(), tokio::sync::Mutex::default());
    let reading = reading.clone();
    NodeSet::Remote(Box::new(FailoverSet { reading, assignment, first, tried, replacement, racing }))
}

impl FailoverSet {
    fn cluster(&self) -> &Arc<Cluster> {
        &self.reading.dispatcher().cluster
    }

    /// The nodes that may not replace this one.
    fn excluded(&self) -> Excluded {
        let mut excluded = self.reading.dispatcher().excluded();
        excluded.nodes.extend(self.tried.iter().cloned());
        excluded
    }

    /// Fetches series into an empty batch.
    fn fetch(
        &self,
        series: Range<usize>,
        range: TimeRange,
        empty: SeriesBatch,
    ) -> BoxFuture<'_, Result<SeriesBatch, SelectError>> {
        async move {
            if self.first.has_inline(&series) {
                let mut batch = empty;
                let fetched = self.first.fetch_parts(series, range, &mut batch).await;
                return fetched.map(|()| batch).map_err(ReadError::into_select_error);
            }
            let replacement = self.replacement.lock().clone();
            match replacement {
                Some(replacement) => replacement.fetch(series, range).await,
                None => self.fetch_or_replace(series, range, empty).await,
            }
        }
        .boxed()
    }

    async fn fetch_or_replace(
        &self,
        series: Range<usize>,
        range: TimeRange,
        empty: SeriesBatch,
    ) -> Result<SeriesBatch, SelectError> {
        let (fetches, clock) = (&self.cluster().fetches, &self.cluster().parts.clock);
        let started = clock.monotonic();
        let hedge_delay = (fetches.p95() * 4).clamp(fetches.floor, MAX_HEDGE_DELAY);
        let mut first = self.fetch_first(series.clone(), range, empty).boxed();
        let in_time = match tokio::time::timeout(hedge_delay, &mut first).await {
            Ok(fetched) => Some(fetched),
            Err(_) if self.can_be_replaced() => None,
            Err(_) => Some(first.as_mut().await),
        };
        match in_time {
            Some(Ok(fetched)) => return Ok(fetched),
            Some(Err(error)) => {
                self.give_up(&error)?;
                let elsewhere = self.fetch_elsewhere(series, range).await;
                return self.replaced(elsewhere, error);
            }
            None => self.cluster().parts.metrics.hedged.inc(),
        }
        match select(first, self.fetch_elsewhere(series, range).boxed()).await {
            Either::Left((Ok(fetched), _cancelled)) => Ok(fetched),
            Either::Left((Err(error), elsewhere)) => {
                self.give_up(&error)?;
                self.replaced(elsewhere.await, error)
            }
            Either::Right((Ok((replacement, fetched)), _cancelled)) => {
                self.cluster().parts.metrics.overtaken.inc();
                // It would have taken even longer.
                fetches.add(clock.monotonic().saturating_sub(started));
                self.reading.dispatcher().quarantine(&self.assignment.member.id);
                self.replace(replacement);
                Ok(fetched)
            }
            Either::Right((Err(NotReplaced::NoNode | NotReplaced::Failed(SelectError::Storage(_))), first)) => {
                // The first node gets all the time that the query has.
                first.await.map_err(ReadError::into_select_error)
            }
            Either::Right((Err(NotReplaced::Failed(error)), _)) => Err(error),
        }
    }

    /// Fetches from the node that selected.
    async fn fetch_first(
        &self,
        series: Range<usize>,
        range: TimeRange,
        mut batch: SeriesBatch,
    ) -> Result<SeriesBatch, ReadError> {
        let clock = &self.cluster().parts.clock;
        let started = clock.monotonic();
        // The bytes count for the selection, in whose name they come.
        let timing = self.reading.dispatcher().timing();
        let waiting = timing.map(|timing| timing.waiting(&self.assignment.member.id, &self.assignment.target, None));
        self.first.fetch_parts(series, range, &mut batch).await?;
        if let Some(waiting) = waiting {
            waiting.used();
        }
        self.cluster().fetches.add(clock.monotonic().saturating_sub(started));
        Ok(batch)
    }

    fn can_be_replaced(&self) -> bool {
        self.reading.dispatcher().has_route(&self.assignment.target, &self.excluded())
    }

    /// Records a failure of the node that selected. Fails if no other node would do better.
    fn give_up(&self, error: &ReadError) -> Result<(), SelectError> {
        if !error.is_retryable() {
            return Err(error.clone().into_select_error());
        }
        if self.replacement.lock().is_none() {
            self.reading.dispatcher().record_failure(&self.assignment.member.id, error);
        }
        Ok(())
    }

    /// Fetches from the nodes that replace this one.
    async fn fetch_elsewhere(
        &self,
        series: Range<usize>,
        range: TimeRange,
    ) -> Result<(Arc<Replacement>, SeriesBatch), NotReplaced> {
        let known = self.replacement.lock().clone();
        let replacement = match known {
            Some(replacement) => replacement,
            None => self.select_elsewhere().await?,
        };
        let fetched = replacement.fetch(series, range).await.map_err(NotReplaced::Failed)?;
        Ok((replacement, fetched))
    }

    /// Selects on other nodes, unless a selection there is racing already.
    async fn select_elsewhere(&self) -> Result<Arc<Replacement>, NotReplaced> {
        let mut racing = self.racing.lock().await;
        if let Some(replacement) = racing.upgrade() {
            return Ok(replacement);
        }
        let responses = match self.reading.elsewhere(self.assignment.target.clone(), self.excluded()).await {
            Ok(responses) => responses,
            Err(ReadFailure::Unavailable(_)) => return Err(NotReplaced::NoNode),
            Err(fatal) => return Err(NotReplaced::Failed(fatal.into())),
        };
        let responses = responses.into_iter();
        let sets: Vec<NodeSet> = responses.map(|(at, found)| node_set(&self.reading, at, found, &self.tried)).collect();
        let union = Union::of(&sets.iter().map(NodeSet::labels).collect::<Vec<_>>());
        let position = |labels: &Labels| union.labels().binary_search(labels).ok();
        let positions = self.first.labels().iter().map(position).collect();
        let replacement = Arc::new(Replacement { sets, union, positions });
        *racing = Arc::downgrade(&replacement);
        Ok(replacement)
    }

    /// The samples from elsewhere after the node that selected failed.
    fn replaced(
        &self,
        elsewhere: Result<(Arc<Replacement>, SeriesBatch), NotReplaced>,
        first_error: ReadError,
    ) -> Result<SeriesBatch, SelectError> {
        match elsewhere {
            Ok((replacement, fetched)) => {
                self.replace(replacement);
                Ok(fetched)
            }
            Err(NotReplaced::NoNode | NotReplaced::Failed(SelectError::Storage(_))) => {
                Err(first_error.into_select_error())
            }
            Err(NotReplaced::Failed(error)) => Err(error),
        }
    }

    /// Fetches from a replacement from now on.
    fn replace(&self, replacement: Arc<Replacement>) {
        self.replacement.lock().get_or_insert(replacement);
        self.first.close();
    }
}

impl SeriesSet for FailoverSet {
    fn labels(&self) -> &[Labels] {
        self.first.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let runtime = &self.cluster().parts.runtime;
        // An empty batch, whose memory is reused.
        let empty = if out.is_empty() { std::mem::take(out) } else { SeriesBatch::default() };
        let fetched = runtime.block_on(FailoverSet::fetch(self, series, range, empty))?;
        if out.is_empty() {
            *out = fetched;
        } else {
            (0..fetched.len()).for_each(|at| out.push(fetched.view(at)));
        }
        Ok(())
    }

    fn prefetch(&self, series: Range<usize>, range: TimeRange) {
        if self.replacement.lock().is_none() {
            self.first.prefetch(series, range);
        }
    }
}

impl NodeSet {
    fn labels(&self) -> &[Labels] {
        match self {
            NodeSet::Local(set) => set.labels(),
            NodeSet::Remote(set) => set.first.labels(),
        }
    }

    async fn fetch(&self, series: Range<usize>, range: TimeRange) -> Result<SeriesBatch, SelectError> {
        let set = match self {
            NodeSet::Local(set) => set.clone(),
            NodeSet::Remote(set) => return set.fetch(series, range, SeriesBatch::default()).await,
        };
        let fetching = tokio::task::spawn_blocking(move || {
            let mut batch = SeriesBatch::default();
            set.fetch(series, range, &mut batch).map(|()| batch)
        });
        let broken = |error| Err(SelectError::Storage(format!("this node failed to answer: {error}")));
        fetching.await.unwrap_or_else(broken)
    }
}

impl Replacement {
    async fn fetch(&self, series: Range<usize>, range: TimeRange) -> Result<SeriesBatch, SelectError> {
        let positions = &self.positions[series];
        let known = || positions.iter().flatten().copied();
        let within = known().min().zip(known().max()).map_or(0..0, |(first, last)| first..last + 1);
        let own = |at: usize| self.union.of_set(at, &within);
        let sets = self.sets.iter().enumerate().filter(|(at, _)| !own(*at).is_empty());
        let fetches = sets.map(|(at, set)| async move { Ok::<_, SelectError>((at, set.fetch(own(at), range).await?)) });
        let mut merged = SeriesBatch::default();
        let fetched = try_join_all(fetches).await?;
        let mut merger = self.union.merger(within.clone(), &mut merged);
        fetched.iter().for_each(|(at, fetched)| merger.add(*at, fetched));
        merger.finish();
        let mut out = SeriesBatch::default();
        for position in positions {
            out.push(position.map_or(SeriesView::EMPTY, |at| merged.view(at - within.start)));
        }
        Ok(out)
    }
}
