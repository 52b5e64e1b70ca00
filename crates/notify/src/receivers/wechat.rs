//! WeChat: a message of a corporation's application, under a token that is fetched before.

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use jiff::Timestamp;
use parking_lot::Mutex;
use pharos_config::{ConfigError, HttpConfig, Secret};
use pharos_http_client::{HttpClient, HttpRequest};
use serde::{Deserialize, Serialize};

use super::{client, read_secret};
use crate::config::inherit::{self, Inherit};
use crate::config::section::secret_or_file;
use crate::config::{ApiUrl, GlobalConfig, Section, section};
use crate::error::{FailureReason, NotifyError};
use crate::http::{json_request, send};
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;
use crate::templates::Renderer;

/// How long a token is used, seconds.
const TOKEN_SECONDS: i64 = 2 * 3600;
/// The code of an answer to a token that has expired.
const TOKEN_EXPIRED: i64 = 42001;

section! {
    /// An entry of `wechat_configs`.
    pub struct WechatConfig {
        /// Whether to notify about resolved alerts.
        pub send_resolved: bool,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The secret of the application.
        pub api_secret: Secret,
        /// A file with that secret.
        pub api_secret_file: String,
        /// The number of the corporation.
        pub corp_id: String,
        /// The text.
        pub message: String = r#"{{ template "wechat.default.message" . }}"#,
        /// The interface.
        pub api_url: Option<ApiUrl>,
        /// The users that get the message.
        pub to_user: String = r#"{{ template "wechat.default.to_user" . }}"#,
        /// The departments that get the message.
        pub to_party: String = r#"{{ template "wechat.default.to_party" . }}"#,
        /// The tags whose users get the message.
        pub to_tag: String = r#"{{ template "wechat.default.to_tag" . }}"#,
        /// The number of the application.
        pub agent_id: String = r#"{{ template "wechat.default.agent_id" . }}"#,
        /// The kind of the text: `text` (the default) or `markdown`.
        pub message_type: String,
    }
}

impl Section for WechatConfig {
    const NAME: &'static str = "wechat";

    fn check(&mut self) -> Result<(), String> {
        match self.message_type.as_str() {
            "" => self.message_type = "text".into(),
            "text" | "markdown" => {}
            other => {
                return Err(format!("weChat message type {other:?} does not match valid options ^(text|markdown)$"));
            }
        }
        secret_or_file("api_secret", !self.api_secret.is_empty(), &self.api_secret_file)
    }
}

impl Inherit for WechatConfig {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        inherit::http_config(&mut self.http_config, global)?;
        inherit::or_global(&mut self.api_url, &global.wechat_api_url);
        let url = self.api_url.as_ref().ok_or("no global Wechat URL set")?;
        self.api_url = Some(url.as_folder());
        if self.api_secret.is_empty() && self.api_secret_file.is_empty() {
            if global.wechat_api_secret.is_empty() && global.wechat_api_secret_file.is_empty() {
                return Err("no global Wechat Api Secret set either inline or in a file".into());
            }
            self.api_secret = global.wechat_api_secret.clone();
            self.api_secret_file.clone_from(&global.wechat_api_secret_file);
        }
        inherit::text_or_global(&mut self.corp_id, &global.wechat_api_corp_id);
        if self.corp_id.is_empty() { Err("no global Wechat CorpID set".into()) } else { Ok(()) }
    }

    fn set_directory(&mut self, directory: &std::path::Path) {
        inherit::set_directory(&mut self.http_config, directory);
    }
}

impl IntegrationConfig for WechatConfig {
    const KIND: &'static str = "wechat";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(Wechat { client: client(&self.http_config)?, config: self.clone(), token: Mutex::default() }))
    }
}

struct Wechat {
    config: WechatConfig,
    client: HttpClient,
    token: Mutex<Option<Token>>,
}

/// A token and when it was fetched.
#[derive(Clone)]
struct Token {
    text: String,
    fetched_at: Timestamp,
}

#[derive(Serialize)]
struct Message<'a> {
    text: Content,
    #[serde(skip_serializing_if = "String::is_empty")]
    touser: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    toparty: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    totag: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    agentid: String,
    safe: &'static str,
    msgtype: &'a str,
    markdown: Content,
}

#[derive(Default, Serialize)]
struct Content {
    content: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenAnswer {
    access_token: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    errcode: i64,
    errmsg: String,
}

fn in_template(error: NotifyError) -> NotifyError {
    NotifyError { reason: FailureReason::TemplateError, ..error.within("templating error") }
}

impl Wechat {
    fn url(&self, path: &str, parameters: &[(&str, &str)]) -> String {
        let url = self.config.api_url.as_ref().map(|url| url.with_suffix(path).with_query(parameters));
        url.map(|url| url.to_string()).unwrap_or_default()
    }

    /// The token that is in use, or another one if that is old.
    async fn token(&self, now: Timestamp, renderer: &Renderer<'_>) -> Result<String, NotifyError> {
        let is_fresh = |token: &Token| now.as_second() - token.fetched_at.as_second() <= TOKEN_SECONDS;
        if let Some(token) = self.token.lock().clone().filter(is_fresh) {
            return Ok(token.text);
        }
        let secret = match self.config.api_secret_file.is_empty() {
            true => self.config.api_secret.reveal().to_string(),
            false => read_secret("read api_secret_file", &self.config.api_secret_file).await?,
        };
        let secret = renderer.text(&secret).map_err(in_template)?;
        let corporation = renderer.text(&self.config.corp_id).map_err(in_template)?;
        let url = self.url("gettoken", &[("corpsecret", &secret), ("corpid", &corporation)]);
        let request = HttpRequest { headers: Vec::new(), ..json_request(Method::GET, url, String::new()) };
        let response = send(&self.client, request).await?;
        let refused = |message: String| NotifyError::permanent(FailureReason::Other, message);
        let answer: TokenAnswer = serde_json::from_slice(&response.body).map_err(|e| refused(e.to_string()))?;
        if answer.access_token.is_empty() {
            return Err(refused(format!("invalid APISecret for CorpID: {}", self.config.corp_id)));
        }
        let token = Token { text: answer.access_token, fetched_at: now };
        *self.token.lock() = Some(token.clone());
        Ok(token.text)
    }

    fn message(&self, renderer: &Renderer<'_>) -> Result<Message<'_>, NotifyError> {
        let config = &self.config;
        let content = Content { content: renderer.text(&config.message)? };
        let (text, markdown) = match config.message_type.as_str() {
            "markdown" => (Content::default(), content),
            _ => (content, Content::default()),
        };
        Ok(Message {
            text,
            touser: renderer.text(&config.to_user)?,
            toparty: renderer.text(&config.to_party)?,
            totag: renderer.text(&config.to_tag)?,
            agentid: renderer.text(&config.agent_id)?,
            safe: "0",
            msgtype: &config.message_type,
            markdown,
        })
    }
}

#[async_trait]
impl Notifier for Wechat {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let renderer = call.renderer();
        let token = self.token(call.notification.now, &renderer).await?;
        let body = json::payload(&self.message(&renderer).map_err(in_template)?)?;
        let url = self.url("message/send", &[("access_token", &token)]);
        let response = send(&self.client, json_request(Method::POST, url, body)).await?;
        if response.status != 200 {
            let message = format!("unexpected status code {}", response.status);
            return Err(NotifyError::temporary(FailureReason::of_status(response.status), message));
        }
        let answer: Answer = serde_json::from_slice(&response.body)
            .map_err(|e| NotifyError::temporary(FailureReason::Other, e.to_string()))?;
        match answer.errcode {
            0 => Ok(()),
            TOKEN_EXPIRED => {
                *self.token.lock() = None;
                Err(NotifyError::temporary(FailureReason::Other, answer.errmsg))
            }
            _ => Err(NotifyError::permanent(FailureReason::Other, answer.errmsg)),
        }
    }
}
