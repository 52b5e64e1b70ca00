//! `notifications` and `notifications/live`: what an operator should know now.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;

use super::respond;
use crate::Api;

/// Handles `GET /api/v1/notifications`.
pub(super) async fn current(State(api): State<Arc<Api>>) -> Response {
    respond::success(api.services.notifications().current())
}

/// Handles `GET /api/v1/notifications/live`: server-sent events with a notification each.
pub(super) async fn live(State(api): State<Arc<Api>>) -> Response {
    let Some(notifications) = api.services.notifications().subscribe() else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let events = notifications.map(|notification| {
        // Three fields without a fallible part.
        let text = serde_json::to_string(&notification).unwrap_or_default();
        Ok::<_, Infallible>(Event::default().data(text))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
