//! HTTP discovery against a server on a local port.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use pharos_config::PromDuration;
use prometheus::Registry;

use super::*;

type Response = ([(&'static str, &'static str); 1], String);

const JSON: [(&str, &str); 1] = [("content-type", "application/json; charset=utf-8")];
const LIMIT: Duration = Duration::from_secs(20);

/// Serves a handler; returns the URL.
async fn serve(handler: impl Fn(HeaderMap) -> Response + Clone + Send + Sync + 'static) -> String {
    let app = Router::new().route("/sd", get(move |headers: HeaderMap| async move { handler(headers) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/sd")
}

async fn fetched(
    handler: impl Fn(HeaderMap) -> Response + Clone + Send + Sync + 'static,
) -> Result<Vec<Labels>, String> {
    let config = HttpSdConfig { url: serve(handler).await, ..HttpSdConfig::default() };
    let client = HttpClient::new(&config.http_client().unwrap()).unwrap();
    fetch(&config, &client, LIMIT).await
}

#[tokio::test]
async fn targets_have_the_labels_of_their_group_and_server() {
    let body = r#"[{"targets": ["a:1"], "labels": {"zone": "z"}}]"#;
    let targets = fetched(move |_| (JSON, body.into())).await.unwrap();
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].get("__address__"), Some("a:1"));
    assert_eq!(targets[0].get("zone"), Some("z"));
    assert!(targets[0].get("__meta_url").unwrap().ends_with("/sd"));
}

#[tokio::test]
async fn requests_name_the_refresh_interval() {
    let targets = fetched(|headers| {
        let seconds = headers[REFRESH_HEADER].to_str().unwrap().to_string();
        (JSON, format!(r#"[{{"targets": ["{seconds}"]}}]"#))
    });
    assert_eq!(targets.await.unwrap()[0].get("__address__"), Some("60"));
}

#[tokio::test]
async fn a_response_that_is_not_json_is_refused() {
    let error = fetched(|_| ([("content-type", "text/html")], "[]".into())).await.unwrap_err();
    assert_eq!(error, "unsupported content type \"text/html\"");
}

#[tokio::test]
async fn a_missing_group_is_refused() {
    let error = fetched(|_| (JSON, "[null]".into())).await.unwrap_err();
    assert_eq!(error, "nil target group item found (index 0)");
}

#[tokio::test]
async fn unknown_fields_are_refused() {
    let error = fetched(|_| (JSON, r#"[{"targets": [], "extra": 1}]"#.into())).await.unwrap_err();
    assert!(error.starts_with("unknown field `extra`"), "{error}");
}

#[tokio::test]
async fn failed_requests_keep_the_previous_targets() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    let url = serve(move |_| match counter.fetch_add(1, Ordering::Relaxed) {
        0 => (JSON, r#"[{"targets": ["a:1"]}]"#.into()),
        _ => (JSON, "broken".into()),
    })
    .await;
    let config = HttpSdConfig { url, refresh_interval: PromDuration::from_millis(1), ..HttpSdConfig::default() };
    let client = HttpClient::new(&config.http_client().unwrap()).unwrap();
    let metrics = DiscoveryMetrics::new(&Registry::new()).unwrap();
    let (publish, mut targets) = watch::channel(None);
    let task = tokio::spawn(run(config, client, metrics.clone(), publish));
    tokio::time::timeout(LIMIT, targets.wait_for(Option::is_some)).await.unwrap().unwrap();
    let failed = async {
        while metrics.failures.with_label_values(&["http"]).get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, failed).await.unwrap();
    assert_eq!(targets.borrow().as_deref().unwrap().len(), 1);
    drop(targets);
    tokio::time::timeout(LIMIT, task).await.unwrap().unwrap();
}
