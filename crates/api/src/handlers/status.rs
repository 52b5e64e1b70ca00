//! `status/*`: describes the node.
//!
//! The lists of rules, alerts and Alertmanagers are empty until a ruler exists.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::respond;
use crate::error::ApiError;
use crate::params::Params;
use crate::{Api, tenant_of};

/// Default number of rows in each list of `status/tsdb`.
const DEFAULT_TSDB_ROWS: usize = 10;
/// Maximum number of rows that a request may ask for.
const MAX_TSDB_ROWS: usize = 10_000;

/// Handles `GET /api/v1/status/config`.
pub(super) async fn config(State(api): State<Arc<Api>>) -> Response {
    respond::success(json!({"yaml": api.services.config_yaml()}))
}

/// Handles `GET /api/v1/status/flags`.
pub(super) async fn flags(State(api): State<Arc<Api>>) -> Response {
    respond::success(api.services.flags())
}

/// Handles `GET /api/v1/status/runtimeinfo`.
pub(super) async fn runtime_info(State(api): State<Arc<Api>>) -> Response {
    respond::success(api.services.runtime_info())
}

/// Handles `GET /api/v1/status/buildinfo`.
pub(super) async fn build_info(State(api): State<Arc<Api>>) -> Response {
    respond::success(api.services.build_info())
}

/// Handles `GET /api/v1/status/walreplay`.
pub(super) async fn wal_replay(State(api): State<Arc<Api>>) -> Response {
    respond::success(api.services.wal_replay())
}

/// Handles `GET /api/v1/status/tsdb`.
pub(super) async fn tsdb(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    let status = || -> Result<_, ApiError> {
        let asked = params.count("limit")?;
        if asked > MAX_TSDB_ROWS {
            return Err(ApiError::parameter("limit", format!("limit must not exceed {MAX_TSDB_ROWS}")));
        }
        let limit = if asked == 0 { DEFAULT_TSDB_ROWS } else { asked };
        Ok(api.services.tsdb(&tenant_of(&headers)?, limit))
    };
    match status() {
        Ok(status) => respond::success(status),
        Err(error) => error.into_response(),
    }
}

/// Handles `GET /api/v1/rules`. Refuses the parameters that Prometheus refuses.
pub(super) async fn rules(params: Params) -> Response {
    match check_rules_parameters(&params) {
        Ok(()) => respond::success(json!({"groups": []})),
        Err(error) => error.into_response(),
    }
}

fn check_rules_parameters(params: &Params) -> Result<(), ApiError> {
    params.selectors().map_err(ApiError::bad_data)?;
    let kind = params.get("type").unwrap_or("").to_lowercase();
    if !["", "alert", "record"].contains(&kind.as_str()) {
        return Err(ApiError::parameter("type", format!("not supported value {kind:?}")));
    }
    let excluded = params.get("exclude_alerts").unwrap_or("false").to_lowercase();
    if !["1", "t", "true", "0", "f", "false"].contains(&excluded.as_str()) {
        let reason =
            format!("error converting exclude_alerts: strconv.ParseBool: parsing {excluded:?}: invalid syntax");
        return Err(ApiError::parameter("exclude_alerts", reason));
    }
    let limit = params.get("group_limit");
    if limit.is_none() && params.get("group_next_token").is_some() {
        let reason = "group_limit needs to be present in order to paginate over the groups";
        return Err(ApiError::parameter("group_next_token", reason));
    }
    match limit.map(str::parse::<i32>) {
        Some(Err(_)) => Err(ApiError::parameter("group_limit", "group_limit needs to be a valid number")),
        Some(Ok(..=0)) => Err(ApiError::parameter("group_limit", "group_limit needs to be greater than 0")),
        _ => Ok(()),
    }
}

/// Handles `GET /api/v1/alerts`.
pub(super) async fn alerts() -> Response {
    respond::success(json!({"alerts": []}))
}

/// Handles `GET /api/v1/alertmanagers`.
pub(super) async fn alertmanagers() -> Response {
    respond::success(json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}
