//! Queries: selectors, series, label names and values, exemplars, metadata and statistics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pharos_model::series_set::EmptySet;
use pharos_model::{Labels, Matcher, Metadata, SelectError, SelectRequest, SeriesSet, ShardSet, TenantId, TimeRange};

use crate::exemplars::SeriesExemplars;
use crate::head::Head;
use crate::select::{HeadSet, series_with_samples};
use crate::series::{SampleRun, Series};
use crate::tenant::Tenant;

/// A name with a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelCount {
    /// A label name, a metric name or a `name=value` pair.
    pub name: String,
    /// A number of series or values, or a size in bytes.
    pub value: u64,
}

/// Statistics of a tenant, as `/api/v1/status/tsdb` reports them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadStats {
    /// Series in memory.
    pub series: u64,
    /// Distinct label pairs.
    pub label_pairs: u64,
    /// Chunks in memory.
    pub chunks: u64,
    /// Samples in memory.
    pub samples: u64,
    /// The oldest timestamp in memory; `None` without samples.
    pub min_t: Option<i64>,
    /// The newest timestamp in memory; `None` without samples.
    pub max_t: Option<i64>,
    /// The metric names with the most series.
    pub series_by_metric: Vec<LabelCount>,
    /// The label names with the most values.
    pub values_by_label: Vec<LabelCount>,
    /// The label names whose values take the most bytes.
    pub bytes_by_label: Vec<LabelCount>,
    /// The label pairs with the most series.
    pub series_by_pair: Vec<LabelCount>,
}

impl Head {
    /// The series of some shards, or of all, that satisfy the matchers of a request and have samples in its range.
    pub fn select(
        &self,
        tenant: &TenantId,
        request: &SelectRequest,
        shards: Option<&ShardSet>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError> {
        Ok(match self.tenants.get(tenant) {
            Some(tenant) => Arc::new(HeadSet::select(&tenant, request, shards)?),
            None => Arc::new(EmptySet),
        })
    }

    /// The label sets of the series that [`Head::select`] would return, ascending.
    pub fn series(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
        shards: Option<&ShardSet>,
    ) -> Vec<Labels> {
        let matching = self.matching(tenant, matchers, range, shards);
        matching.iter().map(|s| s.labels.clone()).collect()
    }

    /// The label names of the series that [`Head::select`] would return, ascending.
    pub fn label_names(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
        shards: Option<&ShardSet>,
    ) -> Vec<String> {
        let mut names = BTreeSet::new();
        for series in self.matching(tenant, matchers, range, shards) {
            for (name, _) in series.labels.iter() {
                if !names.contains(name) {
                    names.insert(name.to_string());
                }
            }
        }
        names.into_iter().collect()
    }

    /// The values of a label in the series that [`Head::select`] would return, ascending.
    pub fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        shards: Option<&ShardSet>,
    ) -> Vec<String> {
        let mut values = BTreeSet::new();
        for series in self.matching(tenant, matchers, range, shards) {
            if let Some(value) = series.labels.get(name)
                && !values.contains(value)
            {
                values.insert(value.to_string());
            }
        }
        values.into_iter().collect()
    }

    fn matching(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
        shards: Option<&ShardSet>,
    ) -> Vec<Arc<Series>> {
        match self.tenants.get(tenant) {
            Some(tenant) => series_with_samples(&tenant, matchers, range, shards),
            None => Vec::new(),
        }
    }

    /// The exemplars in a range of the series that satisfy any of the selectors, by ascending labels.
    pub fn exemplars(
        &self,
        tenant: &TenantId,
        selectors: &[Vec<Matcher>],
        range: TimeRange,
        shards: Option<&ShardSet>,
    ) -> Vec<SeriesExemplars> {
        let Some(tenant) = self.tenants.get(tenant) else { return Vec::new() };
        let matches = |series: &Series, matchers: &[Matcher]| {
            matchers.iter().all(|m| m.matches(series.labels.get(&m.name).unwrap_or("")))
        };
        let ring = tenant.exemplars.lock();
        let is_asked = |series: &Series| shards.is_none_or(|shards| shards.contains(series.shard.into()));
        ring.select(range, |series, _| is_asked(series) && selectors.iter().any(|matchers| matches(series, matchers)))
    }

    /// The metadata of metric families, keyed by family.
    pub fn metadata(&self, tenant: &TenantId) -> BTreeMap<String, Metadata> {
        let Some(tenant) = self.tenants.get(tenant) else { return BTreeMap::new() };
        let state = tenant.append.lock();
        state.metadata.iter().map(|(family, m)| (family.clone(), m.clone())).collect()
    }

    /// Statistics of a tenant. Each list has at most `limit` entries.
    pub fn stats(&self, tenant: &TenantId, limit: usize) -> HeadStats {
        match self.tenants.get(tenant) {
            Some(tenant) => stats_of(&tenant, limit),
            None => HeadStats::default(),
        }
    }
}

fn stats_of(tenant: &Tenant, limit: usize) -> HeadStats {
    let mut stats = HeadStats::default();
    let all: Vec<Arc<Series>> = tenant.index.read().iter().cloned().collect();
    for series in &all {
        series.data.lock().for_each_run(|run| stats.add_run(run));
    }
    stats.series = all.len() as u64;
    let index = tenant.index.read();
    let mut by_metric = Vec::new();
    let mut by_pair = Vec::new();
    let mut values = Vec::new();
    let mut bytes = Vec::new();
    for (name, entry) in index.names() {
        stats.label_pairs += entry.by_value.len() as u64;
        values.push((entry.by_value.len() as u64, name.to_string()));
        bytes.push((entry.by_value.keys().map(|v| v.len() as u64).sum(), name.to_string()));
        let mut pairs: Vec<(u64, &str)> =
            entry.by_value.iter().map(|(value, postings)| (postings.as_slice().len() as u64, &**value)).collect();
        keep_top(&mut pairs, limit);
        if &**name == pharos_model::METRIC_NAME {
            by_metric.extend(pairs.iter().map(|(count, value)| (*count, value.to_string())));
        }
        by_pair.extend(pairs.into_iter().map(|(count, value)| (count, format!("{name}={value}"))));
    }
    drop(index);
    stats.series_by_metric = top(by_metric, limit);
    stats.series_by_pair = top(by_pair, limit);
    stats.values_by_label = top(values, limit);
    stats.bytes_by_label = top(bytes, limit);
    stats
}

impl HeadStats {
    pub(crate) fn add_run(&mut self, run: SampleRun<'_>) {
        let mut widen = |from: i64, to: i64| {
            self.min_t = Some(self.min_t.map_or(from, |t| t.min(from)));
            self.max_t = Some(self.max_t.map_or(to, |t| t.max(to)));
        };
        match run {
            SampleRun::Chunk(chunk) => {
                self.chunks += 1;
                self.samples += u64::from(chunk.count);
                widen(chunk.min_t, chunk.max_t);
            }
            SampleRun::Late(late) => {
                self.samples += late.len() as u64;
                late.timestamps().for_each(|t| widen(t, t));
            }
        }
    }
}

/// Sorts by descending count, then by ascending name, and keeps the first `limit`.
pub(crate) fn keep_top<N: Ord>(counts: &mut Vec<(u64, N)>, limit: usize) {
    counts.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    counts.truncate(limit);
}

pub(crate) fn top(mut counts: Vec<(u64, String)>, limit: usize) -> Vec<LabelCount> {
    keep_top(&mut counts, limit);
    counts.into_iter().map(|(value, name)| LabelCount { name, value }).collect()
}
