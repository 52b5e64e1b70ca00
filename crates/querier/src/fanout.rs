//! One response from all sources that hold samples of a tenant, in this process or, through [`crate::cluster`], in a cluster.
//!
//! Sources are read in the given order, recent samples first: samples that are flushed between two reads are then seen
//! twice, which merging undoes, and never missed. The first source has the highest authority in a merge. A source that knows
//! from when on it is complete leaves only the time before that to the sources behind it; if that is nothing, they are not
//! read at all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use pharos_model::fragment::Steps;
use pharos_model::{
    Budget, Labels, Matcher, MergedSet, Metadata, SelectError, SelectRequest, SeriesSet, SystemClock, TenantId,
    TimeRange,
};
use pharos_promql::syntax::ast::Expr;
use pharos_promql::{Engine, Explanation, Querier, QueryError, QueryOptions, QueryOutput};
use pharos_transport::query::{Read, ReadError, ReadExemplars, ReadMetadata, ReadNames, ReadSeries, ReadView, Sources};
use pharos_transport::{Scope, SeriesExemplars, SeriesSource};

use crate::clip::{before, clipped};
use crate::cluster::{
    Cluster, ClusterParts, ClusterQuery, DEFAULT_TIMEOUT, Evaluation, QueryTiming, ViewProof, read_view,
};
use crate::stale::{StaleReads, StaleView};

/// How long a source must stay complete for a response that holds all of its data: nothing is fetched later.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The sources of all tenants' samples.
#[derive(Clone)]
pub struct Fanout {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    /// Roles of this process, recent samples first.
    Local(Arc<[Arc<dyn SeriesSource>]>),
    Cluster(Arc<Cluster>),
}

impl Fanout {
    /// Reads from these sources, recent samples first.
    pub fn new(sources: Vec<Arc<dyn SeriesSource>>) -> Self {
        Fanout { backend: Backend::Local(sources.into()) }
    }

    /// Reads from the nodes of a cluster; from the roles of this process directly as long as no other node holds samples.
    pub fn of_cluster(parts: ClusterParts) -> Self {
        Fanout { backend: Backend::Cluster(Arc::new(Cluster::new(parts))) }
    }

    /// The samples of a tenant, for a query that begins now. Every read begins here: in a cluster, the view that the query keeps is
    /// proved to be current while it reads, so that the response has every sample that was acknowledged before.
    ///
    /// # Errors
    /// The view cannot be proved to be current, and [`StaleReads::Refuse`] is set or there is no view at all.
    pub fn of_tenant(&self, tenant: TenantId) -> BoxFuture<'_, Result<TenantQuerier, StaleView>> {
        Box::pin(async move {
            match &self.backend {
                Backend::Local(sources) => {
                    let scope = Scope::all(tenant);
                    let reader = Reader::Local(LocalReader { sources: sources.clone(), scope, view: None });
                    Ok(TenantQuerier { reader, budget: None })
                }
                Backend::Cluster(cluster) => in_cluster(cluster, tenant).await,
            }
        })
    }
}

/// Begins a query in a cluster.
async fn in_cluster(cluster: &Arc<Cluster>, tenant: TenantId) -> Result<TenantQuerier, StaleView> {
    let refuses = cluster.parts.stale_reads == StaleReads::Refuse;
    let mut view = cluster.view();
    let proof = ViewProof::begin(&cluster.parts);
    if refuses || view.settings.is_none() || cluster.alone(&view).is_some() {
        // What such a query does depends on the proof.
        match proof.settle().await {
            Ok(proved) => view = proved,
            Err(unproven) => {
                view = cluster.view();
                if refuses || view.settings.is_none() {
                    return Err(StaleView { reason: unproven.reason });
                }
            }
        }
        if let Some(sources) = cluster.alone(&view).filter(|_| proof.failure().is_none()) {
            let read_view = read_view(&view, &tenant, 0..view.shards.len() as u32);
            let (sources, scope) = (Arc::new(sources), Scope::all(tenant));
            let reader = Reader::Local(LocalReader { sources, scope, view: Some(read_view) });
            return Ok(TenantQuerier { reader, budget: None });
        }
    }
    let reader = Reader::Cluster(ClusterQuery::new(cluster.clone(), tenant, view, proof));
    Ok(TenantQuerier { reader, budget: None })
}

/// One tenant's samples, for one query. Its calls block.
#[derive(Clone)]
pub struct TenantQuerier {
    reader: Reader,
    budget: Option<Arc<Budget>>,
}

#[derive(Clone)]
enum Reader {
    Local(LocalReader),
    Cluster(ClusterQuery),
}

impl Querier for TenantQuerier {
    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        match &self.reader {
            Reader::Local(local) => local.select(request, budget),
            Reader::Cluster(query) => query.select(request, budget),
        }
    }
}

/// Reads the sources of this process.
#[derive(Clone)]
struct LocalReader {
    sources: Arc<[Arc<dyn SeriesSource>]>,
    scope: Scope,
    /// The view under which the sources are read; `None` without a cluster.
    view: Option<ReadView>,
}

impl LocalReader {
    /// Checks whether a source may answer under the view.
    fn admit(&self, source: &dyn SeriesSource) -> Result<(), SelectError> {
        let Some(view) = &self.view else { return Ok(()) };
        // A view that became newer since the query began changes nothing.
        source.admit(&self.scope.tenant, view).map(|_| ()).map_err(|refused| SelectError::Storage(refused.to_string()))
    }

    /// The sources that have samples of a range, each with the part that it is read for. Lazy: a source tells from when on it
    /// is complete, for at least `lasting`, before it is read, and the next one is read after it has answered.
    fn plan(
        &self,
        range: TimeRange,
        lasting: Duration,
    ) -> impl Iterator<Item = Result<(&dyn SeriesSource, TimeRange), SelectError>> {
        let mut left = range;
        self.sources.iter().map_while(move |source| {
            let part = left;
            if part.is_empty() && !range.is_empty() {
                return None;
            }
            let completeness = || {
                self.admit(source.as_ref())?;
                source.completeness(&self.scope, lasting)
            };
            let complete = match completeness() {
                Ok(complete) => complete,
                Err(error) => return Some(Err(error)),
            };
            left = before(left, complete.from);
            Some(Ok((source.as_ref(), part)))
        })
    }

    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let mut sets = Vec::with_capacity(self.sources.len());
        for planned in self.plan(request.range, budget.remaining()) {
            let (source, range) = planned?;
            let set = source.select(&self.scope, &SelectRequest { range, ..request.clone() }, budget)?;
            sets.push(clipped(set, range, request.range));
        }
        sets.reverse();
        let merged = MergedSet::merge(sets);
        request.check_series(merged.labels().len())?;
        Ok(merged)
    }

    /// The responses of the sources to a read.
    fn read<R: Read>(&self, read: &R, budget: &Arc<Budget>) -> Result<Vec<R::Found>, SelectError> {
        let ask = |source: &dyn SeriesSource, read: R| {
            budget.check()?;
            read.local(source, &self.scope, budget).map_err(ReadError::into_select_error)
        };
        if R::SOURCES != Sources::Samples {
            let admitted = self.sources.iter().map(|source| self.admit(source.as_ref()).map(|()| source.as_ref()));
            return admitted.map(|source| ask(source?, read.clone())).collect();
        }
        let planned = self.plan(read.range(), budget.remaining().min(RESPONSE_TIMEOUT));
        planned.map(|planned| planned.and_then(|(source, part)| ask(source, read.clone().of_part(part)))).collect()
    }
}

impl TenantQuerier {
    /// Sets the budget of reads that come without one: all but selections and evaluations.
    pub fn within(self, budget: Arc<Budget>) -> Self {
        TenantQuerier { budget: Some(budget), ..self }
    }

    /// If `partial`, omits unavailable data instead of failing; [`TenantQuerier::warnings`] tells what was omitted.
    pub fn partial(self, partial: bool) -> Self {
        let reader = match self.reader {
            Reader::Cluster(query) if partial => Reader::Cluster(query.partial()),
            reader => reader,
        };
        TenantQuerier { reader, ..self }
    }

    /// Measures where the time of the query goes from now on, for [`TenantQuerier::timing`].
    #[must_use]
    pub fn measured(self) -> Self {
        if let Reader::Cluster(query) = &self.reader {
            query.measure();
        }
        self
    }

    /// Where the time of the query went besides its operators, if that was measured. `None` for a query within one process.
    pub fn timing(&self) -> Option<QueryTiming> {
        match &self.reader {
            Reader::Local(_) => None,
            Reader::Cluster(query) => query.timing(),
        }
    }

    /// Waits until the view of the query is proved to be current, or known not to be, as reads do. Afterwards
    /// [`TenantQuerier::warnings`] says so before anything was read.
    pub async fn settle(&self) {
        if let Reader::Cluster(query) = &self.reader {
            query.settle().await;
        }
    }

    /// What the response may lack: samples since the view was last current, and what was omitted from a partial response.
    pub fn warnings(&self) -> Vec<String> {
        match &self.reader {
            Reader::Local(_) => Vec::new(),
            Reader::Cluster(query) => query.warnings(),
        }
    }

    /// Evaluates a query, parts of it where the samples are unless `push_down` is false. Samples are fetched through `querier`,
    /// which is this one or a wrapper of it.
    ///
    /// # Errors
    /// The engine's, or that samples are unavailable.
    pub fn evaluate(
        &self,
        engine: &Engine,
        querier: &dyn Querier,
        (expr, times): (&Expr, Steps),
        options: &QueryOptions,
        push_down: bool,
    ) -> Result<QueryOutput, QueryError> {
        match &self.reader {
            Reader::Cluster(query) if push_down => {
                query.evaluate(&Evaluation { engine, querier, expr, times, options })
            }
            _ => engine.evaluate_with(querier, expr, times, options, &[]),
        }
    }

    /// The plan of a query, with the parts that are evaluated where the samples are.
    ///
    /// # Errors
    /// The query cannot be planned.
    pub fn explain(
        &self,
        engine: &Engine,
        (expr, times): (&Expr, Steps),
        options: &QueryOptions,
        push_down: bool,
    ) -> Result<Explanation, QueryError> {
        let given = match &self.reader {
            Reader::Cluster(query) if push_down => {
                query.describe(&Evaluation { engine, querier: self, expr, times, options })?
            }
            _ => Vec::new(),
        };
        engine.explain_with(expr, (times.start, times.end, times.step), &given)
    }

    fn budget(&self) -> Arc<Budget> {
        let default = || Arc::new(Budget::new(Arc::new(SystemClock::new()), DEFAULT_TIMEOUT, u64::MAX));
        self.budget.clone().unwrap_or_else(default)
    }

    /// The responses of all sources to a read, within the budget of reads that come without one.
    fn read<R: Read>(&self, read: R) -> Result<Vec<R::Found>, SelectError> {
        match &self.reader {
            Reader::Local(local) => local.read(&read, &self.budget()),
            Reader::Cluster(query) => query.read(read, &self.budget()),
        }
    }

    /// The label sets that match one of the selectors, ascending; at most `limit`, or all for 0.
    ///
    /// # Errors
    /// A source failed, or the budget is spent.
    pub fn series(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, SelectError> {
        let mut found = BTreeSet::new();
        for matchers in selectors {
            let read = ReadSeries { matchers: matchers.clone().into(), range, limit };
            found.extend(self.read(read)?.into_iter().flatten());
        }
        let limit = if limit == 0 { usize::MAX } else { limit };
        Ok(found.into_iter().take(limit).collect())
    }

    /// The label names of the series that match one of the selectors, or of all series without selectors.
    ///
    /// # Errors
    /// A source failed, or the budget is spent.
    pub fn label_names(&self, selectors: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        self.names(None, selectors, range)
    }

    /// The values of a label over the series that match one of the selectors, or over all series without selectors.
    ///
    /// # Errors
    /// A source failed, or the budget is spent.
    pub fn label_values(
        &self,
        name: &str,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<String>, SelectError> {
        self.names(Some(name), selectors, range)
    }

    fn names(
        &self,
        label: Option<&str>,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<String>, SelectError> {
        let everything = [Vec::new()];
        let selectors = if selectors.is_empty() { &everything } else { selectors };
        let label: Option<Arc<str>> = label.map(Into::into);
        let mut found = BTreeSet::new();
        for matchers in selectors {
            let read = ReadNames { label: label.clone(), matchers: matchers.clone().into(), range };
            found.extend(self.read(read)?.into_iter().flatten());
        }
        Ok(found.into_iter().collect())
    }

    /// The exemplars of the series that match one of the selectors, ascending by series and time.
    ///
    /// # Errors
    /// A source failed, or the budget is spent.
    pub fn exemplars(&self, selectors: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<SeriesExemplars>, SelectError> {
        let budget = self.budget();
        let mut found: Vec<SeriesExemplars> = Vec::new();
        for matchers in selectors {
            budget.check()?;
            let read = ReadExemplars { matchers: matchers.clone().into(), range };
            found.extend(self.read(read)?.into_iter().flatten());
            // Charged while two selectors' exemplars are in memory, and joined before the next ones are read, as many
            // selectors may match the same series.
            let bytes = found.iter().map(SeriesExemplars::bytes).sum::<usize>() as u64;
            budget.take(bytes)?;
            join_exemplars(&mut found);
            budget.give_back(bytes);
        }
        Ok(found)
    }

    /// The distinct descriptions of metric families, ascending by name.
    ///
    /// # Errors
    /// A source failed.
    pub fn metadata(&self) -> Result<Vec<(String, Metadata)>, SelectError> {
        let mut found: Vec<_> = self.read(ReadMetadata)?.into_iter().flatten().collect();
        found.sort_by(|a, b| (&a.0, a.1.kind.as_str(), &a.1.help).cmp(&(&b.0, b.1.kind.as_str(), &b.1.help)));
        found.dedup();
        Ok(found)
    }
}

/// Sorts series and joins the exemplars of those that occur several times, in the order of time.
fn join_exemplars(found: &mut Vec<SeriesExemplars>) {
    found.sort_by(|a, b| a.labels.cmp(&b.labels));
    found.dedup_by(|later, kept| {
        let is_same = later.labels == kept.labels;
        if is_same {
            kept.exemplars.append(&mut later.exemplars);
        }
        is_same
    });
    for series in found {
        series.exemplars.sort_by_key(|e| e.t);
        series.exemplars.dedup();
    }
}

#[cfg(test)]
mod tests;
