//! `admin/tsdb/*`: deletes series, cleans tombstones and takes snapshots.
//!
//! `--web.enable-admin-api` enables these routes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use pharos_model::TenantId;
use serde_json::json;

use super::respond;
use crate::error::{ApiError, ErrorKind};
use crate::params::Params;
use crate::{Api, tenant_of};

fn enabled(api: &Api) -> Result<(), ApiError> {
    if api.config.enable_admin_api {
        return Ok(());
    }
    Err(ApiError::new(ErrorKind::Unavailable, "admin APIs disabled"))
}

async fn run<T: Send + 'static>(
    api: &Arc<Api>,
    work: impl FnOnce(&Api) -> Result<T, String> + Send + 'static,
) -> Result<T, ApiError> {
    let (tenant, shared) = (TenantId::default(), api.clone());
    let budget = api.budget(&tenant);
    respond::blocking(api, &tenant, &budget, move || work(&shared).map_err(ApiError::internal)).await
}

/// Handles `POST|PUT /api/v1/admin/tsdb/delete_series`.
pub(super) async fn delete_series(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    let done = async {
        enabled(&api)?;
        let tenant = tenant_of(&headers)?;
        let selectors = params.matchers()?;
        let range = params.nonempty_range()?;
        if selectors.is_empty() {
            return Err(ApiError::bad_data("no match[] parameter provided"));
        }
        run(&api, move |api| {
            selectors.iter().try_for_each(|matchers| api.services.delete_series(&tenant, matchers, range))
        })
        .await
    };
    no_content(done.await)
}

/// Handles `POST|PUT /api/v1/admin/tsdb/clean_tombstones`.
pub(super) async fn clean_tombstones(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let done = async {
        enabled(&api)?;
        let tenant = tenant_of(&headers)?;
        run(&api, move |api| api.services.clean_tombstones(&tenant)).await
    };
    no_content(done.await)
}

/// Handles `POST|PUT /api/v1/admin/tsdb/snapshot`.
pub(super) async fn snapshot(State(api): State<Arc<Api>>, params: Params) -> Response {
    let done = async {
        enabled(&api)?;
        let skip_head = match params.get("skip_head") {
            None => false,
            Some(text) => text
                .parse()
                .map_err(|_| ApiError::parameter("skip_head", format!("unable to parse boolean {text:?}")))?,
        };
        run(&api, move |api| api.services.snapshot(skip_head)).await
    };
    match done.await {
        Ok(name) => respond::success(json!({"name": name})),
        Err(error) => error.into_response(),
    }
}

fn no_content(done: Result<(), ApiError>) -> Response {
    match done {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => error.into_response(),
    }
}
