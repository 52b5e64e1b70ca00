//! Slack, by an incoming webhook or by an application, which can also update and thread its messages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pharos_config::{Authorization, ConfigError, HttpConfig, Secret};
use pharos_gocompat::GoQuoted;
use pharos_http_client::{HttpClient, HttpResponse};
use serde::{Deserialize, Serialize};

use super::{client, read_secret};
use crate::config::inherit::{self, Inherit};
use crate::config::section::{at_most_one, secret_or_file};
use crate::config::{ApiUrl, GlobalConfig, GoDuration, SecretUrl, Section, section};
use crate::error::{FailureReason, NotifyError};
use crate::http::{check, json_request, quoted, retry_after, send};
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;
use crate::templates::Renderer;
use crate::text::truncate_chars;

const MAX_TITLE_CHARS: usize = 1024;
/// Where applications post.
const POST_MESSAGE_URL: &str = "https://slack.com/api/chat.postMessage";
/// Where applications update a message.
const UPDATE_URL: &str = "https://slack.com/api/chat.update";
/// What is kept of the first message of a group.
const THREAD: &str = "threadTs";
const CHANNEL: &str = "channelId";

section! {
    /// An entry of `slack_configs`.
    pub struct SlackConfig {
        /// Whether to notify about resolved alerts.
        pub send_resolved: bool,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The incoming webhook.
        pub api_url: Option<SecretUrl>,
        /// A file with that URL.
        pub api_url_file: String,
        /// The token of an application.
        pub app_token: Secret,
        /// A file with that token.
        pub app_token_file: String,
        /// Where the application posts.
        pub app_url: Option<ApiUrl>,
        /// The channel.
        pub channel: String,
        /// The sender.
        pub username: String = r#"{{ template "slack.default.username" . }}"#,
        /// The color of the message's bar.
        pub color: String = r#"{{ template "slack.default.color" . }}"#,
        /// The title.
        pub title: String = r#"{{ template "slack.default.title" . }}"#,
        /// Where the title leads.
        pub title_link: String = r#"{{ template "slack.default.titlelink" . }}"#,
        /// A text above the message.
        pub pretext: String = r#"{{ template "slack.default.pretext" . }}"#,
        /// The text.
        pub text: String = r#"{{ template "slack.default.text" . }}"#,
        /// The text outside of the attachment.
        pub message_text: String,
        /// A table of fields.
        pub fields: Vec<SlackField>,
        /// Whether fields may stand side by side.
        pub short_fields: bool,
        /// A text below the message.
        pub footer: String = r#"{{ template "slack.default.footer" . }}"#,
        /// What clients without formatting show.
        pub fallback: String = r#"{{ template "slack.default.fallback" . }}"#,
        /// The identifier of a callback.
        pub callback_id: String = r#"{{ template "slack.default.callbackid" . }}"#,
        /// The sender's emoji.
        pub icon_emoji: String = r#"{{ template "slack.default.iconemoji" . }}"#,
        /// The sender's picture.
        pub icon_url: String = r#"{{ template "slack.default.iconurl" . }}"#,
        /// A picture.
        pub image_url: String,
        /// A small picture.
        pub thumb_url: String,
        /// Whether to link names of users and channels.
        pub link_names: bool,
        /// The fields with formatting.
        pub mrkdwn_in: Vec<String>,
        /// Buttons.
        pub actions: Vec<SlackAction>,
        /// Whether later notifications of a group update its first message.
        pub update_message: bool,
        /// Whether later notifications of a group reply to its first message.
        pub post_updates_to_thread: bool,
        /// How long an attempt may take.
        pub timeout: GoDuration,
    }
}

section! {
    /// A field of a message.
    pub struct SlackField {
        /// The title.
        pub title: String,
        /// The value.
        pub value: String,
        /// Whether it may stand beside another field.
        pub short: Option<bool>,
    }
}

section! {
    /// A button.
    pub struct SlackAction {
        /// The kind.
        #[serde(rename = "type")]
        pub kind: String,
        /// The label.
        pub text: String,
        /// Where it leads.
        pub url: String,
        /// Its style.
        pub style: String,
        /// The name of a message action.
        pub name: String,
        /// The value of a message action.
        pub value: String,
        /// A question before the action.
        pub confirm: Option<SlackConfirmation>,
    }
}

section! {
    /// A question before an action.
    pub struct SlackConfirmation {
        /// The question.
        pub text: String,
        /// The title.
        pub title: String,
        /// The label of the button that confirms.
        pub ok_text: String,
        /// The label of the other button.
        pub dismiss_text: String,
    }
}

impl SlackAction {
    fn check(&mut self) -> Result<(), String> {
        if !self.url.is_empty() {
            self.name.clear();
            self.value.clear();
            self.confirm = None;
        } else if self.name.is_empty() {
            return Err("missing name or url in Slack action configuration".into());
        }
        match () {
            () if self.kind.is_empty() => Err("missing type in Slack action configuration".into()),
            () if self.text.is_empty() => Err("missing text in Slack action configuration".into()),
            () if self.confirm.as_ref().is_some_and(|confirm| confirm.text.is_empty()) => {
                Err("missing text in Slack confirmation configuration".into())
            }
            () => Ok(()),
        }
    }
}

impl SlackConfig {
    /// Refuses what needs an application if messages go to a webhook.
    fn check_application(&self) -> Result<(), String> {
        let options =
            [("update_message", self.update_message), ("post_updates_to_thread", self.post_updates_to_thread)];
        for (option, _) in options.iter().filter(|(_, is_set)| *is_set) {
            match &self.api_url {
                None if !self.api_url_file.is_empty() => {
                    return Err(format!("{option} can't be used with api_url_file"));
                }
                Some(url) if url.reveal() != POST_MESSAGE_URL => {
                    let message = "can only be used with bot tokens. api_url must be set to";
                    return Err(format!("{option} {message} {POST_MESSAGE_URL}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Section for SlackConfig {
    const NAME: &'static str = "slack";

    fn check(&mut self) -> Result<(), String> {
        for field in &self.fields {
            let missing = [("title", field.title.is_empty()), ("value", field.value.is_empty())];
            if let Some((name, _)) = missing.iter().find(|(_, is_missing)| *is_missing) {
                return Err(format!("missing {name} in Slack field configuration"));
            }
        }
        self.actions.iter_mut().try_for_each(SlackAction::check)?;
        secret_or_file("api_url", self.api_url.is_some(), &self.api_url_file)?;
        secret_or_file("app_token", !self.app_token.is_empty(), &self.app_token_file)?;
        at_most_one(
            ("api_url/api_url_file", self.api_url.is_some() || !self.api_url_file.is_empty()),
            ("app_token/app_token_file", !self.app_token.is_empty() || !self.app_token_file.is_empty()),
        )?;
        self.check_application()
    }
}

impl Inherit for SlackConfig {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        inherit::or_global(&mut self.app_url, &global.slack_app_url);
        if self.app_url.is_none() {
            return Err("no global Slack App URL set".into());
        }
        let has_token = |config: &Self| !config.app_token.is_empty() || !config.app_token_file.is_empty();
        let authorization = self.http_config.as_ref().and_then(|http| http.authorization.as_ref());
        if !has_token(self) && authorization.is_none() && self.api_url.is_none() {
            self.app_token = global.slack_app_token.clone();
            self.app_token_file.clone_from(&global.slack_app_token_file);
        }
        if self.api_url.is_none() && self.api_url_file.is_empty() {
            self.api_url.clone_from(&global.slack_api_url);
            self.api_url_file.clone_from(&global.slack_api_url_file);
        }
        if self.api_url.is_none() && self.api_url_file.is_empty() && !has_token(self) {
            return Err("no Slack API URL nor App token set either inline or in a file".into());
        }
        inherit::http_config(&mut self.http_config, global)?;
        if has_token(self) {
            let http = self.http_config.get_or_insert_default();
            if http.authorization.is_some() {
                return Err("http authorization can't be set when using Slack App tokens".into());
            }
            http.authorization = Some(Authorization {
                kind: "Bearer".into(),
                credentials: self.app_token.clone(),
                credentials_file: Some(self.app_token_file.clone().into()).filter(|_| self.app_token.is_empty()),
                ..Authorization::default()
            });
            self.api_url = self.app_url.clone().map(SecretUrl::new);
        }
        self.check_application()
    }

    fn set_directory(&mut self, directory: &std::path::Path) {
        inherit::set_directory(&mut self.http_config, directory);
    }
}

impl IntegrationConfig for SlackConfig {
    const KIND: &'static str = "slack";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn timeout(&self) -> Option<Duration> {
        self.timeout.positive()
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(Slack { client: client(&self.http_config)?, config: self.clone() }))
    }
}

struct Slack {
    config: SlackConfig,
    client: HttpClient,
}

#[derive(Clone, Serialize)]
struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_emoji: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_url: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    link_names: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    attachments: [Attachment; 1],
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ts: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thread_ts: String,
}

#[derive(Clone, Serialize)]
struct Attachment {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pretext: String,
    text: String,
    fallback: String,
    callback_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<SlackField>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<SlackAction>,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    footer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    mrkdwn_in: Vec<String>,
}

/// What Slack answers to an application.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    ok: bool,
    error: String,
    channel: String,
    ts: String,
}

impl Slack {
    fn message(&self, renderer: &Renderer<'_>) -> Result<Message, NotifyError> {
        let config = &self.config;
        let mrkdwn_in = match config.mrkdwn_in.is_empty() {
            true => ["fallback", "pretext", "text"].map(str::to_string).to_vec(),
            false => config.mrkdwn_in.clone(),
        };
        let attachment = Attachment {
            title: truncate_chars(renderer.text(&config.title)?, MAX_TITLE_CHARS),
            title_link: renderer.text(&config.title_link)?,
            pretext: renderer.text(&config.pretext)?,
            text: renderer.text(&config.text)?,
            fallback: renderer.text(&config.fallback)?,
            callback_id: renderer.text(&config.callback_id)?,
            fields: config.fields.iter().map(|field| self.field(field, renderer)).collect::<Result<_, _>>()?,
            actions: config.actions.iter().map(|action| expand_action(action, renderer)).collect::<Result<_, _>>()?,
            image_url: renderer.text(&config.image_url)?,
            thumb_url: renderer.text(&config.thumb_url)?,
            footer: renderer.text(&config.footer)?,
            color: renderer.text(&config.color)?,
            mrkdwn_in,
        };
        Ok(Message {
            username: renderer.text(&config.username)?,
            icon_emoji: renderer.text(&config.icon_emoji)?,
            icon_url: renderer.text(&config.icon_url)?,
            link_names: config.link_names,
            text: renderer.text(&config.message_text)?,
            attachments: [attachment],
            channel: renderer.text(&config.channel)?,
            ts: String::new(),
            thread_ts: String::new(),
        })
    }

    fn field(&self, field: &SlackField, renderer: &Renderer<'_>) -> Result<SlackField, NotifyError> {
        Ok(SlackField {
            title: renderer.text(&field.title)?,
            value: renderer.text(&field.value)?,
            short: Some(field.short.unwrap_or(self.config.short_fields)),
        })
    }

    /// Posts a message and returns what Slack says of it.
    async fn post(&self, call: Call<'_>, url: &str, message: &Message) -> Result<Answer, NotifyError> {
        let request = json_request(http::Method::POST, url, json::payload(message)?);
        let response = send(&self.client, request).await?;
        let answer = match check(&response, &[429], quoted) {
            Err(error) if error.retry => {
                Err(NotifyError { retry_after: retry_after(&response.headers, call.notification.now), ..error })
            }
            Err(error) => Err(error),
            Ok(()) => answer(&response),
        };
        answer.map_err(|error| error.within(format!("channel {}", GoQuoted(&message.channel))))
    }
}

fn expand_action(action: &SlackAction, renderer: &Renderer<'_>) -> Result<SlackAction, NotifyError> {
    let confirm = action.confirm.as_ref().map(|confirm| {
        Ok(SlackConfirmation {
            text: renderer.text(&confirm.text)?,
            title: renderer.text(&confirm.title)?,
            ok_text: renderer.text(&confirm.ok_text)?,
            dismiss_text: renderer.text(&confirm.dismiss_text)?,
        })
    });
    Ok(SlackAction {
        kind: renderer.text(&action.kind)?,
        text: renderer.text(&action.text)?,
        url: renderer.text(&action.url)?,
        style: renderer.text(&action.style)?,
        name: renderer.text(&action.name)?,
        value: renderer.text(&action.value)?,
        confirm: confirm.transpose()?,
    })
}

/// Reads an answer with status 2xx, which may still say that the message was refused.
fn answer(response: &HttpResponse) -> Result<Answer, NotifyError> {
    let content_type = response.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let refused = |message| NotifyError::permanent(FailureReason::ClientError, message);
    if !content_type.unwrap_or("").starts_with("application/json") {
        return match &response.body[..] {
            b"ok" => Ok(Answer { ok: true, ..Answer::default() }),
            _ => Err(refused(format!("received an error response from Slack: {}", quoted(response)))),
        };
    }
    let answer: Answer = serde_json::from_slice(&response.body).map_err(|e| {
        let message = format!("could not unmarshal JSON response {}: {e}", GoQuoted(&quoted(response)));
        NotifyError::temporary(FailureReason::ClientError, message)
    })?;
    match answer.ok {
        true => Ok(answer),
        false => Err(refused(format!("error response from Slack: {}", answer.error))),
    }
}

#[async_trait]
impl Notifier for Slack {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let message = self.message(&call.renderer())?;
        let url = match &self.config.api_url {
            Some(url) => url.reveal(),
            None => read_secret("read api_url_file", &self.config.api_url_file).await?,
        };
        let kept = &call.notification.receiver_data;
        let (updates, threads) = (self.config.update_message, self.config.post_updates_to_thread);
        let first = kept.get(THREAD).zip(kept.get(CHANNEL)).filter(|_| updates || threads);
        let Some((thread, channel)) = first else {
            let answer = self.post(call, &url, &message).await?;
            if (updates || threads) && !answer.ts.is_empty() && !answer.channel.is_empty() {
                kept.set(THREAD, &answer.ts);
                kept.set(CHANNEL, &answer.channel);
            }
            return Ok(());
        };
        if updates {
            let update = Message { channel: channel.clone(), ts: thread.clone(), ..message.clone() };
            self.post(call, UPDATE_URL, &update).await?;
        }
        if threads {
            let reply = Message { channel, thread_ts: thread, ..message };
            self.post(call, &url, &reply).await?;
        }
        Ok(())
    }
}
