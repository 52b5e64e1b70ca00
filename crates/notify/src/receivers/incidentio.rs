//! incident.io: the notification as JSON, like that of webhooks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use pharos_config::{Authorization, ConfigError, HttpConfig, Secret};
use pharos_http_client::{HttpClient, HttpResponse};
use serde::{Deserialize, Serialize};

use super::webhook::first_alerts;
use super::{client, http_section, read_secret};
use crate::config::section::{at_most_one, secret_or_file};
use crate::config::{ApiUrl, GoDuration, Section, section};
use crate::data::Data;
use crate::error::NotifyError;
use crate::http::{check, json_request, send};
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;

/// The largest payload that is taken, bytes.
const MAX_PAYLOAD_BYTES: usize = 512 * 1024;

section! {
    /// An entry of `incidentio_configs`.
    pub struct IncidentioConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// Where to post.
        pub url: Option<ApiUrl>,
        /// A file with that URL.
        pub url_file: String,
        /// The token of the alert source.
        pub alert_source_token: Secret,
        /// A file with that token.
        pub alert_source_token_file: String,
        /// The most alerts of one notification; 0 for any number.
        pub max_alerts: u64,
        /// How long an attempt may take.
        pub timeout: GoDuration,
        /// Further values, which are templates.
        pub metadata: BTreeMap<String, String>,
    }
}

impl Section for IncidentioConfig {
    const NAME: &'static str = "incidentio";

    fn check(&mut self) -> Result<(), String> {
        if self.url.is_none() && self.url_file.is_empty() {
            return Err("one of url or url_file must be configured".into());
        }
        at_most_one(("url", self.url.is_some()), ("url_file", !self.url_file.is_empty()))?;
        secret_or_file("alert_source_token", !self.alert_source_token.is_empty(), &self.alert_source_token_file)?;
        let has_token = !self.alert_source_token.is_empty() || !self.alert_source_token_file.is_empty();
        match self.http_config.as_ref().map(|http| http.authorization.is_some()) {
            Some(true) if has_token => Err("cannot specify alert_source_token or alert_source_token_file when using \
                                            http_config.authorization"
                .into()),
            Some(false) if !has_token => Err("at least one of alert_source_token, alert_source_token_file or \
                                              http_config.authorization must be configured"
                .into()),
            _ => Ok(()),
        }
    }
}

http_section!(IncidentioConfig);

impl IntegrationConfig for IncidentioConfig {
    const KIND: &'static str = "incidentio";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn timeout(&self) -> Option<Duration> {
        self.timeout.positive()
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        let token = match self.alert_source_token_file.as_str() {
            "" => self.alert_source_token.clone(),
            file => {
                let read = std::fs::read_to_string(file);
                let failed = |e| ConfigError::new(format!("failed to read alert_source_token_file: open {file}: {e}"));
                Secret::new(read.map_err(failed)?.trim())
            }
        };
        let mut http = self.http_config.clone().unwrap_or_default();
        if !token.is_empty() {
            let kind = "Bearer".into();
            http.authorization = Some(Authorization { kind, credentials: token, ..Authorization::default() });
        }
        Ok(Arc::new(Incidentio { client: client(&Some(http))?, config: self.clone() }))
    }
}

struct Incidentio {
    config: IncidentioConfig,
    client: HttpClient,
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    data: &'a Data,
    version: &'static str,
    #[serde(rename = "groupKey")]
    group_key: &'a str,
    #[serde(rename = "truncatedAlerts")]
    truncated_alerts: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<&'a str, String>,
}

/// What incident.io says of a payload that it refuses.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    message: String,
    errors: Vec<String>,
    error: String,
}

fn refusal(response: &HttpResponse) -> String {
    let Refusal { message, errors, error } = serde_json::from_slice(&response.body).unwrap_or_default();
    let parts = [message, error, errors.join(", ")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

#[async_trait]
impl Notifier for Incidentio {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let (alerts, truncated_alerts) = first_alerts(self.config.max_alerts, &call.notification.alerts);
        let mut renderer = call.renderer_of(alerts);
        let mut metadata = BTreeMap::new();
        for (name, template) in &self.config.metadata {
            let value = renderer.text(template).map_err(|e| e.within("failed to render metadata templates"))?;
            metadata.insert(name.as_str(), value);
        }
        let group_key = &call.notification.group_key;
        let encode = |data: &Data| {
            json::payload(&Message { data, version: "1", group_key, truncated_alerts, metadata: &metadata })
        };
        let mut body = encode(&renderer.data)?;
        if body.len() > MAX_PAYLOAD_BYTES {
            // The service makes one alert of a group. The first stands for all.
            renderer.data.alerts.truncate(1);
            body = encode(&renderer.data)?;
        }
        let url = match &self.config.url {
            Some(url) => url.to_string(),
            None => read_secret("read url_file", &self.config.url_file).await?,
        };
        let response = send(&self.client, json_request(Method::POST, url, body)).await?;
        check(&response, &[429], refusal)
    }
}
