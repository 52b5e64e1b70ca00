//! The settings of the HTTP API and of the PromQL engine.

use std::sync::Arc;

use arc_swap::ArcSwap;
use pharos_api::ApiConfig;
use pharos_api::query_log::QueryLog;
use pharos_model::Clock;
use pharos_promql::{Engine, EngineOptions};
use pharos_querier::StaleReads;

use crate::cli::{ServerArgs, StalePolicy};
use crate::config::Loaded;
use crate::server::limits;

/// The settings of the HTTP API. Opens the query log, if there is one.
pub(super) fn api_config(args: &ServerArgs, loaded: &Loaded) -> Result<ApiConfig, String> {
    let external = &loaded.config.global.external_labels;
    let query_log = Arc::new(QueryLog::default());
    query_log.set(loaded.config.global.query_log_file.as_deref())?;
    let limits = limits::query_limits(&args.query, &loaded.config.limits);
    Ok(ApiConfig {
        limits: Arc::new(ArcSwap::from_pointee(limits)),
        query_log,
        slow_log_threshold: Some(args.query.slow_log_threshold).filter(|threshold| !threshold.is_zero()),
        max_concurrency: args.query.max_concurrency as usize,
        lookback_delta_ms: args.query.lookback_delta.as_millis() as i64,
        enable_lifecycle: args.web.enable_lifecycle,
        enable_admin_api: args.web.enable_admin_api,
        tenant_details: args.web.tenant_details.into(),
        enable_rule_api: args.web.enable_rule_api,
        external_labels: external.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        remote_read_sample_limit: args.storage.read_sample_limit as usize,
        remote_read_concurrency: args.storage.read_concurrent_limit as usize,
        remote_read_frame_bytes: args.storage.read_max_bytes_in_frame as usize,
        max_search_limit: usize::try_from(args.web.max_search_limit).unwrap_or(usize::MAX),
    })
}

/// What happens to queries while the view of the cluster may be out of date.
pub(super) fn stale_reads(args: &ServerArgs) -> StaleReads {
    match args.query.stale {
        StalePolicy::Warn => StaleReads::Warn,
        StalePolicy::Refuse => StaleReads::Refuse,
    }
}

/// The engine with its limits.
pub(super) fn engine(args: &ServerArgs, loaded: &Loaded, clock: &Arc<dyn Clock>) -> Engine {
    Engine::new(EngineOptions {
        lookback_delta_ms: args.query.lookback_delta.as_millis() as i64,
        max_samples: args.query.max_samples as usize,
        default_subquery_step_ms: loaded.config.global.evaluation_interval.as_millis() as i64,
        timeout: args.query.timeout,
        max_memory_bytes: loaded.config.limits.max_query_memory.0,
        threads: std::thread::available_parallelism().map_or(2, |n| n.get()),
        clock: clock.clone(),
        type_and_unit_labels: args.features().has("type-and-unit-labels"),
        ..EngineOptions::default()
    })
}
