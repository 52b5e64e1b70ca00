//! The client against a server on a local port.

use std::io::Write as _;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::{any, get};
use flate2::Compression;
use flate2::read::{DeflateEncoder, ZlibEncoder};
use flate2::write::GzEncoder;
use pharos_config::{GlobalConfig, ScrapeConfig};

use super::*;

const METRICS: &str = "# TYPE a counter\na 1\nb{x=\"y\"} 2\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The metrics, compressed by an encoder.
fn deflated<W: std::io::Read>(encoder: impl Fn(&'static [u8], Compression) -> W) -> Vec<u8> {
    let mut bytes = Vec::new();
    encoder(METRICS.as_bytes(), Compression::best()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Answers with what it gets.
async fn echo(method: Method, headers: HeaderMap, body: String) -> impl IntoResponse {
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("-").to_string();
    (StatusCode::ACCEPTED, format!("{method} {content_type} {body}"))
}

async fn serve() -> String {
    let text = [("content-type", "text/plain; version=0.0.4")];
    let zipped = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let bomb = gzip(&vec![b'#'; 100 << 20]);
    let broken = gzip(METRICS.as_bytes());
    let app = Router::new()
        .route("/metrics", get(move || async move { (text, METRICS) }))
        .route("/gzip", get(move || async move { (zipped, gzip(METRICS.as_bytes())) }))
        .route("/zlib", get(|| async { ([("content-encoding", "deflate")], deflated(ZlibEncoder::new)) }))
        .route("/deflate", get(|| async { ([("content-encoding", "deflate")], deflated(DeflateEncoder::new)) }))
        .route("/bomb", get(move || async move { (zipped, bomb.clone()) }))
        .route("/broken", get(move || async move { (zipped, broken[..broken.len() / 2].to_vec()) }))
        .route("/large", get(move || async move { (text, vec![b'\n'; 100 << 20]) }))
        .route("/moved", get(|| async { Redirect::temporary("/metrics") }))
        .route("/echo", any(echo))
        .route("/keep", any(|| async { Redirect::temporary("/echo") }))
        .route("/other", any(|| async { Redirect::to("/echo") }))
        .route("/zstd", get(|| async { ([("content-encoding", "zstd")], "x") }))
        .route("/brotli", get(|| async { ([("content-encoding", "br")], "x") }))
        .route(
            "/headers",
            get(|headers: HeaderMap| async move {
                headers.get("x-test").and_then(|v| v.to_str().ok()).unwrap_or("").to_string()
            }),
        )
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

/// The client of a scrape section with these settings.
fn client(yaml: &str) -> Result<HttpClient, ConfigError> {
    let section: ScrapeConfig = serde_saphyr::from_str(&format!("job_name: a\n{yaml}")).unwrap();
    HttpClient::new(&section.validate(&GlobalConfig::default().resolve().unwrap()).unwrap().http)
}

async fn fetch(yaml: &str, url: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
    let client = client(yaml).unwrap();
    let mut body = Vec::new();
    client.get(url, &[], Duration::from_secs(5), limit, None, &mut body).await.map(|_| body)
}

#[tokio::test]
async fn bodies_are_decompressed_and_redirects_followed() {
    let server = format!("http://{}", serve().await);
    let get = |path: &str, limit| {
        let url = format!("{server}{path}");
        async move { fetch("", &url, limit).await }
    };
    for path in ["/metrics", "/gzip", "/moved"] {
        assert_eq!(get(path, 1 << 20).await.unwrap(), METRICS.as_bytes(), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_reaches_its_limit_fails_even_when_it_is_compressed() {
    let server = format!("http://{}", serve().await);
    for path in ["/bomb", "/large", "/metrics"] {
        let body = fetch("", &format!("{server}{path}"), METRICS.len() as u64).await;
        assert_eq!(body, Err(HttpError::BodySize), "{path}");
    }
}

#[tokio::test]
async fn a_truncated_compressed_body_fails() {
    let error = fetch("", &format!("http://{}/broken", serve().await), 1 << 20).await.unwrap_err();
    assert!(matches!(error, HttpError::Failed(_)), "{error}");
}

#[tokio::test]
async fn a_body_with_an_unknown_encoding_is_taken_as_it_is() {
    assert_eq!(fetch("", &format!("http://{}/brotli", serve().await), 1 << 20).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_body_compressed_by_zstd_is_refused() {
    let error = fetch("", &format!("http://{}/zstd", serve().await), 1 << 20).await.unwrap_err();
    assert!(error.to_string().contains("zstd"), "{error}");
}

#[tokio::test]
async fn both_forms_of_deflate_are_decompressed() {
    let server = format!("http://{}", serve().await);
    for path in ["/zlib", "/deflate"] {
        assert_eq!(fetch("", &format!("{server}{path}"), 1 << 20).await.unwrap(), METRICS.as_bytes(), "{path}");
    }
}

#[tokio::test]
async fn a_status_other_than_ok_fails() {
    let error = fetch("", &format!("http://{}/missing", serve().await), 1 << 20).await.unwrap_err();
    assert_eq!(error.to_string(), "server returned HTTP status 404 Not Found");
}

#[tokio::test]
async fn redirects_are_not_followed_when_that_is_disabled() {
    let error =
        fetch("follow_redirects: false", &format!("http://{}/moved", serve().await), 1 << 20).await.unwrap_err();
    assert_eq!(error.to_string(), "server returned HTTP status 307 Temporary Redirect");
}

#[tokio::test]
async fn configured_headers_are_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("header");
    std::fs::write(&file, "from file\n").unwrap();
    let url = format!("http://{}/headers", serve().await);
    for (yaml, sent) in [
        ("{values: [plain]}".to_string(), "plain"),
        ("{secrets: [hidden]}".to_string(), "hidden"),
        (format!("{{files: [{}]}}", file.display()), "from file"),
    ] {
        let body = fetch(&format!("http_headers: {{X-Test: {yaml}}}"), &url, 1000).await.unwrap();
        assert_eq!(body, sent.as_bytes(), "{yaml}");
    }
}

#[tokio::test]
async fn a_missing_credentials_file_fails_the_request() {
    let url = format!("http://{}/private", serve().await);
    let error = fetch("bearer_token_file: /does/not/exist", &url, 1000).await.unwrap_err().to_string();
    assert!(error.starts_with("unable to read file /does/not/exist: "), "{error}");
}

#[tokio::test]
async fn the_content_type_of_the_response_is_kept() {
    let url = format!("http://{}/metrics", serve().await);
    let answer = client("").unwrap().get(&url, &[], Duration::from_secs(5), 1000, None, &mut Vec::new()).await.unwrap();
    assert_eq!(answer.content_type, "text/plain; version=0.0.4");
}

#[tokio::test]
async fn a_response_that_takes_too_long_fails() {
    let client = client("").unwrap();
    let url = format!("http://{}/slow", serve().await);
    let slow = client.get(&url, &[], Duration::from_millis(50), 1000, None, &mut Vec::new()).await.unwrap_err();
    assert_eq!(slow.to_string(), format!("Get {url:?}: context deadline exceeded"));
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_an_error() {
    let refused = fetch("", "http://127.0.0.1:1/metrics", 1000).await.unwrap_err().to_string();
    assert!(refused.contains("onnection refused"), "{refused}");
}

#[tokio::test]
async fn a_malformed_url_is_an_error() {
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
}

#[tokio::test]
async fn credentials_go_along_to_another_port_of_the_host_but_to_no_other_host() {
    let private = serve().await;
    let port = private.rsplit(':').next().unwrap();
    for (host, expected) in [("127.0.0.1", Ok(b"Bearer abc".to_vec())), ("localhost", Err(()))] {
        let location = format!("http://{host}:{port}/private");
        let app = Router::new().route("/", get(move || async move { Redirect::temporary(&location) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        assert_eq!(fetch("bearer_token: abc", &url, 1000).await.map_err(|_| ()), expected, "{host}");
    }
}

#[tokio::test]
async fn redirects_that_never_end_are_an_error() {
    let app = Router::new().route("/", get(|| async { Redirect::temporary("/") }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let error = fetch("", &url, 1000).await.unwrap_err().to_string();
    assert!(error.ends_with("stopped after 10 redirects"), "{error}");
}

#[tokio::test]
async fn no_credentials_are_sent_unless_they_are_configured() {
    let url = format!("http://{}/private", serve().await);
    assert_eq!(fetch("", &url, 1000).await.unwrap_err().to_string(), "server returned HTTP status 401 Unauthorized");
}

#[tokio::test]
async fn missing_certificates_fail_the_request() {
    for (yaml, message) in [
        ("tls_config: {ca_file: /does/not/exist}", "unable to read CA cert file /does/not/exist"),
        ("tls_config: {cert_file: /does/not/exist, key: x}", "unable to read client certificate file /does/not/exist"),
    ] {
        let error = fetch(yaml, "https://127.0.0.1:1/", 1000).await.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn bad_certificates_in_the_configuration_fail_when_the_client_is_built() {
    for (yaml, message) in [
        ("tls_config: {ca: nonsense}", "unable to use specified CA cert"),
        ("tls_config: {min_version: TLS13, max_version: TLS12}", "no supported TLS version"),
    ] {
        let error = client(yaml).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

/// Posts `x` as text and returns the status and the beginning of the answer.
async fn post(url: String, shown_url: Option<&'static str>, limit: usize) -> Result<(u16, String), HttpError> {
    let client = client("").unwrap();
    let headers = vec![(CONTENT_TYPE, HeaderValue::from_static("text/plain"))];
    let request = HttpRequest { method: Method::POST, url, shown_url, headers, body: "x".into() };
    let response = client.send(request, limit).await?;
    Ok((response.status, String::from_utf8(response.body).unwrap()))
}

#[tokio::test]
async fn requests_of_any_method_have_a_body_and_any_status_is_an_answer() {
    let base = format!("http://{}", serve().await);
    assert_eq!(post(format!("{base}/echo"), None, 100).await.unwrap(), (202, "POST text/plain x".into()));
    assert_eq!(post(format!("{base}/none"), None, 100).await.unwrap().0, 404);
}

#[tokio::test]
async fn only_the_beginning_of_a_long_answer_is_read() {
    let base = format!("http://{}", serve().await);
    assert_eq!(post(format!("{base}/echo"), None, 4).await.unwrap().1, "POST");
}

#[tokio::test]
async fn a_redirect_says_whether_the_request_is_repeated_or_the_other_place_fetched() {
    let base = format!("http://{}", serve().await);
    assert_eq!(post(format!("{base}/keep"), None, 100).await.unwrap().1, "POST text/plain x");
    assert_eq!(post(format!("{base}/other"), None, 100).await.unwrap().1, "GET - ");
}

#[tokio::test]
async fn the_error_of_a_request_hides_a_url_that_is_a_secret() {
    let error = post("http://localhost:1/token".into(), Some("<redacted>"), 100).await.unwrap_err().to_string();
    assert!(error.starts_with("Post \"<redacted>\": "), "{error}");
}

#[tokio::test]
async fn a_client_over_a_socket_sends_every_request_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let app = Router::new()
        .route("/metrics", get(|headers: HeaderMap| async move { headers["host"].as_bytes().to_vec() }))
        .route("/moved", get(|| async { Redirect::temporary("http://elsewhere.invalid/metrics") }));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = client("").unwrap().over_socket(&path);
    for (url, host) in [("http://app:1/metrics", "app:1"), ("http://app:1/moved", "elsewhere.invalid")] {
        let mut body = Vec::new();
        client.get(url, &[], Duration::from_secs(5), 1000, None, &mut body).await.unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), host);
    }
    let missing = client.over_socket(&folder.path().join("none"));
    let error =
        missing.get("http://app:1/", &[], Duration::from_secs(5), 1000, None, &mut Vec::new()).await.unwrap_err();
    let HttpError::Failed(error) = error else { panic!("{error:?}") };
    assert!(error.starts_with("Get \"http://app:1/\": dial unix "), "{error}");
}
