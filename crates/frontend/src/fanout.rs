//! One answer from all roles that hold samples of a tenant.
//!
//! Sources are asked in the given order, recent samples first: what is flushed between two calls is then seen twice,
//! which merging undoes, and never missed. In a merge the first source has the highest authority.

use std::collections::BTreeSet;
use std::sync::Arc;

use pharos_model::{
    Budget, Labels, Matcher, MergedSet, Metadata, SelectError, SelectRequest, SeriesSet, TenantId, TimeRange,
};
use pharos_promql::Querier;
use pharos_rpc::{SeriesExemplars, SeriesSource};

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
        TenantQuerier { sources: self.sources.clone(), tenant }
    }
}

/// One tenant's samples.
#[derive(Clone)]
pub struct TenantQuerier {
    sources: Arc<[Arc<dyn SeriesSource>]>,
    tenant: TenantId,
}

impl Querier for TenantQuerier {
    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let mut sets = Vec::with_capacity(self.sources.len());
        for source in self.sources.iter() {
            sets.push(source.select(&self.tenant, request, budget)?);
        }
        sets.reverse();
        let united = MergedSet::unite(sets);
        if request.max_series > 0 && united.labels().len() > request.max_series {
            return Err(SelectError::Series { limit: request.max_series });
        }
        Ok(united)
    }
}

impl TenantQuerier {
    /// The label sets that match one of the selectors, ascending; at most `limit`, 0 for all.
    pub fn series(
        &self,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, SelectError> {
        let mut found = BTreeSet::new();
        for source in self.sources.iter() {
            for matchers in selectors {
                found.extend(source.series(&self.tenant, matchers, range, limit)?);
            }
        }
        Ok(cut(found, limit))
    }

    /// The label names of the series that match one of the selectors, or of all series without selectors.
    pub fn label_names(&self, selectors: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        self.collect(selectors, |source, matchers| source.label_names(&self.tenant, matchers, range))
    }

    /// The values of a label over the series that match one of the selectors, or over all series without selectors.
    pub fn label_values(
        &self,
        name: &str,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<String>, SelectError> {
        self.collect(selectors, |source, matchers| source.label_values(&self.tenant, name, matchers, range))
    }

    fn collect(
        &self,
        selectors: &[Vec<Matcher>],
        ask: impl Fn(&dyn SeriesSource, &[Matcher]) -> Result<Vec<String>, SelectError>,
    ) -> Result<Vec<String>, SelectError> {
        let everything = [Vec::new()];
        let selectors = if selectors.is_empty() { &everything } else { selectors };
        let mut found = BTreeSet::new();
        for source in self.sources.iter() {
            for matchers in selectors {
                found.extend(ask(source.as_ref(), matchers)?);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The exemplars of the series that match one of the selectors, ascending by series and time.
    pub fn exemplars(&self, selectors: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<SeriesExemplars>, SelectError> {
        let mut found: Vec<SeriesExemplars> = Vec::new();
        for source in self.sources.iter() {
            for matchers in selectors {
                found.extend(source.exemplars(&self.tenant, matchers, range)?);
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
            found.extend(source.metadata(&self.tenant)?);
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
