//! The section of PagerDuty.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pharos_config::{ConfigError, HttpConfig, Secret};

use super::Pagerduty;
use crate::config::inherit::{self, Inherit};
use crate::config::section::secret_or_file;
use crate::config::{ApiUrl, GlobalConfig, GoDuration, Section, section};
use crate::integration::{IntegrationConfig, Notifier};

/// Details that every event has.
const DETAILS: [(&str, &str); 4] = [
    ("firing", "{{ .Alerts.Firing | toJson }}"),
    ("resolved", "{{ .Alerts.Resolved | toJson }}"),
    ("num_firing", "{{ .Alerts.Firing | len }}"),
    ("num_resolved", "{{ .Alerts.Resolved | len }}"),
];

section! {
    /// An entry of `pagerduty_configs`.
    pub struct PagerdutyConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The key of an integration of version 1.
        pub service_key: Secret,
        /// A file with that key.
        pub service_key_file: String,
        /// The key of an integration of version 2.
        pub routing_key: Secret,
        /// A file with that key.
        pub routing_key_file: String,
        /// Where events of version 2 are posted.
        pub url: Option<ApiUrl>,
        /// Who sends.
        pub client: String = r#"{{ template "pagerduty.default.client" . }}"#,
        /// Where the sender is reached.
        pub client_url: String = r#"{{ template "pagerduty.default.clientURL" . }}"#,
        /// The title.
        pub description: String = r#"{{ template "pagerduty.default.description" .}}"#,
        /// Details, whose texts are templates.
        pub details: BTreeMap<String, serde_json::Value>,
        /// Pictures.
        pub images: Vec<PagerdutyImage>,
        /// Links.
        pub links: Vec<PagerdutyLink>,
        /// What is affected (default: the client).
        pub source: String,
        /// How severe it is (default: `error`).
        pub severity: String,
        /// The class of the event.
        pub class: String,
        /// The component that is affected.
        pub component: String,
        /// The group of components that is affected.
        pub group: String,
        /// How long an attempt may take.
        pub timeout: GoDuration,
    }
}

section! {
    /// A picture.
    pub struct PagerdutyImage {
        /// Where it is.
        pub src: String,
        /// What stands for it.
        pub alt: String,
        /// Where it leads.
        pub href: String,
    }
}

section! {
    /// A link.
    pub struct PagerdutyLink {
        /// Where it leads.
        pub href: String,
        /// The text.
        pub text: String,
    }
}

impl Section for PagerdutyConfig {
    const NAME: &'static str = "pagerduty";

    fn check(&mut self) -> Result<(), String> {
        if self.source.is_empty() {
            self.source.clone_from(&self.client);
        }
        for (name, template) in DETAILS {
            self.details.entry(name.into()).or_insert_with(|| template.into());
        }
        let files = [&self.routing_key_file, &self.service_key_file];
        if self.routing_key.is_empty() && self.service_key.is_empty() && files.iter().all(|file| file.is_empty()) {
            return Err("missing service or routing key in PagerDuty config".into());
        }
        secret_or_file("routing_key", !self.routing_key.is_empty(), &self.routing_key_file)?;
        secret_or_file("service_key", !self.service_key.is_empty(), &self.service_key_file)
    }
}

impl Inherit for PagerdutyConfig {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        inherit::http_config(&mut self.http_config, global)?;
        inherit::or_global(&mut self.url, &global.pagerduty_url);
        self.url.as_ref().map(drop).ok_or_else(|| "no global PagerDuty URL set".to_string())
    }

    fn set_directory(&mut self, directory: &std::path::Path) {
        inherit::set_directory(&mut self.http_config, directory);
    }
}

impl IntegrationConfig for PagerdutyConfig {
    const KIND: &'static str = "pagerduty";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn timeout(&self) -> Option<Duration> {
        self.timeout.positive()
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        let client = super::super::client(&self.http_config)?;
        Ok(Arc::new(Pagerduty { client, config: self.clone() }))
    }
}
