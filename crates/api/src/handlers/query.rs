//! `query`, `query_range`, `format_query` and `parse_query`: evaluates, explains, formats and parses queries.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use pharos_model::fragment::Steps;
use pharos_model::{Matcher, TenantId};
use pharos_promql::syntax::{self, ParseError, ast::Expr};
use pharos_promql::{Engine, EngineOptions, QueryOptions, QueryOutput};
use pharos_promql::{Explanation, Value};

use super::{ast_json, explain, respond};
use crate::error::{ApiError, ErrorKind};
use crate::params::Params;
use crate::query_log::{self as log, Client, Ended};
use crate::{Api, json, tenant_of};
use pharos_querier::admission::{Admitted, Job};
use pharos_querier::registry::{ActiveQueries, ActiveQuery, Counted, QueryStart, Registered, Stage, Times};
use pharos_querier::{QueryLimits, QueryTiming, TenantQuerier};

/// Prometheus's limit on the points of a series. Exceeding this default gives the error text of Prometheus.
const DEFAULT_MAX_POINTS: i64 = 11_000;

/// Handles `GET|POST /api/v1/query`.
pub(super) async fn instant(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let times = params.time("time").map(|t| Times::At(t.unwrap_or_else(|| api.clock.now_ms())));
    answer(&api, "query", client, &headers, &params, times).await
}

/// Handles `GET|POST /api/v1/query_range`.
pub(super) async fn range(State(api): State<Arc<Api>>, client: Client, headers: HeaderMap, params: Params) -> Response {
    let times = range_times(&params);
    answer(&api, "query_range", client, &headers, &params, times).await
}

/// Handles `GET|POST /api/v1/format_query`.
pub(super) async fn format(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    of_syntax(&api, &headers, params, |expr| respond::success(syntax::pretty(expr))).await
}

/// Handles `GET|POST /api/v1/parse_query`.
pub(super) async fn parse(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    of_syntax(&api, &headers, params, |expr| respond::success(ast_json::tree(expr))).await
}

/// Responds from the text of a query alone. The response can be many times larger than the text, so building it takes
/// a permit.
async fn of_syntax(
    api: &Arc<Api>,
    headers: &HeaderMap,
    params: Params,
    show: impl FnOnce(&Expr) -> Response + Send + 'static,
) -> Response {
    let tenant = match tenant_of(headers) {
        Ok(tenant) => tenant,
        Err(error) => return error.into_response(),
    };
    let budget = api.budget(&tenant);
    let within = budget.clone();
    let shown = respond::blocking(api, &tenant, &budget, move || {
        let expr = parse_expression(&params, invalid_query)?;
        within.check()?;
        Ok(show(&expr))
    });
    shown.await.unwrap_or_else(IntoResponse::into_response)
}

/// How many times longer than its text a query may be as a tree, in memory.
const TREE_FACTOR: usize = 64;

/// Parses the query, whose tree and regular expressions are drawn from the account of memory.
pub(super) fn parse_expression(
    params: &Params,
    invalid: impl FnOnce(ParseError) -> ApiError,
) -> Result<Expr, ApiError> {
    let text = params.get("query").unwrap_or("");
    params.draw(text.len() * TREE_FACTOR)?;
    let expr = syntax::parse(text).map_err(invalid)?;
    let mut compiled = 0;
    expr.for_each_selector(&mut |selector| {
        compiled += selector.matchers.iter().map(Matcher::regex_bytes).sum::<usize>()
    });
    params.draw(compiled)?;
    Ok(expr)
}

fn invalid_query(error: ParseError) -> ApiError {
    ApiError::parameter("query", error)
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
    Ok(Times::Range { start, end, step })
}

fn check_points(times: Times, limits: &QueryLimits) -> Result<(), ApiError> {
    let Times::Range { start, end, step } = times else { return Ok(()) };
    if (end - start) / step <= limits.max_points {
        return Ok(());
    }
    Err(ApiError::bad_data(match limits.max_points {
        DEFAULT_MAX_POINTS => "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)".into(),
        most => format!("exceeded maximum resolution of {most} points per timeseries, the limit max_query_points. Try decreasing the query resolution (?step=XX)"),
    }))
}

/// Options of a request that shape the response or the evaluation.
#[derive(Clone, Copy, Default)]
struct Extras {
    stats: bool,
    stats_by_step: bool,
    explain: bool,
    analyze: bool,
    /// Whether unavailable data may be omitted.
    partial: bool,
    /// Whether fragments may be evaluated on the nodes that hold the samples.
    push_down: bool,
}

impl Extras {
    fn of(params: &Params) -> Result<Self, ApiError> {
        let stats = params.get("stats").unwrap_or("");
        let explain = params.switch("explain")?;
        let analyze = params.switch("analyze")?;
        Ok(Extras {
            stats: !stats.is_empty(),
            stats_by_step: stats == "all",
            explain: explain || analyze,
            analyze,
            partial: params.switch("partial_response")?,
            push_down: params.get("pushdown") != Some("false"),
        })
    }
}

/// Maximum length of a query that is parsed on an async worker thread, bytes. Longer ones take a permit to be parsed, as do
/// those with regular expressions, which take long to compile.
const MAX_INLINE_BYTES: usize = 16 << 10;

/// A decoded and checked query.
struct Query {
    tenant: TenantId,
    limits: QueryLimits,
    expr: Expr,
    times: Times,
    extras: Extras,
    limit: usize,
    timeout: Duration,
    options: QueryOptions,
}

impl Query {
    /// Decodes and checks a query without blocking other requests.
    async fn read(
        api: &Arc<Api>,
        headers: &HeaderMap,
        params: &Params,
        times: Result<Times, ApiError>,
    ) -> Result<Self, ApiError> {
        let text = params.get("query").unwrap_or("");
        if text.len() <= MAX_INLINE_BYTES && !text.contains("=~") && !text.contains("!~") {
            return Query::new(api, headers, params, times);
        }
        let tenant = tenant_of(headers)?;
        let budget = api.budget(&tenant);
        let (shared, headers, params) = (api.clone(), headers.clone(), params.clone());
        respond::blocking(api, &tenant, &budget, move || Query::new(&shared, &headers, &params, times)).await
    }

    fn new(api: &Api, headers: &HeaderMap, params: &Params, times: Result<Times, ApiError>) -> Result<Self, ApiError> {
        let tenant = tenant_of(headers)?;
        let times = times?;
        let limits = api.config.limits.load().of(&tenant).clone();
        check_points(times, &limits)?;
        let limit = params.limit()?;
        let extras = Extras::of(params)?;
        let timeout = params.timeout()?.unwrap_or(Duration::MAX).min(limits.timeout);
        let lookback_delta_ms = params.lookback_delta()?;
        // The budget starts before parsing, so that parsing counts towards the timeout.
        let budget = api.budget_within(&tenant, timeout);
        let text = params.get("query").unwrap_or("").to_string();
        let expr = parse_expression(params, invalid_query)?;
        limits.features.check(&expr, &text)?;
        let options = QueryOptions {
            text,
            lookback_delta_ms,
            budget: Some(budget),
            analyze: extras.analyze,
            samples_per_step: extras.stats_by_step,
        };
        Ok(Query { tenant, limits, expr, times, extras, limit, timeout, options })
    }

    /// Creates an engine with the tenant's limits.
    fn engine(&self, api: &Api) -> Engine {
        let defaults = api.engine.options();
        let QueryLimits { max_samples, max_series, max_total_points: max_points, .. } = self.limits;
        Engine::new(EngineOptions { max_samples, max_series, max_points, ..defaults.clone() })
    }
}

/// A response before it is encoded.
struct Answer {
    output: Option<QueryOutput>,
    plan: Option<Explanation>,
    /// Where the time went besides the operators of the plan, in a cluster.
    timing: Option<QueryTiming>,
    extras: Extras,
    /// The permit of the query, held until the response is encoded.
    admitted: Admitted,
    /// Held until the response is encoded, so that the query can be listed and cancelled until then.
    registered: Option<Registered>,
}

impl Answer {
    fn is_small(&self) -> bool {
        let output = self.output.as_ref().filter(|_| self.plan.is_none() && !self.extras.stats_by_step);
        output.is_some_and(|output| json::is_small(&output.value, MAX_INLINE_RESPONSE))
    }
}

async fn answer(
    api: &Arc<Api>,
    endpoint: &'static str,
    client: Client,
    headers: &HeaderMap,
    params: &Params,
    times: Result<Times, ApiError>,
) -> Response {
    let began = api.clock.monotonic();
    let answering = async {
        let query = Query::read(api, headers, params, times).await?;
        let source = api.sources.of_tenant(query.tenant.clone()).await?;
        let tenant = query.tenant.clone();
        let answer = match query.extras.explain && !query.extras.analyze {
            true => explained(api, query, source).await,
            false => run(api, endpoint, client, query, source, began).await,
        };
        Ok::<_, ApiError>((answer?, tenant))
    };
    let outcome = answering.await;
    let label = outcome.as_ref().map_or_else(|error| error.kind.name(), |_| "success");
    api.metrics.queries.with_label_values(&[endpoint, label]).inc();
    api.metrics.seconds.observe((api.clock.monotonic() - began).as_secs_f64());
    match outcome {
        Ok((answer, tenant)) => respond(api, &tenant, answer).await,
        Err(error) => error.into_response(),
    }
}

/// Maximum size of a response that is encoded on an async worker thread, bytes. Handing it to another thread would take as long.
const MAX_INLINE_RESPONSE: usize = 16 << 10;

async fn respond(api: &Api, tenant: &TenantId, answer: Answer) -> Response {
    if !answer.is_small() {
        return respond::stream(api, tenant, move |out, parts| write(out, &answer, |out| parts.flush(out))).await;
    }
    let mut json = Vec::with_capacity(1024);
    match write(&mut json, &answer, |_| Ok(())) {
        Ok(()) => respond::encoded(api, tenant, json).await,
        Err(respond::Gone) => ApiError::new(ErrorKind::Canceled, "query was canceled").into_response(),
    }
}

fn steps(times: Times) -> Steps {
    let (start, end, step) = times.as_range();
    Steps { start, end, step }
}

/// Plans a query without running it. Planning takes a permit, like running.
async fn explained(api: &Arc<Api>, query: Query, source: TenantQuerier) -> Result<Answer, ApiError> {
    let budget = query.options.budget.clone().unwrap_or_else(|| api.budget(&query.tenant));
    let mut limits = query.engine(api).options().clone();
    let Query { tenant, extras, timeout, times, expr, options, .. } = query;
    let job = Job { tenant: &tenant, budget: &budget, timeout, registered: None };
    let within = budget.clone();
    let (plan, admitted) = api
        .admission
        .run(job, move || {
            within.check()?;
            limits.timeout = within.remaining();
            let asked = (&expr, steps(times));
            Ok::<_, ApiError>(source.explain(&Engine::new(limits), asked, &options, extras.push_down)?)
        })
        .await?;
    Ok(Answer { output: None, plan: Some(plan), timing: None, extras, admitted, registered: None })
}

async fn run(
    api: &Arc<Api>,
    endpoint: &'static str,
    client: Client,
    query: Query,
    source: TenantQuerier,
    began: Duration,
) -> Result<Answer, ApiError> {
    let budget = query.options.budget.clone().unwrap_or_else(|| api.budget(&query.tenant));
    let registered = ActiveQueries::register(
        &api.active,
        QueryStart {
            tenant: query.tenant.clone(),
            endpoint,
            text: query.options.text.clone(),
            times: query.times,
            started_ms: api.clock.now_ms(),
            began,
            budget: budget.clone(),
        },
    );
    let mut hang_up = HangUp { api: api.clone(), query: registered.query().clone(), client, began, is_armed: true };
    let engine = query.engine(api);
    let Query { tenant, extras, limit, timeout, times, expr, options, .. } = query;
    let source = source.partial(extras.partial);
    let source = if extras.analyze { source.measured() } else { source };
    let querier = Counted { querier: source.clone(), query: registered.query().clone() };
    let job = Job { tenant: &tenant, budget: &budget, timeout, registered: Some(&registered) };
    let evaluated = api
        .admission
        .run(job, move || {
            let steps = steps(times);
            let explain = || source.explain(&engine, (&expr, steps), &options, extras.push_down);
            let plan = extras.analyze.then(explain).transpose()?;
            let output = source.evaluate(&engine, &querier, (&expr, steps), &options, extras.push_down);
            Ok::<_, ApiError>((output?, plan, source.timing(), source.warnings()))
        })
        .await;
    let queued = evaluated.as_ref().map_or(Duration::ZERO, |(_, admitted)| admitted.waited);
    let output = evaluated.as_ref().map(|((output, ..), _)| output);
    hang_up.is_armed = false;
    ended(api, registered.query(), output, queued, began, &hang_up.client);
    let ((mut output, mut plan, timing, warnings), admitted) = evaluated?;
    api.metrics.samples.inc_by(output.stats.samples_read);
    output.warnings.extend(warnings);
    truncate(&mut output, limit);
    if let (Some(plan), Some(analyzed)) = (&mut plan, output.plan.take()) {
        plan.physical = analyzed;
    }
    registered.enter(Stage::Answering);
    Ok(Answer { output: Some(output), plan, timing, extras, admitted, registered: Some(registered) })
}

/// Logs a query whose client hangs up while it runs: nobody awaits its answer any more, and it is dropped.
struct HangUp {
    api: Arc<Api>,
    query: Arc<ActiveQuery>,
    client: Client,
    began: Duration,
    /// Whether the query is still running.
    is_armed: bool,
}

impl Drop for HangUp {
    fn drop(&mut self) {
        if self.is_armed {
            let error = ApiError::new(ErrorKind::Canceled, "the client hung up");
            ended(&self.api, &self.query, Err(&error), Duration::ZERO, self.began, &self.client);
        }
    }
}

/// Writes an ended query to the query log, and to the slow-query log if it was slow.
fn ended(
    api: &Arc<Api>,
    query: &Arc<ActiveQuery>,
    output: Result<&QueryOutput, &ApiError>,
    queued: Duration,
    began: Duration,
    client: &Client,
) {
    let duration = api.clock.monotonic().saturating_sub(began);
    let is_slow = api.config.slow_log_threshold.is_some_and(|threshold| duration >= threshold);
    if !is_slow && !api.config.query_log.is_on() {
        return;
    }
    let result_series = output.map_or(0, |output| match &output.value {
        Value::Vector(samples) => samples.len(),
        Value::Matrix(series) => series.len(),
        Value::Scalar(..) | Value::String(..) => 1,
    });
    let ended = Ended {
        query,
        now_ms: api.clock.now_ms(),
        duration,
        queued,
        stats: output.ok().map(|output| &output.stats),
        result_series,
        error: output.err(),
        client,
    };
    if is_slow {
        api.metrics.slow.inc();
        log::slow(&ended);
    }
    api.config.query_log.write(&ended);
}

/// Keeps the first `limit` series and adds a warning if there were more. A `limit` of 0 keeps all.
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

/// Encodes a response. `flush` may take what is encoded.
fn write(
    out: &mut Vec<u8>,
    answer: &Answer,
    mut flush: impl FnMut(&mut Vec<u8>) -> Result<(), respond::Gone>,
) -> Result<(), respond::Gone> {
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":{");
    if let Some(output) = &answer.output {
        let is_cancelled = || answer.registered.as_ref().is_some_and(|registered| registered.query().is_cancelled());
        json::value(out, &output.value, |out| if is_cancelled() { Err(respond::Gone) } else { flush(out) })?;
        if answer.extras.stats {
            let stats = log::stats_json(&output.stats, answer.admitted.waited, answer.extras.stats_by_step);
            out.extend_from_slice(format!(",\"stats\":{stats}").as_bytes());
        }
    }
    if let Some(plan) = &answer.plan {
        let comma = if answer.output.is_some() { "," } else { "" };
        out.extend_from_slice(format!("{comma}\"explain\":{{\"logical\":").as_bytes());
        explain::plan(out, &plan.logical);
        out.extend_from_slice(b",\"physical\":");
        explain::plan(out, &plan.physical);
        if let Some(timing) = &answer.timing {
            let preparation = answer.output.as_ref().map_or(Duration::ZERO, |output| output.stats.timings.preparation);
            out.extend_from_slice(format!(",\"timing\":{}", explain::timing(timing, preparation)).as_bytes());
        }
        out.push(b'}');
    }
    out.push(b'}');
    let (warnings, infos) = answer.output.as_ref().map_or((&[][..], &[][..]), |o| (&o.warnings, &o.infos));
    respond::annotations(out, warnings, infos);
    out.push(b'}');
    Ok(())
}
