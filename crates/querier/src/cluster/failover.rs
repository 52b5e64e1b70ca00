//! A selection on another node that outlives the node: when its samples do not come, others are asked for them.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use pharos_model::{
    Budget, Labels, MergedSet, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, TimeRange,
};
use pharos_transport::query::{AskError, RemoteSet};

use super::ask::{Asking, NoAnswer, Question};
use super::node::Selected;
use super::route::{Assignment, Excluded, Target};

/// What a selection can be made anew from.
pub(super) struct FailoverSet {
    pub(super) asking: Arc<Asking>,
    pub(super) assignment: Assignment,
    pub(super) question: Question<Selected>,
    pub(super) first: Arc<RemoteSet>,
    pub(super) moved: Mutex<Option<Arc<Moved>>>,
}

/// The selection elsewhere.
pub(super) struct Moved {
    set: Arc<dyn SeriesSet>,
    /// Where each series is there; a series that has no samples there is nowhere.
    positions: Vec<Option<usize>>,
}

/// One set of what was selected on some nodes, in rising order of authority.
pub(super) fn set_of(
    asking: &Arc<Asking>,
    question: &Question<Selected>,
    answers: Vec<(Assignment, Selected)>,
) -> Vec<Arc<dyn SeriesSet>> {
    let set = |(assignment, selected): (Assignment, Selected)| -> Arc<dyn SeriesSet> {
        match selected {
            Selected::Local(set) => set,
            Selected::Remote(first) => Arc::new(FailoverSet {
                asking: asking.clone(),
                assignment,
                question: question.clone(),
                first,
                moved: Mutex::new(None),
            }),
        }
    };
    answers.into_iter().map(set).collect()
}

/// The question what a selector matches.
pub(super) fn selecting(request: &SelectRequest, budget: &Arc<Budget>) -> Question<Selected> {
    let (request, budget) = (request.clone(), budget.clone());
    Arc::new(move |node, scope, target| {
        let range = match &target {
            Target::Shards(_) => request.range,
            Target::Time(slice) => slice.range.intersect(&request.range),
        };
        let (request, budget) = (SelectRequest { range, ..request.clone() }, budget.clone());
        Box::pin(async move { node.select(scope, request, budget).await })
    })
}

/// How long batches were.
struct Mark([usize; 7]);

impl Mark {
    fn of(batch: &SeriesBatch) -> Self {
        let SeriesBatch { t, v, st, ht, h, hst, series } = batch;
        Mark([t.len(), v.len(), st.len(), ht.len(), h.len(), hst.len(), series.len()])
    }

    /// Takes off what was appended since.
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
    /// Selects on other nodes.
    async fn elsewhere(&self) -> Result<Arc<Moved>, NoAnswer> {
        let asking = &self.asking;
        let excluded: Excluded = asking.excluded().and(&self.assignment.member.id);
        let (target, question) = (self.assignment.target.clone(), self.question.clone());
        let answers = asking.ask_others(target, |cluster| &cluster.answers, question, excluded).await?;
        let set = MergedSet::merge(set_of(asking, &self.question, answers));
        let found = |labels: &Labels| set.labels().binary_search(labels).ok();
        let positions = self.first.labels().iter().map(found).collect();
        Ok(Arc::new(Moved { set, positions }))
    }

    /// Fetches from the first node; answers where to fetch from when that failed or took too long.
    async fn fetch_or_move(
        &self,
        series: Range<usize>,
        range: TimeRange,
        out: &mut SeriesBatch,
    ) -> Result<Option<Arc<Moved>>, SelectError> {
        let clock = &self.asking.cluster.parts.clock;
        let fetches = &self.asking.cluster.fetches;
        let started = clock.monotonic();
        let patience = (fetches.p95() * 4).max(fetches.least);
        let mut fetching = std::pin::pin!(self.first.fetch_parts(series, range, out));
        let failed: AskError = match tokio::time::timeout(patience, &mut fetching).await {
            Ok(Ok(())) => {
                fetches.add(clock.monotonic().saturating_sub(started));
                return Ok(None);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                let elsewhere = std::pin::pin!(self.elsewhere());
                match futures::future::select(fetching, elsewhere).await {
                    futures::future::Either::Left((Ok(()), _)) => return Ok(None),
                    futures::future::Either::Left((Err(error), _)) => error,
                    futures::future::Either::Right((Ok(moved), _)) => {
                        self.asking.avoid(&self.assignment.member.id);
                        return Ok(Some(moved));
                    }
                    // Nobody else has it: the first one has all the time that the query has.
                    futures::future::Either::Right((Err(_), fetching)) => match fetching.await {
                        Ok(()) => return Ok(None),
                        Err(error) => error,
                    },
                }
            }
        };
        if !failed.is_of_the_node() {
            return Err(failed.into_select());
        }
        self.asking.avoid(&self.assignment.member.id);
        match self.elsewhere().await {
            Ok(moved) => Ok(Some(moved)),
            Err(NoAnswer::Missing(_)) => Err(failed.into_select()),
            Err(other) => Err(other.into()),
        }
    }
}

impl SeriesSet for FailoverSet {
    fn labels(&self) -> &[Labels] {
        self.first.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let moved = self.moved.lock().clone();
        if let Some(moved) = moved {
            return moved.fetch(series, range, out);
        }
        let mark = Mark::of(out);
        let runtime = &self.asking.cluster.parts.runtime;
        match runtime.block_on(self.fetch_or_move(series.clone(), range, out))? {
            None => Ok(()),
            Some(moved) => {
                mark.restore(out);
                *self.moved.lock() = Some(moved.clone());
                moved.fetch(series, range, out)
            }
        }
    }

    fn prefetch(&self, series: Range<usize>, range: TimeRange) {
        if self.moved.lock().is_none() {
            self.first.prefetch(series, range);
        }
    }
}

impl Moved {
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
