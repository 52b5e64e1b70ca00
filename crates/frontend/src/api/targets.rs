//! `targets`, `targets/metadata` and `scrape_pools`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use pharos_model::Labels;
use pharos_promql::parser;
use serde_json::{Value, json};

use super::respond;
use crate::error::ApiError;
use crate::params::Params;
use crate::{Frontend, error::ErrorKind};

/// `GET /api/v1/targets`
pub(super) async fn targets(State(frontend): State<Arc<Frontend>>, params: Params) -> Response {
    let state = params.get("state").unwrap_or("any").to_lowercase();
    let pool = params.get("scrapePool");
    let services = &frontend.services;
    let (active, dropped) = (state != "dropped", state != "active");
    respond::success(json!({
        "activeTargets": if active { services.active_targets(pool) } else { Vec::new() },
        "droppedTargets": if dropped { services.dropped_targets(pool) } else { Vec::new() },
        "droppedTargetCounts": services.dropped_target_counts(),
    }))
}

/// `GET /api/v1/scrape_pools`
pub(super) async fn pools(State(frontend): State<Arc<Frontend>>) -> Response {
    respond::success(json!({"scrapePools": frontend.services.scrape_pools()}))
}

/// `GET /api/v1/targets/metadata`
pub(super) async fn metadata(State(frontend): State<Arc<Frontend>>, params: Params) -> Response {
    match target_metadata(&frontend, &params) {
        Ok(rows) => respond::success(rows),
        Err(error) => error.into_response(),
    }
}

fn target_metadata(frontend: &Frontend, params: &Params) -> Result<Vec<Value>, ApiError> {
    let limit = params.count("limit")?;
    let most = if limit == 0 { usize::MAX } else { limit };
    let only = params.get("metric");
    let selector = params.get("match_target").map(parser::parse_metric_selector).transpose();
    let matchers = selector.map_err(|e| ApiError::parameter("match_target", e))?.unwrap_or_default();
    let chosen = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")));
    let rows: Vec<Value> = frontend
        .services
        .target_metadata()
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
    if rows.is_empty() {
        return Err(ApiError::new(ErrorKind::NotFound, "specified metadata not found"));
    }
    Ok(rows)
}
