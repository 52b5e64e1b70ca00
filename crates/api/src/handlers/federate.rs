//! `/federate`: returns the newest sample of each matching series in the text exposition format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use pharos_model::labels::{is_legacy_label_name, is_legacy_metric_name};
use pharos_model::{
    Budget, Labels, METRIC_NAME, Matcher, Metadata, SelectError, SelectRequest, SeriesBatch, TimeRange, is_stale_nan,
};
use pharos_promql::Querier;

use super::respond;
use crate::params::Params;
use crate::{Api, ApiError, json, tenant_of};
use pharos_querier::TenantQuerier;

/// Number of series that are fetched at a time.
const BATCH: usize = 256;

/// Handles `GET /federate`.
pub(super) async fn federate(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    let text = async {
        let selectors = params.selectors().map_err(ApiError::bad_data)?;
        let tenant = tenant_of(&headers)?;
        let now = api.clock.now_ms();
        let config = &api.config;
        let budget = api.budget(&tenant);
        let (querier, external) = (api.sources.of_tenant(tenant.clone()), config.external_labels.clone());
        let range = TimeRange::new(now - config.lookback_delta_ms + 1, now);
        let spent = budget.clone();
        respond::blocking(&api, &tenant, &budget, move || {
            let newest = newest_samples(&querier, &selectors, range, &spent)?;
            let known = querier.metadata()?.into_iter().collect();
            Ok(render(&newest, &known, &external))
        })
        .await
    };
    match text.await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (error.kind.status(), error.message + "\n").into_response(),
    }
}

/// The time and value of the newest sample of each series, by metric name and labels.
type Newest = BTreeMap<(String, Labels), (i64, f64)>;

/// Reads the newest sample of each series. Omits series that are stale or whose newest sample is a histogram.
fn newest_samples(
    querier: &TenantQuerier,
    selectors: &[Vec<Matcher>],
    range: TimeRange,
    budget: &Arc<Budget>,
) -> Result<Newest, SelectError> {
    let mut newest = BTreeMap::new();
    let mut batch = SeriesBatch::default();
    for matchers in selectors {
        let set = querier.select(&SelectRequest { matchers: matchers.clone(), range, max_series: 0 }, budget)?;
        for from in (0..set.labels().len()).step_by(BATCH) {
            budget.check()?;
            let to = (from + BATCH).min(set.labels().len());
            batch.clear();
            set.fetch(from..to, range, &mut batch)?;
            for (i, labels) in set.labels()[from..to].iter().enumerate() {
                let view = batch.view(i);
                let (Some(&t), Some(&v)) = (view.t.last(), view.v.last()) else { continue };
                let superseded = view.ht.last().is_some_and(|&ht| ht > t);
                if !is_stale_nan(v) && !superseded {
                    newest.insert((labels.metric_name().to_string(), labels.clone()), (t, v));
                }
            }
        }
    }
    Ok(newest)
}

fn render(newest: &Newest, known: &BTreeMap<String, Metadata>, external: &[(String, String)]) -> String {
    let mut text = String::new();
    let mut family = None;
    for ((name, labels), (t, v)) in newest {
        if family != Some(name) {
            let kind = known.get(name).map_or("untyped", |m| match m.kind.as_str() {
                kind @ ("counter" | "gauge") => kind,
                _ => "untyped",
            });
            let quoted = if is_legacy_metric_name(name) { name.clone() } else { format!("\"{}\"", escaped(name)) };
            let _infallible = writeln!(text, "# TYPE {quoted} {kind}");
            family = Some(name);
        }
        sample(&mut text, name, labels, external, (*t, *v));
    }
    text
}

fn sample(text: &mut String, name: &str, labels: &Labels, external: &[(String, String)], (t, v): (i64, f64)) {
    let mut pairs: Vec<(&str, &str)> = labels.iter().filter(|(n, _)| *n != METRIC_NAME).collect();
    pairs.extend(external.iter().filter(|(n, _)| labels.get(n).is_none()).map(|(n, v)| (n.as_str(), v.as_str())));
    if labels.get("instance").is_none() && !external.iter().any(|(n, _)| n == "instance") {
        // An empty instance keeps the federating server from adding its own.
        pairs.push(("instance", ""));
    }
    pairs.sort_unstable();
    let quoted_name = !is_legacy_metric_name(name);
    if !quoted_name {
        text.push_str(name);
    }
    text.push('{');
    if quoted_name {
        let _infallible = write!(text, "\"{}\"", escaped(name));
    }
    for (i, (n, v)) in pairs.iter().enumerate() {
        if i > 0 || quoted_name {
            text.push(',');
        }
        let n = if is_legacy_label_name(n) { (*n).to_string() } else { format!("\"{}\"", escaped(n)) };
        let _infallible = write!(text, "{n}=\"{}\"", escaped(v));
    }
    let mut number = Vec::new();
    json::float(&mut number, v);
    let _infallible = writeln!(text, "}} {} {t}", String::from_utf8_lossy(&number));
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_rendered_with_external_labels_and_escapes() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a\"b\n")]);
        let newest = BTreeMap::from([(("up".to_string(), labels), (1000, 1.0))]);
        let text = render(&newest, &BTreeMap::new(), &[("dc".into(), "x".into()), ("job".into(), "hidden".into())]);
        assert_eq!(text, "# TYPE up untyped\nup{dc=\"x\",instance=\"\",job=\"a\\\"b\\n\"} 1 1000\n");
    }

    #[test]
    fn utf8_names_are_quoted() {
        let labels = Labels::from_pairs([("__name__", "http.requests"), ("instance", "i")]);
        let newest = BTreeMap::from([(("http.requests".to_string(), labels), (5, 0.5))]);
        let text = render(&newest, &BTreeMap::new(), &[]);
        assert_eq!(text, "# TYPE \"http.requests\" untyped\n{\"http.requests\",instance=\"i\"} 0.5 5\n");
    }
}
