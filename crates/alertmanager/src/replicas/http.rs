//! Calls between processes of `pharos alertmanager --cluster.peer`: a POST with a letter, answered by another one.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures::future::BoxFuture;
use pharos_config::HttpConfig;
use pharos_http_client::{HttpClient, HttpRequest};

use super::carrier::{Carrier, MAX_BYTES};
use super::cluster::{Cluster, Refused};

/// The path of calls.
const PATH: &str = "/pharos/alertmanager/replica";

/// Carries calls over HTTP, without encryption.
pub struct HttpCarrier(HttpClient);

impl HttpCarrier {
    /// A carrier with an HTTP client of its own.
    ///
    /// # Errors
    /// The client cannot be built.
    pub fn new() -> Result<Self, String> {
        let client = HttpConfig::default().http_client().and_then(|config| HttpClient::new(&config));
        client.map(HttpCarrier).map_err(|error| error.to_string())
    }
}

impl Carrier for HttpCarrier {
    fn carry<'a>(&'a self, address: &'a str, call: Bytes) -> BoxFuture<'a, Result<Bytes, String>> {
        let url = format!("http://{address}{PATH}");
        let request = HttpRequest { method: Method::POST, url, shown_url: None, headers: Vec::new(), body: call };
        Box::pin(async move {
            let response = self.0.send(request, MAX_BYTES).await.map_err(|error| error.to_string())?;
            if response.status == 200 {
                return Ok(Bytes::from(response.body));
            }
            let body = String::from_utf8_lossy(&response.body);
            Err(format!("status {}: {}", response.status, body.trim().chars().take(200).collect::<String>()))
        })
    }
}

/// The interface for replicas that call by HTTP.
pub fn router(cluster: Arc<Cluster>) -> Router {
    Router::new().route(PATH, post(answer)).layer(DefaultBodyLimit::max(MAX_BYTES)).with_state(cluster)
}

async fn answer(State(cluster): State<Arc<Cluster>>, body: Bytes) -> Response {
    match cluster.answer(&body).await {
        Ok(answer) => answer.into_response(),
        Err(refused) => {
            let status = match refused {
                Refused::Unreadable(_) => StatusCode::BAD_REQUEST,
                Refused::OtherCluster(_) => StatusCode::FORBIDDEN,
            };
            (status, format!("{refused}\n")).into_response()
        }
    }
}
