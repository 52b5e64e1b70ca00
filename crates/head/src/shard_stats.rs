//! Statistics of some shards of a tenant, and their sum over the nodes of a cluster.
//!
//! Series are counted once, on the node that is asked for their shard. A value of a label may be in series of several shards,
//! so the numbers of values cannot be added: nodes send the least hashes of the values, whose union tells how many there are.
//! Up to [`LEAST_HASHES`] values the number is exact, beyond that within a few percent.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pharos_model::hash::name_hash;
use pharos_model::{METRIC_NAME, ShardSet, TenantId};

use crate::head::Head;
use crate::read::{HeadStats, LabelCount, keep_top, top};
use crate::series::Series;

/// How many hashes of the values of a label are kept.
const LEAST_HASHES: usize = 1024;
/// The least number of rows of each list that nodes send. What is beyond them on every node does not show in the sum.
const MIN_ROWS: usize = 1000;
/// The limit on label names that a node sends, those with the most values first.
const MAX_LABELS: usize = 10_000;

/// Statistics of some shards of a tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardStats {
    /// Series in memory.
    pub series: u64,
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
    /// The label pairs with the most series.
    pub series_by_pair: Vec<LabelCount>,
    /// The label names with the most values.
    pub labels: Vec<LabelValues>,
}

/// The values of a label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelValues {
    /// The label's name.
    pub name: String,
    /// How many values it has.
    pub values: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// The least hashes of the values, ascending.
    pub least: Vec<u64>,
}

impl Head {
    /// Statistics of some shards of a tenant, with what is needed for lists of `rows` entries over several nodes.
    pub fn stats_of_shards(&self, tenant: &TenantId, shards: &ShardSet, rows: usize) -> ShardStats {
        let Some(tenant) = self.tenants.get(tenant) else { return ShardStats::default() };
        let all: Vec<Arc<Series>> = {
            let index = tenant.index.read();
            index.iter().filter(|series| shards.contains(series.shard.into())).cloned().collect()
        };
        let mut counted = HeadStats::default();
        let mut labels: HashMap<&str, HashMap<&str, u64>> = HashMap::new();
        for series in &all {
            series.data.lock().for_each_run(|run| counted.add_run(run));
            for (name, value) in series.labels.iter() {
                *labels.entry(name).or_default().entry(value).or_default() += 1;
            }
        }
        let rows = rows.max(MIN_ROWS);
        let HeadStats { chunks, samples, min_t, max_t, .. } = counted;
        let mut stats = ShardStats { series: all.len() as u64, chunks, samples, min_t, max_t, ..ShardStats::default() };
        let mut by_pair = Vec::new();
        for (name, values) in &labels {
            let mut pairs: Vec<(u64, &str)> = values.iter().map(|(value, count)| (*count, *value)).collect();
            keep_top(&mut pairs, rows);
            if *name == METRIC_NAME {
                stats.series_by_metric = top(pairs.iter().map(|(n, value)| (*n, value.to_string())).collect(), rows);
            }
            by_pair.extend(pairs.into_iter().map(|(count, value)| (count, format!("{name}={value}"))));
            stats.labels.push(LabelValues::of(name, values.keys().copied()));
        }
        stats.series_by_pair = top(by_pair, rows);
        stats.labels.sort_unstable_by(|a, b| b.values.cmp(&a.values).then_with(|| a.name.cmp(&b.name)));
        stats.labels.truncate(MAX_LABELS);
        stats
    }
}

impl LabelValues {
    fn of<'v>(name: &str, values: impl Iterator<Item = &'v str>) -> Self {
        let mut found = LabelValues { name: name.to_string(), ..LabelValues::default() };
        for value in values {
            found.values += 1;
            found.bytes += value.len() as u64;
            found.least.push(name_hash(value));
        }
        found.least.sort_unstable();
        found.least.truncate(LEAST_HASHES);
        found
    }

    /// Adds the values that another node has of this label.
    fn unite(&mut self, other: &LabelValues) {
        let bytes_per_value = (self.bytes + other.bytes) as f64 / (self.values + other.values).max(1) as f64;
        // Each side knows all hashes below its last one, unless it has all of them.
        let known_below = [&*self, other].map(|side| match side.values > side.least.len() as u64 {
            true => side.least.last().copied().unwrap_or(0),
            false => u64::MAX,
        });
        let bound = known_below[0].min(known_below[1]);
        self.least.extend(&other.least);
        self.least.sort_unstable();
        self.least.dedup();
        self.least.retain(|hash| *hash <= bound);
        let is_complete = bound == u64::MAX && self.least.len() <= LEAST_HASHES;
        self.least.truncate(LEAST_HASHES);
        self.values = match (is_complete, self.least.last()) {
            (false, Some(last)) => ((self.least.len() - 1) as f64 * (u64::MAX as f64 / (*last).max(1) as f64)) as u64,
            _ => self.least.len() as u64,
        }
        .max(self.least.len() as u64 + u64::from(!is_complete));
        self.bytes = (self.values as f64 * bytes_per_value) as u64;
    }
}

impl HeadStats {
    /// The statistics of a tenant whose shards several nodes have reported. Each list has at most `limit` entries.
    pub fn of_cluster(parts: &[ShardStats], limit: usize) -> HeadStats {
        let mut stats = HeadStats::default();
        let (mut by_metric, mut by_pair) = (BTreeMap::new(), BTreeMap::new());
        let mut labels: BTreeMap<&str, LabelValues> = BTreeMap::new();
        for part in parts {
            stats.series += part.series;
            stats.chunks += part.chunks;
            stats.samples += part.samples;
            stats.min_t = stats.min_t.into_iter().chain(part.min_t).min();
            stats.max_t = stats.max_t.max(part.max_t);
            for (sums, rows) in [(&mut by_metric, &part.series_by_metric), (&mut by_pair, &part.series_by_pair)] {
                rows.iter().for_each(|row| *sums.entry(row.name.clone()).or_insert(0) += row.value);
            }
            for label in &part.labels {
                match labels.get_mut(label.name.as_str()) {
                    Some(known) => known.unite(label),
                    None => _ = labels.insert(&label.name, label.clone()),
                }
            }
        }
        let list = |counts: BTreeMap<String, u64>| top(counts.into_iter().map(|(n, v)| (v, n)).collect(), limit);
        stats.series_by_metric = list(by_metric);
        stats.series_by_pair = list(by_pair);
        stats.label_pairs = labels.values().map(|label| label.values).sum();
        stats.values_by_label = top(labels.values().map(|l| (l.values, l.name.clone())).collect(), limit);
        stats.bytes_by_label = top(labels.values().map(|l| (l.bytes, l.name.clone())).collect(), limit);
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(range: std::ops::Range<u32>) -> LabelValues {
        let texts: Vec<String> = range.map(|n| format!("value-{n:05}")).collect();
        LabelValues::of("l", texts.iter().map(String::as_str))
    }

    #[test]
    fn few_values_are_united_exactly() {
        let mut all = values(0..300);
        all.unite(&values(200..700));
        assert_eq!((all.values, all.bytes), (700, 7700));
    }

    #[test]
    fn many_values_are_united_within_a_few_percent() {
        for (left, right, union) in
            [(0..20_000, 10_000..30_000, 30_000), (0..5000, 0..5000, 5000), (0..900, 500..2000, 2000)]
        {
            let mut all = values(left);
            all.unite(&values(right));
            assert!(all.values.abs_diff(union) < union / 10, "{} of {union}", all.values);
        }
    }

    #[test]
    fn nodes_add_up_to_the_cluster() {
        let row = |name: &str, value| LabelCount { name: name.into(), value };
        let part = |n: u64, min_t| ShardStats {
            series: n,
            chunks: 2 * n,
            min_t,
            max_t: min_t.map(|t| t + 10),
            series_by_metric: vec![row("m", n)],
            series_by_pair: vec![row("a=1", n)],
            labels: vec![values(0..n as u32)],
            ..ShardStats::default()
        };
        let stats = HeadStats::of_cluster(&[part(3, Some(50)), part(5, None), part(1, Some(40))], 10);
        assert_eq!((stats.series, stats.chunks, stats.label_pairs), (9, 18, 5));
        assert_eq!((stats.min_t, stats.max_t), (Some(40), Some(60)));
        assert_eq!(stats.series_by_metric, [row("m", 9)]);
        assert_eq!(stats.values_by_label, [row("l", 5)]);
    }
}
