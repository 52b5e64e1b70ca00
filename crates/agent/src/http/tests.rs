//! The client and the whole agent against a server on a local port.

use std::io::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use pharos_model::SystemClock;
use tokio::sync::watch;

use super::*;
use crate::scrape::tests::Recorder;
use crate::targets::tests::resolved;
use crate::{Agent, AgentConfig, Health};

const METRICS: &str = "# TYPE a counter\na 1\nb{x=\"y\"} 2\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn serve() -> String {
    let text = [("content-type", "text/plain; version=0.0.4")];
    let zipped = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let bomb = gzip(&vec![b'#'; 100 << 20]);
    let broken = gzip(METRICS.as_bytes());
    let app = Router::new()
        .route("/metrics", get(move || async move { (text, METRICS) }))
        .route("/gzip", get(move || async move { (zipped, gzip(METRICS.as_bytes())) }))
        .route("/bomb", get(move || async move { (zipped, bomb.clone()) }))
        .route("/broken", get(move || async move { (zipped, broken[..broken.len() / 2].to_vec()) }))
        .route("/large", get(move || async move { (text, vec![b'\n'; 100 << 20]) }))
        .route("/moved", get(|| async { Redirect::temporary("/metrics") }))
        .route("/slow", get(|| async { std::future::pending::<()>().await }))
        .route(
            "/private",
            get(|headers: HeaderMap| async move {
                let authorization =
                    headers.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or("").to_string();
                if authorization.is_empty() {
                    StatusCode::UNAUTHORIZED.into_response()
                } else {
                    authorization.into_response()
                }
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn fetch(yaml: &str, url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
    let client = HttpClient::new(&resolved(&format!("job_name: a\n{yaml}")).http).unwrap();
    let mut body = Vec::new();
    client.get(url, &[], Duration::from_secs(5), limit, &mut body).await.map(|_| body)
}

#[tokio::test]
async fn bodies_are_read_and_bounded() {
    let server = format!("http://{}", serve().await);
    let get = |path: &str, limit| {
        let url = format!("{server}{path}");
        async move { fetch("", &url, limit).await }
    };
    for path in ["/metrics", "/gzip", "/moved"] {
        assert_eq!(get(path, 1 << 20).await.unwrap(), METRICS.as_bytes(), "{path}");
    }
    for path in ["/bomb", "/large", "/metrics"] {
        assert_eq!(get(path, METRICS.len() as u64).await, Err(HttpError::BodySize), "{path}");
    }
    assert!(matches!(get("/broken", 1 << 20).await, Err(HttpError::Failed(_))));
    assert_eq!(get("/missing", 1 << 20).await.unwrap_err().to_string(), "server returned HTTP status 404 Not Found");
    assert_eq!(
        fetch("follow_redirects: false", &format!("{server}/moved"), 1 << 20).await.unwrap_err().to_string(),
        "server returned HTTP status 307 Temporary Redirect"
    );
}

#[tokio::test]
async fn failures_say_what_happened() {
    let server = format!("http://{}", serve().await);
    let client = HttpClient::new(&resolved("job_name: a").http).unwrap();
    let url = format!("{server}/slow");
    let slow = client.get(&url, &[], Duration::from_millis(50), 1000, &mut Vec::new()).await.unwrap_err();
    assert_eq!(slow.to_string(), format!("Get {url:?}: context deadline exceeded"));
    let refused = fetch("", "http://127.0.0.1:1/metrics", 1000).await.unwrap_err().to_string();
    assert!(refused.contains("onnection refused"), "{refused}");
    assert!(fetch("", "not a url", 1000).await.is_err());
}

#[tokio::test]
async fn credentials_are_sent() {
    let url = format!("http://{}/private", serve().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "t0ken\n").unwrap();
    for (yaml, sent) in [
        ("basic_auth: {username: u, password: p}".to_string(), "Basic dTpw"),
        ("bearer_token: abc".to_string(), "Bearer abc"),
        (format!("authorization: {{type: Custom, credentials_file: {}}}", file.display()), "Custom t0ken"),
    ] {
        assert_eq!(fetch(&yaml, &url, 1000).await.unwrap(), sent.as_bytes());
    }
    assert_eq!(fetch("", &url, 1000).await.unwrap_err().to_string(), "server returned HTTP status 401 Unauthorized");
}

#[test]
fn bad_certificates_are_refused_when_the_client_is_built() {
    for (yaml, message) in [
        ("tls_config: {ca: nonsense}", "unable to use specified CA cert"),
        ("tls_config: {ca_file: /does/not/exist}", "unable to read CA cert file /does/not/exist"),
        ("tls_config: {min_version: TLS13, max_version: TLS12}", "no supported TLS version"),
    ] {
        let error = HttpClient::new(&resolved(&format!("job_name: a\n{yaml}")).http).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[tokio::test]
async fn an_agent_scrapes_reloads_and_stops() {
    let address = serve().await;
    let recorder = Arc::new(Recorder::default());
    let config = |path: &str| {
        let yaml = format!(
            "job_name: j\nscrape_interval: 50ms\nscrape_timeout: 50ms\nmetrics_path: {path}\nstatic_configs: [{{targets: ['{address}']}}]"
        );
        vec![Arc::new(resolved(&yaml))]
    };
    let agent = Agent::create(
        AgentConfig { scrape: config("/gzip"), ..AgentConfig::default() },
        recorder.clone(),
        crate::Ownership::everything(),
        Arc::new(SystemClock::new()),
        &prometheus::Registry::new(),
    )
    .unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(agent.clone().run(stopped));
    let health = |wanted: Health| {
        let agent = agent.clone();
        async move {
            loop {
                let targets: Vec<_> = agent.pools().iter().flat_map(|pool| pool.active()).collect();
                if targets.iter().any(|target| target.status().health == wanted) {
                    return targets[0].clone();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let up = tokio::time::timeout(Duration::from_secs(20), health(Health::Up)).await.unwrap();
    assert_eq!((up.url.as_str(), up.metadata().len()), (format!("http://{address}/gzip").as_str(), 1));
    agent.reload(config("/missing")).unwrap();
    let down = tokio::time::timeout(Duration::from_secs(20), health(Health::Down)).await.unwrap();
    assert_eq!(down.status().last_error, "server returned HTTP status 404 Not Found");
    stop.send_replace(true);
    running.await.unwrap();
    let batches = recorder.take();
    assert_eq!(batches[0].len(), 7, "two series and five of the report");
    let all: Vec<_> = batches.iter().flatten().collect();
    let of_a = all.iter().filter(|line| line.contains("__name__=\"a\"")).collect::<Vec<_>>();
    assert_eq!(
        of_a.iter().filter(|line| line.contains("stale")).count(),
        1,
        "the series ends with the first failed scrape"
    );
}
