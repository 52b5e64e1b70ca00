//! One file for each kind of integration: its section of the configuration, its payload, and how it is sent.

mod discord;
mod msteams;
mod msteamsv2;
mod slack;
mod webex;
mod webhook;

use pharos_config::{ConfigError, HttpConfig};
use pharos_http_client::HttpClient;

use crate::config::SecretUrl;
use crate::error::{FailureReason, NotifyError};

pub use discord::DiscordConfig;
pub use msteams::MsTeamsConfig;
pub use msteamsv2::MsTeamsV2Config;
pub use slack::{SlackAction, SlackConfig, SlackConfirmation, SlackField};
pub use webex::WebexConfig;
pub use webhook::WebhookConfig;

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
