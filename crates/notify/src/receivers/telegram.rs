//! Telegram: a message of a bot in a chat.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use pharos_config::{ConfigError, HttpConfig, Secret};
use pharos_http_client::{HttpClient, HttpResponse};
use serde::Deserialize;

use super::client;
use crate::config::inherit::{self, Inherit};
use crate::config::section::secret_or_file;
use crate::config::{ApiUrl, GlobalConfig, GoDuration, Section, section};
use crate::error::{FailureReason, NotifyError};
use crate::http::{json_request, quoted, send};
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;
use crate::templates::Renderer;
use crate::text::truncate_chars;

mod length;

/// The limit on a message with markup, bytes.
const MAX_MARKUP_BYTES: usize = 1 << 15;
/// The limit on a message without its markup.
const MAX_MESSAGE_CHARS: usize = 4096;
/// What is sent instead of a message that is too long: HTML cannot be cut anywhere.
const TOO_LONG: &str = "Alertmanager notification could not be sent: message length exceeds Telegram limits.\n\t\t\tPlease \
                        check the template used for producing the message content.";

section! {
    /// An entry of `telegram_configs`.
    pub struct TelegramConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The interface.
        pub api_url: Option<ApiUrl>,
        /// The token of the bot.
        pub bot_token: Secret,
        /// A file with that token.
        pub bot_token_file: String,
        /// The chat.
        pub chat_id: i64,
        /// A file with the number of the chat.
        pub chat_id_file: String,
        /// The topic within the chat.
        pub message_thread_id: i64,
        /// The text.
        pub message: String = r#"{{ template "telegram.default.message" . }}"#,
        /// Whether the message makes no sound.
        pub disable_notifications: bool,
        /// The markup of the text: `HTML` (the default), `Markdown`, `MarkdownV2` or none.
        pub parse_mode: String = "HTML",
        /// How long an attempt may take.
        pub timeout: GoDuration,
    }
}

impl Section for TelegramConfig {
    const NAME: &'static str = "telegram";

    fn check(&mut self) -> Result<(), String> {
        secret_or_file("bot_token", !self.bot_token.is_empty(), &self.bot_token_file)?;
        if self.chat_id == 0 && self.chat_id_file.is_empty() {
            return Err("missing chat_id or chat_id_file on telegram_config".into());
        }
        secret_or_file("chat_id", self.chat_id != 0, &self.chat_id_file)?;
        match self.parse_mode.as_str() {
            "" | "Markdown" | "MarkdownV2" | "HTML" => Ok(()),
            _ => {
                Err("unknown parse_mode on telegram_config, must be Markdown, MarkdownV2, HTML or empty string".into())
            }
        }
    }
}

impl Inherit for TelegramConfig {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        inherit::http_config(&mut self.http_config, global)?;
        inherit::or_global(&mut self.api_url, &global.telegram_api_url);
        if self.bot_token.is_empty() && self.bot_token_file.is_empty() {
            if global.telegram_bot_token.is_empty() && global.telegram_bot_token_file.is_empty() {
                return Err("missing bot_token or bot_token_file on telegram_config".into());
            }
            self.bot_token = global.telegram_bot_token.clone();
            self.bot_token_file.clone_from(&global.telegram_bot_token_file);
        }
        Ok(())
    }

    fn set_directory(&mut self, directory: &std::path::Path) {
        inherit::set_directory(&mut self.http_config, directory);
    }
}

impl IntegrationConfig for TelegramConfig {
    const KIND: &'static str = "telegram";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn timeout(&self) -> Option<Duration> {
        self.timeout.positive()
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(Telegram { client: client(&self.http_config)?, config: self.clone() }))
    }
}

struct Telegram {
    config: TelegramConfig,
    client: HttpClient,
}

/// What Telegram answers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    ok: bool,
    error_code: u16,
    description: String,
}

impl Telegram {
    fn text(&self, renderer: &Renderer<'_>) -> Result<String, NotifyError> {
        if self.config.parse_mode != "HTML" {
            return Ok(truncate_chars(renderer.text(&self.config.message)?, MAX_MESSAGE_CHARS));
        }
        let text = renderer.html(&self.config.message)?;
        match text.len() > MAX_MARKUP_BYTES || length::visible_chars(&text) > MAX_MESSAGE_CHARS {
            true => Ok(TOO_LONG.into()),
            false => Ok(text),
        }
    }

    fn parameters(&self, chat: String, text: String) -> BTreeMap<&'static str, String> {
        let config = &self.config;
        let mut parameters = BTreeMap::from([("chat_id", chat), ("text", text)]);
        parameters.insert("disable_web_page_preview", "true".into());
        if config.disable_notifications {
            parameters.insert("disable_notification", "true".into());
        }
        if !config.parse_mode.is_empty() {
            parameters.insert("parse_mode", config.parse_mode.clone());
        }
        if config.message_thread_id != 0 {
            parameters.insert("message_thread_id", config.message_thread_id.to_string());
        }
        parameters
    }

    async fn chat(&self) -> Result<String, NotifyError> {
        let file = &self.config.chat_id_file;
        if file.is_empty() {
            return Ok(self.config.chat_id.to_string());
        }
        let chat = read(file).await?;
        match chat.parse::<i64>() {
            Ok(chat) => Ok(chat.to_string()),
            Err(e) => {
                Err(NotifyError::temporary(FailureReason::Other, format!("could not parse chat_id from {file}: {e}")))
            }
        }
    }
}

/// The content of a file, without space around it.
async fn read(file: &str) -> Result<String, NotifyError> {
    let failed = |e| NotifyError::temporary(FailureReason::Other, format!("could not read {file}: {e}"));
    tokio::fs::read_to_string(file).await.map(|text| text.trim().to_string()).map_err(failed)
}

/// Whether Telegram has taken the message. Any failure is worth another attempt, as in Alertmanager.
fn check(response: &HttpResponse) -> Result<(), NotifyError> {
    let Ok(answer) = serde_json::from_slice::<Answer>(&response.body) else {
        let message = format!("telegram: unexpected answer with status code {}: {}", response.status, quoted(response));
        return Err(NotifyError::temporary(FailureReason::of_status(response.status), message));
    };
    if answer.ok {
        return Ok(());
    }
    let message = format!("telegram: {} ({})", answer.description, answer.error_code);
    Err(NotifyError::temporary(FailureReason::of_status(answer.error_code), message))
}

#[async_trait]
impl Notifier for Telegram {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let text = self.text(&call.renderer())?;
        let token = match self.config.bot_token_file.is_empty() {
            true => self.config.bot_token.reveal().to_string(),
            false => read(&self.config.bot_token_file).await?,
        };
        let body = json::payload(&self.parameters(self.chat().await?, text))?;
        let base = self.config.api_url.as_ref().map(ApiUrl::to_string).unwrap_or_default();
        let request = json_request(Method::POST, format!("{base}/bot{token}/sendMessage"), body);
        check(&send(&self.client, request).await?)
    }
}
