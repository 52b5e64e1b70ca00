//! Limits on requests, and how long they took.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::engine::Engine;

/// The limits.
#[derive(Clone)]
pub(super) struct Limits {
    engine: Arc<Engine>,
    gets: Arc<Semaphore>,
    get_concurrency: usize,
    timeout: Option<Duration>,
}

impl Limits {
    pub(super) fn new(engine: Arc<Engine>, get_concurrency: usize, timeout: Option<Duration>) -> Self {
        Limits { engine, gets: Arc::new(Semaphore::new(get_concurrency)), get_concurrency, timeout }
    }

    async fn answer(&self, request: Request, next: Next) -> Response {
        let metrics = &self.engine.metrics;
        let _place = if request.method() == Method::GET {
            let Ok(place) = self.gets.try_acquire() else {
                metrics.concurrency_exceeded.with_label_values(&["get"]).inc();
                let limit = self.get_concurrency;
                let reason = format!("Limit of concurrent GET requests reached ({limit}), try again later.\n\n");
                return (StatusCode::SERVICE_UNAVAILABLE, reason).into_response();
            };
            Some((place, InFlight::enter(&metrics.in_flight)))
        } else {
            None
        };
        let Some(limit) = self.timeout else { return next.run(request).await };
        let answered = pharos_model::clock::timeout(&*self.engine.clock, limit, next.run(request)).await;
        answered.unwrap_or_else(|_| {
            let reason = format!("Exceeded configured timeout of {limit:?}.\n");
            (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
        })
    }
}

/// Counts a request while it is answered.
struct InFlight(prometheus::IntGauge);

impl InFlight {
    fn enter(gauges: &prometheus::IntGaugeVec) -> Self {
        let gauge = gauges.with_label_values(&["get"]);
        gauge.inc();
        InFlight(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The label of a path: ids and unknown paths do not make new series.
fn handler(path: &str) -> &'static str {
    let known = [
        "/api/v2/alerts/groups",
        "/api/v2/alerts",
        "/api/v2/silences",
        "/api/v2/silence/",
        "/api/v2/receivers",
        "/api/v2/status",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/metrics",
    ];
    match known.into_iter().find(|known| path.contains(known)) {
        Some("/api/v2/silence/") => "/api/v2/silence/{silenceID}",
        Some(known) => known,
        None => "other",
    }
}

/// Answers a request within the limits, and measures it.
pub(super) async fn enforce(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let started = limits.engine.clock.monotonic();
    let handler = handler(request.uri().path());
    let method = match *request.method() {
        Method::GET => "get",
        Method::POST => "post",
        Method::DELETE => "delete",
        _ => "other",
    };
    let response = limits.answer(request, next).await;
    let took = limits.engine.clock.monotonic().saturating_sub(started);
    let duration = &limits.engine.metrics.request_duration;
    duration.with_label_values(&[handler, method, response.status().as_str()]).observe(took.as_secs_f64());
    response
}
