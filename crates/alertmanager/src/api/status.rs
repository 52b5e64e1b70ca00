//! `status` and `receivers`.

use std::sync::Arc;

use super::json::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::params::{self, Pairs};
use super::{Api, ApiError, time};

/// The process, its configuration and its replicas.
pub(super) async fn status(State(api): State<Arc<Api>>) -> Json<Value> {
    let replicas = api.engine.replicas.status();
    let state = match (&replicas.name, replicas.is_settled) {
        (None, _) => "disabled",
        (Some(_), true) => "ready",
        (Some(_), false) => "settling",
    };
    let peers: Vec<Value> =
        replicas.live.iter().map(|peer| json!({"address": peer.address, "name": peer.name})).collect();
    let mut cluster = json!({"peers": peers, "status": state});
    if let (Some(name), Some(cluster)) = (replicas.name, cluster.as_object_mut()) {
        cluster.insert("name".into(), name.into());
    }
    let original = api.engine.active().map(|active| active.config.printed.clone()).unwrap_or_default();
    Json(json!({
        "cluster": cluster,
        "config": {"original": original},
        "uptime": time::print(Some(api.settings.started)),
        "versionInfo": {
            "branch": "",
            "buildDate": "",
            "buildUser": "",
            "goVersion": "",
            "revision": api.settings.revision,
            "version": api.settings.version,
        },
    }))
}

/// All receivers.
pub(super) async fn receivers(State(api): State<Arc<Api>>, Pairs { 0: pairs }: Pairs) -> Result<Response, ApiError> {
    let matchers = params::receiver_matchers(&pairs, api.engine.settings.syntax)?;
    let active = api.engine.active();
    let receivers = active.iter().flat_map(|active| &active.config.receivers);
    let shown = receivers.filter(|receiver| params::satisfies(&matchers, &receiver.labels));
    let shown: Vec<Value> = shown.map(|receiver| json!({"labels": receiver.labels, "name": receiver.name})).collect();
    Ok(Json(shown).into_response())
}
