//! `status/active_queries`: lists the queries in flight and cancels one of them.
//!
//! A tenant sees and cancels its own queries. If the admin API is enabled, `all_tenants=true` selects the queries of
//! all tenants.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use pharos_model::TenantId;
use serde_json::{Value, json};

use super::respond;
use crate::error::{ApiError, ErrorKind};
use crate::params::Params;
use crate::query_log::rfc3339;
use crate::{Api, tenant_of};
use pharos_querier::registry::{ActiveQuery, Times};

/// Handles `GET /api/v1/status/active_queries`.
pub(super) async fn list(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    match requested_tenant(&api, &headers, &params) {
        Ok(tenant) => {
            let now = api.clock.monotonic();
            let shown = |query: Arc<ActiveQuery>| show(&query, now.saturating_sub(query.start.began).as_secs_f64());
            respond::success(api.active.list(tenant.as_ref()).into_iter().map(shown).collect::<Vec<_>>())
        }
        Err(error) => error.into_response(),
    }
}

/// Handles `DELETE /api/v1/status/active_queries/<id>`.
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let cancelled = requested_tenant(&api, &headers, &params).and_then(|tenant| {
        let found = id.parse().is_ok_and(|id| api.active.cancel(tenant.as_ref(), id));
        let missing = || ApiError::new(ErrorKind::NotFound, format!("no query under way has the id {id:?}"));
        found.then_some(()).ok_or_else(missing)
    });
    match cancelled {
        Ok(()) => {
            api.metrics.cancelled.inc();
            tracing::info!(id, "query cancelled");
            respond::success(json!({"id": id}))
        }
        Err(error) => error.into_response(),
    }
}

/// Returns the tenant that the request is about, or `None` for all tenants.
fn requested_tenant(api: &Api, headers: &HeaderMap, params: &Params) -> Result<Option<TenantId>, ApiError> {
    match params.get("all_tenants") {
        None | Some("" | "false") => tenant_of(headers).map(Some),
        Some("true") if api.config.enable_admin_api => Ok(None),
        Some("true") => Err(ApiError::new(ErrorKind::Unavailable, "all_tenants needs --web.enable-admin-api")),
        Some(_) => Err(ApiError::parameter("all_tenants", "must be true or false")),
    }
}

fn show(query: &ActiveQuery, elapsed_seconds: f64) -> Value {
    let start = &query.start;
    let (bytes_read, requests) = start.budget.reads();
    let mut shown = json!({
        "id": query.id.to_string(),
        "tenant": start.tenant.as_str(),
        "endpoint": start.endpoint,
        "query": start.text,
        "started": rfc3339(start.started_ms),
        "elapsedSeconds": elapsed_seconds,
        "stage": if query.is_cancelled() { "cancelled" } else { query.stage().as_str() },
        "memoryBytes": start.budget.used_bytes(),
        "peakMemoryBytes": start.budget.peak_bytes(),
        "samplesRead": query.samples_read(),
        "bytesRead": bytes_read,
        "requests": requests,
    });
    match start.times {
        Times::At(t) => shown["time"] = (t as f64 / 1000.0).into(),
        Times::Range { start, end, step } => {
            for (name, ms) in [("start", start), ("end", end), ("step", step)] {
                shown[name] = (ms as f64 / 1000.0).into();
            }
        }
    }
    shown
}
