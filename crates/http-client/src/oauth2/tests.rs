//! A client against a server of tokens that also serves metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response as HttpAnswer};
use axum::routing::{get, post};
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex as SyncMutex;
use ring::signature::{RSA_PKCS1_2048_8192_SHA384, UnparsedPublicKey};

use super::*;
use pharos_config::Secret;

/// A key for tests only.
const KEY: &str = include_str!("key.pem");

/// A request for a token: its credentials and its form.
type Asked = (Option<String>, BTreeMap<String, String>);

#[derive(Clone)]
struct Server {
    asked: Arc<SyncMutex<Vec<Asked>>>,
    answer: fn(&Asked, usize) -> (StatusCode, &'static str, String),
}

async fn token(
    State(server): State<Server>,
    headers: HeaderMap,
    Form(form): Form<BTreeMap<String, String>>,
) -> HttpAnswer {
    let credentials = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_string());
    let mut asked = server.asked.lock();
    asked.push((credentials, form));
    let (status, content_type, body) = (server.answer)(&asked[asked.len() - 1], asked.len());
    (status, [(CONTENT_TYPE, content_type)], body).into_response()
}

/// What requests for metrics carry.
async fn metrics(headers: HeaderMap) -> String {
    headers.get(AUTHORIZATION).map_or("-", |value| value.to_str().unwrap()).to_string()
}

async fn serve(
    answer: fn(&Asked, usize) -> (StatusCode, &'static str, String),
) -> (String, Arc<SyncMutex<Vec<Asked>>>) {
    let server = Server { asked: Arc::default(), answer };
    let asked = server.asked.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/token", post(token)).route("/metrics", get(metrics)).with_state(server);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

fn numbered(_: &Asked, number: usize) -> (StatusCode, &'static str, String) {
    (
        StatusCode::OK,
        "application/json",
        format!(r#"{{"access_token": "t{number}", "token_type": "bearer", "expires_in": 3600}}"#),
    )
}

fn config(url: &str) -> OAuth2 {
    OAuth2 {
        client_id: "me & you".into(),
        client_secret: Secret::new("s3cret"),
        token_url: format!("{url}/token"),
        scopes: vec!["a".into(), "b".into()],
        endpoint_params: [("audience".to_string(), "x".to_string())].into(),
        ..OAuth2::default()
    }
}

fn client(oauth2: OAuth2) -> HttpClient {
    HttpClient::new(&HttpClientConfig { oauth2: Some(oauth2), ..HttpClientConfig::default() }).unwrap()
}

async fn fetch(client: &HttpClient, url: &str) -> Result<String, HttpError> {
    let mut body = Vec::new();
    let got = client.get(&format!("{url}/metrics"), &[], Duration::from_secs(20), 1 << 20, None, &mut body).await;
    got.map(|_| String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn one_token_serves_many_requests() {
    let (url, asked) = serve(numbered).await;
    let client = client(config(&url));
    for _ in 0..3 {
        assert_eq!(fetch(&client, &url).await.unwrap(), "Bearer t1");
    }
    let form = [("grant_type", "client_credentials"), ("scope", "a b"), ("audience", "x")];
    let form = form.map(|(name, value)| (name.to_string(), value.to_string()));
    let credentials = format!("Basic {}", BASE64_STANDARD.encode("me+%26+you:s3cret"));
    assert_eq!(*asked.lock(), [(Some(credentials), BTreeMap::from(form))]);
}

#[tokio::test]
async fn a_server_that_wants_the_secret_in_the_form_gets_it_there() {
    let (url, asked) = serve(|asked, number| match asked.0 {
        Some(_) => (StatusCode::UNAUTHORIZED, "text/html", "no".into()),
        // So short that it is replaced at once.
        None => (StatusCode::OK, "text/plain", format!("access_token=t{number}&token_type=mac&expires_in=9")),
    })
    .await;
    let client = client(config(&url));
    assert_eq!(fetch(&client, &url).await.unwrap(), "MAC t2");
    assert_eq!(fetch(&client, &url).await.unwrap(), "MAC t3", "the header is not tried again");
    let form = &asked.lock()[1].1;
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("me & you", "s3cret"));
}

#[tokio::test]
async fn a_refusal_is_told_as_go_tells_it() {
    for (status, content_type, body, message) in [
        (
            401,
            "application/json",
            r#"{"error": "invalid_client", "error_description": "no"}"#,
            "oauth2: \"invalid_client\" \"no\"",
        ),
        (503, "text/html", "away", "oauth2: cannot fetch token: 503 Service Unavailable\nResponse: away"),
        (200, "application/json", "{}", "oauth2: server response missing access_token"),
    ] {
        let response = HttpResponse {
            status,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]),
            body: body.into(),
        };
        let error = match read(&response) {
            Ok(_) => panic!("{status} {body} has a token"),
            Err(Unread::Refused(error)) => error,
            Err(Unread::Unreadable(error)) => format!("oauth2: cannot fetch token: {error}"),
        };
        assert_eq!(error, message);
    }
    let (url, _) =
        serve(|_, _| (StatusCode::BAD_REQUEST, "application/json", r#"{"error": "invalid_scope"}"#.into())).await;
    let error = fetch(&client(config(&url)), &url).await.unwrap_err().to_string();
    assert_eq!(error, format!("Get \"{url}/metrics\": oauth2: \"invalid_scope\""));
}

#[tokio::test]
async fn another_secret_gets_another_token() {
    let (url, _) = serve(numbered).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let client =
        client(OAuth2 { client_secret: Secret::default(), client_secret_file: Some(file.clone()), ..config(&url) });
    let error = fetch(&client, &url).await.unwrap_err().to_string();
    assert!(error.starts_with("unable to read oauth2 client secret: unable to read file"), "{error}");
    std::fs::write(&file, "one\n").unwrap();
    assert_eq!(fetch(&client, &url).await.unwrap(), "Bearer t1");
    std::fs::write(&file, "two").unwrap();
    assert_eq!(fetch(&client, &url).await.unwrap(), "Bearer t2");
}

#[tokio::test]
async fn a_parameter_cannot_replace_one_of_the_protocol() {
    let (url, asked) = serve(numbered).await;
    let mut config = config(&url);
    config.endpoint_params = [("grant_type".to_string(), "other".to_string())].into();
    assert_eq!(fetch(&client(config.clone()), &url).await.unwrap(), "Bearer t1");
    assert_eq!(asked.lock()[0].1["grant_type"], "other");
    config.endpoint_params = [("scope".to_string(), "c".to_string())].into();
    let error = fetch(&client(config), &url).await.unwrap_err().to_string();
    assert!(error.ends_with("oauth2: cannot overwrite parameter \"scope\""), "{error}");
}

#[tokio::test]
async fn an_assertion_is_signed_by_the_key_of_the_client() {
    let (url, asked) = serve(numbered).await;
    let client = client(OAuth2 {
        grant_type: JWT_BEARER.into(),
        client_certificate_key: Secret::new(KEY),
        client_certificate_key_id: "k1".into(),
        signature_algorithm: "RS384".into(),
        claims: [("team".to_string(), serde_json::json!(["a", 1]))].into(),
        ..config(&url)
    });
    assert_eq!(fetch(&client, &url).await.unwrap(), "Bearer t1");
    let (credentials, form) = asked.lock()[0].clone();
    assert_eq!((credentials, form["grant_type"].as_str(), form["scope"].as_str()), (None, JWT_BEARER, "a b"));
    let (signed, signature) = form["assertion"].rsplit_once('.').unwrap();
    let decoded = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    let public = rsa_key(KEY).unwrap().public().as_ref().to_vec();
    let verified = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA384, public);
    verified.verify(signed.as_bytes(), &decoded(signature)).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let json = |text| serde_json::from_slice::<serde_json::Value>(&decoded(text)).unwrap();
    assert_eq!(json(header), serde_json::json!({"alg": "RS384", "typ": "JWT", "kid": "k1"}));
    let claims = json(claims);
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["scope"]),
        (&"me & you".into(), &"me & you".into(), &"a b".into())
    );
    assert_eq!(
        (claims["aud"].as_str(), &claims["team"]),
        (Some(&*format!("{url}/token")), &serde_json::json!(["a", 1]))
    );
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 600);
}

#[test]
fn a_key_that_cannot_be_used_is_an_error() {
    assert!(rsa_key("x").unwrap_err().starts_with("oauth2: the client certificate key cannot be used: "));
}
