//! One answer from all roles that hold samples of a tenant.
//!
//! Sources are asked in the given order, recent samples first: what is flushed between two calls is then seen twice,
//! which merging undoes, and never missed. In a merge the first source has the highest authority. A source that says
//! from which time on it is complete leaves only the time before that to those behind it, or nothing: then they are not asked.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::{
    Budget, Labels, Matcher, MergedSet, Metadata, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView,
    TenantId, TimeRange,
};
use pharos_promql::Querier;
use pharos_rpc::{Scope, SeriesExemplars, SeriesSource};

/// For how long a source must stay complete that answers at once: nothing is fetched later.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The sources of samples, recent first.
#[derive(Clone)]
pub struct Fanout {
    sources: Arc<[Arc<dyn SeriesSource>]>,
}

impl Fanout {
    /// Fans out over these sources, recent samples first.
    pub fn new(sources: Vec<Arc<dyn SeriesSource>>) -> Self {
        Fanout { sources: sources.into() }
    }

    /// The source of one tenant's samples.
    pub fn of_tenant(&self, tenant: TenantId) -> TenantQuerier {
        TenantQuerier { sources: self.sources.clone(), scope: Scope::all(tenant) }
    }
}

/// One tenant's samples.
#[derive(Clone)]
pub struct TenantQuerier {
    sources: Arc<[Arc<dyn SeriesSource>]>,
    scope: Scope,
}

impl Querier for TenantQuerier {
    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let mut sets = Vec::with_capacity(self.sources.len());
        for asked in self.asked(request.range, budget.remaining()) {
            let (source, range) = asked?;
            let set = source.select(&self.scope, &SelectRequest { range, ..request.clone() }, budget)?;
            sets.push(if range == request.range { set } else { Arc::new(Clipped { set, range }) });
        }
        sets.reverse();
        let united = MergedSet::unite(sets);
        if request.max_series > 0 && united.labels().len() > request.max_series {
            return Err(SelectError::Series { limit: request.max_series });
        }
        Ok(united)
    }
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

    fn announce(&self, series: Range<usize>, range: TimeRange) {
        let range = range.intersect(&self.range);
        if !range.is_empty() {
            self.set.announce(series, range);
        }
    }
}

impl TenantQuerier {
    /// Who is asked for what part of a range, for answers that are read within `lasting`. Lazy: a source says from where
    /// on it is complete before it is asked, and the next one is asked after it has answered.
    fn asked(
        &self,
        range: TimeRange,
        lasting: Duration,
    ) -> impl Iterator<Item = Result<(&dyn SeriesSource, TimeRange), SelectError>> {
        const NOTHING: TimeRange = TimeRange { start: 0, end: -1 };
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
            left = complete.from.checked_sub(1).map_or(NOTHING, |last| TimeRange::new(left.start, left.end.min(last)));
            Some(Ok((source.as_ref(), part)))
        })
    }

    /// The label sets that match one of the selectors, ascending; at most `limit`, 0 for all.
    pub fn series(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, SelectError> {
        let mut found = BTreeSet::new();
        for asked in self.asked(range, AT_ONCE) {
            let (source, range) = asked?;
            for matchers in selectors {
                found.extend(source.series(&self.scope, matchers, range, limit)?);
            }
        }
        Ok(cut(found, limit))
    }

    /// The label names of the series that match one of the selectors, or of all series without selectors.
    pub fn label_names(&self, selectors: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        self.collect(selectors, range, |source, matchers, range| source.label_names(&self.scope, matchers, range))
    }

    /// The values of a label over the series that match one of the selectors, or over all series without selectors.
    pub fn label_values(
        &self,
        name: &str,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<String>, SelectError> {
        let ask = |source: &dyn SeriesSource, matchers: &[Matcher], range| {
            source.label_values(&self.scope, name, matchers, range)
        };
        self.collect(selectors, range, ask)
    }

    fn collect(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        ask: impl Fn(&dyn SeriesSource, &[Matcher], TimeRange) -> Result<Vec<String>, SelectError>,
    ) -> Result<Vec<String>, SelectError> {
        let everything = [Vec::new()];
        let selectors = if selectors.is_empty() { &everything } else { selectors };
        let mut found = BTreeSet::new();
        for asked in self.asked(range, AT_ONCE) {
            let (source, range) = asked?;
            for matchers in selectors {
                found.extend(ask(source, matchers, range)?);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The exemplars of the series that match one of the selectors, ascending by series and time. All sources are asked:
    /// of exemplars a source keeps only some.
    pub fn exemplars(&self, selectors: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<SeriesExemplars>, SelectError> {
        let mut found: Vec<SeriesExemplars> = Vec::new();
        for source in self.sources.iter() {
            for matchers in selectors {
                found.extend(source.exemplars(&self.scope, matchers, range)?);
            }
        }
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
        let mut found = Vec::new();
        for source in self.sources.iter() {
            found.extend(source.metadata(&self.scope)?);
        }
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
#[path = "fanout_tests.rs"]
mod tests;
