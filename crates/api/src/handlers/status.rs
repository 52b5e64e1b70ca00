//! `status/*`: describes the node.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::respond;
use crate::error::{ApiError, ErrorKind};
use crate::params::Params;
use crate::viewer::Viewer;
use crate::{Api, tenant_of};

/// Default number of rows in each list of `status/tsdb`.
const DEFAULT_TSDB_ROWS: usize = 10;
/// Maximum number of rows that a request may ask for.
const MAX_TSDB_ROWS: usize = 10_000;

/// Handles `GET /api/v1/status/config`.
pub(super) async fn config(State(api): State<Arc<Api>>, viewer: Viewer) -> Response {
    match viewer.check_configured() {
        Ok(()) => respond::success(json!({"yaml": api.services.config_yaml(viewer.sees_all)})),
        Err(error) => error.into_response(),
    }
}

/// Handles `GET /api/v1/status/flags`.
pub(super) async fn flags(State(api): State<Arc<Api>>, viewer: Viewer) -> Response {
    match viewer.check_configured() {
        Ok(()) => respond::success(api.services.flags()),
        Err(error) => error.into_response(),
    }
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
    let asked = || -> Result<_, ApiError> {
        let asked = params.count("limit")?;
        if asked > MAX_TSDB_ROWS {
            return Err(ApiError::parameter("limit", format!("limit must not exceed {MAX_TSDB_ROWS}")));
        }
        Ok((tenant_of(&headers)?, if asked == 0 { DEFAULT_TSDB_ROWS } else { asked }))
    };
    let (tenant, limit) = match asked() {
        Ok(asked) => asked,
        Err(error) => return error.into_response(),
    };
    match api.services.tsdb(&tenant, limit).await {
        Ok(status) => respond::success(status),
        Err(error) => ApiError::new(ErrorKind::Unavailable, error).into_response(),
    }
}

/// Handles `GET /api/v1/status/tsdb/blocks`.
pub(super) async fn blocks(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    match tenant_of(&headers) {
        Ok(tenant) => respond::success(json!({"blocks": api.services.blocks(&tenant)})),
        Err(error) => error.into_response(),
    }
}
