//! Microsoft Teams, by a workflow of Power Automate that takes adaptive cards.

use std::sync::Arc;

use async_trait::async_trait;
use pharos_config::{ConfigError, HttpConfig};
use pharos_http_client::HttpClient;
use serde_json::json;

use super::{client, webhook_url};
use crate::alert::Status;
use crate::config::inherit::{self, Inherit};
use crate::config::{GlobalConfig, SecretUrl, Section, section};
use crate::error::NotifyError;
use crate::http::post_json;
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;

section! {
    /// An entry of `msteamsv2_configs`.
    pub struct MsTeamsV2Config {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The webhook.
        pub webhook_url: Option<SecretUrl>,
        /// A file with that URL.
        pub webhook_url_file: String,
        /// The title.
        pub title: String = r#"{{ template "msteamsv2.default.title" . }}"#,
        /// The text.
        pub text: String = r#"{{ template "msteamsv2.default.text" . }}"#,
    }
}

impl Section for MsTeamsV2Config {
    const NAME: &'static str = "msteamsv2";

    fn check(&mut self) -> Result<(), String> {
        super::check_webhook_url(&self.webhook_url, &self.webhook_url_file)
    }
}

impl Inherit for MsTeamsV2Config {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        // Unlike other receivers, one with an HTTP client of its own takes the proxy of the global one.
        if let Some(http) = &mut self.http_config {
            inherit::or_global(&mut http.proxy_url, &global.http_config.proxy_url);
        }
        inherit::http_config(&mut self.http_config, global)
    }

    fn set_directory(&mut self, directory: &std::path::Path) {
        inherit::set_directory(&mut self.http_config, directory);
    }
}

impl IntegrationConfig for MsTeamsV2Config {
    const KIND: &'static str = "msteamsv2";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(MsTeamsV2 { client: client(&self.http_config)?, config: self.clone() }))
    }
}

struct MsTeamsV2 {
    config: MsTeamsV2Config,
    client: HttpClient,
}

/// The message with its one adaptive card.
fn card(title: String, text: String, status: Status) -> serde_json::Value {
    let color = if status == Status::Firing { "Attention" } else { "Good" };
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": [
                    {
                        "type": "TextBlock",
                        "text": title,
                        "weight": "Bolder",
                        "size": "Medium",
                        "wrap": true,
                        "style": "heading",
                        "color": color,
                    },
                    { "type": "TextBlock", "text": text, "wrap": true },
                ],
                "msteams": { "width": "full" },
            },
        }],
    })
}

#[async_trait]
impl Notifier for MsTeamsV2 {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let body = {
            let renderer = call.renderer();
            let (title, text) = (renderer.text(&self.config.title)?, renderer.text(&self.config.text)?);
            json::payload(&card(title, text, call.notification.status()))?
        };
        let url = webhook_url(&self.config.webhook_url, &self.config.webhook_url_file).await?;
        post_json(&self.client, url, body, &[]).await.map(drop)
    }
}
