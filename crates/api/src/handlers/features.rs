//! `features`: lists the features that this server supports, under the names that Prometheus uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use pharos_promql::functions::Function;

use super::respond;
use crate::{Api, tenant_of};

type Group = BTreeMap<&'static str, bool>;

const OPERATORS: [&str; 21] = [
    "!=", "!~", "%", "*", "+", "-", "/", "<", "</", "<=", "==", "=~", ">", ">/", ">=", "@", "^", "and", "atan2", "or",
    "unless",
];
const AGGREGATIONS: [&str; 12] =
    ["avg", "bottomk", "count", "count_values", "group", "max", "min", "quantile", "stddev", "stdvar", "sum", "topk"];

/// Handles `GET /api/v1/features`.
pub(super) async fn features(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    match tenant_of(&headers) {
        Ok(tenant) => {
            let features = api.config.limits.load().of(&tenant).features;
            respond::success(BTreeMap::from([
                ("api", api_features(&api)),
                ("promql", promql(features, api.engine.options().type_and_unit_labels)),
                (
                    "promql_functions",
                    Function::ALL.iter().map(|f| (f.name(), features.functions || !f.is_experimental())).collect(),
                ),
                ("promql_operators", operators(features)),
            ]))
        }
        Err(error) => error.into_response(),
    }
}

fn api_features(api: &Api) -> Group {
    Group::from([
        ("active_queries", true),
        ("admin", api.config.enable_admin_api),
        ("explain", true),
        ("label_values_match", true),
        ("lifecycle", api.config.enable_lifecycle),
        ("query_stats", true),
        ("query_warnings", true),
        ("search", true),
        ("search_fuzz_alg_jarowinkler", true),
        ("search_fuzz_alg_subsequence", true),
        ("time_range_labels", true),
        ("time_range_series", true),
    ])
}

fn promql(features: pharos_querier::QueryFeatures, type_and_unit_labels: bool) -> Group {
    let always = [
        "at_modifier",
        "bool",
        "by",
        "delayed_name_removal",
        "group_left",
        "group_right",
        "ignoring",
        "negative_offset",
        "offset",
        "on",
        "per_query_lookback_delta",
        "per_step_stats",
        "subqueries",
        "without",
    ];
    let mut group: Group = always.into_iter().map(|name| (name, true)).collect();
    group.extend([("anchored", features.extended_selectors), ("smoothed", features.extended_selectors)]);
    group.extend(["fill", "fill_left", "fill_right"].map(|name| (name, features.fill_modifiers)));
    group.insert("duration_expr", features.duration_expressions);
    group.insert("type_and_unit_labels", type_and_unit_labels);
    group
}

fn operators(features: pharos_querier::QueryFeatures) -> Group {
    let mut group: Group = OPERATORS.into_iter().chain(AGGREGATIONS).map(|name| (name, true)).collect();
    group.extend(["limitk", "limit_ratio"].map(|name| (name, features.functions)));
    group
}
