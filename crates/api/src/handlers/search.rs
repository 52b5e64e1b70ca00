//! `search/metric_names`, `search/label_names` and `search/label_values`: finds a few names or values in lists of any size.
//!
//! Parameters, ranks and lines of the response are those of Prometheus 3.16. The response is newline-delimited JSON: batches
//! of results, then a line that says whether there are more.

mod matching;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pharos_model::{Metadata, MetricType};
use pharos_querier::TenantQuerier;

use self::matching::{Algorithm, Terms};
use super::{respond, series};
use crate::error::ApiError;
use crate::params::Params;
use crate::{Api, json};

const DEFAULT_LIMIT: usize = 100;
const DEFAULT_BATCH: usize = 100;
const MAX_BATCH: usize = 1000;
/// Each term is compared with every name or value.
const MAX_TERMS: usize = 32;
const MAX_TERM_BYTES: usize = 1024;
/// Without a start, the last hour is searched.
const DEFAULT_RANGE_MS: i64 = 3_600_000;

/// What is searched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    MetricNames,
    LabelNames,
    LabelValues,
}

impl Kind {
    fn endpoint(self) -> &'static str {
        match self {
            Kind::MetricNames => "metric_names",
            Kind::LabelNames => "label_names",
            Kind::LabelValues => "label_values",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
    Score,
}

/// A request that was checked.
struct Search {
    terms: Terms,
    order: Order,
    limit: usize,
    batch: usize,
    /// Whether results have their scores.
    with_score: bool,
    /// Whether metrics have their type, unit and help text.
    with_metadata: bool,
    /// The label whose values are searched; empty for names of labels.
    label: String,
}

impl Search {
    fn read(params: &Params, kind: Kind, max_limit: usize) -> Result<Self, ApiError> {
        let texts: Vec<&str> = params.all("search[]").collect();
        if texts.len() > MAX_TERMS {
            return Err(bad(format!("too many search[] terms: got {}, maximum is {MAX_TERMS}", texts.len())));
        }
        if texts.iter().any(|text| text.len() > MAX_TERM_BYTES) {
            return Err(bad(format!("a search[] term is longer than {MAX_TERM_BYTES} bytes")));
        }
        let threshold = match params.get("fuzz_threshold") {
            None => 0,
            Some(text) => text
                .parse::<u8>()
                .ok()
                .filter(|percent| *percent <= 100)
                .ok_or_else(|| bad(format!("invalid fuzz_threshold {text:?}: must be 0-100")))?,
        };
        let algorithm = match params.get("fuzz_alg") {
            None | Some("subsequence") => Algorithm::Subsequence,
            Some("jarowinkler") => Algorithm::JaroWinkler,
            Some(other) => {
                return Err(bad(format!("unsupported fuzz_alg {other:?}: must be one of [subsequence jarowinkler]")));
            }
        };
        let is_case_sensitive = switch(params, "case_sensitive", true)?;
        let with_score = switch(params, "include_score", false)?;
        let order = order(params, kind, texts.is_empty())?;
        let limit = limit(params, max_limit)?;
        let batch = positive(params, "batch_size")?.unwrap_or(DEFAULT_BATCH).min(limit).min(MAX_BATCH);
        let label = match (kind, params.get("label")) {
            (Kind::MetricNames, _) => "__name__",
            (Kind::LabelNames, _) => "",
            (Kind::LabelValues, Some(label)) => label,
            (Kind::LabelValues, None) => return Err(bad("missing required parameter \"label\"".into())),
        };
        let with_metadata = kind == Kind::MetricNames && switch(params, "include_metadata", false)?;
        let terms = Terms::new(&texts, algorithm, f64::from(threshold) / 100.0, is_case_sensitive);
        Ok(Search { terms, order, limit, batch, with_score, with_metadata, label: label.to_string() })
    }

    /// Searches, and keeps one result more than the limit at most.
    fn run(&self, querier: &TenantQuerier, params: &Params, now_ms: i64) -> Result<Found, ApiError> {
        let mut range = params.range()?;
        if params.get("start").is_none() {
            range.start = now_ms - DEFAULT_RANGE_MS;
        }
        if params.get("end").is_none() {
            range.end = now_ms;
        }
        let selectors = params.selectors()?;
        let all = match self.label.as_str() {
            "" => querier.label_names(&selectors, range)?,
            label => querier.label_values(label, &selectors, range)?,
        };
        let scored = all.into_iter().filter_map(|text| Some((self.terms.score(&text)?, text)));
        let mut results: Vec<(f64, String)> = scored.collect();
        match self.order {
            Order::Score => results.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1))),
            Order::Ascending => results.sort_unstable_by(|a, b| a.1.cmp(&b.1)),
            Order::Descending => results.sort_unstable_by(|a, b| b.1.cmp(&a.1)),
        }
        let has_more = results.len() > self.limit;
        results.truncate(self.limit);
        results.shrink_to_fit();
        let metadata = match self.with_metadata && !results.is_empty() {
            true => Families::new(querier.metadata()?),
            false => Families::default(),
        };
        let results =
            results.into_iter().map(|(score, text)| FoundOne { metadata: metadata.of(&text), score, text }).collect();
        Ok(Found { results, has_more })
    }
}

fn bad(message: String) -> ApiError {
    ApiError::bad_data(message)
}

/// Reads a switch with the spellings that Go accepts.
fn switch(params: &Params, name: &str, default: bool) -> Result<bool, ApiError> {
    match params.get(name) {
        None => Ok(default),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(bad(format!("invalid {name} {other:?}: must be boolean"))),
    }
}

fn positive(params: &Params, name: &str) -> Result<Option<usize>, ApiError> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.map(Some).ok_or_else(|| bad(format!("invalid {name} {text:?}: must be a positive integer")))
}

fn limit(params: &Params, max_limit: usize) -> Result<usize, ApiError> {
    let most = if max_limit == 0 { usize::MAX } else { max_limit };
    match positive(params, "limit")? {
        None => Ok(DEFAULT_LIMIT.min(most)),
        Some(limit) if limit > most => {
            Err(bad(format!("limit {limit} exceeds the configured maximum ({most}, see --web.search.max-limit)")))
        }
        Some(limit) => Ok(limit),
    }
}

fn order(params: &Params, kind: Kind, has_no_terms: bool) -> Result<Order, ApiError> {
    let (by, direction) = (params.get("sort_by"), params.get("sort_dir"));
    match (by, direction) {
        (None, Some(_)) => return Err(bad("sort_dir is only valid when sort_by is set".into())),
        (Some("score"), Some(_)) => return Err(bad("sort_dir is not supported for sort_by=score".into())),
        (_, None | Some("asc" | "dsc")) => {}
        (_, Some(other)) => return Err(bad(format!("invalid sort_dir {other:?}: must be \"asc\" or \"dsc\""))),
    }
    match by {
        Some("score") if has_no_terms => Err(bad("sort_by=score requires search[] to be set".into())),
        Some("score") => Ok(Order::Score),
        None | Some("alpha") => Ok(if direction == Some("dsc") { Order::Descending } else { Order::Ascending }),
        Some(other) => {
            Err(bad(format!("invalid sort_by {other:?} for {}: must be \"alpha\" or \"score\"", kind.endpoint())))
        }
    }
}

struct FoundOne {
    text: String,
    score: f64,
    metadata: Option<Arc<Metadata>>,
}

struct Found {
    results: Vec<FoundOne>,
    /// Whether there are more than the limit allows.
    has_more: bool,
}

impl series::Charged for Found {
    fn bytes(&self) -> usize {
        self.results.iter().map(|one| one.text.len() + size_of::<FoundOne>()).sum()
    }
}

/// The metadata of metric families by name.
#[derive(Default)]
struct Families(HashMap<String, Vec<Arc<Metadata>>>);

impl Families {
    fn new(known: Vec<(String, Metadata)>) -> Self {
        let mut families: HashMap<String, Vec<Arc<Metadata>>> = HashMap::new();
        for (name, metadata) in known {
            families.entry(name).or_default().push(Arc::new(metadata));
        }
        Families(families)
    }

    /// The metadata of the family to which a metric belongs: that of its own name, or that of its name without a suffix which
    /// the type of the family has.
    fn of(&self, metric: &str) -> Option<Arc<Metadata>> {
        if let Some(own) = self.0.get(metric).and_then(|all| all.first()) {
            return Some(own.clone());
        }
        let (family, suffix) = metric.rsplit_once('_')?;
        // x_total_total is not a series of the counter x_total.
        if matches!(suffix, "total" | "info") && family.ends_with(&format!("_{suffix}")) {
            return None;
        }
        self.0.get(family)?.iter().find(|metadata| has_suffix(metadata.kind, suffix)).cloned()
    }
}

fn has_suffix(kind: MetricType, suffix: &str) -> bool {
    use MetricType::{Counter, GaugeHistogram, Histogram, Info, Summary};
    match suffix {
        "total" => kind == Counter,
        "bucket" => matches!(kind, Histogram | GaugeHistogram),
        "sum" | "count" => matches!(kind, Histogram | GaugeHistogram | Summary),
        "gsum" | "gcount" => kind == GaugeHistogram,
        "info" => kind == Info,
        _ => false,
    }
}

/// Handles `GET|POST /api/v1/search/metric_names`.
pub(super) async fn metric_names(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    search(api, headers, params, Kind::MetricNames).await
}

/// Handles `GET|POST /api/v1/search/label_names`.
pub(super) async fn label_names(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    search(api, headers, params, Kind::LabelNames).await
}

/// Handles `GET|POST /api/v1/search/label_values`.
pub(super) async fn label_values(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    search(api, headers, params, Kind::LabelValues).await
}

async fn search(api: Arc<Api>, headers: HeaderMap, params: Params, kind: Kind) -> Response {
    let found = async {
        let (start, end) = (params.time("start")?, params.time("end")?);
        let now_ms = api.clock.now_ms();
        if end.unwrap_or(now_ms) < start.unwrap_or(now_ms - DEFAULT_RANGE_MS) {
            return Err(bad("end timestamp must not be before start timestamp".into()));
        }
        let search = Arc::new(Search::read(&params, kind, api.config.max_search_limit)?);
        let own = search.clone();
        let run = move |querier: &TenantQuerier, params: &Params| own.run(querier, params, now_ms);
        Ok((series::read(&api, "search", &headers, params, run).await?, search))
    };
    match found.await {
        Ok((read, search)) => {
            let tenant = read.tenant.clone();
            let write = move |out: &mut Vec<u8>, parts: &respond::Parts| write(out, parts, &read, &search, kind);
            let mut response = respond::stream(&api, &tenant, write).await;
            let lines = HeaderValue::from_static("application/x-ndjson; charset=utf-8");
            if response.status().is_success() {
                response.headers_mut().insert(header::CONTENT_TYPE, lines);
            }
            response
        }
        Err(error) => error.into_response(),
    }
}

/// Writes the batches and the last line. The first batch is written even if it is empty, because it has the warnings.
fn write(
    out: &mut Vec<u8>,
    parts: &respond::Parts,
    read: &series::Read<Found>,
    search: &Search,
    kind: Kind,
) -> Result<(), respond::Gone> {
    let series::Read { found, warnings, .. } = read;
    let mut batches = found.results.chunks(search.batch);
    let first = batches.next().unwrap_or_default();
    for (i, batch) in std::iter::once(first).chain(batches).enumerate() {
        out.extend_from_slice(b"{\"results\":[");
        json::list(out, batch, |out, one| result(out, one, search, kind), |out| parts.flush(out))?;
        out.push(b']');
        if i == 0 {
            respond::annotations(out, warnings, &[]);
        }
        out.extend_from_slice(b"}\n");
    }
    out.extend_from_slice(b"{\"status\":\"success\",\"has_more\":");
    out.extend_from_slice(if found.has_more { b"true}\n" } else { b"false}\n" });
    Ok(())
}

fn result(out: &mut Vec<u8>, one: &FoundOne, search: &Search, kind: Kind) {
    out.extend_from_slice(if kind == Kind::LabelValues { b"{\"value\":" } else { b"{\"name\":" });
    json::string(out, &one.text);
    if search.with_score {
        out.extend_from_slice(b",\"score\":");
        out.extend_from_slice(format!("{}", one.score).as_bytes());
    }
    if let Some(metadata) = &one.metadata {
        let fields = [("type", metadata.kind.as_str()), ("help", &metadata.help), ("unit", &metadata.unit)];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            json::string(out, value);
        }
    }
    out.push(b'}');
}
