//! `targets`, `targets/metadata`, `targets/relabel_steps`, `scrape_pools` and `scrape_pools/config`: scrape targets, their
//! metadata, how they came about, and their pools.

use std::collections::BTreeMap;
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

/// The size of the labels of a target, as JSON.
const MAX_LABELS_BYTES: usize = 32 << 10;

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

/// Handles `GET /api/v1/scrape_pools/config`.
pub(super) async fn pool_config(State(api): State<Arc<Api>>, viewer: Viewer, params: Params) -> Response {
    let yaml = || {
        viewer.check_configured()?;
        api.services.scrape_pool_yaml(pool_of(&params)?).map_err(no_config)
    };
    match yaml() {
        Ok(yaml) => respond::success(json!({"yaml": yaml})),
        Err(error) => error.into_response(),
    }
}

/// Handles `GET /api/v1/targets/relabel_steps`.
pub(super) async fn relabel_steps(State(api): State<Arc<Api>>, viewer: Viewer, params: Params) -> Response {
    let steps = || {
        viewer.check_configured()?;
        let pool = pool_of(&params)?;
        let text = params.get("labels").ok_or_else(|| ApiError::bad_data("no labels parameter provided"))?;
        if text.len() > MAX_LABELS_BYTES {
            return Err(ApiError::bad_data(format!("the labels are larger than {MAX_LABELS_BYTES} bytes")));
        }
        let labels: BTreeMap<String, String> =
            serde_json::from_str(text).map_err(|e| ApiError::bad_data(format!("error parsing labels: {e}")))?;
        api.services.relabel_steps(pool, &labels).map_err(no_config)
    };
    match steps() {
        Ok(steps) => respond::success(json!({"steps": steps})),
        Err(error) => error.into_response(),
    }
}

fn pool_of(params: &Params) -> Result<&str, ApiError> {
    params.get("scrapePool").ok_or_else(|| ApiError::bad_data("no scrapePool parameter provided"))
}

fn no_config(reason: String) -> ApiError {
    ApiError::bad_data(format!("error retrieving scrape config: {reason}"))
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
