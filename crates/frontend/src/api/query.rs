//! `query`, `query_range`, `format_query` and `parse_query`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use pharos_model::{Budget, TenantId};
use pharos_promql::Value;
use pharos_promql::engine::{QueryOptions, QueryOutput};
use pharos_promql::parser::{self, ast::Expr};

use super::{ast_json, respond};
use crate::error::ApiError;
use crate::params::Params;
use crate::{Frontend, json, tenant_of};

/// Most points of a series that a range query may ask for.
const MAX_POINTS: i64 = 11_000;

/// Times of a query, milliseconds.
#[derive(Clone, Copy)]
enum Times {
    At(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// `GET|POST /api/v1/query`
pub(super) async fn instant(State(frontend): State<Arc<Frontend>>, headers: HeaderMap, params: Params) -> Response {
    let times = params.time("time").map(|t| Times::At(t.unwrap_or_else(|| frontend.clock.now_ms())));
    answer(&frontend, "query", &headers, &params, times).await
}

/// `GET|POST /api/v1/query_range`
pub(super) async fn range(State(frontend): State<Arc<Frontend>>, headers: HeaderMap, params: Params) -> Response {
    let times = range_times(&params);
    answer(&frontend, "query_range", &headers, &params, times).await
}

/// `GET|POST /api/v1/format_query`
pub(super) async fn format(params: Params) -> Response {
    match parse_expression(&params) {
        Ok(expr) => respond::success(parser::pretty(&expr)),
        Err(error) => error.into_response(),
    }
}

/// `GET|POST /api/v1/parse_query`
pub(super) async fn parse(params: Params) -> Response {
    match parse_expression(&params) {
        Ok(expr) => respond::success(ast_json::tree(&expr)),
        Err(error) => error.into_response(),
    }
}

fn parse_expression(params: &Params) -> Result<Expr, ApiError> {
    parser::parse(params.get("query").unwrap_or("")).map_err(|e| ApiError::parameter("query", e))
}

fn range_times(params: &Params) -> Result<Times, ApiError> {
    let start = params.required_time("start")?;
    let end = params.required_time("end")?;
    if end < start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let missing = || ApiError::parameter("step", "cannot parse \"\" to a valid duration");
    let step = params.duration("step")?.ok_or_else(missing)?;
    if step <= 0 {
        let reason = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", reason));
    }
    if (end - start) / step > MAX_POINTS {
        let reason = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
        return Err(ApiError::bad_data(reason));
    }
    Ok(Times::Range { start, end, step })
}

async fn answer(
    frontend: &Arc<Frontend>,
    endpoint: &str,
    headers: &HeaderMap,
    params: &Params,
    times: Result<Times, ApiError>,
) -> Response {
    let began = frontend.clock.monotonic();
    let outcome = async { run(frontend, tenant_of(headers)?, params, times?).await }.await;
    let label = if outcome.is_ok() { "success" } else { "error" };
    frontend.metrics.queries.with_label_values(&[endpoint, label]).inc();
    frontend.metrics.seconds.observe((frontend.clock.monotonic() - began).as_secs_f64());
    match outcome {
        Ok((output, stats)) => respond::stream(move |out, parts| write(out, parts, &output, stats)).await,
        Err(error) => error.into_response(),
    }
}

async fn run(
    frontend: &Arc<Frontend>,
    tenant: TenantId,
    params: &Params,
    times: Times,
) -> Result<(QueryOutput, bool), ApiError> {
    let limit = params.limit()?;
    let asked = params.duration("timeout")?.map(|ms| Duration::from_millis(ms.max(0) as u64));
    let timeout = asked.unwrap_or(Duration::MAX).min(frontend.config.timeout);
    let lookback_delta_ms = params.duration("lookback_delta")?;
    let text = params.get("query").unwrap_or("").to_string();
    let expr = parse_expression(params)?;
    let budget = Arc::new(Budget::new(frontend.clock.clone(), timeout, frontend.config.max_memory_bytes));
    let options = QueryOptions { text, lookback_delta_ms, budget: Some(budget.clone()), ..QueryOptions::default() };
    let (engine, querier) = (frontend.engine.clone(), frontend.sources.of_tenant(tenant));
    let mut output = respond::blocking(frontend, &budget, move || {
        let output = match times {
            Times::At(t) => engine.instant(&querier, &expr, t, &options),
            Times::Range { start, end, step } => engine.range(&querier, &expr, start, end, step, &options),
        };
        Ok(output?)
    })
    .await?;
    frontend.metrics.samples.inc_by(output.stats.samples_read);
    truncate(&mut output, limit);
    Ok((output, params.get("stats").is_some()))
}

/// Keeps the first `limit` series and says so.
fn truncate(output: &mut QueryOutput, limit: usize) {
    let too_many = match &mut output.value {
        Value::Vector(samples) if limit > 0 && samples.len() > limit => {
            samples.truncate(limit);
            true
        }
        Value::Matrix(series) if limit > 0 && series.len() > limit => {
            series.truncate(limit);
            true
        }
        _ => false,
    };
    if too_many {
        output.warnings.push("results truncated due to limit".into());
    }
}

fn write(out: &mut Vec<u8>, parts: &respond::Parts, output: &QueryOutput, stats: bool) -> Result<(), respond::Gone> {
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":{");
    json::value(out, &output.value, |out| parts.flush(out))?;
    if stats {
        let samples = serde_json::json!({
            "totalQueryableSamples": output.stats.samples_read,
            "peakSamples": output.stats.peak_samples,
        });
        out.extend_from_slice(format!(",\"stats\":{{\"samples\":{samples}}}").as_bytes());
    }
    out.push(b'}');
    respond::annotations(out, &output.warnings, &output.infos);
    out.push(b'}');
    Ok(())
}
