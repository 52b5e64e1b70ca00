//! `query_exemplars`: returns the exemplars of the series that a query selects.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use pharos_model::{Matcher, TimeRange};
use pharos_promql::syntax::ast::Expr;
use pharos_transport::SeriesExemplars;

use super::query::parse_expression;
use super::{respond, series};
use crate::error::ApiError;
use crate::params::Params;
use crate::{Api, json};

/// Handles `GET|POST /api/v1/query_exemplars`.
pub(super) async fn query(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    let found = async {
        let time = |name: &str, usual| params.time(name).map(|t| t.unwrap_or(usual));
        let range = TimeRange::new(time("start", TimeRange::ALL.start)?, time("end", TimeRange::ALL.end)?);
        if range.is_empty() {
            return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
        }
        series::read(&api, "query_exemplars", &headers, params, move |querier, params| {
            let expr = parse_expression(params, |e| ApiError::bad_data(e.to_string()))?;
            Ok(querier.exemplars(&selectors(&expr), range)?)
        })
        .await
    };
    match found.await {
        Ok(read) => {
            let tenant = read.tenant.clone();
            respond::stream(&api, &tenant, move |out, parts| write(out, parts, &read)).await
        }
        Err(error) => error.into_response(),
    }
}

fn write(
    out: &mut Vec<u8>,
    parts: &respond::Parts,
    read: &series::Read<Vec<SeriesExemplars>>,
) -> Result<(), respond::Gone> {
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":[");
    json::list(out, &read.found, series_exemplars, |out| parts.flush(out))?;
    out.push(b']');
    respond::annotations(out, &read.warnings, &[]);
    out.push(b'}');
    Ok(())
}

fn series_exemplars(out: &mut Vec<u8>, series: &SeriesExemplars) {
    out.extend_from_slice(b"{\"seriesLabels\":");
    json::labels(out, &series.labels);
    for (i, exemplar) in series.exemplars.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b",\"exemplars\":[{\"labels\":" } else { b",{\"labels\":" });
        json::labels(out, &exemplar.labels);
        out.extend_from_slice(b",\"value\":\"");
        json::float(out, exemplar.value);
        out.extend_from_slice(b"\",\"timestamp\":");
        json::time(out, exemplar.t);
        out.push(b'}');
    }
    out.extend_from_slice(if series.exemplars.is_empty() { b",\"exemplars\":[]}" } else { b"]}" });
}

/// Collects the matchers of every vector selector in an expression, once each.
fn selectors(expr: &Expr) -> Vec<Vec<Matcher>> {
    let (mut found, mut open) = (Vec::new(), vec![expr]);
    let mut add = |matchers: &Vec<Matcher>| {
        if !found.contains(matchers) {
            found.push(matchers.clone());
        }
    };
    while let Some(expr) = open.pop() {
        match expr {
            Expr::Aggregate(e) => open.extend(e.param.iter().chain([&e.expr])),
            Expr::Binary(e) => open.extend([&e.lhs, &e.rhs]),
            Expr::Call(e) => open.extend(&e.args),
            Expr::Matrix(e) => add(&e.selector.matchers),
            Expr::Vector(e) => add(&e.matchers),
            Expr::Subquery(e) => open.push(&e.expr),
            Expr::Paren(e) => open.push(&e.expr),
            Expr::Unary(e) => open.push(&e.expr),
            Expr::Number(_) | Expr::String(_) | Expr::Duration(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use pharos_promql::syntax;

    use super::*;

    #[test]
    fn selectors_are_found_everywhere() {
        let expr = syntax::parse("sum(rate(a[5m])) / on () (b offset 1m) > bool max_over_time(c[1h:1m]) + a").unwrap();
        let mut names: Vec<_> = selectors(&expr).iter().map(|m| m[0].value.clone()).collect();
        names.sort();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
