//! `targets`, `targets/metadata` and `scrape_pools`: lists scrape targets, their metadata and their pools.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use pharos_model::{Labels, TenantId};
use pharos_promql::syntax;
use serde_json::{Value, json};

use super::respond;
use crate::Api;
use crate::error::ApiError;
use crate::params::Params;
use crate::services::{TargetMetadata, Targets};
use crate::viewer::Viewer;

/// The targets that a request may see.
async fn shown(api: &Api, viewer: &Viewer, pool: Option<&str>) -> Targets {
    if viewer.sees_configured() { api.services.targets(pool).await } else { Targets::default() }
}

/// Handles `GET /api/v1/targets`.
pub(super) async fn targets(State(api): State<Arc<Api>>, viewer: Viewer, params: Params) -> Response {
    let state = params.get("state").unwrap_or("any").to_lowercase();
    let pool = params.get("scrapePool");
    let targets = shown(&api, &viewer, pool).await;
    // An unknown state selects no targets, as in Prometheus.
    let (active, dropped) = match state.as_str() {
        "any" => (true, true),
        other => (other == "active", other == "dropped"),
    };
    let answer = json!({
        "activeTargets": if active { targets.active } else { Vec::new() },
        "droppedTargets": if dropped { targets.dropped } else { Vec::new() },
        "droppedTargetCounts": dropped.then_some(targets.dropped_counts),
    });
    respond::success_with_warnings(answer, &targets.warnings)
}

/// Handles `GET /api/v1/scrape_pools`.
pub(super) async fn pools(State(api): State<Arc<Api>>, viewer: Viewer) -> Response {
    let targets = shown(&api, &viewer, None).await;
    respond::success_with_warnings(json!({"scrapePools": targets.pools}), &targets.warnings)
}

/// Handles `GET /api/v1/targets/metadata`.
pub(super) async fn metadata(State(api): State<Arc<Api>>, viewer: Viewer, params: Params) -> Response {
    let known = if viewer.sees_configured() { api.services.target_metadata().await } else { Vec::new() };
    // Under a permit, because the regular expressions of the selector may take long to compile.
    let tenant = TenantId::default();
    let budget = api.budget(&tenant);
    let rows = respond::blocking(&api, &tenant, &budget, move || target_metadata(known, &params));
    match rows.await {
        Ok(rows) => respond::success(rows),
        Err(error) => error.into_response(),
    }
}

fn target_metadata(known: Vec<TargetMetadata>, params: &Params) -> Result<Vec<Value>, ApiError> {
    let most = params.bound("limit")?.unwrap_or(usize::MAX);
    let only = params.get("metric");
    let selector = params.get("match_target").map(syntax::parse_metric_selector).transpose();
    let matchers = selector.map_err(|e| ApiError::parameter("match_target", e))?.unwrap_or_default();
    let chosen = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")));
    let rows: Vec<Value> = known
        .into_iter()
        .filter(|row| chosen(&row.target) && only.is_none_or(|only| only == row.metric))
        .take(most)
        .map(|row| {
            let target: serde_json::Map<String, Value> =
                row.target.iter().map(|(n, v)| (n.to_string(), Value::from(v))).collect();
            let mut entry = json!({"target": target, "type": row.kind.as_str(), "help": row.help, "unit": row.unit});
            if only.is_none() {
                entry["metric"] = Value::from(row.metric);
            }
            entry
        })
        .collect();
    Ok(rows)
}
