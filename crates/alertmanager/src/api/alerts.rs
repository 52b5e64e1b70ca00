//! `alerts` and `alerts/groups`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pharos_notify::alert::Alert;
use serde::{Deserialize, Serialize};

use super::params::{self, Filter, Pairs};
use super::{Api, ApiError, time};
use crate::engine::{Active, AlertView, Engine, Muting};

#[derive(Serialize)]
struct ReceiverName<'v> {
    name: &'v str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownStatus<'v> {
    inhibited_by: Vec<String>,
    muted_by: &'v [String],
    silenced_by: Vec<&'v str>,
    state: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownAlert<'v> {
    annotations: &'v BTreeMap<String, String>,
    ends_at: String,
    fingerprint: String,
    receivers: Vec<ReceiverName<'v>>,
    starts_at: String,
    status: ShownStatus<'v>,
    updated_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'v str,
    labels: &'v BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownGroup<'v> {
    alerts: Vec<ShownAlert<'v>>,
    labels: &'v BTreeMap<String, String>,
    receiver: ReceiverName<'v>,
    route_labels: BTreeMap<String, String>,
}

fn receiver_of(active: &Active, route: usize) -> &str {
    active.config.routes.0.get(route).map_or("", |route| &route.receiver)
}

fn show<'v>(view: &'v AlertView, receivers: Vec<&'v str>, muted_by: &'v [String]) -> ShownAlert<'v> {
    let muting = &view.muting;
    let is_suppressed = !muting.silenced_by.is_empty() || muting.inhibited_by.is_some() || !muted_by.is_empty();
    ShownAlert {
        annotations: &view.alert.annotations,
        ends_at: time::print(view.alert.ends_at),
        fingerprint: view.fingerprint.to_string(),
        receivers: receivers.into_iter().map(|name| ReceiverName { name }).collect(),
        starts_at: time::print(Some(view.alert.starts_at)),
        status: ShownStatus {
            inhibited_by: muting.inhibited_by.iter().map(ToString::to_string).collect(),
            muted_by,
            silenced_by: muting.silenced_by.iter().map(|id| &**id).collect(),
            state: if is_suppressed { "suppressed" } else { "active" },
        },
        updated_at: time::print(Some(view.alert.updated_at)),
        generator_url: &view.alert.generator_url,
        labels: &view.alert.labels,
    }
}

/// Which states of alerts a request asks for.
struct States {
    active: bool,
    silenced: bool,
    inhibited: bool,
}

impl States {
    fn parse(pairs: &[(String, String)]) -> Result<States, ApiError> {
        params::switch(pairs, "unprocessed")?;
        Ok(States {
            active: params::switch(pairs, "active")?,
            silenced: params::switch(pairs, "silenced")?,
            inhibited: params::switch(pairs, "inhibited")?,
        })
    }

    fn keep(&self, muting: &Muting) -> bool {
        let (is_silenced, is_inhibited) = (!muting.silenced_by.is_empty(), muting.inhibited_by.is_some());
        (self.active || is_silenced || is_inhibited)
            && (self.silenced || !is_silenced)
            && (self.inhibited || !is_inhibited)
    }
}

/// Whether routes lead to a receiver that a request asks for.
fn keeps_route(active: &Active, filter: &Filter, route: usize) -> bool {
    let name = receiver_of(active, route);
    let receiver = active.config.receivers.iter().find(|receiver| receiver.name == name);
    filter.keeps_receiver(name, receiver.map(|receiver| &receiver.labels))
}

/// All alerts.
pub(super) async fn list(State(api): State<Arc<Api>>, Pairs { 0: pairs }: Pairs) -> Result<Response, ApiError> {
    let filter = Filter::parse(&pairs, api.engine.settings.syntax)?;
    let states = States::parse(&pairs)?;
    let engine = api.engine.clone();
    let text = off_the_loop(move || {
        let Some(active) = engine.active() else { return Ok("[]".to_string()) };
        let kept_routes: Vec<bool> =
            (0..active.config.routes.0.len()).map(|route| keeps_route(&active, &filter, route)).collect();
        let keeps_routes = |routes: &[usize]| routes.iter().any(|route| kept_routes.get(*route) == Some(&true));
        let views =
            engine.alerts(|alert, routes| keeps_routes(routes) && params::satisfies(&filter.labels, &alert.labels));
        let shown = views.iter().filter(|view| states.keep(&view.muting)).map(|view| {
            let receivers = view.routes.iter().map(|route| receiver_of(&active, *route)).collect();
            show(view, receivers, &[])
        });
        serde_json::to_string(&shown.collect::<Vec<_>>())
    });
    text.await
}

/// All groups with their alerts.
pub(super) async fn groups(State(api): State<Arc<Api>>, Pairs { 0: pairs }: Pairs) -> Result<Response, ApiError> {
    let filter = Filter::parse(&pairs, api.engine.settings.syntax)?;
    let states = States::parse(&pairs)?;
    let shows_muted = params::switch(&pairs, "muted")?;
    let engine = api.engine.clone();
    let text = off_the_loop(move || {
        let Some(active) = engine.active() else { return Ok("[]".to_string()) };
        let now = engine.now();
        let mut groups = engine.groups(
            |route| keeps_route(&active, &filter, route),
            |alert| params::satisfies(&filter.labels, &alert.labels),
        );
        groups.sort_by(|a, b| {
            let by_labels = crate::alerts::label_order(&a.labels, &b.labels);
            by_labels.then_with(|| receiver_of(&active, a.route).cmp(receiver_of(&active, b.route)))
        });
        let muted_by: Vec<Vec<String>> = groups.iter().map(|group| active.muted_by(group.route, now)).collect();
        let shown = groups.iter().zip(&muted_by).filter_map(|(group, muted_by)| {
            let kept = group.alerts.iter().filter(|view| states.keep(&view.muting));
            let shown = kept.map(|view| {
                let mut receivers: Vec<&str> = view.routes.iter().map(|route| receiver_of(&active, *route)).collect();
                receivers.sort_unstable();
                show(view, receivers, muted_by)
            });
            let alerts: Vec<ShownAlert<'_>> = shown.collect();
            let is_shown = !alerts.is_empty() && (shows_muted || muted_by.is_empty());
            is_shown.then(|| ShownGroup {
                alerts,
                labels: &group.labels,
                receiver: ReceiverName { name: receiver_of(&active, group.route) },
                route_labels: active.route_labels(
                    group.route,
                    &group.labels,
                    group.alerts.iter().map(|view| &*view.alert),
                    now,
                ),
            })
        });
        serde_json::to_string(&shown.collect::<Vec<_>>())
    });
    text.await
}

/// Builds a large response on a thread that may be busy.
async fn off_the_loop(
    build: impl FnOnce() -> Result<String, serde_json::Error> + Send + 'static,
) -> Result<Response, ApiError> {
    let built = tokio::task::spawn_blocking(build).await;
    let text = built.map_err(|error| error.to_string()).and_then(|built| built.map_err(|error| error.to_string()));
    let text = text.map_err(ApiError::Internal)?;
    Ok(([(axum::http::header::CONTENT_TYPE, "application/json")], text).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert {
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    #[serde(rename = "generatorURL")]
    generator_url: Option<String>,
}

/// Takes the valid alerts of a request, even if others are invalid.
pub(super) async fn post(State(api): State<Arc<Api>>, body: Bytes) -> Result<StatusCode, ApiError> {
    take(&api.engine, &body).await.map(|()| StatusCode::OK)
}

/// Takes the valid alerts of a body, even if others are invalid.
pub(crate) async fn take(engine: &Arc<Engine>, body: &[u8]) -> Result<(), ApiError> {
    let posted: Vec<PostedAlert> = serde_json::from_slice(body)
        .map_err(|error| ApiError::Unreadable(format!("parsing alerts body from \"\" failed, because {error}")))?;
    let missing = posted.iter().enumerate().filter(|(_, alert)| alert.labels.is_none());
    let missing: Vec<String> = missing.map(|(position, _)| format!("{position}.labels in body is required")).collect();
    if !missing.is_empty() {
        return Err(ApiError::validation(&missing));
    }
    let mut failures = Vec::new();
    let mut valid = Vec::with_capacity(posted.len());
    for posted in posted {
        match accept(posted, engine) {
            Ok(alert) => valid.push(alert),
            Err(failure) => {
                engine.metrics.invalid.with_label_values(&["v2"]).inc();
                failures.push(failure);
            }
        }
    }
    let engine = engine.clone();
    let put = tokio::task::spawn_blocking(move || engine.receive(valid)).await;
    put.map_err(|error| ApiError::Internal(error.to_string()))?;
    match failures.is_empty() {
        true => Ok(()),
        false => Err(ApiError::BadRequest(failures.join("\n"))),
    }
}

/// Completes and checks an alert.
fn accept(posted: PostedAlert, engine: &Engine) -> Result<Alert, String> {
    let now = engine.now();
    let read = |text: Option<String>| time::parse(text.as_deref().unwrap_or_default());
    let (starts_at, ends_at) = (read(posted.starts_at)?, read(posted.ends_at)?);
    let starts_at = starts_at.or(ends_at).unwrap_or(now);
    let timed_out = ends_at.is_none();
    let resolve_timeout = engine.active().map(|active| active.config.resolve_timeout()).unwrap_or_default();
    let ends_at = ends_at.unwrap_or_else(|| now.checked_add(resolve_timeout).unwrap_or(jiff::Timestamp::MAX));
    let mut labels = posted.labels.unwrap_or_default();
    labels.retain(|_, value| !value.is_empty());
    let alert = Alert {
        labels,
        annotations: posted.annotations.unwrap_or_default(),
        starts_at,
        ends_at: Some(ends_at),
        updated_at: now,
        generator_url: posted.generator_url.unwrap_or_default(),
        timed_out,
    };
    if ends_at < starts_at {
        return Err("start time must be before end time".into());
    }
    if alert.labels.is_empty() {
        return Err("at least one label pair required".into());
    }
    let syntax = engine.settings.syntax;
    for (what, set) in [("label set", &alert.labels), ("annotations", &alert.annotations)] {
        if let Some(name) = set.keys().find(|name| !syntax.is_label_name(name)) {
            return Err(format!("invalid {what}: invalid name {name:?}"));
        }
    }
    Ok(alert)
}
