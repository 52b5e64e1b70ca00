//! Webex: a message in a room.

use std::sync::Arc;

use async_trait::async_trait;
use pharos_config::{ConfigError, HttpConfig};
use pharos_http_client::HttpClient;
use serde::Serialize;

use super::client;
use crate::config::inherit::{self, Inherit};
use crate::config::{ApiUrl, GlobalConfig, Section, section};
use crate::error::NotifyError;
use crate::http::{check, json_request, quoted, retry_after, send};
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;
use crate::text::truncate_bytes;

const MAX_MESSAGE_BYTES: usize = 7439;

section! {
    /// An entry of `webex_configs`.
    pub struct WebexConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client, with the token of a bot.
        pub http_config: Option<HttpConfig>,
        /// Where to post.
        pub api_url: Option<ApiUrl>,
        /// The text.
        pub message: String = r#"{{ template "webex.default.message" . }}"#,
        /// The room.
        pub room_id: String,
    }
}

impl Section for WebexConfig {
    const NAME: &'static str = "webex";

    fn check(&mut self) -> Result<(), String> {
        if self.room_id.is_empty() {
            return Err("missing room_id on webex_config".into());
        }
        match self.http_config.as_ref().and_then(|http| http.authorization.as_ref()) {
            Some(_) => Ok(()),
            None => Err("missing webex_configs.http_config.authorization".into()),
        }
    }
}

impl Inherit for WebexConfig {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        inherit::http_config(&mut self.http_config, global)?;
        inherit::or_global(&mut self.api_url, &global.webex_api_url);
        self.api_url.as_ref().map(drop).ok_or_else(|| "no global Webex URL set".to_string())
    }

    fn set_directory(&mut self, directory: &std::path::Path) {
        inherit::set_directory(&mut self.http_config, directory);
    }
}

impl IntegrationConfig for WebexConfig {
    const KIND: &'static str = "webex";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(Webex { client: client(&self.http_config)?, config: self.clone() }))
    }
}

struct Webex {
    config: WebexConfig,
    client: HttpClient,
}

#[derive(Serialize)]
struct Message {
    markdown: String,
    #[serde(rename = "roomId", skip_serializing_if = "String::is_empty")]
    room_id: String,
}

#[async_trait]
impl Notifier for Webex {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let body = {
            let renderer = call.renderer();
            json::payload(&Message {
                markdown: truncate_bytes(renderer.text(&self.config.message)?, MAX_MESSAGE_BYTES),
                room_id: renderer.text(&self.config.room_id)?,
            })?
        };
        let url = self.config.api_url.as_ref().map(ApiUrl::to_string).unwrap_or_default();
        let response = send(&self.client, json_request(http::Method::POST, url, body)).await?;
        check(&response, &[429], quoted).map_err(|error| {
            let retry_after = retry_after(&response.headers, call.notification.now).filter(|_| error.retry);
            NotifyError { retry_after, ..error }
        })
    }
}
