//! The router of the node: web interface, API, cluster administration and receivers, with compression, CORS and the route prefix.

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::Redirect;
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

use super::roles::Roles;
use crate::alertmanager::BuiltIn;
use crate::cli::WebArgs;

/// Builds the router.
pub(super) fn router(args: &WebArgs, roles: &Roles) -> Result<Router, String> {
    let origins = args.cors_origin.clone();
    let allowed = move |origin: &HeaderValue, _: &_| origin.to_str().is_ok_and(|origin| origins.is_match(origin));
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods(Any)
        // "*" would not cover Authorization.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::DATE])
        .max_age(Duration::from_secs(600));
    let title = &args.page_title;
    let api = pharos_api::router(roles.api.clone());
    let text = format!("{title}. The API is below /api/v1, see the README; metrics of this process are at /metrics.\n");
    let dashboards = pharos_web::Dashboards::open(args.dashboards.clone())
        .map_err(|e| format!("--web.dashboards: cannot read the folder: {e}"))?;
    let site = pharos_web::Site::new(title, text, dashboards);
    let routes = roles
        .alertmanager
        .as_ref()
        .map(BuiltIn::routes)
        .unwrap_or_default()
        .route("/", site.root())
        .merge(site.routes())
        .merge(api)
        .merge(roles.cluster.clone().router())
        .merge(roles.receiver.clone().map(pharos_receive::router).unwrap_or_default())
        .method_not_allowed_fallback(pharos_api::no_such_method)
        .layer(CompressionLayer::new().gzip(true).zstd(true))
        .layer(cors);
    let prefix = args.route_prefix();
    if prefix.is_empty() {
        return Ok(routes);
    }
    let to_prefix = format!("{prefix}/");
    let with_slash = to_prefix.clone();
    Ok(Router::new()
        .route("/", get(move || async move { Redirect::temporary(&to_prefix) }))
        // Nested routes do not match the prefix with a slash.
        .route(&with_slash, site.root())
        .nest(&prefix, routes)
        .fallback(pharos_api::no_such_route))
}
