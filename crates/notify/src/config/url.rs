//! URLs of services, and those that are secrets.

use std::fmt;

use pharos_config::Secret;
use pharos_gocompat::GoQuoted;
use pharos_gocompat::template::{Template, escape_query};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// What stands for a secret in a configuration that was printed.
const SECRET: &str = "<secret>";

/// The URL of a service's interface.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiUrl {
    /// Scheme and authority.
    origin: String,
    path: String,
    query: String,
}

impl ApiUrl {
    /// Reads a URL of HTTP or HTTPS.
    ///
    /// # Errors
    /// It has another scheme or no host.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(format!("parse {}: net/url: invalid control character in URL", GoQuoted(text)));
        }
        let (without_fragment, _) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = without_fragment.split_once(':').unwrap_or(("", without_fragment));
        if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
            return Err(format!("unsupported scheme {} for URL", GoQuoted(scheme)));
        }
        let rest = rest.strip_prefix("//").ok_or("missing host for URL")?;
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.rsplit('@').next().is_none_or(str::is_empty) {
            return Err("missing host for URL".into());
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let origin = format!("{}://{authority}", scheme.to_ascii_lowercase());
        Ok(ApiUrl { origin, path: path.to_string(), query: query.to_string() })
    }

    /// The host and port.
    pub(crate) fn host(&self) -> &str {
        let authority = self.origin.split_once("://").map_or("", |(_, authority)| authority);
        authority.rsplit('@').next().unwrap_or("")
    }

    /// The path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The URL with a text behind its path.
    pub(crate) fn with_suffix(&self, suffix: &str) -> Self {
        ApiUrl { path: format!("{}{suffix}", self.path), ..self.clone() }
    }

    /// The URL with a path that ends in a slash.
    pub(crate) fn as_folder(&self) -> Self {
        if self.path.ends_with('/') { self.clone() } else { self.with_suffix("/") }
    }

    /// The URL of something below the path.
    pub(crate) fn join(&self, below: &str) -> Self {
        let path = format!("{}/{}", self.path.trim_end_matches('/'), below.trim_start_matches('/'));
        ApiUrl { path, ..self.clone() }
    }

    /// The URL with parameters in its query besides those that it has, in the order of their names.
    pub(crate) fn with_query(&self, parameters: &[(&str, &str)]) -> Self {
        let own = self.query.split('&').filter(|pair| !pair.is_empty()).map(str::to_string);
        let added = parameters.iter().map(|(name, value)| format!("{}={}", escape_query(name), escape_query(value)));
        let mut all: Vec<String> = own.chain(added).collect();
        all.sort();
        ApiUrl { query: all.join("&"), ..self.clone() }
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)?;
        if self.query.is_empty() { Ok(()) } else { write!(f, "?{}", self.query) }
    }
}

impl fmt::Debug for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&pharos_config::masked_url(&self.to_string()))
    }
}

impl<'de> Deserialize<'de> for ApiUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ApiUrl::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for ApiUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        pharos_config::without_password(&self.to_string(), serializer)
    }
}

/// A URL that is a secret: whoever knows it may post. It prints as `<secret>`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Option<ApiUrl>);

impl SecretUrl {
    /// Makes a secret of a URL.
    pub fn new(url: ApiUrl) -> Self {
        SecretUrl(Some(url))
    }

    /// The URL, for the request that needs it. It is empty in a configuration that was printed before.
    pub(crate) fn reveal(&self) -> String {
        self.0.as_ref().map(ApiUrl::to_string).unwrap_or_default()
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SECRET)
    }
}

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == SECRET {
            return Ok(SecretUrl(None));
        }
        ApiUrl::parse(&text).map(SecretUrl::new).map_err(D::Error::custom)
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SECRET)
    }
}

/// A URL that is a secret and may be a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct SecretTemplateUrl(Secret);

impl SecretTemplateUrl {
    /// The template, for the request that needs it.
    pub(crate) fn reveal(&self) -> &str {
        self.0.reveal()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl super::omit::Omit for SecretTemplateUrl {
    fn is_omitted(&self) -> bool {
        self.is_empty()
    }
}

impl<'de> Deserialize<'de> for SecretTemplateUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if is_template(&text).map_err(|e| D::Error::custom(format!("invalid template syntax: {e}")))? {
            return Ok(SecretTemplateUrl(Secret::new(text)));
        }
        if !text.is_empty() && text != SECRET {
            ApiUrl::parse(&text).map_err(|e| D::Error::custom(format!("invalid URL: {e}")))?;
        }
        Ok(SecretTemplateUrl(Secret::new(text)))
    }
}

/// Whether a text has actions of a template.
///
/// # Errors
/// It has, and they are not a template of Go's own functions.
pub(crate) fn is_template(text: &str) -> Result<bool, String> {
    if !text.contains("{{") {
        return Ok(false);
    }
    Template::parse("", text.to_string(), &|_| false).map(|_| true).map_err(|e| e.to_string())
}
