//! The rule API of Cortex and Mimir: groups of rules by namespace, as YAML.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use crate::error::ErrorKind;
use crate::services::RuleConfigCall;
use crate::{Api, ApiError, tenant_of};

/// The largest body, bytes. The store of groups has a limit of its own, with an error that names it.
const MAX_BODY_BYTES: usize = 2 << 20;

/// The routes below a path that lists all groups.
pub(super) fn routes(path: &str) -> Router<Arc<Api>> {
    below(path).route(path, get(list))
}

/// The routes below a path, without the path itself.
pub(super) fn below(path: &str) -> Router<Arc<Api>> {
    let of_namespace: MethodRouter<Arc<Api>> = get(list_namespace).post(set).delete(delete_namespace);
    Router::new()
        .route(&format!("{path}/{{namespace}}"), of_namespace.layer(DefaultBodyLimit::max(MAX_BODY_BYTES)))
        .route(&format!("{path}/{{namespace}}/{{group}}"), get(show).delete(delete))
}

async fn list(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, ApiError> {
    read(&api, &headers, RuleConfigCall::List(None)).await
}

async fn list_namespace(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Path(namespace): Path<String>,
) -> Result<Response, ApiError> {
    read(&api, &headers, RuleConfigCall::List(Some(namespace))).await
}

async fn show(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Path((namespace, group)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    read(&api, &headers, RuleConfigCall::Get(namespace, group)).await
}

async fn set(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Path(namespace): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let text = String::from_utf8(body.into()).map_err(|_| ApiError::bad_data("the rule group is not UTF-8"))?;
    change(&api, &headers, RuleConfigCall::Set(namespace, text)).await
}

async fn delete(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Path((namespace, group)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    change(&api, &headers, RuleConfigCall::Delete(namespace, group)).await
}

async fn delete_namespace(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Path(namespace): Path<String>,
) -> Result<Response, ApiError> {
    change(&api, &headers, RuleConfigCall::DeleteNamespace(namespace)).await
}

async fn read(api: &Api, headers: &HeaderMap, call: RuleConfigCall) -> Result<Response, ApiError> {
    Ok(match answer(api, headers, call).await? {
        Ok(yaml) => ([(header::CONTENT_TYPE, "application/yaml")], yaml).into_response(),
        Err(missing) => missing,
    })
}

async fn change(api: &Api, headers: &HeaderMap, call: RuleConfigCall) -> Result<Response, ApiError> {
    let accepted = serde_json::json!({"status": "success", "data": null, "errorType": "", "error": ""});
    Ok(match answer(api, headers, call).await? {
        Ok(_) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (StatusCode::ACCEPTED, json, accepted.to_string()).into_response()
        }
        Err(missing) => missing,
    })
}

/// The answer to a call; a response in plain text, as there, if what it names does not exist.
async fn answer(api: &Api, headers: &HeaderMap, call: RuleConfigCall) -> Result<Result<String, Response>, ApiError> {
    if !api.config.enable_rule_api {
        return Err(ApiError::new(ErrorKind::Unavailable, "the rule API is disabled"));
    }
    let tenant = tenant_of(headers)?;
    match api.services.rule_config(&tenant, call).await {
        Err(error) if error.kind == ErrorKind::NotFound => {
            Ok(Err((error.kind.status(), format!("{}\n", error.message)).into_response()))
        }
        other => other.map(Ok),
    }
}
