//! A webhook: the notification as JSON, or a payload of the user's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pharos_config::{ConfigError, HttpConfig};
use pharos_http_client::HttpClient;
use serde::Serialize;

use super::{client, http_section, read_secret};
use crate::alert::Alert;
use crate::config::section::at_most_one;
use crate::config::{GoDuration, SecretTemplateUrl, Section, section};
use crate::data::Data;
use crate::error::{FailureReason, NotifyError};
use crate::http::post_json;
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;

section! {
    /// An entry of `webhook_configs`.
    pub struct WebhookConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// Where to post. A template.
        pub url: SecretTemplateUrl,
        /// A file with that URL.
        pub url_file: String,
        /// The most alerts of one notification; 0 for any number.
        pub max_alerts: u64,
        /// How long an attempt may take.
        pub timeout: GoDuration,
        /// What to post instead. Its texts are templates.
        pub payload: Option<serde_json::Value>,
    }
}

impl Section for WebhookConfig {
    const NAME: &'static str = "webhook";

    fn check(&mut self) -> Result<(), String> {
        if self.url.is_empty() && self.url_file.is_empty() {
            return Err("one of url or url_file must be configured".into());
        }
        at_most_one(("url", !self.url.is_empty()), ("url_file", !self.url_file.is_empty()))
    }
}

http_section!(WebhookConfig);

impl IntegrationConfig for WebhookConfig {
    const KIND: &'static str = "webhook";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn timeout(&self) -> Option<Duration> {
        self.timeout.positive()
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(Webhook { client: client(&self.http_config)?, config: self.clone() }))
    }
}

struct Webhook {
    config: WebhookConfig,
    client: HttpClient,
}

/// The payload.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    data: &'a Data,
    version: &'static str,
    #[serde(rename = "groupKey")]
    group_key: &'a str,
    #[serde(rename = "truncatedAlerts")]
    truncated_alerts: usize,
}

/// The first `most` alerts, and how many are left out; 0 stands for any number.
pub(super) fn first_alerts(most: u64, alerts: &[Alert]) -> (&[Alert], usize) {
    match usize::try_from(most) {
        Ok(most) if most > 0 && most < alerts.len() => (&alerts[..most], alerts.len() - most),
        _ => (alerts, 0),
    }
}

#[async_trait]
impl Notifier for Webhook {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let (alerts, truncated_alerts) = first_alerts(self.config.max_alerts, &call.notification.alerts);
        let renderer = call.renderer_of(alerts);
        let body = match &self.config.payload {
            Some(payload) => {
                let payload = renderer.structure(payload).map_err(|e| e.within("failed to render custom payload"))?;
                json::payload(&payload)?
            }
            None => json::payload(&Message {
                data: &renderer.data,
                version: "4",
                group_key: &call.notification.group_key,
                truncated_alerts,
            })?,
        };
        let url = match self.config.url.is_empty() {
            false => self.config.url.reveal().to_string(),
            true => read_secret("read url_file", &self.config.url_file).await?,
        };
        let url = renderer.text(&url).map_err(|e| e.within("failed to template webhook URL"))?;
        if url.is_empty() {
            return Err(NotifyError::permanent(FailureReason::Other, "webhook URL is empty after templating"));
        }
        post_json(&self.client, url, body, &[]).await.map(drop)
    }
}
