//! One file for each kind of integration: its section of the configuration, its payload, and how it is sent.

mod discord;
mod email;
mod incidentio;
mod jira;
mod mattermost;
mod msteams;
mod msteamsv2;
mod opsgenie;
mod pagerduty;
mod pushover;
mod rocketchat;
mod slack;
mod sns;
mod telegram;
mod victorops;
mod webex;
mod webhook;
mod wechat;

use pharos_config::{ConfigError, HttpConfig};
use pharos_http_client::HttpClient;

use crate::config::SecretUrl;
use crate::error::{FailureReason, NotifyError};

pub use discord::DiscordConfig;
pub use email::{EmailConfig, Threading};
pub use incidentio::IncidentioConfig;
pub use jira::{JiraConfig, JiraField};
pub use mattermost::{MattermostAttachment, MattermostConfig, MattermostField, MattermostPriority, MattermostProps};
pub use msteams::MsTeamsConfig;
pub use msteamsv2::MsTeamsV2Config;
pub use opsgenie::{OpsGenieConfig, OpsGenieResponder};
pub use pagerduty::{PagerdutyConfig, PagerdutyImage, PagerdutyLink};
pub use pushover::PushoverConfig;
pub use rocketchat::{RocketchatAction, RocketchatConfig, RocketchatField};
pub use slack::{SlackAction, SlackConfig, SlackConfirmation, SlackField};
pub use sns::{SigV4Config, SnsConfig};
pub use telegram::TelegramConfig;
pub use victorops::VictorOpsConfig;
pub use webex::WebexConfig;
pub use webhook::WebhookConfig;
pub use wechat::WechatConfig;

/// The content of a file with a secret, without space around it. `what` is what errors call reading it.
async fn read_secret(what: &str, file: &str) -> Result<String, NotifyError> {
    let read = tokio::fs::read_to_string(file).await;
    let failed = |e| NotifyError::permanent(FailureReason::Other, format!("{what}: open {file}: {e}"));
    read.map(|text| text.trim().to_string()).map_err(failed)
}

/// Checks a webhook that is set here or in a file.
fn check_webhook_url(url: &Option<SecretUrl>, file: &str) -> Result<(), String> {
    if url.is_none() && file.is_empty() {
        return Err("one of webhook_url or webhook_url_file must be configured".into());
    }
    crate::config::section::secret_or_file("webhook_url", url.is_some(), file)
}

/// A webhook that is set here or in a file.
async fn webhook_url(url: &Option<SecretUrl>, file: &str) -> Result<String, NotifyError> {
    match url {
        Some(url) => Ok(url.reveal()),
        None => read_secret("read webhook_url_file", file).await,
    }
}

/// The HTTP client of a section that has been resolved.
fn client(config: &Option<HttpConfig>) -> Result<HttpClient, ConfigError> {
    HttpClient::new(&config.clone().unwrap_or_default().http_client()?)
}

/// Declares that a section inherits its HTTP client and nothing else.
macro_rules! http_section {
    ($config:ident) => {
        impl crate::config::inherit::Inherit for $config {
            fn inherit(&mut self, global: &crate::config::GlobalConfig) -> Result<(), String> {
                crate::config::inherit::http_config(&mut self.http_config, global)
            }

            fn set_directory(&mut self, directory: &std::path::Path) {
                crate::config::inherit::set_directory(&mut self.http_config, directory);
            }
        }
    };
}
use http_section;

#[cfg(test)]
pub(crate) mod tests;
