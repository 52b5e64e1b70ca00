//! `series`, `labels` and `label/<name>/values`: lists series, label names and label values.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use pharos_model::{Budget, Labels, Metadata, TenantId, TimeRange};
use pharos_transport::SeriesExemplars;

use super::respond;
use crate::error::ApiError;
use crate::params::Params;
use crate::{Api, json, tenant_of};
use pharos_querier::TenantQuerier;
use pharos_querier::admission::{Admitted, Job};
use pharos_querier::registry::{ActiveQueries, QueryStart, Times};

const TRUNCATED: &str = "results truncated due to limit";

/// Handles `GET|POST /api/v1/series`.
pub(super) async fn series(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    let found = async {
        let range = params.range()?;
        let limit = params.limit()?;
        if params.all("match[]").next().is_none() {
            return Err(ApiError::bad_data("no match[] parameter provided"));
        }
        // One series beyond the limit shows whether there are more.
        let max_series = if limit == 0 { 0 } else { limit + 1 };
        let reading = read(&api, "series", &headers, params, move |querier, params| {
            let selectors = params.matchers()?;
            Ok(if range.is_empty() { Vec::new() } else { querier.series(&selectors, range, max_series)? })
        });
        Ok((reading.await?, limit))
    };
    match found.await {
        Ok((found, limit)) => {
            let tenant = found.tenant.clone();
            respond::stream(&api, &tenant, move |out, parts| write_list(out, parts, found, limit, json::labels)).await
        }
        Err(error) => error.into_response(),
    }
}

/// Handles `DELETE /api/v1/series`, which only Prometheus 1 implements.
pub(super) async fn dropped() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, ApiError::internal("not implemented").message).into_response()
}

/// Writes at most `limit` items, or all for 0.
fn write_list<T>(
    out: &mut Vec<u8>,
    parts: &respond::Parts,
    read: Read<Vec<T>>,
    limit: usize,
    item: impl Fn(&mut Vec<u8>, &T),
) -> Result<(), respond::Gone> {
    let Read { mut found, mut warnings, .. } = read;
    let truncated = limit > 0 && found.len() > limit;
    if truncated {
        found.truncate(limit);
    }
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":[");
    json::list(out, &found, item, |out| parts.flush(out))?;
    out.push(b']');
    warnings.extend(truncated.then(|| TRUNCATED.to_string()));
    respond::annotations(out, &warnings, &[]);
    out.push(b'}');
    Ok(())
}

/// Handles `GET|POST /api/v1/labels`.
pub(super) async fn names(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    let found = async {
        let (range, limit) = (params.range()?, params.limit()?);
        let reading = read(&api, "labels", &headers, params, move |querier, params| {
            let selectors = params.selectors()?;
            Ok(if range.is_empty() { Vec::new() } else { querier.label_names(&selectors, range)? })
        });
        Ok((reading.await?, limit))
    };
    strings(&api, found.await).await
}

/// Handles `GET /api/v1/label/<name>/values`.
pub(super) async fn values(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let found = async {
        let name = unescape_name(&name);
        if name.is_empty() {
            return Err(ApiError::bad_data(format!("invalid label name: {name:?}")));
        }
        let (range, limit) = (params.range()?, params.limit()?);
        let reading = read(&api, "label_values", &headers, params, move |querier, params| {
            let selectors = params.selectors()?;
            Ok(if range.is_empty() { Vec::new() } else { querier.label_values(&name, &selectors, range)? })
        });
        Ok((reading.await?, limit))
    };
    strings(&api, found.await).await
}

/// Responds with names, of which `limit` are sent. A limit of 0 means no limit.
async fn strings(api: &Api, read: Result<(Read<Vec<String>>, usize), ApiError>) -> Response {
    let text = |out: &mut Vec<u8>, text: &String| json::string(out, text);
    match read {
        Ok((read, limit)) => {
            let tenant = read.tenant.clone();
            respond::stream(api, &tenant, move |out, parts| write_list(out, parts, read, limit, text)).await
        }
        Err(error) => error.into_response(),
    }
}

/// Something whose memory counts towards the budget of the request that it answers.
pub(super) trait Charged: Send + 'static {
    /// The memory that it takes, bytes.
    fn bytes(&self) -> usize;
}

impl Charged for Vec<Labels> {
    fn bytes(&self) -> usize {
        self.iter().map(|labels| labels.as_bytes().len() + size_of::<Labels>()).sum()
    }
}

impl Charged for Vec<String> {
    fn bytes(&self) -> usize {
        self.iter().map(|text| text.len() + size_of::<String>()).sum()
    }
}

impl Charged for Vec<(String, Metadata)> {
    fn bytes(&self) -> usize {
        self.iter().map(|(family, metadata)| metadata.bytes(family)).sum()
    }
}

impl Charged for Vec<SeriesExemplars> {
    fn bytes(&self) -> usize {
        self.iter().map(SeriesExemplars::bytes).sum()
    }
}

/// What was read.
pub(super) struct Read<T> {
    pub(super) found: T,
    /// Who reads.
    pub(super) tenant: TenantId,
    /// What the response may lack.
    pub(super) warnings: Vec<String>,
    /// The permit, to be held until the response is encoded.
    pub(super) admitted: Admitted,
    /// The budget from which the memory of what was read is taken, held as long.
    pub(super) _budget: Arc<Budget>,
}

/// Reads the sources on a blocking thread, under a permit, as a query that is listed and can be cancelled. Selectors are
/// parsed there, too, because their regular expressions may take long to compile.
pub(super) async fn read<T: Charged>(
    api: &Arc<Api>,
    endpoint: &'static str,
    headers: &HeaderMap,
    params: Params,
    read: impl FnOnce(&TenantQuerier, &Params) -> Result<T, ApiError> + Send + 'static,
) -> Result<Read<T>, ApiError> {
    let tenant = tenant_of(headers)?;
    let timeout = params.timeout()?.unwrap_or(Duration::MAX);
    let budget = api.budget_within(&tenant, timeout);
    let partial = params.switch("partial_response")?;
    let querier = api.sources.of_tenant(tenant.clone()).await?.within(budget.clone()).partial(partial);
    // Endpoints that take a range have checked it. The others ignore it, as in Prometheus.
    let TimeRange { start, end } = params.range().unwrap_or(TimeRange::ALL);
    let registered = ActiveQueries::register(
        &api.active,
        QueryStart {
            tenant: tenant.clone(),
            endpoint,
            text: params
                .get("query")
                .map_or_else(|| params.all("match[]").collect::<Vec<_>>().join(", "), str::to_string),
            times: Times::Range { start, end, step: 0 },
            started_ms: api.clock.now_ms(),
            began: api.clock.monotonic(),
            budget: budget.clone(),
        },
    );
    let timeout = api.config.limits.load().of(&tenant).timeout;
    let job = Job { tenant: &tenant, budget: &budget, timeout, registered: Some(&registered) };
    let charged = budget.clone();
    let work = move || {
        let found = read(&querier, &params)?;
        charged.take(found.bytes() as u64)?;
        Ok::<_, ApiError>((found, querier.warnings()))
    };
    let ((found, warnings), admitted) = api.admission.run(job, work).await?;
    Ok(Read { found, tenant, warnings, admitted, _budget: budget })
}

/// Undoes the escaping of names in paths, so that `U__http_2e_method` becomes `http.method`. Returns any other name
/// unchanged.
fn unescape_name(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else { return name.to_string() };
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(next) = after.strip_prefix('_') {
            out.push('_');
            rest = next;
            continue;
        }
        let code =
            after.find('_').and_then(|end| Some((end, char::from_u32(u32::from_str_radix(&after[..end], 16).ok()?)?)));
        let Some((end, character)) = code else { return name.to_string() };
        out.push(character);
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::unescape_name;

    #[test]
    fn names_are_unescaped() {
        for (escaped, name) in [
            ("job", "job"),
            ("U__http_2e_method", "http.method"),
            ("U__a__b", "a_b"),
            ("U___1f600_", "\u{1f600}"),
            ("U__bad_zz_", "U__bad_zz_"),
            ("U__open_2e", "U__open_2e"),
        ] {
            assert_eq!(unescape_name(escaped), name);
        }
    }
}
