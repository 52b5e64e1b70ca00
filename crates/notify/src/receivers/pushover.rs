//! Pushover: a message to the phones of a user or a group.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use pharos_config::{ConfigError, HttpConfig, Secret};
use pharos_gocompat::template::escape_query;
use pharos_http_client::{HttpClient, HttpRequest};

use super::{client, http_section, read_secret};
use crate::config::section::{at_most_one, secret_or_file};
use crate::config::{GoDuration, Section, section};
use crate::error::NotifyError;
use crate::http::{REDACTED, check, quoted, send};
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::templates::Renderer;
use crate::text::truncate_chars;

const URL: &str = "https://api.pushover.net/1/messages.json";
const MAX_TITLE_CHARS: usize = 250;
const MAX_MESSAGE_CHARS: usize = 1024;
const MAX_URL_CHARS: usize = 512;

section! {
    /// An entry of `pushover_configs`.
    pub struct PushoverConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The user or group.
        pub user_key: Secret,
        /// A file with that key.
        pub user_key_file: String,
        /// The token of the application.
        pub token: Secret,
        /// A file with that token.
        pub token_file: String,
        /// The title.
        pub title: String = r#"{{ template "pushover.default.title" . }}"#,
        /// The text.
        pub message: String = r#"{{ template "pushover.default.message" . }}"#,
        /// A link.
        pub url: String = r#"{{ template "pushover.default.url" . }}"#,
        /// The title of the link.
        pub url_title: String,
        /// The device, if not all of them.
        pub device: String,
        /// The sound.
        pub sound: String,
        /// The priority (default: emergency for firing alerts, normal for resolved ones).
        pub priority: String = r#"{{ if eq .Status "firing" }}2{{ else }}0{{ end }}"#,
        /// How often emergencies are repeated (default: 1m).
        pub retry: GoDuration = GoDuration::from_secs(60),
        /// How long emergencies are repeated (default: 1h).
        pub expire: GoDuration = GoDuration::from_secs(3600),
        /// After which time the message is deleted.
        pub ttl: GoDuration,
        /// Whether the message is HTML.
        pub html: bool,
        /// Whether the message is shown in a monospaced font.
        pub monospace: bool,
    }
}

impl Section for PushoverConfig {
    const NAME: &'static str = "pushover";

    fn check(&mut self) -> Result<(), String> {
        let secrets = [("user_key", &self.user_key, &self.user_key_file), ("token", &self.token, &self.token_file)];
        for (name, secret, file) in secrets {
            if secret.is_empty() && file.is_empty() {
                return Err(format!("one of {name} or {name}_file must be configured"));
            }
            secret_or_file(name, !secret.is_empty(), file)?;
        }
        at_most_one(("monospace", self.monospace), ("html", self.html))
    }
}

http_section!(PushoverConfig);

impl IntegrationConfig for PushoverConfig {
    const KIND: &'static str = "pushover";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(Pushover { client: client(&self.http_config)?, config: self.clone() }))
    }
}

struct Pushover {
    config: PushoverConfig,
    client: HttpClient,
}

impl Pushover {
    /// The parameters, without the credentials.
    fn parameters(&self, renderer: &Renderer<'_>) -> Result<Vec<(&'static str, String)>, NotifyError> {
        let config = &self.config;
        let message = match config.html {
            true => renderer.html(&config.message)?,
            false => renderer.text(&config.message)?,
        };
        let message = truncate_chars(message, MAX_MESSAGE_CHARS);
        let message = match message.trim() {
            // Pushover refuses empty messages.
            "" => "(no details)",
            message => message,
        };
        let mut parameters = vec![
            ("title", truncate_chars(renderer.text(&config.title)?, MAX_TITLE_CHARS)),
            ("message", message.to_string()),
            ("url", truncate_chars(renderer.text(&config.url)?, MAX_URL_CHARS)),
            ("url_title", renderer.text(&config.url_title)?),
            ("priority", renderer.text(&config.priority)?),
            ("retry", config.retry.seconds().to_string()),
            ("expire", config.expire.seconds().to_string()),
            ("device", renderer.text(&config.device)?),
            ("sound", renderer.text(&config.sound)?),
        ];
        let flags = [("html", config.html), ("monospace", config.monospace)];
        parameters.extend(flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (*name, "1".to_string())));
        if config.ttl.seconds() > 0 {
            parameters.push(("ttl", config.ttl.seconds().to_string()));
        }
        Ok(parameters)
    }
}

/// The secret that a setting or its file holds.
async fn secret(setting: &Secret, what: &str, file: &str) -> Result<String, NotifyError> {
    match setting.is_empty() {
        false => Ok(setting.reveal().to_string()),
        true => read_secret(what, file).await,
    }
}

#[async_trait]
impl Notifier for Pushover {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let token = secret(&self.config.token, "read token_file", &self.config.token_file).await?;
        let user = secret(&self.config.user_key, "read user_key_file", &self.config.user_key_file).await?;
        let renderer = call.renderer();
        let mut parameters = self.parameters(&renderer)?;
        parameters.extend([("token", renderer.text(&token)?), ("user", renderer.text(&user)?)]);
        parameters.sort();
        let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", escape_query(value)));
        let request = HttpRequest {
            method: Method::POST,
            url: format!("{URL}?{}", pairs.collect::<Vec<_>>().join("&")),
            shown_url: Some(REDACTED),
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static("text/plain"))],
            body: Bytes::new(),
        };
        check(&send(&self.client, request).await?, &[], quoted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Data;
    use crate::receivers::tests::notification;
    use crate::templates::Templates;

    /// The parameters of a message, as a query would have them.
    fn parameters(settings: &str) -> String {
        let config: PushoverConfig = serde_saphyr::from_str(settings).unwrap();
        let pushover = Pushover { client: client(&None).unwrap(), config };
        let templates = Templates::load(&[], "http://am.example").unwrap();
        let notification = notification();
        let data = Data::new(&notification, &notification.alerts, templates.external_url());
        let renderer = Renderer::new(&templates, data, notification.now);
        let parameters = pushover.parameters(&renderer).unwrap();
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    #[test]
    fn emergencies_are_repeated() {
        let url = "http://am.example/#/alerts?receiver=team%5C.x";
        let expected = format!(
            "title=[FIRING:1] Down (api)&message=firing&url={url}&url_title=&priority=2&retry=60&expire=3600&device=&sound="
        );
        assert_eq!(parameters("{user_key: u, token: t, message: ' {{ .Status }} '}"), expected);
    }

    #[test]
    fn messages_are_html_if_they_should_be_and_never_empty() {
        let html =
            parameters("{user_key: u, token: t, html: true, message: '{{ .CommonAnnotations.summary }}', ttl: 90s}");
        assert!(html.contains("message=It is &lt;down&gt;&") && html.ends_with("&html=1&ttl=90"), "{html}");
        let empty = parameters("{user_key: u, token: t, message: ' ', monospace: true}");
        assert!(empty.contains("message=(no details)&") && empty.ends_with("&monospace=1"), "{empty}");
    }

    #[test]
    fn long_messages_are_cut() {
        let long = parameters("{user_key: u, token: t, message: '{{ range 2000 }}x{{ end }}'}");
        assert!(long.contains(&format!("message={}…&", "x".repeat(1023))), "{long}");
    }
}
