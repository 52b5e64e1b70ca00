//! `/-/*` and `/metrics`: health, readiness, reload, shutdown and the metrics of the process.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::Api;

/// Handles `GET /-/healthy`.
pub(super) async fn healthy() -> &'static str {
    "Pharos is Healthy.\n"
}

/// Handles `GET /-/ready`.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Response {
    match api.services.ready() {
        Ok(()) => "Pharos is Ready.\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("Service Unavailable: {why}\n")).into_response(),
    }
}

/// Handles `POST|PUT /-/reload`.
pub(super) async fn reload(State(api): State<Arc<Api>>) -> Response {
    if !api.config.enable_lifecycle {
        return disabled();
    }
    match api.services.reload().await {
        Ok(None) => StatusCode::OK.into_response(),
        Ok(Some(notice)) => (StatusCode::OK, notice + "\n").into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {why}\n")).into_response(),
    }
}

/// Handles `POST|PUT /-/quit`.
pub(super) async fn quit(State(api): State<Arc<Api>>) -> Response {
    if !api.config.enable_lifecycle {
        return disabled();
    }
    api.services.quit();
    "Requesting termination... Goodbye!".into_response()
}

fn disabled() -> Response {
    (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response()
}

/// Handles `GET /version`.
pub(super) async fn version(State(api): State<Arc<Api>>) -> Response {
    let version = serde_json::to_string(&api.services.build_info()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], version).into_response()
}

/// Handles `GET /metrics`.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], api.services.metrics_text()).into_response()
}
