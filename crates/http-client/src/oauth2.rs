//! Tokens of OAuth 2.0, by RFC 6749 section 4.4 or RFC 7523 section 2.1.
//!
//! A token serves all requests until it expires or the secret of the client changes. Whether a server wants the secret in a header or
//! in the form is found out, as Go's client does.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use pharos_config::{ConfigError, HttpClientConfig, JWT_BEARER, OAuth2};
use pharos_model::{Clock, SystemClock};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::{HttpClient, HttpError, HttpRequest, HttpResponse, RequestError, basic, text_or_file};

/// A token is replaced this long before it expires.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);
/// How long an assertion is valid, seconds.
const ASSERTION_SECONDS: i64 = 600;
/// The limit on a response with a token, bytes.
const MAX_RESPONSE: usize = 1 << 20;

/// The tokens of one client.
pub(crate) struct Tokens {
    config: OAuth2,
    /// The scopes as servers read them.
    scope: String,
    client: HttpClient,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// The place of the secret that the server has accepted.
    place: Option<Place>,
}

struct Token {
    credentials: String,
    /// The secret for which it was given.
    secret: String,
    /// `None` if it never expires.
    expires: Option<Instant>,
}

/// Where a request for a token has the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Header,
    Form,
}

/// The response to a request for a token.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Response {
    access_token: String,
    token_type: String,
    expires_in: Seconds,
    error: String,
    error_description: String,
    error_uri: String,
}

/// A number of seconds, which some servers write as a string. 0 stands for none.
#[derive(Debug, Default)]
struct Seconds(u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        // Negative numbers become 0, and large ones the largest.
        number
            .or_else(|| value.is_null().then_some(0.0))
            .map(|seconds| Seconds(seconds as u64))
            .ok_or_else(|| serde::de::Error::custom(format!("expires_in is not a number: {value}")))
    }
}

impl Tokens {
    pub(crate) fn new(config: &OAuth2) -> Result<Self, ConfigError> {
        let tls_config = config.tls_config.clone().unwrap_or_default();
        let client = HttpClientConfig { tls_config, proxy: config.proxy()?, ..HttpClientConfig::default() };
        let (config, scope) = (config.clone(), config.scopes.join(" "));
        Ok(Tokens { config, scope, client: HttpClient::new(&client)?, state: Mutex::default() })
    }

    /// The value of an `Authorization` header. Requests that come while a token is fetched wait for the same one.
    pub(crate) async fn credentials(&self) -> Result<String, RequestError> {
        let config = &self.config;
        let secret = match config.is_signed() {
            true => (config.client_certificate_key.reveal(), config.client_certificate_key_file.as_deref()),
            false => (config.client_secret.reveal(), config.client_secret_file.as_deref()),
        };
        let secret = text_or_file(secret.0, secret.1).await.map_err(|error| match error {
            RequestError::File(error) => RequestError::File(format!("unable to read oauth2 client secret: {error}")),
            sent => sent,
        })?;
        let mut state = self.state.lock().await;
        let is_fresh = |token: &&Token| {
            token.secret == secret && token.expires.is_none_or(|expires| Instant::now() + EXPIRY_MARGIN < expires)
        };
        if let Some(token) = state.token.as_ref().filter(is_fresh) {
            return Ok(token.credentials.clone());
        }
        state.token = None;
        let response = self.fetch(&mut state.place, &secret).await?;
        let credentials = format!("{} {}", spelled(&response.token_type), response.access_token);
        let lifetime = Some(response.expires_in.0).filter(|seconds| *seconds > 0).map(Duration::from_secs);
        let expires = lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime));
        state.token = Some(Token { credentials: credentials.clone(), secret, expires });
        Ok(credentials)
    }

    async fn fetch(&self, place: &mut Option<Place>, secret: &str) -> Result<Response, String> {
        if self.config.is_signed() {
            let assertion = self.assertion(secret)?;
            return self.post(&self.form(JWT_BEARER, Some(&assertion))?, None).await;
        }
        if let Some(place) = *place {
            return self.ask(place, secret).await;
        }
        if let Ok(response) = self.ask(Place::Header, secret).await {
            *place = Some(Place::Header);
            return Ok(response);
        }
        let response = self.ask(Place::Form, secret).await?;
        *place = Some(Place::Form);
        Ok(response)
    }

    async fn ask(&self, place: Place, secret: &str) -> Result<Response, String> {
        let id = &self.config.client_id;
        let mut form = self.form("client_credentials", None)?;
        let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let credentials = match place {
            Place::Header => Some(basic(&escaped(id), &escaped(secret))),
            Place::Form => {
                form.push(("client_id", id));
                if !secret.is_empty() {
                    form.push(("client_secret", secret));
                }
                None
            }
        };
        self.post(&form, credentials).await
    }

    /// The parameters of a request. Those of the configuration may replace the grant type only.
    fn form<'a>(&'a self, grant_type: &'a str, assertion: Option<&'a str>) -> Result<Vec<(&'a str, &'a str)>, String> {
        let given = &self.config.endpoint_params;
        let grant_type = given.get("grant_type").map_or(grant_type, String::as_str);
        let scope = Some(self.scope.as_str()).filter(|scope| !scope.is_empty());
        let mut form = vec![("grant_type", grant_type)];
        form.extend(assertion.map(|assertion| ("assertion", assertion)));
        form.extend(scope.map(|scope| ("scope", scope)));
        for (name, value) in given.iter().filter(|(name, _)| *name != "grant_type") {
            if form.iter().any(|(known, _)| known == name) {
                return Err(format!("oauth2: cannot overwrite parameter {name:?}"));
            }
            form.push((name, value));
        }
        Ok(form)
    }

    async fn post(&self, form: &[(&str, &str)], credentials: Option<String>) -> Result<Response, String> {
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
        if let Some(credentials) = credentials {
            headers.push((AUTHORIZATION, HeaderValue::try_from(credentials).map_err(|e| e.to_string())?));
        }
        let request = HttpRequest {
            method: Method::POST,
            url: self.config.token_url.clone(),
            shown_url: None,
            headers,
            body: Serializer::new(String::new()).extend_pairs(form).finish().into(),
        };
        let failed = |error: &dyn std::fmt::Display| format!("oauth2: cannot fetch token: {error}");
        let response = self.client.send(request, MAX_RESPONSE).await.map_err(|error: HttpError| failed(&error))?;
        read(&response).map_err(|error| match error {
            Unread::Refused(error) => error,
            Unread::Unreadable(error) => failed(&error),
        })
    }

    /// A signed JSON Web Token (RFC 7519) that names the client.
    fn assertion(&self, key: &str) -> Result<String, String> {
        let config = &self.config;
        let (algorithm, encoding): (&str, &'static dyn RsaEncoding) = match config.signature_algorithm.as_str() {
            "RS384" => ("RS384", &RSA_PKCS1_SHA384),
            "RS512" => ("RS512", &RSA_PKCS1_SHA512),
            _ => ("RS256", &RSA_PKCS1_SHA256),
        };
        let mut header = serde_json::json!({"alg": algorithm, "typ": "JWT"});
        if !config.client_certificate_key_id.is_empty() {
            header["kid"] = config.client_certificate_key_id.clone().into();
        }
        let claims = self.claims()?;
        let encoded = |json: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let key = rsa_key(key)?;
        let mut signature = vec![0; key.public().modulus_len()];
        let made = key.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        made.map_err(|_| "oauth2: the assertion could not be signed".to_string())?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    fn claims(&self) -> Result<serde_json::Value, String> {
        let or = |text: &String, other: &String| if text.is_empty() { other.clone() } else { text.clone() };
        let OAuth2 { iss, client_id, audience, token_url, claims: given, .. } = &self.config;
        // The server compares these times with its own wall clock.
        let now = SystemClock::new().now_ms() / 1000;
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| "oauth2: no random numbers".to_string())?;
        let mut claims = serde_json::json!({
            "iss": or(iss, client_id),
            "sub": client_id,
            "jti": format!("{:032x}", u128::from_be_bytes(id)),
            "aud": or(audience, token_url),
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        });
        if !self.scope.is_empty() {
            claims["scope"] = self.scope.clone().into();
        }
        for (name, value) in given {
            claims[name] = value.clone();
        }
        Ok(claims)
    }
}

/// Reads a key in PKCS 1 or PKCS 8 format.
fn rsa_key(pem: &str) -> Result<RsaKeyPair, String> {
    let failed = |error: &dyn std::fmt::Display| format!("oauth2: the client certificate key cannot be used: {error}");
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| failed(&e))? {
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).map_err(|e| failed(&e)),
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|e| failed(&e)),
        _ => Err(failed(&"it is not an RSA key")),
    }
}

/// The type of a token as servers expect it, whatever the case in which it was named.
fn spelled(token_type: &str) -> String {
    match token_type.to_ascii_lowercase().as_str() {
        "" | "bearer" => "Bearer".into(),
        "mac" => "MAC".into(),
        "basic" => "Basic".into(),
        _ => token_type.to_string(),
    }
}

/// Why a response has no token.
enum Unread {
    Refused(String),
    Unreadable(String),
}

fn read(response: &HttpResponse) -> Result<Response, Unread> {
    let is_success = (200..300).contains(&response.status);
    let content_type = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let parsed = match media_type.as_str() {
        "application/x-www-form-urlencoded" | "text/plain" => Ok(of_form(&response.body)),
        _ => serde_json::from_slice(&response.body),
    };
    let parsed: Response = match parsed {
        Ok(parsed) => parsed,
        Err(_) if !is_success => Response::default(),
        Err(error) => return Err(Unread::Unreadable(format!("cannot parse json: {error}"))),
    };
    if !parsed.error.is_empty() {
        let mut text = format!("oauth2: {:?}", parsed.error);
        for more in [&parsed.error_description, &parsed.error_uri].into_iter().filter(|more| !more.is_empty()) {
            text += &format!(" {more:?}");
        }
        return Err(Unread::Refused(text));
    }
    if !is_success {
        let reason = http::StatusCode::from_u16(response.status).ok().and_then(|status| status.canonical_reason());
        let status = format!("{} {}", response.status, reason.unwrap_or(""));
        let body = String::from_utf8_lossy(&response.body);
        return Err(Unread::Unreadable(format!("{}\nResponse: {body}", status.trim_end())));
    }
    if parsed.access_token.is_empty() {
        return Err(Unread::Refused("oauth2: server response missing access_token".into()));
    }
    Ok(parsed)
}

fn of_form(body: &[u8]) -> Response {
    let mut response = Response::default();
    for (name, value) in url::form_urlencoded::parse(body) {
        match &*name {
            "access_token" => response.access_token = value.into_owned(),
            "token_type" => response.token_type = value.into_owned(),
            "expires_in" => response.expires_in = Seconds(value.parse().unwrap_or(0)),
            "error" => response.error = value.into_owned(),
            "error_description" => response.error_description = value.into_owned(),
            "error_uri" => response.error_uri = value.into_owned(),
            _ => {}
        }
    }
    response
}

#[cfg(test)]
mod tests;
