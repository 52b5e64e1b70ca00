//! Discord, by a webhook.

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
use crate::text::truncate_chars;

const MAX_TITLE_CHARS: usize = 256;
const MAX_DESCRIPTION_CHARS: usize = 4096;
const MAX_CONTENT_CHARS: usize = 2000;
const RED: u32 = 0x992D22;
const GREEN: u32 = 0x2ECC71;

section! {
    /// An entry of `discord_configs`.
    pub struct DiscordConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The webhook.
        pub webhook_url: Option<SecretUrl>,
        /// A file with that URL.
        pub webhook_url_file: String,
        /// The text outside of the embed.
        pub content: String,
        /// The title.
        pub title: String = r#"{{ template "discord.default.title" . }}"#,
        /// The text.
        pub message: String = r#"{{ template "discord.default.message" . }}"#,
        /// The sender.
        pub username: String,
        /// The sender's picture.
        pub avatar_url: String,
    }
}

impl Section for DiscordConfig {
    const NAME: &'static str = "discord";

    fn check(&mut self) -> Result<(), String> {
        super::check_webhook_url(&self.webhook_url, &self.webhook_url_file)
    }
}

http_section!(DiscordConfig);

impl IntegrationConfig for DiscordConfig {
    const KIND: &'static str = "discord";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(Discord { client: client(&self.http_config)?, config: self.clone() }))
    }
}

struct Discord {
    config: DiscordConfig,
    client: HttpClient,
}

#[derive(Serialize)]
struct Message<'a> {
    content: String,
    embeds: [Embed; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    avatar_url: &'a str,
}

#[derive(Serialize)]
struct Embed {
    title: String,
    description: String,
    color: u32,
}

#[async_trait]
impl Notifier for Discord {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let body = {
            let renderer = call.renderer();
            json::payload(&Message {
                embeds: [Embed {
                    title: truncate_chars(renderer.text(&self.config.title)?, MAX_TITLE_CHARS),
                    description: truncate_chars(renderer.text(&self.config.message)?, MAX_DESCRIPTION_CHARS),
                    color: if call.notification.status() == Status::Firing { RED } else { GREEN },
                }],
                content: truncate_chars(renderer.text(&self.config.content)?, MAX_CONTENT_CHARS),
                username: &self.config.username,
                avatar_url: &self.config.avatar_url,
            })?
        };
        let url = webhook_url(&self.config.webhook_url, &self.config.webhook_url_file).await?;
        post_json(&self.client, url, body, &[429]).await.map(drop)
    }
}
