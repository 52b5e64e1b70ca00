//! Rocket.Chat: a message in a channel.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, Method};
use pharos_config::{ConfigError, HttpConfig, Secret};
use pharos_gocompat::GoQuoted;
use pharos_http_client::{HttpClient, HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use super::client;
use crate::config::inherit::{self, Inherit};
use crate::config::section::secret_or_file;
use crate::config::{ApiUrl, GlobalConfig, Section, section};
use crate::error::{FailureReason, NotifyError};
use crate::http::{check, json_request, quoted, secret_header, send};
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;
use crate::templates::Renderer;
use crate::text::truncate_chars;

const MAX_TITLE_CHARS: usize = 1024;

section! {
    /// An entry of `rocketchat_configs`.
    pub struct RocketchatConfig {
        /// Whether to notify about resolved alerts.
        pub send_resolved: bool,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The server.
        pub api_url: Option<ApiUrl>,
        /// The user of the token.
        pub token_id: Option<Secret>,
        /// A file with that user.
        pub token_id_file: String,
        /// The token.
        pub token: Option<Secret>,
        /// A file with that token.
        pub token_file: String,
        /// The channel.
        pub channel: String,
        /// The color of the message's bar.
        pub color: String = r#"{{ if eq .Status "firing" }}red{{ else }}green{{ end }}"#,
        /// The title.
        pub title: String = r#"{{ template "rocketchat.default.title" . }}"#,
        /// Where the title leads.
        pub title_link: String = r#"{{ template "rocketchat.default.titlelink" . }}"#,
        /// The text.
        pub text: String = r#"{{ template "rocketchat.default.text" . }}"#,
        /// The text outside of the attachment.
        pub message_text: String,
        /// A table of fields.
        pub fields: Vec<RocketchatField>,
        /// Whether fields may stand side by side.
        pub short_fields: bool,
        /// The sender's emoji.
        pub emoji: String = r#"{{ template "rocketchat.default.emoji" . }}"#,
        /// The sender's picture.
        pub icon_url: String = r#"{{ template "rocketchat.default.iconurl" . }}"#,
        /// A picture.
        pub image_url: String,
        /// A small picture.
        pub thumb_url: String,
        /// Whether to link names of users and channels.
        pub link_names: bool,
        /// Buttons.
        pub actions: Vec<RocketchatAction>,
    }
}

section! {
    /// A field of a message.
    pub struct RocketchatField {
        /// Whether it may stand beside another field.
        pub short: Option<bool>,
        /// The title.
        pub title: String,
        /// The value.
        pub value: String,
    }
}

section! {
    /// A button. Only its text, link and message are used.
    pub struct RocketchatAction {
        /// The kind.
        #[serde(rename = "type")]
        pub kind: String,
        /// The label.
        pub text: String,
        /// Where it leads.
        pub url: String,
        /// A picture.
        #[serde(rename = "imageurl")]
        pub image_url: String,
        /// Whether it opens within the client.
        #[serde(rename = "iswebview")]
        pub is_webview: bool,
        /// How high that is.
        #[serde(rename = "webviewheightratio")]
        pub webview_height_ratio: String,
        /// The message that it sends.
        pub msg: String,
        /// Whether it sends to the window of the chat.
        #[serde(rename = "msginchatwindow")]
        pub msg_in_chat_window: bool,
        /// How the message is sent.
        #[serde(rename = "msgprocessingtype")]
        pub msg_processing_type: String,
    }
}

impl Section for RocketchatConfig {
    const NAME: &'static str = "rocketchat";

    fn check(&mut self) -> Result<(), String> {
        secret_or_file("token", self.token.is_some(), &self.token_file)?;
        secret_or_file("token_id", self.token_id.is_some(), &self.token_id_file)
    }
}

impl Inherit for RocketchatConfig {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        inherit::http_config(&mut self.http_config, global)?;
        inherit::or_global(&mut self.api_url, &global.rocketchat_api_url);
        if self.token_id.is_none() && self.token_id_file.is_empty() {
            if global.rocketchat_token_id.is_none() && global.rocketchat_token_id_file.is_empty() {
                return Err("no global Rocketchat TokenID set either inline or in a file".into());
            }
            self.token_id.clone_from(&global.rocketchat_token_id);
            self.token_id_file.clone_from(&global.rocketchat_token_id_file);
        }
        if self.token.is_none() && self.token_file.is_empty() {
            if global.rocketchat_token.is_none() && global.rocketchat_token_file.is_empty() {
                return Err("no global Rocketchat Token set either inline or in a file".into());
            }
            self.token.clone_from(&global.rocketchat_token);
            self.token_file.clone_from(&global.rocketchat_token_file);
        }
        Ok(())
    }

    fn set_directory(&mut self, directory: &std::path::Path) {
        inherit::set_directory(&mut self.http_config, directory);
    }
}

impl IntegrationConfig for RocketchatConfig {
    const KIND: &'static str = "rocketchat";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        let token = secret(&self.token, &self.token_file)?;
        let user = secret(&self.token_id, &self.token_id_file)?;
        let credentials = [("x-auth-token", token), ("x-user-id", user)].map(|(name, value)| {
            secret_header(HeaderName::from_static(name), &value).map_err(|e| ConfigError::new(e.message))
        });
        let credentials = credentials.into_iter().collect::<Result<_, _>>()?;
        Ok(Arc::new(Rocketchat { client: client(&self.http_config)?, config: self.clone(), credentials }))
    }
}

/// A secret, or the content of its file. As in Alertmanager, it is read once.
fn secret(setting: &Option<Secret>, file: &str) -> Result<String, ConfigError> {
    match setting {
        Some(secret) if file.is_empty() => Ok(secret.reveal().to_string()),
        _ => {
            let read = std::fs::read_to_string(file).map(|text| text.trim().to_string());
            read.map_err(|e| ConfigError::new(format!("could not read {file}: {e}")))
        }
    }
}

struct Rocketchat {
    config: RocketchatConfig,
    client: HttpClient,
    credentials: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    emoji: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    avatar: String,
    attachments: [Attachment; 1],
}

#[derive(Serialize)]
struct Attachment {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<RocketchatField>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Button>,
}

#[derive(Serialize)]
struct Button {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    is_webview: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    msg: String,
    msg_in_chat_window: bool,
}

/// What Rocket.Chat answers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    success: bool,
    error: String,
}

impl Rocketchat {
    fn message(&self, renderer: &Renderer<'_>) -> Result<Message, NotifyError> {
        let config = &self.config;
        let field = |field: &RocketchatField| {
            Ok(RocketchatField {
                title: renderer.text(&field.title)?,
                value: renderer.text(&field.value)?,
                short: Some(field.short.unwrap_or(config.short_fields)),
            })
        };
        let button = |action: &RocketchatAction| {
            Ok(Button {
                kind: "button",
                text: renderer.text(&action.text)?,
                url: renderer.text(&action.url)?,
                is_webview: false,
                msg: renderer.text(&action.msg)?,
                msg_in_chat_window: false,
            })
        };
        let attachment = Attachment {
            title: truncate_chars(renderer.text(&config.title)?, MAX_TITLE_CHARS),
            title_link: renderer.text(&config.title_link)?,
            text: renderer.text(&config.text)?,
            image_url: renderer.text(&config.image_url)?,
            thumb_url: renderer.text(&config.thumb_url)?,
            color: renderer.text(&config.color)?,
            fields: config.fields.iter().map(field).collect::<Result<_, NotifyError>>()?,
            actions: config.actions.iter().map(button).collect::<Result<_, NotifyError>>()?,
        };
        Ok(Message {
            channel: renderer.text(&config.channel)?,
            text: renderer.text(&config.message_text)?,
            emoji: renderer.text(&config.emoji)?,
            avatar: renderer.text(&config.icon_url)?,
            attachments: [attachment],
        })
    }
}

/// Reads an answer with status 2xx, which may still say that the message was refused.
fn check_answer(response: &HttpResponse) -> Result<(), NotifyError> {
    let answer: Answer = serde_json::from_slice(&response.body).map_err(|e| {
        let message = format!("could not unmarshal JSON response {}: {e}", GoQuoted(&quoted(response)));
        NotifyError::temporary(FailureReason::ClientError, message)
    })?;
    match answer.success {
        true => Ok(()),
        false => {
            let message = format!("error response from Rocketchat: {}", answer.error);
            Err(NotifyError::permanent(FailureReason::ClientError, message))
        }
    }
}

#[async_trait]
impl Notifier for Rocketchat {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let message = self.message(&call.renderer())?;
        let url = self.config.api_url.as_ref().map(|url| url.join("api/v1/chat.postMessage").to_string());
        let request = json_request(Method::POST, url.unwrap_or_default(), json::payload(&message)?);
        let headers = [request.headers, self.credentials.clone()].concat();
        let response = send(&self.client, HttpRequest { headers, ..request }).await?;
        let checked = check(&response, &[], quoted).and_then(|()| check_answer(&response));
        checked.map_err(|error| error.within(format!("channel {}", GoQuoted(&message.channel))))
    }
}
