//! `/federate`: returns the newest sample of each matching series, in the exposition format that the client accepts.

mod format;
mod page;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use pharos_model::{
    Budget, Labels, Matcher, Metadata, MetricType, SelectError, SelectRequest, SeriesBatch, SeriesView, TimeRange,
    is_stale_nan,
};
use pharos_promql::Querier;

use self::format::Format;
use self::page::{Newest, Page};
use super::respond;
use crate::params::Params;
use crate::{Api, ApiError, tenant_of};
use pharos_querier::TenantQuerier;

/// The page is charged to the budget for every step of this many bytes.
const PAGE_STEP: usize = 64 << 10;
/// Number of series that are fetched at a time.
const BATCH: usize = 256;

/// Handles `GET /federate`.
pub(super) async fn federate(State(api): State<Arc<Api>>, headers: HeaderMap, params: Params) -> Response {
    let format = Format::negotiate(&headers);
    let page = async {
        let tenant = tenant_of(&headers)?;
        let now = api.clock.now_ms();
        let config = &api.config;
        let budget = api.budget(&tenant);
        let querier = api.sources.of_tenant(tenant.clone()).await?;
        let external = config.external_labels.clone();
        let range = TimeRange::new(now - config.lookback_delta_ms + 1, now);
        let spent = budget.clone();
        respond::blocking(&api, &tenant, &budget, move || {
            let selectors = params.selectors()?;
            let newest = newest_samples(&querier, &selectors, range, &spent)?;
            let known = querier.metadata()?.into_iter().collect();
            Ok((render(format, &newest, &known, &external, &spent)?, querier.warnings()))
        })
        .await
        .map(|(page, warnings)| (tenant, page, warnings))
    };
    let sent = async {
        let (tenant, page, warnings) = page.await?;
        Ok::<_, ApiError>((api.unsent.whole(&tenant, page.into()).await?, warnings))
    };
    match sent.await {
        Ok(((size, unread), warnings)) => {
            let headers = [(header::CONTENT_TYPE, format.content_type()), (header::CONTENT_LENGTH, size.to_string())];
            respond::with_warning_headers((headers, Body::from_stream(unread)).into_response(), &warnings)
        }
        Err(error) => (error.kind.status(), error.message + "\n").into_response(),
    }
}

/// What an entry of [`NewestSamples`] takes besides its name and labels, bytes.
const NEWEST_BYTES: usize = 2 * size_of::<((String, Labels), (i64, Newest))>();

/// The time and value of the newest sample of each series, by metric name and labels.
type NewestSamples = BTreeMap<(String, Labels), (i64, Newest)>;

/// Reads the newest sample of each series. Omits series that are stale or have no name.
fn newest_samples(
    querier: &TenantQuerier,
    selectors: &[Vec<Matcher>],
    range: TimeRange,
    budget: &Arc<Budget>,
) -> Result<NewestSamples, SelectError> {
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
                let name = labels.metric_name();
                if let Some(sample) = newest_of(&batch.view(i)).filter(|_| !name.is_empty()) {
                    budget.take((NEWEST_BYTES + name.len() + labels.as_bytes().len()) as u64)?;
                    newest.insert((name.to_string(), labels.clone()), sample);
                }
            }
        }
    }
    Ok(newest)
}

/// The newest sample of a series unless it is stale.
fn newest_of(view: &SeriesView<'_>) -> Option<(i64, Newest)> {
    let float = view.t.last().zip(view.v.last());
    let histogram = view.ht.last().zip(view.h.last());
    match (float, histogram) {
        (float, Some((&t, h))) if float.is_none_or(|(&float_t, _)| float_t < t) => {
            (!h.is_stale()).then(|| (t, Newest::Histogram(h.clone())))
        }
        (Some((&t, &v)), _) => (!is_stale_nan(v)).then_some((t, Newest::Float(v))),
        (None, _) => None,
    }
}

fn render(
    format: Format,
    newest: &NewestSamples,
    known: &BTreeMap<String, Metadata>,
    external: &[(String, String)],
    budget: &Budget,
) -> Result<Vec<u8>, SelectError> {
    let mut page = Page::new(format);
    let mut charged = 0;
    for ((name, labels), (t, value)) in newest.iter().filter(|(_, (_, value))| value.fits(format)) {
        let kind = known.get(name).map_or(MetricType::Unknown, |metadata| metadata.kind);
        page.add(labels, external, value.family_type(kind), *t, value);
        let grown = page.bytes();
        if grown >= charged + PAGE_STEP {
            budget.take((grown - charged) as u64)?;
            charged = grown;
        }
    }
    Ok(page.finish())
}
