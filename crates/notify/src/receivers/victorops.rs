//! VictorOps, now Splunk On-Call.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use pharos_config::{ConfigError, HttpConfig, Secret};
use pharos_http_client::HttpClient;

use super::{client, read_secret};
use crate::alert::Status;
use crate::config::inherit::{self, Inherit};
use crate::config::section::secret_or_file;
use crate::config::{ApiUrl, GlobalConfig, Section, section};
use crate::error::NotifyError;
use crate::http::post_json;
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;
use crate::templates::Renderer;
use crate::text::truncate_chars;

const MAX_MESSAGE_CHARS: usize = 20_480;
/// Fields of the payload that custom ones may not replace.
const RESERVED: [&str; 7] = [
    "routing_key",
    "message_type",
    "state_message",
    "entity_display_name",
    "monitoring_tool",
    "entity_id",
    "entity_state",
];

section! {
    /// An entry of `victorops_configs`.
    pub struct VictorOpsConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The key.
        pub api_key: Secret,
        /// A file with that key.
        pub api_key_file: String,
        /// The interface.
        pub api_url: Option<ApiUrl>,
        /// Which team is called.
        pub routing_key: String,
        /// How urgent it is: `INFO`, `WARNING` or `CRITICAL` (the default).
        pub message_type: String = "CRITICAL",
        /// The text.
        pub state_message: String = r#"{{ template "victorops.default.state_message" . }}"#,
        /// The title.
        pub entity_display_name: String = r#"{{ template "victorops.default.entity_display_name" . }}"#,
        /// Where the alert is from.
        pub monitoring_tool: String = r#"{{ template "victorops.default.monitoring_tool" . }}"#,
        /// Further fields.
        pub custom_fields: BTreeMap<String, String>,
    }
}

impl Section for VictorOpsConfig {
    const NAME: &'static str = "victorops";

    fn check(&mut self) -> Result<(), String> {
        if self.routing_key.is_empty() {
            return Err("missing Routing key in VictorOps config".into());
        }
        secret_or_file("api_key", !self.api_key.is_empty(), &self.api_key_file)?;
        match RESERVED.iter().find(|name| self.custom_fields.contains_key(**name)) {
            Some(name) => Err(format!(
                "victorOps config contains custom field {name} which cannot be used as it conflicts with the \
                 fixed/static fields"
            )),
            None => Ok(()),
        }
    }
}

impl Inherit for VictorOpsConfig {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        inherit::http_config(&mut self.http_config, global)?;
        inherit::or_global(&mut self.api_url, &global.victorops_api_url);
        let url = self.api_url.as_ref().ok_or("no global VictorOps URL set")?;
        self.api_url = Some(url.as_folder());
        if self.api_key.is_empty() && self.api_key_file.is_empty() {
            if global.victorops_api_key.is_empty() && global.victorops_api_key_file.is_empty() {
                return Err("no global VictorOps API Key set".into());
            }
            self.api_key = global.victorops_api_key.clone();
            self.api_key_file.clone_from(&global.victorops_api_key_file);
        }
        Ok(())
    }

    fn set_directory(&mut self, directory: &std::path::Path) {
        inherit::set_directory(&mut self.http_config, directory);
    }
}

impl IntegrationConfig for VictorOpsConfig {
    const KIND: &'static str = "victorops";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(VictorOps { client: client(&self.http_config)?, config: self.clone() }))
    }
}

struct VictorOps {
    config: VictorOpsConfig,
    client: HttpClient,
}

impl VictorOps {
    fn message(&self, call: Call<'_>, renderer: &Renderer<'_>) -> Result<BTreeMap<&str, String>, NotifyError> {
        let config = &self.config;
        let kind = renderer.text(&config.message_type)?;
        let kind = match call.notification.status() {
            Status::Resolved => "RECOVERY".into(),
            Status::Firing if ["INFO", "WARNING", "CRITICAL"].contains(&kind.as_str()) => kind,
            Status::Firing => "CRITICAL".into(),
        };
        let mut message = BTreeMap::from([
            ("message_type", kind),
            ("entity_id", call.notification.hashed_key()),
            ("entity_display_name", renderer.text(&config.entity_display_name)?),
            ("state_message", truncate_chars(renderer.text(&config.state_message)?, MAX_MESSAGE_CHARS)),
            ("monitoring_tool", renderer.text(&config.monitoring_tool)?),
        ]);
        for (name, template) in &config.custom_fields {
            message.insert(name, renderer.text(template)?);
        }
        Ok(message)
    }
}

#[async_trait]
impl Notifier for VictorOps {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let renderer = call.renderer();
        let key = match self.config.api_key.is_empty() {
            false => self.config.api_key.reveal().to_string(),
            true => read_secret("failed to read API key from file", &self.config.api_key_file).await?,
        };
        let in_template = |error: NotifyError| error.within("templating error");
        let routing_key = renderer.text(&self.config.routing_key).map_err(in_template)?;
        let message = self.message(call, &renderer).map_err(in_template);
        // As in Alertmanager, a payload that cannot be expanded is tried again.
        let message = message.map_err(|error| NotifyError { retry: true, ..error })?;
        let url = self.config.api_url.as_ref().map(|url| url.with_suffix(&format!("{key}/{routing_key}")).to_string());
        post_json(&self.client, url.unwrap_or_default(), json::payload(&message)?, &[]).await.map(drop)
    }
}
