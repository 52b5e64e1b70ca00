//! OAuth 2.0: a server of tokens vouches for the client.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ProxyConfig, TlsConfig, join};
use crate::error::ConfigError;
use crate::units::Secret;

/// The grant type of RFC 7523, by which the client shows a signed assertion instead of a secret.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// OAuth 2.0 with client credentials, or with a signed assertion ([`JWT_BEARER`]).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuth2 {
    /// The name of the client.
    pub client_id: String,
    /// The secret of the client.
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub client_secret: Secret,
    /// A file with the secret, read for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// A name in a secret manager (rejected: secret managers are not supported).
    #[serde(skip_serializing)]
    pub client_secret_ref: String,
    /// The name of the key that signs assertions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_certificate_key_id: String,
    /// The RSA key that signs assertions, in PEM format.
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub client_certificate_key: Secret,
    /// A file with that key, read for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_key_file: Option<PathBuf>,
    /// A name in a secret manager (rejected: secret managers are not supported).
    #[serde(skip_serializing)]
    pub client_certificate_key_ref: String,
    /// `client_credentials` (the default) or `urn:ietf:params:oauth:grant-type:jwt-bearer`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub grant_type: String,
    /// How assertions are signed: `RS256` (the default), `RS384` or `RS512`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signature_algorithm: String,
    /// Who issues assertions (default: `client_id`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub iss: String,
    /// Whom assertions are for (default: `token_url`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub audience: String,
    /// Further claims of assertions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, serde_json::Value>,
    /// What tokens are asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The URL of the server of tokens.
    #[serde(serialize_with = "crate::units::without_password")]
    pub token_url: String,
    /// Further parameters of requests for tokens.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoint_params: BTreeMap<String, String>,
    /// How to verify the server of tokens and to authenticate by certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    /// The URL of a proxy for requests for tokens.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::units::maybe_without_password")]
    pub proxy_url: Option<String>,
    /// Hosts that are reached without the proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_proxy: Option<String>,
    /// Whether to take the proxy from the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_from_environment: Option<bool>,
    /// Headers of requests for a tunnel through the proxy.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
}

impl OAuth2 {
    /// The proxy of requests for tokens.
    pub fn proxy(&self) -> Result<ProxyConfig, ConfigError> {
        ProxyConfig::checked(
            self.proxy_url.as_ref(),
            self.no_proxy.as_ref(),
            self.proxy_from_environment,
            &self.proxy_connect_header,
        )
    }

    /// Whether a signed assertion takes the place of the secret.
    pub fn is_signed(&self) -> bool {
        self.grant_type == JWT_BEARER
    }

    pub(crate) fn set_directory(&mut self, directory: &Path) {
        join(directory, &mut self.client_secret_file);
        join(directory, &mut self.client_certificate_key_file);
        if let Some(tls) = &mut self.tls_config {
            tls.set_directory(directory);
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |message: &str| Err(ConfigError::new(message));
        if !(self.client_secret_ref.is_empty() && self.client_certificate_key_ref.is_empty()) {
            return refuse("unable to use secret ref without a secret manager");
        }
        if self.client_id.is_empty() {
            return refuse("oauth2 client_id must be configured");
        }
        if self.token_url.is_empty() {
            return refuse("oauth2 token_url must be configured");
        }
        if self.is_signed() {
            if !self.client_certificate_key.is_empty() && self.client_certificate_key_file.is_some() {
                return refuse(
                    "at most one of oauth2 client_certificate_key, client_certificate_key_file & client_certificate_key_ref must be configured using grant-type=urn:ietf:params:oauth:grant-type:jwt-bearer",
                );
            }
            if !["", "RS256", "RS384", "RS512"].contains(&self.signature_algorithm.as_str()) {
                return refuse("valid signature algorithms are RS256, RS384 and RS512");
            }
        } else if !self.client_secret.is_empty() && self.client_secret_file.is_some() {
            return refuse(
                "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured using grant-type=client_credentials",
            );
        }
        self.tls_config.iter().try_for_each(TlsConfig::check)?;
        self.proxy().map(drop)
    }
}
