//! `metadata`: returns the type, unit and help text of metric families.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{respond, series};
use crate::Api;
use crate::params::Params;

/// Handles `GET /api/v1/metadata`.
pub(super) async fn metadata(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    let found = async {
        let limit = params.bound("limit")?;
        let per_metric = params.bound("limit_per_metric")?.filter(|most| *most > 0);
        let only = params.get("metric").map(str::to_string);
        let read = series::read(&api, "metadata", &headers, params, |querier, _| Ok(querier.metadata()?)).await?;
        let series::Read { found: known, warnings, admitted: _admitted, .. } = read;
        let mut families: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (name, m) in known.into_iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name)) {
            if limit.is_some_and(|most| families.len() >= most) && !families.contains_key(&name) {
                break;
            }
            let entries = families.entry(name).or_default();
            if per_metric.is_none_or(|most| entries.len() < most) {
                entries.push(json!({"type": m.kind.as_str(), "help": m.help, "unit": m.unit}));
            }
        }
        Ok::<_, crate::ApiError>((families, warnings))
    };
    match found.await {
        Ok((families, warnings)) => respond::success_with_warnings(families, &warnings),
        Err(error) => error.into_response(),
    }
}
