//! Mattermost, by an incoming webhook.

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use pharos_config::{ConfigError, HttpConfig};
use pharos_gocompat::GoQuoted;
use pharos_http_client::HttpClient;
use serde::Serialize;

use super::{client, webhook_url};
use crate::config::inherit::{self, Inherit};
use crate::config::section::secret_or_file;
use crate::config::{GlobalConfig, SecretUrl, Section, section};
use crate::error::{FailureReason, NotifyError};
use crate::http::{check, json_request, quoted, send};
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;
use crate::templates::Renderer;
use crate::text::truncate_chars;

const MAX_TEXT_CHARS: usize = 16_383;

section! {
    /// An entry of `mattermost_configs`.
    pub struct MattermostConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The webhook.
        pub webhook_url: Option<SecretUrl>,
        /// A file with that URL.
        pub webhook_url_file: String,
        /// The channel.
        pub channel: String,
        /// The sender.
        pub username: String = r#"{{ template "mattermost.default.username" . }}"#,
        /// The text.
        pub text: String = r#"{{ template "mattermost.default.text" . }}"#,
        /// What clients without formatting show.
        pub fallback: String = r#"{{ template "mattermost.default.fallback" . }}"#,
        /// The color of the message's bar.
        pub color: String = r#"{{ template "mattermost.default.color" . }}"#,
        /// A text above the message.
        pub pretext: String,
        /// The name of the author.
        pub author_name: String,
        /// Where the author's name leads.
        pub author_link: String,
        /// The author's picture.
        pub author_icon: String,
        /// The title.
        pub title: String = r#"{{ template "mattermost.default.title" . }}"#,
        /// Where the title leads.
        pub title_link: String = r#"{{ template "mattermost.default.titlelink" . }}"#,
        /// A table of fields.
        pub fields: Vec<MattermostField>,
        /// A small picture.
        pub thumb_url: String,
        /// A text below the message.
        pub footer: String,
        /// The picture of that text.
        pub footer_icon: String,
        /// A picture.
        pub image_url: String,
        /// The sender's picture.
        pub icon_url: String,
        /// The sender's emoji.
        pub icon_emoji: String,
        /// Attachments instead of the one that the settings above describe.
        pub attachments: Vec<MattermostAttachment>,
        /// The type of the message.
        #[serde(rename = "type")]
        pub kind: String,
        /// Properties of the message.
        pub props: Option<MattermostProps>,
        /// The priority of the message.
        pub priority: Option<MattermostPriority>,
    }
}

section! {
    /// An attachment, also as it is sent.
    pub struct MattermostAttachment {
        /// What clients without formatting show.
        pub fallback: String,
        /// The color of the bar.
        pub color: String,
        /// A text above the attachment.
        pub pretext: String,
        /// The text.
        pub text: String,
        /// The name of the author.
        pub author_name: String,
        /// Where the author's name leads.
        pub author_link: String,
        /// The author's picture.
        pub author_icon: String,
        /// The title.
        pub title: String,
        /// Where the title leads.
        pub title_link: String,
        /// A table of fields.
        pub fields: Vec<MattermostField>,
        /// A small picture.
        pub thumb_url: String,
        /// A text below the attachment.
        pub footer: String,
        /// The picture of that text.
        pub footer_icon: String,
        /// A picture.
        pub image_url: String,
    }
}

section! {
    /// A field of an attachment.
    pub struct MattermostField {
        /// The title.
        pub title: String,
        /// The value.
        pub value: String,
        /// Whether it may stand beside another field.
        pub short: Option<bool>,
    }
}

section! {
    /// Properties of a message.
    pub struct MattermostProps {
        /// A text beside the message.
        pub card: String,
    }
}

section! {
    /// The priority of a message.
    pub struct MattermostPriority {
        /// `standard`, `important` or `urgent`.
        pub priority: String,
        /// Whether readers are asked to confirm it.
        pub requested_ack: bool,
        /// Whether readers are notified until they confirm it.
        pub persistent_notifications: bool,
    }
}

fn check_fields(fields: &[MattermostField]) -> Result<(), String> {
    for field in fields {
        let missing = [("title", field.title.is_empty()), ("value", field.value.is_empty())];
        if let Some((name, _)) = missing.iter().find(|(_, is_missing)| *is_missing) {
            return Err(format!("missing {name} in Mattermost field configuration"));
        }
    }
    Ok(())
}

impl Section for MattermostConfig {
    const NAME: &'static str = "mattermost";

    fn check(&mut self) -> Result<(), String> {
        check_fields(&self.fields)?;
        self.attachments.iter().try_for_each(|attachment| check_fields(&attachment.fields))?;
        secret_or_file("webhook_url", self.webhook_url.is_some(), &self.webhook_url_file)
    }
}

impl Inherit for MattermostConfig {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        inherit::http_config(&mut self.http_config, global)?;
        if self.webhook_url.is_none() && self.webhook_url_file.is_empty() {
            if global.mattermost_webhook_url.is_none() && global.mattermost_webhook_url_file.is_empty() {
                return Err("missing webhook_url or webhook_url_file on mattermost_config".into());
            }
            self.webhook_url.clone_from(&global.mattermost_webhook_url);
            self.webhook_url_file.clone_from(&global.mattermost_webhook_url_file);
        }
        Ok(())
    }

    fn set_directory(&mut self, directory: &std::path::Path) {
        inherit::set_directory(&mut self.http_config, directory);
    }
}

impl IntegrationConfig for MattermostConfig {
    const KIND: &'static str = "mattermost";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(Mattermost { client: client(&self.http_config)?, config: self.clone() }))
    }
}

struct Mattermost {
    config: MattermostConfig,
    client: HttpClient,
}

#[derive(Serialize)]
struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_emoji: String,
    attachments: Vec<MattermostAttachment>,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    props: Option<MattermostProps>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
}

/// The priority as it is sent.
#[derive(Serialize)]
struct Priority {
    priority: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    requested_ack: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    persistent_notifications: bool,
}

impl Mattermost {
    fn message(&self, renderer: &Renderer<'_>) -> Result<Message, NotifyError> {
        let config = &self.config;
        let text = renderer.text(&config.text)?;
        let (text, attachments) = match config.attachments.is_empty() {
            true => (String::new(), vec![expand(&self.own_attachment(), renderer)?]),
            false => (
                truncate_chars(text, MAX_TEXT_CHARS),
                config.attachments.iter().map(|attachment| expand(attachment, renderer)).collect::<Result<_, _>>()?,
            ),
        };
        let priority = config.priority.as_ref().filter(|priority| !priority.priority.is_empty());
        let props = config.props.as_ref().filter(|props| !props.card.is_empty());
        Ok(Message {
            text,
            channel: renderer.text(&config.channel)?,
            username: renderer.text(&config.username)?,
            icon_url: renderer.text(&config.icon_url)?,
            icon_emoji: renderer.text(&config.icon_emoji)?,
            attachments,
            kind: renderer.text(&config.kind)?,
            props: props.map(|props| Ok(MattermostProps { card: renderer.text(&props.card)? })).transpose()?,
            priority: priority.map(|of| Ok(allowed(of, &renderer.text(&of.priority)?))).transpose()?,
        })
    }

    /// The attachment that the settings describe, for a configuration without a list of attachments.
    fn own_attachment(&self) -> MattermostAttachment {
        let config = self.config.clone();
        MattermostAttachment {
            fallback: config.fallback,
            color: config.color,
            pretext: config.pretext,
            text: config.text,
            author_name: config.author_name,
            author_link: config.author_link,
            author_icon: config.author_icon,
            title: config.title,
            title_link: config.title_link,
            fields: config.fields,
            thumb_url: config.thumb_url,
            footer: config.footer,
            footer_icon: config.footer_icon,
            image_url: config.image_url,
        }
    }
}

/// A priority with the flags that Mattermost allows for it.
fn allowed(config: &MattermostPriority, name: &str) -> Priority {
    let priority = match name.to_lowercase().as_str() {
        "urgent" => "urgent",
        "important" => "important",
        _ => "standard",
    };
    Priority {
        priority,
        requested_ack: config.requested_ack && priority != "standard",
        persistent_notifications: config.persistent_notifications && priority == "urgent",
    }
}

fn expand(template: &MattermostAttachment, renderer: &Renderer<'_>) -> Result<MattermostAttachment, NotifyError> {
    let field = |field: &MattermostField| {
        Ok(MattermostField {
            title: renderer.text(&field.title)?,
            value: renderer.text(&field.value)?,
            short: field.short,
        })
    };
    Ok(MattermostAttachment {
        fallback: renderer.text(&template.fallback)?,
        color: renderer.text(&template.color)?,
        pretext: renderer.text(&template.pretext)?,
        text: renderer.text(&template.text)?,
        author_name: renderer.text(&template.author_name)?,
        author_link: renderer.text(&template.author_link)?,
        author_icon: renderer.text(&template.author_icon)?,
        title: renderer.text(&template.title)?,
        title_link: renderer.text(&template.title_link)?,
        fields: template.fields.iter().map(field).collect::<Result<_, NotifyError>>()?,
        thumb_url: renderer.text(&template.thumb_url)?,
        footer: renderer.text(&template.footer)?,
        footer_icon: renderer.text(&template.footer_icon)?,
        image_url: renderer.text(&template.image_url)?,
    })
}

#[async_trait]
impl Notifier for Mattermost {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let url = webhook_url(&self.config.webhook_url, &self.config.webhook_url_file).await?;
        if url.is_empty() {
            return Err(NotifyError::permanent(FailureReason::Other, "webhook url missing"));
        }
        let message = self.message(&call.renderer())?;
        let response = send(&self.client, json_request(Method::POST, url, json::payload(&message)?)).await?;
        let checked = check(&response, &[], quoted);
        checked.map_err(|error| error.within(format!("channel {}", GoQuoted(&message.channel))))
    }
}
