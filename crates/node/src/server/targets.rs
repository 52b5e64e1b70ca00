//! The agent's targets in the shape of the HTTP API.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_agent::{Agent, PoolStatus, Target};
use pharos_frontend::services::{ActiveTarget, DroppedTarget, TargetMetadata};
use pharos_model::Labels;

fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn pools_named(agent: &Agent, pool: Option<&str>) -> Vec<Arc<PoolStatus>> {
    agent.pools().iter().filter(|status| pool.is_none_or(|name| name == status.job)).cloned().collect()
}

/// Active targets, of one pool when it is named.
pub(super) fn active(agent: &Agent, pool: Option<&str>) -> Vec<ActiveTarget> {
    let pools = pools_named(agent, pool);
    pools.iter().flat_map(|pool| pool.active().into_iter().map(|target| active_target(&pool.job, &target))).collect()
}

fn active_target(job: &str, target: &Target) -> ActiveTarget {
    let status = target.status();
    ActiveTarget {
        discovered_labels: map(&target.discovered),
        labels: map(&target.labels),
        scrape_pool: job.to_string(),
        scrape_url: target.url.clone(),
        global_url: target.url.clone(),
        last_error: status.last_error,
        last_scrape: status.last_scrape_ms.map_or_else(super::services::never, super::services::rfc3339),
        last_scrape_duration: status.last_duration,
        health: status.health.as_str().to_string(),
        scrape_interval: target.interval.to_string(),
        scrape_timeout: target.timeout.to_string(),
    }
}

/// Dropped targets, of one pool when it is named.
pub(super) fn dropped(agent: &Agent, pool: Option<&str>) -> Vec<DroppedTarget> {
    let of_pool = |pool: &Arc<PoolStatus>| {
        let job = pool.job.clone();
        let shown = move |labels| DroppedTarget { discovered_labels: map(&labels), scrape_pool: job.clone() };
        pool.dropped().into_iter().map(shown).collect::<Vec<_>>()
    };
    pools_named(agent, pool).iter().flat_map(of_pool).collect()
}

/// How many targets each pool dropped.
pub(super) fn dropped_counts(agent: &Agent) -> BTreeMap<String, usize> {
    agent.pools().iter().map(|pool| (pool.job.clone(), pool.dropped_count())).collect()
}

/// The names of the pools.
pub(super) fn pools(agent: &Agent) -> Vec<String> {
    agent.pools().iter().map(|pool| pool.job.clone()).collect()
}

/// What each active target said of its metric families.
pub(super) fn metadata(agent: &Agent) -> Vec<TargetMetadata> {
    let mut rows = Vec::new();
    for target in agent.pools().iter().flat_map(|pool| pool.active()) {
        rows.extend(target.metadata().into_iter().map(|(metric, m)| TargetMetadata {
            target: target.labels.clone(),
            metric,
            kind: m.kind,
            help: m.help,
            unit: m.unit,
        }));
    }
    rows
}
