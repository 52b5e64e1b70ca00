//! The routes of the API. A handler only decodes the request, calls the domain and encodes the response.

mod active;
mod admin;
mod ast_json;
mod exemplars;
mod explain;
mod features;
mod federate;
mod lifecycle;
mod metadata;
mod notifications;
mod openapi;
mod query;
mod read;
mod respond;
mod rule_config;
mod rules;
mod search;
mod self_metrics;
mod series;
mod status;
mod targets;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, delete, get, post, put};

use crate::Api;
pub use respond::{no_such_method, no_such_route};

/// Builds all routes of the API, without a path prefix.
pub fn router(api: Arc<Api>) -> Router {
    let v1 = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/query_exemplars", get(exemplars::query).post(exemplars::query))
        .route("/format_query", get(query::format).post(query::format))
        .route("/parse_query", get(query::parse).post(query::parse))
        .route("/series", get(series::series).post(series::series).delete(series::dropped))
        .route("/labels", get(series::names).post(series::names))
        .route("/label/{name}/values", get(series::values))
        .route("/search/metric_names", get(search::metric_names).post(search::metric_names))
        .route("/search/label_names", get(search::label_names).post(search::label_names))
        .route("/search/label_values", get(search::label_values).post(search::label_values))
        .route("/metadata", get(metadata::metadata))
        .route("/targets", get(targets::targets))
        .route("/targets/metadata", get(targets::metadata))
        .route("/targets/relabel_steps", get(targets::relabel_steps))
        .route("/scrape_pools", get(targets::pools))
        .route("/scrape_pools/config", get(targets::pool_config))
        .route("/alertmanagers", get(rules::alertmanagers))
        .route("/rules", get(rules::rules))
        .route("/alerts", get(rules::alerts))
        .merge(rule_config::below("/rules"))
        .route("/status/config", get(status::config))
        .route("/status/flags", get(status::flags))
        .route("/status/runtimeinfo", get(status::runtime_info))
        .route("/status/buildinfo", get(status::build_info))
        .route("/status/tsdb", get(status::tsdb))
        .route("/status/tsdb/blocks", get(status::blocks))
        .route("/status/walreplay", get(status::wal_replay))
        .route("/status/self_metrics", get(self_metrics::self_metrics))
        .route("/status/active_queries", get(active::list))
        .route("/status/active_queries/{id}", delete(active::cancel))
        .route("/notifications", get(notifications::current))
        .route("/notifications/live", get(notifications::live))
        .route("/features", get(features::features))
        .route("/openapi.yaml", get(openapi::openapi))
        .route("/read", post(read::read))
        .route("/admin/tsdb/delete_series", post(admin::delete_series).put(admin::delete_series))
        .route("/admin/tsdb/clean_tombstones", post(admin::clean_tombstones).put(admin::clean_tombstones))
        .route("/admin/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot))
        .fallback(any(no_such_route))
        .method_not_allowed_fallback(no_such_method);
    Router::new()
        .nest("/api/v1", v1)
        .merge(rule_config::routes("/config/v1/rules"))
        .merge(rule_config::routes("/prometheus/config/v1/rules"))
        .route("/federate", get(federate::federate))
        .route("/metrics", get(lifecycle::metrics))
        .route("/version", get(lifecycle::version))
        .route("/-/healthy", get(lifecycle::healthy).head(lifecycle::healthy))
        .route("/-/ready", get(lifecycle::ready).head(lifecycle::ready))
        .route("/-/reload", post(lifecycle::reload).merge(put(lifecycle::reload)))
        .route("/-/quit", post(lifecycle::quit).merge(put(lifecycle::quit)))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(api)
}
