//! The section of mail.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pharos_config::{ConfigError, Secret, TlsConfig};
use pharos_http_client::TlsDialer;

use super::Email;
use crate::config::inherit::{Inherit, or_global, text_or_global};
use crate::config::{GlobalConfig, HostPort, Section, section};
use crate::integration::{IntegrationConfig, Notifier};

section! {
    /// An entry of `email_configs`.
    pub struct EmailConfig {
        /// Whether to notify about resolved alerts.
        pub send_resolved: bool,
        /// The recipients. A template.
        pub to: String,
        /// The sender. A template.
        pub from: String,
        /// How the server is greeted.
        pub hello: String,
        /// The server.
        #[serde(deserialize_with = "crate::config::maybe_host_port")]
        pub smarthost: Option<HostPort>,
        /// The user.
        pub auth_username: String,
        /// The password for `PLAIN` and `LOGIN`.
        pub auth_password: Secret,
        /// A file with that password.
        pub auth_password_file: String,
        /// The secret for `CRAM-MD5`.
        pub auth_secret: Secret,
        /// A file with that secret.
        pub auth_secret_file: String,
        /// The identity for `PLAIN`.
        pub auth_identity: String,
        /// Headers, whose values are templates.
        pub headers: BTreeMap<String, String>,
        /// The message as HTML.
        pub html: String = r#"{{ template "email.default.html" . }}"#,
        /// The message as text.
        pub text: String,
        /// Whether to send over TLS only.
        pub require_tls: Option<bool>,
        /// TLS with the server.
        pub tls_config: Option<TlsConfig>,
        /// Whether to begin with TLS. Without the setting, it is so on port 465.
        pub force_implicit_tls: Option<bool>,
        /// How messages about a group are kept together.
        pub threading: Threading,
    }
}

section! {
    /// How messages about a group are kept together.
    pub struct Threading {
        /// Whether they are.
        pub enabled: bool,
        /// `daily` for a thread each day, `none` for one thread.
        pub thread_by_date: String,
    }
}

impl crate::config::omit::Omit for Threading {}

/// The name of a header as it is usually written: a capital after each hyphen.
fn canonical(name: &str) -> String {
    let part = |part: &str| match part.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + &rest.to_ascii_lowercase(),
        None => part.to_string(),
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}

impl Section for EmailConfig {
    const NAME: &'static str = "email";

    fn check(&mut self) -> Result<(), String> {
        let mut headers = BTreeMap::new();
        for (name, value) in std::mem::take(&mut self.headers) {
            let name = canonical(&name);
            if name.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b':') {
                return Err(format!("invalid header name {name:?} in email config"));
            }
            if headers.contains_key(&name) {
                return Err(format!("duplicate header {name:?} in email config"));
            }
            headers.insert(name, value);
        }
        self.headers = headers;
        if self.to.is_empty() {
            return Err("missing to address in email config".into());
        }
        if !self.threading.enabled {
            return Ok(());
        }
        for header in ["References", "In-Reply-To"] {
            if self.headers.contains_key(header) {
                return Err(format!(
                    "conflicting configuration: threading.enabled conflicts with custom {header} header"
                ));
            }
        }
        match self.threading.thread_by_date.as_str() {
            "none" | "daily" => Ok(()),
            _ => Err("threading.thread_by_date must be either 'none' or 'daily'".into()),
        }
    }
}

impl Inherit for EmailConfig {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        or_global(&mut self.tls_config, &global.smtp_tls_config);
        or_global(&mut self.smarthost, &global.smtp_smarthost);
        if self.smarthost.is_none() {
            return Err("no global SMTP smarthost set".into());
        }
        text_or_global(&mut self.from, &global.smtp_from);
        if self.from.is_empty() {
            return Err("no global SMTP from set".into());
        }
        text_or_global(&mut self.hello, &global.smtp_hello);
        text_or_global(&mut self.auth_username, &global.smtp_auth_username);
        if self.auth_password.is_empty() && self.auth_password_file.is_empty() {
            self.auth_password = global.smtp_auth_password.clone();
            self.auth_password_file.clone_from(&global.smtp_auth_password_file);
        }
        if self.auth_secret.is_empty() && self.auth_secret_file.is_empty() {
            self.auth_secret = global.smtp_auth_secret.clone();
            self.auth_secret_file.clone_from(&global.smtp_auth_secret_file);
        }
        text_or_global(&mut self.auth_identity, &global.smtp_auth_identity);
        or_global(&mut self.require_tls, &Some(global.smtp_require_tls));
        or_global(&mut self.force_implicit_tls, &global.smtp_force_implicit_tls);
        Ok(())
    }

    // As in Alertmanager, files of `tls_config` are relative to the working directory.
    fn set_directory(&mut self, _directory: &Path) {}
}

impl IntegrationConfig for EmailConfig {
    const KIND: &'static str = "email";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        let mut config = self.clone();
        let defaults = [
            ("Subject", r#"{{ template "email.default.subject" . }}"#),
            ("To", self.to.as_str()),
            ("From", self.from.as_str()),
        ];
        for (name, template) in defaults {
            config.headers.entry(name.into()).or_insert_with(|| template.into());
        }
        let tls = TlsDialer::new(&self.tls_config.clone().unwrap_or_default())?;
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_string());
        let hostname = hostname.unwrap_or_else(|_| "localhost.localdomain".into());
        Ok(Arc::new(Email { config, tls, hostname }))
    }
}
