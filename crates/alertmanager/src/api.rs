//! The HTTP interface: API v2, health, reload and metrics.
//!
//! A handler decodes, asks the engine and encodes. JSON, filters and error texts are Alertmanager's; times have milliseconds
//! there, and here.

pub(crate) mod alerts;
mod error;
mod json;
mod limits;
mod params;
mod silences;
mod status;
mod time;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use pharos_gocompat::GoRegex;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::engine::Engine;
use json::Json;

pub(crate) use error::ApiError;

/// Largest body of a request, bytes.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Loads the configuration and puts it in force. Blocks while it reads files.
pub type Reload = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;
/// All metrics of the process in text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Settings of the interface.
#[derive(Clone)]
pub struct ApiSettings {
    /// Origins that may call the API from a browser; none may without it.
    pub cors_origin: Option<GoRegex>,
    /// GET requests that are answered at once.
    pub get_concurrency: usize,
    /// Timeout of a request; `None` disables it.
    pub timeout: Option<Duration>,
    /// Prefix of all paths, without a slash at its end.
    pub route_prefix: String,
    /// When the process started.
    pub started: Timestamp,
    /// The version that the status shows.
    pub version: String,
    /// The revision that the status shows.
    pub revision: String,
}

/// What handlers share.
pub(crate) struct Api {
    engine: Arc<Engine>,
    settings: ApiSettings,
    reload: Reload,
    metrics: MetricsText,
}

/// The interface below the prefix of its settings.
pub fn router(engine: Arc<Engine>, settings: ApiSettings, reload: Reload, metrics: MetricsText) -> Router {
    let prefix = settings.route_prefix.clone();
    let routes = routes(engine, settings, reload, metrics);
    if prefix.is_empty() {
        return routes;
    }
    let to_prefix = format!("{prefix}/");
    let with_slash = to_prefix.clone();
    Router::new()
        .route("/", get(async move || Redirect::to(&to_prefix)))
        // Nested routes do not match the prefix with a slash.
        .route(&with_slash, get(root))
        .nest(&prefix, routes)
}

/// The interface without a prefix.
pub fn routes(engine: Arc<Engine>, settings: ApiSettings, reload: Reload, metrics: MetricsText) -> Router {
    let limits = limits::Limits::new(engine.clone(), settings.get_concurrency, settings.timeout);
    let cors = settings.cors_origin.clone().map(cors);
    let api = Arc::new(Api { engine, settings, reload, metrics });
    let mut v2 = Router::new()
        .route("/status", get(status::status))
        .route("/receivers", get(status::receivers))
        .route("/alerts", get(alerts::list).post(alerts::post))
        .route("/alerts/groups", get(alerts::groups))
        .route("/silences", get(silences::list).post(silences::post))
        .route("/silence/{id}", get(silences::get).delete(silences::delete))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(without_storing));
    if let Some(cors) = cors {
        v2 = v2.layer(cors);
    }
    let v1 = ["/status", "/receivers", "/alerts", "/silences", "/silence/{id}"];
    let v1 = v1.into_iter().fold(Router::new(), |v1, path| v1.route(path, get(gone).post(gone).delete(gone)));
    Router::new()
        .nest("/api/v2", v2)
        .nest("/api/v1", v1)
        .route("/", get(root))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(healthy))
        .route("/-/reload", post(reload_now))
        .route("/metrics", get(metrics_text))
        .layer(from_fn_with_state(limits, limits::enforce))
        .with_state(api)
}

fn cors(origins: GoRegex) -> CorsLayer {
    let is_allowed = move |origin: &HeaderValue, _: &_| origin.to_str().is_ok_and(|origin| origins.is_match(origin));
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_allowed))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .max_age(Duration::from_secs(600))
}

async fn without_storing(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn root() -> &'static str {
    "Pharos Alertmanager. The API is below api/v2; metrics of this process are at metrics.\n"
}

async fn healthy() -> &'static str {
    "OK"
}

/// API v1, which Alertmanager removed, too.
async fn gone() -> Response {
    let reason = "The Alertmanager v1 API was deprecated in version 0.16.0 and is removed as of version 0.27.0 - please use \
                  the equivalent route in the v2 API";
    (StatusCode::GONE, Json(serde_json::json!({"status": "deprecated", "error": reason}))).into_response()
}

async fn reload_now(State(api): State<Arc<Api>>) -> Response {
    let reload = api.reload.clone();
    let outcome = tokio::task::spawn_blocking(move || reload()).await;
    match outcome.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(reason) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {reason}\n")).into_response()
        }
    }
}

async fn metrics_text(State(api): State<Arc<Api>>) -> Response {
    let content_type: (HeaderName, &str) = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    ([content_type], (api.metrics)()).into_response()
}

#[cfg(test)]
mod tests;
