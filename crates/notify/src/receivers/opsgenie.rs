//! Opsgenie: an alert is created, updated and closed under the hash of the group.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use http::header::AUTHORIZATION;
use pharos_config::{ConfigError, HttpConfig, Secret};
use pharos_http_client::{HttpClient, HttpRequest};
use serde::Serialize;

use super::{client, read_secret};
use crate::alert::Status;
use crate::config::inherit::{self, Inherit};
use crate::config::section::secret_or_file;
use crate::config::url::is_template;
use crate::config::{ApiUrl, GlobalConfig, Section, section};
use crate::error::NotifyError;
use crate::http::{check, json_request, quoted, secret_header, send};
use crate::integration::{Call, IntegrationConfig, Notifier};
use crate::json;
use crate::templates::Renderer;
use crate::text::truncate_chars;

const MAX_MESSAGE_CHARS: usize = 130;
const RESPONDER_KINDS: [&str; 5] = ["team", "teams", "user", "escalation", "schedule"];

section! {
    /// An entry of `opsgenie_configs`.
    pub struct OpsGenieConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The key.
        pub api_key: Secret,
        /// A file with that key.
        pub api_key_file: String,
        /// The interface.
        pub api_url: Option<ApiUrl>,
        /// The title.
        pub message: String = r#"{{ template "opsgenie.default.message" . }}"#,
        /// The text.
        pub description: String = r#"{{ template "opsgenie.default.description" . }}"#,
        /// Where the alert is from.
        pub source: String = r#"{{ template "opsgenie.default.source" . }}"#,
        /// Details besides the common labels.
        pub details: BTreeMap<String, String>,
        /// What the alert is about.
        pub entity: String,
        /// Who is called.
        pub responders: Vec<OpsGenieResponder>,
        /// Actions, separated by commas.
        pub actions: String,
        /// Tags, separated by commas.
        pub tags: String,
        /// A note.
        pub note: String,
        /// The priority, `P1` to `P5`.
        pub priority: String,
        /// Whether later notifications update the alert.
        pub update_alerts: bool,
    }
}

section! {
    /// Who is called, by one of three names.
    pub struct OpsGenieResponder {
        /// The identifier.
        pub id: String,
        /// The name.
        pub name: String,
        /// The user's name.
        pub username: String,
        /// The kind: `team`, `teams`, `user`, `escalation` or `schedule`.
        #[serde(rename = "type")]
        pub kind: String,
    }
}

impl OpsGenieResponder {
    fn check(&self) -> Result<(), String> {
        let OpsGenieResponder { id, name, username, kind } = self;
        let shown = format!("opsGenieConfig responder {{{id} {name} {username} {kind}}}");
        if [id, name, username].iter().all(|name| name.is_empty()) {
            return Err(format!("{shown} has to have at least one of id, username or name specified"));
        }
        let is_template =
            is_template(kind).map_err(|e| format!("{shown} type contains invalid template syntax: {e}"))?;
        if !is_template && !RESPONDER_KINDS.contains(&kind.to_lowercase().as_str()) {
            let kinds = "^(team|teams|user|escalation|schedule)$";
            return Err(format!("{shown} type does not match valid options {kinds}"));
        }
        Ok(())
    }
}

impl Section for OpsGenieConfig {
    const NAME: &'static str = "opsgenie";

    fn check(&mut self) -> Result<(), String> {
        secret_or_file("api_key", !self.api_key.is_empty(), &self.api_key_file)?;
        self.responders.iter().try_for_each(OpsGenieResponder::check)
    }
}

impl Inherit for OpsGenieConfig {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        inherit::http_config(&mut self.http_config, global)?;
        inherit::or_global(&mut self.api_url, &global.opsgenie_api_url);
        let url = self.api_url.as_ref().ok_or("no global OpsGenie URL set")?;
        self.api_url = Some(url.as_folder());
        if self.api_key.is_empty() && self.api_key_file.is_empty() {
            if global.opsgenie_api_key.is_empty() && global.opsgenie_api_key_file.is_empty() {
                return Err("no global OpsGenie API Key set either inline or in a file".into());
            }
            self.api_key = global.opsgenie_api_key.clone();
            self.api_key_file.clone_from(&global.opsgenie_api_key_file);
        }
        Ok(())
    }

    fn set_directory(&mut self, directory: &std::path::Path) {
        inherit::set_directory(&mut self.http_config, directory);
    }
}

impl IntegrationConfig for OpsGenieConfig {
    const KIND: &'static str = "opsgenie";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        Ok(Arc::new(OpsGenie { client: client(&self.http_config)?, config: self.clone() }))
    }
}

struct OpsGenie {
    config: OpsGenieConfig,
    client: HttpClient,
}

#[derive(Serialize)]
struct Create<'a> {
    alias: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    details: BTreeMap<String, String>,
    source: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    responders: Vec<OpsGenieResponder>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    priority: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    entity: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<String>,
}

#[derive(Serialize)]
struct Close {
    source: String,
}

#[derive(Serialize)]
struct UpdateMessage<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

#[derive(Serialize)]
struct UpdateDescription<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
}

/// The parts of a list, without empty ones.
fn split(text: &str) -> Vec<String> {
    text.trim().split(',').filter(|part| !part.is_empty()).map(str::to_string).collect()
}

impl OpsGenie {
    /// A request to something below the interface.
    fn request(&self, method: Method, path: &str, by_alias: bool, body: String) -> HttpRequest {
        let url = self.config.api_url.as_ref().map(|url| url.with_suffix(path));
        let url = url.map(|url| if by_alias { url.with_query(&[("identifierType", "alias")]) } else { url });
        let request = json_request(method, url.map(|url| url.to_string()).unwrap_or_default(), body);
        HttpRequest { shown_url: None, ..request }
    }

    fn requests(&self, call: Call<'_>, renderer: &Renderer<'_>) -> Result<Vec<HttpRequest>, NotifyError> {
        let alias = call.notification.hashed_key();
        if call.notification.status() == Status::Resolved {
            let body = json::payload(&Close { source: renderer.text(&self.config.source)? })?;
            return Ok(vec![self.request(Method::POST, &format!("v2/alerts/{alias}/close"), true, body)]);
        }
        let message = truncate_chars(renderer.text(&self.config.message)?, MAX_MESSAGE_CHARS);
        let description = renderer.text(&self.config.description)?;
        let body = json::payload(&self.create(&alias, &message, &description, renderer)?)?;
        let mut requests = vec![self.request(Method::POST, "v2/alerts", false, body)];
        if self.config.update_alerts {
            let body = json::payload(&UpdateMessage { message: &message })?;
            requests.push(self.request(Method::PUT, &format!("v2/alerts/{alias}/message"), true, body));
            let body = json::payload(&UpdateDescription { description: &description })?;
            requests.push(self.request(Method::PUT, &format!("v2/alerts/{alias}/description"), true, body));
        }
        Ok(requests)
    }

    fn create<'a>(
        &self,
        alias: &'a str,
        message: &'a str,
        description: &'a str,
        renderer: &Renderer<'_>,
    ) -> Result<Create<'a>, NotifyError> {
        let config = &self.config;
        let mut details = renderer.data.common_labels.clone();
        for (name, template) in &config.details {
            details.insert(name.clone(), renderer.text(template)?);
        }
        Ok(Create {
            alias,
            message,
            description,
            details,
            source: renderer.text(&config.source)?,
            responders: self.responders(renderer)?,
            tags: split(&renderer.text(&config.tags)?),
            note: renderer.text(&config.note)?,
            priority: renderer.text(&config.priority)?,
            entity: renderer.text(&config.entity)?,
            actions: split(&renderer.text(&config.actions)?),
        })
    }

    /// Who is called. Responders that expand to nothing are left out, and `teams` stands for several.
    fn responders(&self, renderer: &Renderer<'_>) -> Result<Vec<OpsGenieResponder>, NotifyError> {
        let mut responders = Vec::new();
        for template in &self.config.responders {
            let responder = OpsGenieResponder {
                id: renderer.text(&template.id)?,
                name: renderer.text(&template.name)?,
                username: renderer.text(&template.username)?,
                kind: renderer.text(&template.kind)?,
            };
            if responder.kind == "teams" {
                let team = |name| OpsGenieResponder { name, kind: "team".into(), ..OpsGenieResponder::default() };
                responders.extend(split(&responder.name).into_iter().map(team));
            } else if responder != OpsGenieResponder::default() {
                responders.push(responder);
            }
        }
        Ok(responders)
    }
}

#[async_trait]
impl Notifier for OpsGenie {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let renderer = call.renderer();
        let requests = self.requests(call, &renderer).map_err(|e| e.within("templating error"))?;
        let key = match self.config.api_key.is_empty() {
            false => self.config.api_key.reveal().to_string(),
            true => read_secret("read key_file error", &self.config.api_key_file).await?,
        };
        let key = renderer.text(&key).map_err(|e| e.within("templating error"))?;
        let authorization = secret_header(AUTHORIZATION, &format!("GenieKey {}", key.trim()))?;
        for mut request in requests {
            request.headers.push(authorization.clone());
            check(&send(&self.client, request).await?, &[429], quoted)?;
        }
        Ok(())
    }
}
