//! A selection on another node that survives the node: when fetching samples fails or is slow, other nodes select again.
//!
//! Invariant: a fetch appends the samples of exactly one selection. What a failed fetch has appended is cut off.

use std::ops::Range;
use std::sync::Arc;

use futures::future::{Either, select};
use parking_lot::Mutex;
use pharos_model::{
    Budget, Labels, MergedSet, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, TimeRange,
};
use pharos_transport::query::{ReadError, RemoteSet};

use super::dispatch::{Dispatcher, NodeRead, ReadFailure};
use super::node::Selected;
use super::route::Assignment;

/// A remote selection, with what it takes to select again elsewhere.
struct FailoverSet {
    dispatcher: Arc<Dispatcher>,
    assignment: Assignment,
    read: NodeRead<Selected>,
    first: Arc<RemoteSet>,
    /// The selection on other nodes, once the first one failed.
    replacement: Mutex<Option<Arc<Replacement>>>,
}

/// The same selection on other nodes.
struct Replacement {
    set: Arc<dyn SeriesSet>,
    /// For each series of the first selection its position here. A series that is not here has no samples here.
    positions: Vec<Option<usize>>,
}

/// Wraps a selection, so that a remote one survives its node.
pub(super) fn failover_set(
    dispatcher: &Arc<Dispatcher>,
    read: &NodeRead<Selected>,
    assignment: Assignment,
    selected: Selected,
) -> Arc<dyn SeriesSet> {
    match selected {
        Selected::Local(set) => set,
        Selected::Remote(first) => Arc::new(FailoverSet {
            dispatcher: dispatcher.clone(),
            assignment,
            read: read.clone(),
            first,
            replacement: Mutex::new(None),
        }),
    }
}

/// The read that selects series.
pub(super) fn select_read(request: &SelectRequest, budget: &Arc<Budget>) -> NodeRead<Selected> {
    let request = request.clone();
    let budget = budget.clone();
    Arc::new(move |node, scope, target| {
        let request = SelectRequest { range: target.clip(request.range), ..request.clone() };
        let budget = budget.clone();
        Box::pin(async move { node.select(scope, request, budget).await })
    })
}

/// The lengths of a batch's columns at some time.
struct BatchMark([usize; 7]);

impl BatchMark {
    fn of(batch: &SeriesBatch) -> Self {
        let SeriesBatch { t, v, st, ht, h, hst, series } = batch;
        BatchMark([t.len(), v.len(), st.len(), ht.len(), h.len(), hst.len(), series.len()])
    }

    /// Cuts off what was appended since.
    fn restore(&self, batch: &mut SeriesBatch) {
        let [t, v, st, ht, h, hst, series] = self.0;
        batch.t.truncate(t);
        batch.v.truncate(v);
        batch.st.truncate(st);
        batch.ht.truncate(ht);
        batch.h.truncate(h);
        batch.hst.truncate(hst);
        batch.series.truncate(series);
    }
}

impl FailoverSet {
    /// Selects again, on nodes other than the first one.
    async fn reselect(&self) -> Result<Arc<Replacement>, ReadFailure> {
        let dispatcher = &self.dispatcher;
        let excluded = dispatcher.excluded().and(&self.assignment.member.id);
        let target = self.assignment.target.clone();
        let read = self.read.clone();
        let responses = dispatcher.dispatch_elsewhere(target, |cluster| &cluster.selections, read, excluded).await?;
        let sets = responses
            .into_iter()
            .map(|(assignment, selected)| failover_set(dispatcher, &self.read, assignment, selected));
        let set = MergedSet::merge(sets.collect());
        let position = |labels: &Labels| set.labels().binary_search(labels).ok();
        let positions = self.first.labels().iter().map(position).collect();
        Ok(Arc::new(Replacement { set, positions }))
    }

    /// Fetches from the first node. Returns a replacement to fetch from when that failed, or was slower than selecting again.
    async fn fetch_or_reselect(
        &self,
        series: Range<usize>,
        range: TimeRange,
        out: &mut SeriesBatch,
    ) -> Result<Option<Arc<Replacement>>, SelectError> {
        let node = &self.assignment.member.id;
        let error = match self.fetch_first(series, range, out).await {
            Ok(fetched) => return Ok(fetched),
            Err(error) if !error.is_retryable() => return Err(error.into_select_error()),
            Err(error) => error,
        };
        self.dispatcher.quarantine(node);
        match self.reselect().await {
            Ok(replacement) => Ok(Some(replacement)),
            Err(ReadFailure::Unavailable(_)) => Err(error.into_select_error()),
            Err(fatal) => Err(fatal.into()),
        }
    }

    async fn fetch_first(
        &self,
        series: Range<usize>,
        range: TimeRange,
        out: &mut SeriesBatch,
    ) -> Result<Option<Arc<Replacement>>, ReadError> {
        let clock = &self.dispatcher.cluster.parts.clock;
        let fetches = &self.dispatcher.cluster.fetches;
        let started = clock.monotonic();
        let hedge_delay = (fetches.p95() * 4).max(fetches.floor);
        let mut fetching = std::pin::pin!(self.first.fetch_parts(series, range, out));
        if let Ok(fetched) = tokio::time::timeout(hedge_delay, &mut fetching).await {
            fetched?;
            fetches.add(clock.monotonic().saturating_sub(started));
            return Ok(None);
        }
        let reselecting = std::pin::pin!(self.reselect());
        match select(fetching, reselecting).await {
            Either::Left((fetched, _)) => fetched.map(|()| None),
            Either::Right((Ok(replacement), _)) => {
                self.dispatcher.quarantine(&self.assignment.member.id);
                Ok(Some(replacement))
            }
            // No other node has it: the first one gets all the time that the query has.
            Either::Right((Err(_), fetching)) => fetching.await.map(|()| None),
        }
    }
}

impl SeriesSet for FailoverSet {
    fn labels(&self) -> &[Labels] {
        self.first.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let replacement = self.replacement.lock().clone();
        if let Some(replacement) = replacement {
            return replacement.fetch(series, range, out);
        }
        let mark = BatchMark::of(out);
        let runtime = &self.dispatcher.cluster.parts.runtime;
        match runtime.block_on(self.fetch_or_reselect(series.clone(), range, out))? {
            None => Ok(()),
            Some(replacement) => {
                mark.restore(out);
                *self.replacement.lock() = Some(replacement.clone());
                replacement.fetch(series, range, out)
            }
        }
    }

    fn prefetch(&self, series: Range<usize>, range: TimeRange) {
        if self.replacement.lock().is_none() {
            self.first.prefetch(series, range);
        }
    }
}

impl Replacement {
    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let positions = &self.positions[series];
        let known = || positions.iter().flatten().copied();
        let (Some(first), Some(last)) = (known().min(), known().max()) else {
            positions.iter().for_each(|_| out.push(SeriesView::EMPTY));
            return Ok(());
        };
        let mut batch = SeriesBatch::default();
        self.set.fetch(first..last + 1, range, &mut batch)?;
        for position in positions {
            out.push(position.map_or(SeriesView::EMPTY, |at| batch.view(at - first)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_batch_is_what_it_was_at_its_mark() {
        let mut batch = SeriesBatch::default();
        batch.push(SeriesView { t: &[1, 2], v: &[1.0, 2.0], ..SeriesView::EMPTY });
        let mark = BatchMark::of(&batch);
        batch.push(SeriesView { t: &[7], v: &[7.0], st: &[6], ..SeriesView::EMPTY });
        mark.restore(&mut batch);
        assert_eq!(batch.len(), 1);
        assert_eq!(batch.samples(), 2);
        assert!(batch.st.is_empty());
    }
}
