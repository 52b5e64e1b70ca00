//! One query over the cluster: a view, what ingesters have, and the answers of all put together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::View;
use pharos_model::{
    Budget, Labels, Matcher, MergedSet, Metadata, SelectError, SelectRequest, SeriesSet, ShardSet, TenantId, TimeRange,
};
use pharos_transport::{Completeness, SeriesExemplars};

use super::Cluster;
use super::ask::{Answers, Asking, NoAnswer, Question};
use super::failover::{selecting, set_of};
use super::route::{self, Target};

/// One query.
#[derive(Clone)]
pub(crate) struct ClusterQuery {
    asking: Arc<Asking>,
    complete: Arc<Mutex<Option<Completeness>>>,
}

/// Plans of one question: another one when no replica has what the one before counts on.
const MOST_PLANS: usize = 4;

/// Time that is asked of stores: what lies before that of which the ingesters have everything.
pub(crate) fn before(range: TimeRange, from: i64) -> TimeRange {
    from.checked_sub(1).map_or(TimeRange::EMPTY, |last| TimeRange::new(range.start, range.end.min(last)))
}

/// From when on a range has to be whole in ingesters, if it is asked of stores up to `from` only.
fn counted_on(range: TimeRange, from: i64) -> Option<i64> {
    (range.end >= from && from < i64::MAX).then(|| from.max(range.start))
}

/// A question to whoever has everything of its shards from a timestamp on, if there is one.
fn counting_on<T: 'static>(from: Option<i64>, question: Question<T>) -> Question<T> {
    Arc::new(move |node, scope, target| {
        let from = from.filter(|_| matches!(target, Target::Shards(_)));
        question(node, scope.counting_on(from), target)
    })
}

impl ClusterQuery {
    pub(super) fn new(cluster: Arc<Cluster>, tenant: TenantId, view: View) -> Self {
        let asking = Arc::new(Asking::new(cluster, tenant, view, false));
        ClusterQuery { asking, complete: Arc::default() }
    }

    /// The same query, which is answered with what can be had.
    pub(crate) fn partial(self) -> Self {
        let asking = &self.asking;
        let asking = Asking::new(asking.cluster.clone(), asking.tenant.clone(), asking.view(), true);
        ClusterQuery { asking: Arc::new(asking), complete: Arc::default() }
    }

    /// What could not be asked.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.asking.warnings()
    }

    pub(super) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.asking.cluster.parts.runtime
    }

    pub(super) fn asking(&self) -> &Arc<Asking> {
        &self.asking
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T, NoAnswer>>) -> Result<T, SelectError> {
        Ok(self.asking.cluster.parts.runtime.block_on(future)?)
    }

    /// All shards.
    pub(super) fn shards(&self) -> Target {
        Target::Shards(ShardSet::all(self.asking.view().shards.len() as u32))
    }

    /// The slices of blocks' time that are asked for. None when there are no stores and no blocks.
    pub(super) fn slices(&self, range: TimeRange) -> Vec<Target> {
        let view = self.asking.view();
        let tenant = self.asking.tenant.as_str();
        let has_stores = view.members.values().any(|member| member.has(pharos_cluster::Role::Store));
        let mut blocks = view.catalogue.tenant(tenant).into_iter().flat_map(|t| &t.blocks);
        if !has_stores && !blocks.any(|block| TimeRange::new(block.min_t, block.max_t).overlaps(&range)) {
            return Vec::new();
        }
        route::slices(&view, tenant, range).into_iter().map(Target::Time).collect()
    }

    /// What the ingesters have, together. The first answer holds for the whole query, with what is learned later.
    pub(super) async fn completeness(&self, budget: &Arc<Budget>) -> Result<Completeness, NoAnswer> {
        if let Some(known) = *self.complete.lock() {
            return Ok(known);
        }
        let lasting = budget.remaining();
        let asked = budget.clone();
        let question: Question<Completeness> = Arc::new(move |node, scope, _| {
            let budget = asked.clone();
            Box::pin(async move { node.completeness(scope, lasting, budget).await })
        });
        let answers = self.asking.ask(vec![self.shards()], |cluster| &cluster.answers, question).await?;
        let all = Completeness { from: i64::MIN, unflushed_from: i64::MAX, version: 0 };
        let together = answers.into_iter().fold(all, |all, (_, one)| all.and(one));
        Ok(self.learn_completeness(together))
    }

    /// Remembers that replicas which may have to answer have no more than this: stores are asked for the rest from now on.
    pub(super) fn learn_completeness(&self, learned: Completeness) -> Completeness {
        self.asking.needs_blocks_of(learned.version);
        let mut complete = self.complete.lock();
        let together = complete.map_or(learned, |known| known.and(learned));
        *complete = Some(together);
        together
    }

    /// Asks everyone who may know of a range: ingesters, and stores for what they may lack. The answers of stores come
    /// first, those for later time later. Whichever replica answers has everything that stores are not asked for: one that has
    /// less refuses, and when there is no other, stores are asked for more. With the answers comes the question as it was
    /// answered, for those who ask it again.
    async fn of_all<T: Send + 'static>(
        &self,
        range: TimeRange,
        budget: &Arc<Budget>,
        question: Question<T>,
    ) -> Result<(Answers<T>, Question<T>), NoAnswer> {
        let mut plans = 0;
        loop {
            plans += 1;
            let complete = self.completeness(budget).await?;
            let older = before(range, complete.from);
            let mut targets = if older.is_empty() { Vec::new() } else { self.slices(older) };
            targets.push(self.shards());
            let question = counting_on(counted_on(range, complete.from), question.clone());
            match self.asking.ask(targets, |cluster| &cluster.answers, question.clone()).await {
                Ok(answers) => return Ok((answers, question)),
                Err(none) => match none.behind() {
                    Some(behind) if plans < MOST_PLANS => _ = self.learn_completeness(behind),
                    _ => return Err(none),
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
        let question = selecting(request, budget);
        let (answers, question) = self.wait(self.of_all(request.range, budget, question))?;
        let sets = answers.into_iter().map(|(assignment, selected)| {
            let range = match &assignment.target {
                Target::Shards(_) => request.range,
                Target::Time(slice) => slice.range,
            };
            let set = set_of(&self.asking, &question, vec![(assignment, selected)]);
            set.into_iter().map(move |set| crate::fanout::clipped(set, range, request.range))
        });
        let united = MergedSet::merge(sets.flatten().collect());
        request.check_series(united.labels().len())?;
        Ok(united)
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
            let (matchers, asked): (Arc<[Matcher]>, _) = (matchers.clone().into(), budget.clone());
            let question: Question<Vec<Labels>> = Arc::new(move |node, scope, target| {
                let (matchers, budget, range) = (matchers.clone(), asked.clone(), target.clip(range));
                Box::pin(async move { node.series(scope, matchers, range, limit, budget).await })
            });
            let (answers, _) = self.wait(self.of_all(range, budget, question))?;
            found.extend(answers.into_iter().flat_map(|(_, labels)| labels));
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
            let (matchers, asked): (Arc<[Matcher]>, _) = (matchers.clone().into(), budget.clone());
            let label = label.clone();
            let question: Question<Vec<String>> = Arc::new(move |node, scope, target| {
                let (matchers, budget, range) = (matchers.clone(), asked.clone(), target.clip(range));
                let label = label.clone();
                Box::pin(async move { node.names(scope, label, matchers, range, budget).await })
            });
            let (answers, _) = self.wait(self.of_all(range, budget, question))?;
            found.extend(answers.into_iter().flat_map(|(_, names)| names));
        }
        Ok(found.into_iter().collect())
    }

    /// Exemplars of everyone: of exemplars a source keeps only some.
    pub(crate) fn exemplars(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        budget: &Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, SelectError> {
        let mut found = Vec::new();
        for matchers in selectors {
            let (matchers, asked): (Arc<[Matcher]>, _) = (matchers.clone().into(), budget.clone());
            let question: Question<Vec<SeriesExemplars>> = Arc::new(move |node, scope, target| {
                let (matchers, budget, range) = (matchers.clone(), asked.clone(), target.clip(range));
                Box::pin(async move { node.exemplars(scope, matchers, range, budget).await })
            });
            let mut targets = self.slices(range);
            targets.push(self.shards());
            let answers = self.wait(self.asking.ask(targets, |cluster| &cluster.answers, question))?;
            found.extend(answers.into_iter().flat_map(|(_, exemplars)| exemplars));
        }
        Ok(found)
    }

    pub(crate) fn metadata(&self, budget: &Arc<Budget>) -> Result<Vec<(String, Metadata)>, SelectError> {
        let asked = budget.clone();
        let question: Question<Vec<(String, Metadata)>> = Arc::new(move |node, scope, _| {
            let budget = asked.clone();
            Box::pin(async move { node.metadata(scope, budget).await })
        });
        let answers = self.wait(self.asking.ask(vec![self.shards()], |cluster| &cluster.answers, question))?;
        Ok(answers.into_iter().flat_map(|(_, known)| known).collect())
    }
}

impl Target {
    /// The part of a range that is asked of whoever answers for the target.
    fn clip(&self, range: TimeRange) -> TimeRange {
        match self {
            Target::Shards(_) => range,
            Target::Time(slice) => slice.range.intersect(&range),
        }
    }
}

/// How long questions without a budget may take.
pub(crate) const USUAL_TIME: Duration = Duration::from_secs(120);
