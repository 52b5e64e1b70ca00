//! Microsoft Teams, by a connector of Office 365.

use std::sync::Arc;

use async_trait::async_trait;
use pharos_config::{ConfigError, HttpConfig};
use pharos_http_client::HttpClient;
use serde::Serialize;

use super::{client, http_section, webhook_url};
use crate::alert::Status;
use crate::config::{SecretUrl, Section, section};
use crate::error::NotifyError;
use crate::http::post_json;
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;

const RED: &str = "8C1A1A";
const GREEN: &str = "2DC72D";

section! {
    /// An entry of `msteams_configs`.
    pub struct MsTeamsConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The webhook.
        pub webhook_url: Option<SecretUrl>,
        /// A file with that URL.
        pub webhook_url_file: String,
        /// The title.
        pub title: String = r#"{{ template "msteams.default.title" . }}"#,
        /// The summary, which lists show.
        pub summary: String = r#"{{ template "msteams.default.summary" . }}"#,
        /// The text.
        pub text: String = r#"{{ template "msteams.default.text" . }}"#,
    }
}

impl Section for MsTeamsConfig {
    const NAME: &'static str = "msteams";

    fn check(&mut self) -> Result<(), String> {
        super::check_webhook_url(&self.webhook_url, &self.webhook_url_file)
    }
}

http_section!(MsTeamsConfig);

impl IntegrationConfig for MsTeamsConfig {
    const KIND: &'static str = "msteams";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(MsTeams { client: client(&self.http_config)?, config: self.clone() }))
    }
}

struct MsTeams {
    config: MsTeamsConfig,
    client: HttpClient,
}

#[derive(Serialize)]
struct Card {
    #[serde(rename = "@context")]
    context: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    title: String,
    summary: String,
    text: String,
    #[serde(rename = "themeColor")]
    theme_color: &'static str,
}

#[async_trait]
impl Notifier for MsTeams {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let body = {
            let renderer = call.renderer();
            json::payload(&Card {
                context: "http://schema.org/extensions",
                kind: "MessageCard",
                title: renderer.text(&self.config.title)?,
                text: renderer.text(&self.config.text)?,
                summary: renderer.text(&self.config.summary)?,
                theme_color: if call.notification.status() == Status::Firing { RED } else { GREEN },
            })?
        };
        let url = webhook_url(&self.config.webhook_url, &self.config.webhook_url_file).await?;
        post_json(&self.client, url, body, &[]).await.map(drop)
    }
}
