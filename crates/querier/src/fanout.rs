//! One answer from all roles that hold samples of a tenant, in this process or, through [`crate::cluster`], in a cluster.
//!
//! Sources are asked in the given order, recent samples first: what is flushed between two calls is then seen twice,
//! which merging undoes, and never missed. In a merge the first source has the highest authority. A source that says
//! from which time on it is complete leaves only the time before that to those behind it, or nothing: then they are not asked.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::fragment::Steps;
use pharos_model::{
    Budget, Labels, Matcher, MergedSet, Metadata, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView,
    SystemClock, TenantId, TimeRange,
};
use pharos_promql::syntax::ast::Expr;
use pharos_promql::{Engine, Explanation, Querier, QueryError, QueryOptions, QueryOutput};
use pharos_transport::{Scope, SeriesExemplars, SeriesSource};

use crate::cluster::{Cluster, ClusterParts, ClusterQuery, Evaluation, USUAL_TIME};

/// For how long a source must stay complete that answers at once: nothing is fetched later.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Where samples are.
#[derive(Clone)]
pub struct Fanout {
    holders: Holders,
}

#[derive(Clone)]
enum Holders {
    /// Roles of this process, recent samples first.
    Here(Arc<[Arc<dyn SeriesSource>]>),
    /// Nodes of a cluster.
    Cluster(Arc<Cluster>),
}

impl Fanout {
    /// Fans out over these sources, recent samples first.
    pub fn new(sources: Vec<Arc<dyn SeriesSource>>) -> Self {
        Fanout { holders: Holders::Here(sources.into()) }
    }

    /// Fans out over the nodes of a cluster. As long as this node is the only one that holds samples, the roles of its process
    /// are asked directly.
    pub fn of_cluster(parts: ClusterParts) -> Self {
        Fanout { holders: Holders::Cluster(Arc::new(Cluster::new(parts))) }
    }

    /// The source of one tenant's samples, for one query.
    pub fn of_tenant(&self, tenant: TenantId) -> TenantQuerier {
        let here = |sources: Arc<[_]>| Asked::Here(Direct { sources, scope: Scope::all(tenant.clone()) });
        let asked = match &self.holders {
            Holders::Here(sources) => here(sources.clone()),
            Holders::Cluster(cluster) => {
                let view = cluster.view();
                match cluster.alone(&view) {
                    Some(sources) => here(Arc::new(sources)),
                    None => Asked::Cluster(cluster.query(tenant, view)),
                }
            }
        };
        TenantQuerier { asked, budget: None }
    }
}

/// One tenant's samples, for one query.
#[derive(Clone)]
pub struct TenantQuerier {
    asked: Asked,
    budget: Option<Arc<Budget>>,
}

#[derive(Clone)]
enum Asked {
    Here(Direct),
    Cluster(ClusterQuery),
}

/// The sources of this process.
#[derive(Clone)]
struct Direct {
    sources: Arc<[Arc<dyn SeriesSource>]>,
    scope: Scope,
}

impl Querier for TenantQuerier {
    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        match &self.asked {
            Asked::Here(direct) => direct.select(request, budget),
            Asked::Cluster(query) => query.select(request, budget),
        }
    }
}

impl Direct {
    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let mut sets = Vec::with_capacity(self.sources.len());
        for asked in self.asked(request.range, budget.remaining()) {
            let (source, range) = asked?;
            let set = source.select(&self.scope, &SelectRequest { range, ..request.clone() }, budget)?;
            sets.push(clipped(set, range, request.range));
        }
        sets.reverse();
        let united = MergedSet::merge(sets);
        request.check_series(united.labels().len())?;
        Ok(united)
    }
}

/// A set of which only the samples of `range` are fetched, where `whole` may be asked for.
pub(crate) fn clipped(set: Arc<dyn SeriesSet>, range: TimeRange, whole: TimeRange) -> Arc<dyn SeriesSet> {
    if range == whole { set } else { Arc::new(Clipped { set, range }) }
}

/// A set of which only the samples of a range are fetched, whatever is asked for.
struct Clipped {
    set: Arc<dyn SeriesSet>,
    range: TimeRange,
}

impl SeriesSet for Clipped {
    fn labels(&self) -> &[Labels] {
        self.set.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let range = range.intersect(&self.range);
        if range.is_empty() {
            series.for_each(|_| out.push(SeriesView::EMPTY));
            return Ok(());
        }
        self.set.fetch(series, range, out)
    }

    fn prefetch(&self, series: Range<usize>, range: TimeRange) {
        let range = range.intersect(&self.range);
        if !range.is_empty() {
            self.set.prefetch(series, range);
        }
    }
}

impl Direct {
    /// Who is asked for what part of a range, for answers that are read within `lasting`. Lazy: a source says from where
    /// on it is complete before it is asked, and the next one is asked after it has answered.
    fn asked(
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
            let complete = match source.completeness(&self.scope, lasting) {
                Ok(complete) => complete,
                Err(error) => return Some(Err(error)),
            };
            left = complete
                .from
                .checked_sub(1)
                .map_or(TimeRange::EMPTY, |last| TimeRange::new(left.start, left.end.min(last)));
            Some(Ok((source.as_ref(), part)))
        })
    }

    fn series(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &Budget,
    ) -> Result<BTreeSet<Labels>, SelectError> {
        let mut found = BTreeSet::new();
        for asked in self.asked(range, AT_ONCE) {
            let (source, range) = asked?;
            for matchers in selectors {
                budget.check()?;
                found.extend(source.series(&self.scope, matchers, range, limit)?);
            }
        }
        Ok(found)
    }

    /// Label names, or the values of a label.
    fn names(
        &self,
        label: Option<&str>,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Vec<String>, SelectError> {
        let mut found = BTreeSet::new();
        for asked in self.asked(range, AT_ONCE) {
            let (source, range) = asked?;
            for matchers in selectors {
                budget.check()?;
                found.extend(match label {
                    Some(label) => source.label_values(&self.scope, label, matchers, range)?,
                    None => source.label_names(&self.scope, matchers, range)?,
                });
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Exemplars of all sources: of exemplars a source keeps only some.
    fn exemplars(&self, selectors: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<SeriesExemplars>, SelectError> {
        let mut found = Vec::new();
        for source in self.sources.iter() {
            for matchers in selectors {
                found.extend(source.exemplars(&self.scope, matchers, range)?);
            }
        }
        Ok(found)
    }

    fn metadata(&self) -> Result<Vec<(String, Metadata)>, SelectError> {
        let mut found = Vec::new();
        for source in self.sources.iter() {
            found.extend(source.metadata(&self.scope)?);
        }
        Ok(found)
    }
}

impl TenantQuerier {
    /// With a budget for questions that come without one.
    pub fn within(self, budget: Arc<Budget>) -> Self {
        TenantQuerier { budget: Some(budget), ..self }
    }

    /// Answers with what can be had, if `partial`: what could not be asked is in [`TenantQuerier::warnings`] then.
    pub fn partial(self, partial: bool) -> Self {
        let asked = match self.asked {
            Asked::Cluster(query) if partial => Asked::Cluster(query.partial()),
            asked => asked,
        };
        TenantQuerier { asked, ..self }
    }

    /// What could not be asked.
    pub fn warnings(&self) -> Vec<String> {
        match &self.asked {
            Asked::Here(_) => Vec::new(),
            Asked::Cluster(query) => query.warnings(),
        }
    }

    /// Evaluates a query, parts of it where the samples are unless `push_down` is false. Samples that are fetched come through
    /// `querier`, which is this one or one around it.
    pub fn evaluate(
        &self,
        engine: &Engine,
        querier: &dyn Querier,
        (expr, times): (&Expr, Steps),
        options: &QueryOptions,
        push_down: bool,
    ) -> Result<QueryOutput, QueryError> {
        match &self.asked {
            Asked::Cluster(query) if push_down => query.evaluate(&Evaluation { engine, querier, expr, times, options }),
            _ => engine.evaluate_with(querier, expr, times, options, &[]),
        }
    }

    /// The plan of a query, with the parts that are evaluated where the samples are.
    pub fn explain(
        &self,
        engine: &Engine,
        (expr, times): (&Expr, Steps),
        options: &QueryOptions,
        push_down: bool,
    ) -> Result<Explanation, QueryError> {
        let given = match &self.asked {
            Asked::Cluster(query) if push_down => {
                query.describe(&Evaluation { engine, querier: self, expr, times, options })?
            }
            _ => Vec::new(),
        };
        engine.explain_with(expr, (times.start, times.end, times.step), &given)
    }

    fn budget(&self) -> Arc<Budget> {
        let usual = || Arc::new(Budget::new(Arc::new(SystemClock::new()), USUAL_TIME, u64::MAX));
        self.budget.clone().unwrap_or_else(usual)
    }

    /// The label sets that match one of the selectors, ascending; at most `limit`, 0 for all.
    pub fn series(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, SelectError> {
        let found = match &self.asked {
            Asked::Here(direct) => direct.series(selectors, range, limit, &self.budget())?,
            Asked::Cluster(query) => query.series(selectors, range, limit, &self.budget())?,
        };
        Ok(cut(found, limit))
    }

    /// The label names of the series that match one of the selectors, or of all series without selectors.
    pub fn label_names(&self, selectors: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        self.names(None, selectors, range)
    }

    /// The values of a label over the series that match one of the selectors, or over all series without selectors.
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
        match &self.asked {
            Asked::Here(direct) => direct.names(label, selectors, range, &self.budget()),
            Asked::Cluster(query) => query.names(label, selectors, range, &self.budget()),
        }
    }

    /// The exemplars of the series that match one of the selectors, ascending by series and time.
    pub fn exemplars(&self, selectors: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<SeriesExemplars>, SelectError> {
        let mut found = match &self.asked {
            Asked::Here(direct) => direct.exemplars(selectors, range)?,
            Asked::Cluster(query) => query.exemplars(selectors, range, &self.budget())?,
        };
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        found.dedup_by(|later, kept| {
            let same = later.labels == kept.labels;
            if same {
                kept.exemplars.append(&mut later.exemplars);
            }
            same
        });
        for series in &mut found {
            series.exemplars.sort_by_key(|e| e.t);
            series.exemplars.dedup();
        }
        Ok(found)
    }

    /// What is known of metric families, by name.
    pub fn metadata(&self) -> Result<Vec<(String, Metadata)>, SelectError> {
        let mut found = match &self.asked {
            Asked::Here(direct) => direct.metadata()?,
            Asked::Cluster(query) => query.metadata(&self.budget())?,
        };
        found.sort_by(|a, b| (&a.0, a.1.kind.as_str(), &a.1.help).cmp(&(&b.0, b.1.kind.as_str(), &b.1.help)));
        found.dedup();
        Ok(found)
    }
}

fn cut<T>(found: BTreeSet<T>, limit: usize) -> Vec<T> {
    let most = if limit == 0 { usize::MAX } else { limit };
    found.into_iter().take(most).collect()
}

#[cfg(test)]
mod tests;
