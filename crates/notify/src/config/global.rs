//! The section `global`.

use pharos_config::{HttpConfig, PromDuration, Secret, TlsConfig};

use super::section::{at_most_one, secret_or_file};
use super::{ApiUrl, HostPort, SecretUrl, section};

section! {
    /// What receivers inherit, and the resolve timeout.
    pub struct GlobalConfig {
        /// When an alert is resolved of which nothing was heard, and whose sender did not say (default: 5m).
        pub resolve_timeout: PromDuration = PromDuration::from_secs(300),
        /// The HTTP client of receivers without one.
        pub http_config: HttpConfig,
        /// Jira.
        pub jira_api_url: Option<ApiUrl>,
        /// The sender of mails.
        pub smtp_from: String,
        /// How the SMTP server is greeted (default: `localhost`).
        pub smtp_hello: String = "localhost",
        /// The SMTP server.
        #[serde(deserialize_with = "super::maybe_host_port")]
        pub smtp_smarthost: Option<HostPort>,
        /// The user of the SMTP server.
        pub smtp_auth_username: String,
        /// The password for `PLAIN` and `LOGIN`.
        pub smtp_auth_password: Secret,
        /// A file with that password.
        pub smtp_auth_password_file: String,
        /// The secret for `CRAM-MD5`.
        pub smtp_auth_secret: Secret,
        /// A file with that secret.
        pub smtp_auth_secret_file: String,
        /// The identity for `PLAIN`.
        pub smtp_auth_identity: String,
        /// Whether to send mail over TLS only (default: true).
        pub smtp_require_tls: bool = true,
        /// TLS with the SMTP server.
        pub smtp_tls_config: Option<TlsConfig>,
        /// Whether to begin with TLS. Without the setting, that depends on the port.
        pub smtp_force_implicit_tls: Option<bool>,
        /// The webhook of Slack.
        pub slack_api_url: Option<SecretUrl>,
        /// A file with that URL.
        pub slack_api_url_file: String,
        /// The token of a Slack application.
        pub slack_app_token: Secret,
        /// A file with that token.
        pub slack_app_token_file: String,
        /// Where Slack applications post.
        pub slack_app_url: Option<ApiUrl> = ApiUrl::parse("https://slack.com/api/chat.postMessage").ok(),
        /// PagerDuty.
        pub pagerduty_url: Option<ApiUrl> = ApiUrl::parse("https://events.pagerduty.com/v2/enqueue").ok(),
        /// Opsgenie.
        pub opsgenie_api_url: Option<ApiUrl> = ApiUrl::parse("https://api.opsgenie.com/").ok(),
        /// The key of Opsgenie.
        pub opsgenie_api_key: Secret,
        /// A file with that key.
        pub opsgenie_api_key_file: String,
        /// WeChat.
        pub wechat_api_url: Option<ApiUrl> = ApiUrl::parse("https://qyapi.weixin.qq.com/cgi-bin/").ok(),
        /// The secret of WeChat.
        pub wechat_api_secret: Secret,
        /// A file with that secret.
        pub wechat_api_secret_file: String,
        /// The corporation's number at WeChat.
        pub wechat_api_corp_id: String,
        /// VictorOps, now Splunk On-Call.
        pub victorops_api_url: Option<ApiUrl> =
            ApiUrl::parse("https://alert.victorops.com/integrations/generic/20131114/alert/").ok(),
        /// The key of VictorOps.
        pub victorops_api_key: Secret,
        /// A file with that key.
        pub victorops_api_key_file: String,
        /// Telegram.
        pub telegram_api_url: Option<ApiUrl> = ApiUrl::parse("https://api.telegram.org").ok(),
        /// The token of the Telegram bot.
        pub telegram_bot_token: Secret,
        /// A file with that token.
        pub telegram_bot_token_file: String,
        /// Webex.
        pub webex_api_url: Option<ApiUrl> = ApiUrl::parse("https://webexapis.com/v1/messages").ok(),
        /// Rocket.Chat.
        pub rocketchat_api_url: Option<ApiUrl> = ApiUrl::parse("https://open.rocket.chat/").ok(),
        /// The token of Rocket.Chat.
        pub rocketchat_token: Option<Secret>,
        /// A file with that token.
        pub rocketchat_token_file: String,
        /// The user of that token.
        pub rocketchat_token_id: Option<Secret>,
        /// A file with that user.
        pub rocketchat_token_id_file: String,
        /// The webhook of Mattermost.
        pub mattermost_webhook_url: Option<SecretUrl>,
        /// A file with that URL.
        pub mattermost_webhook_url_file: String,
    }
}

impl super::omit::Omit for HttpConfig {}

impl GlobalConfig {
    /// Checks the section. Deserialising does not.
    ///
    /// # Errors
    /// A secret is set twice, or the HTTP client is wrong.
    pub fn check(&self) -> Result<(), String> {
        let has = |secret: &Secret| !secret.is_empty();
        secret_or_file("slack_app_token", has(&self.slack_app_token), &self.slack_app_token_file)?;
        secret_or_file("slack_api_url", self.slack_api_url.is_some(), &self.slack_api_url_file)?;
        let has_token = has(&self.slack_app_token) || !self.slack_app_token_file.is_empty();
        let has_url = self.slack_api_url.is_some() || !self.slack_api_url_file.is_empty();
        let reveal = |url: &Option<SecretUrl>| url.as_ref().map(SecretUrl::reveal);
        let is_app_url = reveal(&self.slack_api_url) == self.slack_app_url.as_ref().map(ApiUrl::to_string);
        at_most_one(
            ("slack_app_token/slack_app_token_file", has_token && !is_app_url),
            ("slack_api_url/slack_api_url_file", has_url),
        )?;
        secret_or_file("opsgenie_api_key", has(&self.opsgenie_api_key), &self.opsgenie_api_key_file)?;
        secret_or_file("victorops_api_key", has(&self.victorops_api_key), &self.victorops_api_key_file)?;
        secret_or_file("telegram_bot_token", has(&self.telegram_bot_token), &self.telegram_bot_token_file)?;
        secret_or_file("smtp_auth_password", has(&self.smtp_auth_password), &self.smtp_auth_password_file)?;
        secret_or_file("rocketchat_token", self.rocketchat_token.is_some(), &self.rocketchat_token_file)?;
        secret_or_file("rocketchat_token_id", self.rocketchat_token_id.is_some(), &self.rocketchat_token_id_file)?;
        secret_or_file("smtp_auth_secret", has(&self.smtp_auth_secret), &self.smtp_auth_secret_file)?;
        secret_or_file("wechat_api_secret", has(&self.wechat_api_secret), &self.wechat_api_secret_file)?;
        let url = self.mattermost_webhook_url.is_some();
        secret_or_file("mattermost_webhook_url", url, &self.mattermost_webhook_url_file)?;
        self.http_config.http_client().map(drop).map_err(|e| e.to_string())
    }

    /// Resolves relative paths of the HTTP client against the directory of the configuration file. As in Alertmanager, files
    /// with secrets are relative to the working directory.
    pub fn set_directory(&mut self, directory: &std::path::Path) {
        self.http_config.set_directory(directory);
    }
}
