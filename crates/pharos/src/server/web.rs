//! The router of the node: API, cluster administration and receivers, with compression, CORS and the route prefix.

use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::response::Redirect;
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use super::roles::Roles;
use crate::cli::WebArgs;

/// Builds the router.
pub(super) fn router(args: &WebArgs, roles: &Roles) -> Result<Router, String> {
    let origins = args.cors_origin.clone();
    let allowed = move |origin: &HeaderValue, _: &_| origin.to_str().is_ok_and(|origin| origins.is_match(origin));
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods(Any)
        .allow_headers(Any)
        .max_age(Duration::from_secs(600));
    let title = args.page_title.clone();
    let api = pharos_api::router(roles.api.clone());
    let routes = Router::new()
        .route(
            "/",
            get(move || async move {
                format!("{title}. The API is below /api/v1, see the README; metrics of this process are at /metrics.\n")
            }),
        )
        .merge(api)
        .merge(roles.cluster.clone().router())
        .merge(roles.receiver.clone().map(pharos_receive::router).unwrap_or_default())
        .layer(CompressionLayer::new().gzip(true).zstd(true))
        .layer(cors);
    let prefix = args.route_prefix();
    if prefix.is_empty() {
        return Ok(routes);
    }
    let to_prefix = format!("{prefix}/");
    Ok(Router::new().route("/", get(move || async move { Redirect::temporary(&to_prefix) })).nest(&prefix, routes))
}
