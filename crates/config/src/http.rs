//! The HTTP client of a section: credentials, TLS, headers, redirects.
//!
//! Prometheus inlines these fields into several sections. [`with_http_client!`] adds them to a struct, so that unknown
//! fields are still rejected with their position in the file.

mod oauth2;
mod proxy;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::units::Secret;
pub use oauth2::{JWT_BEARER, OAuth2};
pub use proxy::ProxyConfig;

/// Declares a section with its own fields, whose defaults follow `=` where they differ from those of their types, with those
/// of an HTTP client, and with fields that are accepted but not supported.
macro_rules! with_http_client {
    // A section that discovers targets: Prometheus's other kinds of discovery are accepted but not supported.
    (
        $(#[$meta:meta])* pub struct $name:ident { $($fields:tt)* }
        unsupported: [other kinds of discovery $(, $unsupported:ident)* $(,)?]
    ) => {
        with_http_client! {
            $(#[$meta])* pub struct $name { $($fields)* }
            unsupported: [
                $($unsupported,)*
                aws_sd_configs, azure_sd_configs, consul_sd_configs, digitalocean_sd_configs, dns_sd_configs,
                docker_sd_configs, dockerswarm_sd_configs, ec2_sd_configs, ecs_sd_configs, elasticache_sd_configs,
                eureka_sd_configs, gce_sd_configs, hetzner_sd_configs, ionos_sd_configs, kubernetes_sd_configs,
                kuma_sd_configs, lightsail_sd_configs, linode_sd_configs, marathon_sd_configs, msk_sd_configs,
                nerve_sd_configs, nomad_sd_configs, oci_sd_configs, openstack_sd_configs, outscale_sd_configs,
                ovhcloud_sd_configs, puppetdb_sd_configs, rds_sd_configs, scaleway_sd_configs,
                serverset_sd_configs, stackit_sd_configs, triton_sd_configs, uyuni_sd_configs, vultr_sd_configs,
            ]
        }
    };
    (
        $(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty $(= $default:expr)?,)* }
        $(unsupported: [$($unsupported:ident),* $(,)?])?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            $($(
                /// Not supported.
                #[serde(skip_serializing)]
                pub $unsupported: Option<serde::de::IgnoredAny>,
            )*)?
            /// Basic authentication.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub basic_auth: Option<$crate::http::BasicAuth>,
            /// The `Authorization` header.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub authorization: Option<$crate::http::Authorization>,
            /// OAuth 2.0.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub oauth2: Option<$crate::http::OAuth2>,
            /// A bearer token, the older form of `authorization`.
            #[serde(skip_serializing_if = "crate::units::Secret::is_empty")]
            pub bearer_token: $crate::units::Secret,
            /// A file with a bearer token, the older form of `authorization`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub bearer_token_file: Option<std::path::PathBuf>,
            /// How to verify the server and to authenticate by certificate.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub tls_config: Option<$crate::http::TlsConfig>,
            /// Whether to follow redirects (default: true).
            pub follow_redirects: bool,
            /// Whether to offer HTTP/2 over TLS (default: true).
            pub enable_http2: bool,
            /// The URL of a proxy: `http`, `https` or `socks5`.
            #[serde(
                skip_serializing_if = "Option::is_none",
                serialize_with = "crate::units::maybe_without_password"
            )]
            pub proxy_url: Option<String>,
            /// Hosts that are reached without the proxy, separated by commas.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub no_proxy: Option<String>,
            /// Whether to take the proxy from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` of the environment.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub proxy_from_environment: Option<bool>,
            /// Headers of requests for a tunnel through the proxy.
            #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            pub proxy_connect_header: std::collections::BTreeMap<String, Vec<$crate::units::Secret>>,
            /// Headers that every request gets.
            #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            pub http_headers: std::collections::BTreeMap<String, $crate::http::HeaderValues>,
        }

        impl Default for $name {
            fn default() -> Self {
                $name {
                    $($field: with_http_client!(@default $($default)?),)*
                    $($($unsupported: None,)*)?
                    basic_auth: None,
                    authorization: None,
                    oauth2: None,
                    bearer_token: $crate::units::Secret::default(),
                    bearer_token_file: None,
                    tls_config: None,
                    follow_redirects: true,
                    enable_http2: true,
                    proxy_url: None,
                    no_proxy: None,
                    proxy_from_environment: None,
                    proxy_connect_header: std::collections::BTreeMap::new(),
                    http_headers: std::collections::BTreeMap::new(),
                }
            }
        }

        impl $name {
            /// Checks the fields of the HTTP client.
            pub fn http_client(&self) -> Result<$crate::http::HttpClientConfig, $crate::error::ConfigError> {
                $crate::http::HttpClientConfig {
                    basic_auth: self.basic_auth.clone(),
                    authorization: self.authorization.clone(),
                    tls_config: self.tls_config.clone().unwrap_or_default(),
                    follow_redirects: self.follow_redirects,
                    enable_http2: self.enable_http2,
                    http_headers: self.http_headers.clone(),
                    oauth2: self.oauth2.clone(),
                    proxy: $crate::http::ProxyConfig::checked(
                        self.proxy_url.as_ref(),
                        self.no_proxy.as_ref(),
                        self.proxy_from_environment,
                        &self.proxy_connect_header,
                    )?,
                }
                .checked(&self.bearer_token, self.bearer_token_file.as_deref())
            }

            $(
                /// The names of this section's fields that are set but not supported.
                fn unsupported_fields(&self) -> Vec<&'static str> {
                    [$((stringify!($unsupported), self.$unsupported.is_some()),)*]
                        .into_iter()
                        .filter_map(|(name, is_set)| is_set.then_some(name))
                        .collect()
                }
            )?

            fn set_http_directory(&mut self, directory: &std::path::Path) {
                if let Some(auth) = &mut self.basic_auth {
                    auth.set_directory(directory);
                }
                if let Some(auth) = &mut self.authorization {
                    $crate::http::join(directory, &mut auth.credentials_file);
                }
                $crate::http::join(directory, &mut self.bearer_token_file);
                if let Some(tls) = &mut self.tls_config {
                    tls.set_directory(directory);
                }
                if let Some(oauth2) = &mut self.oauth2 {
                    oauth2.set_directory(directory);
                }
                for file in self.http_headers.values_mut().flat_map(|values| &mut values.files) {
                    *file = directory.join(&*file);
                }
            }
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
}
pub(crate) use with_http_client;

with_http_client! {
    /// A section `http_config`, as of `alertmanager.yml`.
    pub struct HttpConfig {}
}

impl HttpConfig {
    /// Resolves relative paths against the directory of the configuration file.
    pub fn set_directory(&mut self, directory: &Path) {
        self.set_http_directory(directory);
    }
}

/// Resolves a relative path against the directory of the configuration file.
pub(crate) fn join(directory: &Path, file: &mut Option<PathBuf>) {
    if let Some(path) = file.as_mut().filter(|path| !path.as_os_str().is_empty()) {
        *path = directory.join(&*path);
    }
}

/// HTTP basic authentication. Files are read for each request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuth {
    /// The user name.
    pub username: String,
    /// A file with the user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_file: Option<PathBuf>,
    /// A name in a secret manager (rejected: secret managers are not supported).
    #[serde(skip_serializing)]
    pub username_ref: String,
    /// The password.
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub password: Secret,
    /// A file with the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// A name in a secret manager (rejected: secret managers are not supported).
    #[serde(skip_serializing)]
    pub password_ref: String,
}

impl BasicAuth {
    pub(crate) fn set_directory(&mut self, directory: &Path) {
        join(directory, &mut self.username_file);
        join(directory, &mut self.password_file);
    }
}

/// The `Authorization` header.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorization {
    /// The authentication scheme (default: `Bearer`).
    #[serde(rename = "type")]
    pub kind: String,
    /// What follows the scheme.
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub credentials: Secret,
    /// A file with the credentials, read for each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// A name in a secret manager (rejected: secret managers are not supported).
    #[serde(skip_serializing)]
    pub credentials_ref: String,
}

/// The values of a header. All of them are sent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderValues {
    /// Values that are shown when the configuration is printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Values that are hidden when the configuration is printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Files with one value each, read for each request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
}

/// TLS from the client's side.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate authorities in PEM format.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca: String,
    /// The client certificate in PEM format.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert: String,
    /// The client key in PEM format.
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub key: Secret,
    /// A file with certificate authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A file with the client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// A file with the client key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// A name in a secret manager (rejected: secret managers are not supported).
    #[serde(skip_serializing)]
    pub ca_ref: String,
    /// A name in a secret manager (rejected: secret managers are not supported).
    #[serde(skip_serializing)]
    pub cert_ref: String,
    /// A name in a secret manager (rejected: secret managers are not supported).
    #[serde(skip_serializing)]
    pub key_ref: String,
    /// The name that the server's certificate must have, if it is not the host of the URL.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server_name: String,
    /// Whether to accept any certificate.
    pub insecure_skip_verify: bool,
    /// The lowest version: `TLS12` (the default) or `TLS13`. Older versions are not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// The highest version (default: `TLS13`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
}

/// A version of TLS as the configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[allow(missing_docs, reason = "the variants are named after their versions")]
pub enum TlsVersion {
    #[serde(rename = "TLS10")]
    Tls10,
    #[serde(rename = "TLS11")]
    Tls11,
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

impl TlsConfig {
    /// Resolves relative paths against the directory of the configuration file.
    pub fn set_directory(&mut self, directory: &Path) {
        for file in [&mut self.ca_file, &mut self.cert_file, &mut self.key_file] {
            join(directory, file);
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |message: &str| Err(ConfigError::new(message));
        if self.min_version.is_some_and(|version| version < TlsVersion::Tls12) {
            return refuse("tls_config: min_version must be TLS12 or TLS13: older versions are not supported");
        }
        if self.max_version.is_some_and(|version| version < TlsVersion::Tls12) {
            return refuse("tls_config: max_version must be TLS12 or TLS13: older versions are not supported");
        }
        let has_file = |file: &Option<PathBuf>| file.as_ref().is_some_and(|path| !path.as_os_str().is_empty());
        let is_ambiguous = |inline: bool, file: &Option<PathBuf>| inline && has_file(file);
        if !(self.ca_ref.is_empty() && self.cert_ref.is_empty() && self.key_ref.is_empty()) {
            return refuse("unable to use secret ref without a secret manager");
        }
        if is_ambiguous(!self.ca.is_empty(), &self.ca_file) {
            return refuse("at most one of ca, ca_file & ca_ref must be configured");
        }
        if is_ambiguous(!self.cert.is_empty(), &self.cert_file) {
            return refuse("at most one of cert, cert_file & cert_ref must be configured");
        }
        if is_ambiguous(!self.key.is_empty(), &self.key_file) {
            return refuse("at most one of key and key_file must be configured");
        }
        let has_cert = !self.cert.is_empty() || has_file(&self.cert_file);
        let has_key = !self.key.is_empty() || has_file(&self.key_file);
        match (has_cert, has_key) {
            (true, false) => {
                refuse("exactly one of key or key_file must be configured when a client certificate is configured")
            }
            (false, true) => {
                refuse("exactly one of cert or cert_file must be configured when a client key is configured")
            }
            _ => Ok(()),
        }
    }
}

/// A checked HTTP client. `authorization` also stands for `bearer_token` and `bearer_token_file`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpClientConfig {
    /// Basic authentication.
    pub basic_auth: Option<BasicAuth>,
    /// The `Authorization` header.
    pub authorization: Option<Authorization>,
    /// How to verify the server and to authenticate by certificate.
    pub tls_config: TlsConfig,
    /// Whether to follow redirects.
    pub follow_redirects: bool,
    /// Whether to offer HTTP/2 over TLS.
    pub enable_http2: bool,
    /// Headers that every request gets.
    pub http_headers: BTreeMap<String, HeaderValues>,
    /// OAuth 2.0.
    pub oauth2: Option<OAuth2>,
    /// The proxy.
    pub proxy: ProxyConfig,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        HttpClientConfig {
            basic_auth: None,
            authorization: None,
            tls_config: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            http_headers: BTreeMap::new(),
            oauth2: None,
            proxy: ProxyConfig::default(),
        }
    }
}

/// Headers that cannot be configured, in lower case.
const RESERVED_HEADERS: [&str; 19] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
    "transfer-encoding",
];

impl HttpClientConfig {
    pub(crate) fn checked(mut self, token: &Secret, token_file: Option<&Path>) -> Result<Self, ConfigError> {
        let refuse = |message: &str| Err(ConfigError::new(message));
        let token_file = token_file.filter(|path| !path.as_os_str().is_empty());
        let bearer = !token.is_empty() || token_file.is_some();
        if !token.is_empty() && token_file.is_some() {
            return refuse("at most one of bearer_token & bearer_token_file must be configured");
        }
        if (self.basic_auth.is_some() || self.oauth2.is_some()) && bearer {
            return refuse("at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured");
        }
        if let Some(auth) = &self.basic_auth {
            check_basic_auth(auth)?;
        }
        if let Some(auth) = &mut self.authorization {
            if bearer {
                return refuse("authorization is not compatible with bearer_token & bearer_token_file");
            }
            check_authorization(auth)?;
            if self.basic_auth.is_some() || self.oauth2.is_some() {
                return refuse("at most one of basic_auth, oauth2 & authorization must be configured");
            }
        } else if bearer {
            self.authorization = Some(Authorization {
                kind: "Bearer".into(),
                credentials: token.clone(),
                credentials_file: token_file.map(Path::to_path_buf),
                credentials_ref: String::new(),
            });
        }
        if let Some(oauth2) = &self.oauth2 {
            if self.basic_auth.is_some() {
                return refuse("at most one of basic_auth, oauth2 & authorization must be configured");
            }
            oauth2.check()?;
        }
        for name in self.http_headers.keys() {
            if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                return Err(ConfigError::new(format!("setting header {name:?} is not allowed")));
            }
        }
        self.tls_config.check()?;
        Ok(self)
    }
}

fn check_basic_auth(auth: &BasicAuth) -> Result<(), ConfigError> {
    if !auth.username_ref.is_empty() || !auth.password_ref.is_empty() {
        return Err(ConfigError::new("unable to use secret ref without a secret manager"));
    }
    if !auth.username.is_empty() && auth.username_file.is_some() {
        return Err(ConfigError::new(
            "at most one of basic_auth username, username_file & username_ref must be configured",
        ));
    }
    if !auth.password.is_empty() && auth.password_file.is_some() {
        return Err(ConfigError::new(
            "at most one of basic_auth password, password_file & password_ref must be configured",
        ));
    }
    Ok(())
}

fn check_authorization(auth: &mut Authorization) -> Result<(), ConfigError> {
    if !auth.credentials_ref.is_empty() {
        return Err(ConfigError::new("unable to use secret ref without a secret manager"));
    }
    if !auth.credentials.is_empty() && auth.credentials_file.is_some() {
        return Err(ConfigError::new("at most one of authorization credentials & credentials_file must be configured"));
    }
    auth.kind = auth.kind.trim().to_string();
    if auth.kind.is_empty() {
        auth.kind = "Bearer".into();
    }
    if auth.kind.eq_ignore_ascii_case("basic") {
        return Err(ConfigError::new(r#"authorization type cannot be set to "basic", use "basic_auth" instead"#));
    }
    Ok(())
}
