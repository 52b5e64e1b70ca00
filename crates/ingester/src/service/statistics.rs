//! Statistics of the samples in memory, for other nodes.

use pharos_head::{LabelCount, ShardStats};
use pharos_model::shards::MAX_SHARDS;
use pharos_model::{ShardSet, TenantId};
use pharos_transport::ingest_v1::{LabelValues, NamedCount, StatisticsRequest, StatisticsResponse};
use tonic::Status;

use crate::Ingester;

/// Counts the shards of a request. Blocks.
pub(super) fn answer(ingester: &Ingester, request: &StatisticsRequest) -> Result<StatisticsResponse, Status> {
    let tenant = TenantId::new(&request.tenant)
        .map_err(|error| Status::invalid_argument(format!("tenant {:?}: {error}", request.tenant)))?;
    let total = ingester.config.shards_total.min(MAX_SHARDS);
    if let Some(shard) = request.shards.iter().find(|shard| **shard >= total) {
        return Err(Status::invalid_argument(format!("shard {shard} does not exist; the cluster has {total}")));
    }
    let shards: ShardSet = request.shards.iter().copied().collect();
    let rows = usize::try_from(request.rows).unwrap_or(usize::MAX).min(MAX_ROWS);
    Ok(encode(ingester.head().stats_of_shards(&tenant, &shards, rows)))
}

/// The limit on rows of each list.
const MAX_ROWS: usize = 10_000;

fn encode(stats: ShardStats) -> StatisticsResponse {
    let counts = |counts: Vec<LabelCount>| {
        counts.into_iter().map(|LabelCount { name, value }| NamedCount { name, value }).collect()
    };
    let label = |label: pharos_head::LabelValues| LabelValues {
        name: label.name,
        values: label.values,
        bytes: label.bytes,
        least: label.least,
    };
    StatisticsResponse {
        series: stats.series,
        chunks: stats.chunks,
        samples: stats.samples,
        min_t: stats.min_t,
        max_t: stats.max_t,
        series_by_metric: counts(stats.series_by_metric),
        series_by_pair: counts(stats.series_by_pair),
        labels: stats.labels.into_iter().map(label).collect(),
    }
}
