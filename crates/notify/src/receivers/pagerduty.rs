//! PagerDuty, by either version of its events.

mod config;

use async_trait::async_trait;
use http::Method;
use pharos_http_client::{HttpClient, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::read_secret;
use crate::alert::Status;
use crate::config::ApiUrl;
use crate::error::{FailureReason, NotifyError};
use crate::http::{check, json_request, send};
use crate::integration::{Call, Notifier};
use crate::json;
use crate::templates::Renderer;
use crate::text::truncate_chars;

pub use config::{PagerdutyConfig, PagerdutyImage, PagerdutyLink};

/// The largest event that is taken, bytes.
const MAX_EVENT_BYTES: usize = 512_000;
const MAX_SUMMARY_CHARS: usize = 1024;
const URL_V1: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";

pub(super) struct Pagerduty {
    config: PagerdutyConfig,
    client: HttpClient,
}

/// An event of either version.
#[derive(Default, Serialize)]
struct Event {
    #[serde(skip_serializing_if = "String::is_empty")]
    routing_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    service_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dedup_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    incident_key: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    event_type: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    event_action: &'static str,
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "String::is_empty")]
    client: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_url: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    details: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Image>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
}

#[derive(Serialize)]
struct Payload {
    summary: String,
    source: String,
    severity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    class: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    component: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    custom_details: Map<String, Value>,
}

#[derive(Serialize)]
struct Image {
    src: String,
    alt: String,
    href: String,
}

#[derive(Serialize)]
struct Link {
    href: String,
    text: String,
}

/// What PagerDuty says of an event that it refuses.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    message: String,
    errors: Vec<String>,
}

fn refusal(response: &HttpResponse) -> String {
    let refusal = || serde_json::from_slice::<Refusal>(&response.body).ok();
    let refusal = if response.status == 400 { refusal() } else { None };
    refusal.map(|refusal| format!("{}: {}", refusal.message, refusal.errors.join(","))).unwrap_or_default()
}

/// The bytes of a number in the units of a thousand, as Go's units library prints them.
fn metric_bytes(bytes: usize) -> String {
    let parts = [(bytes / 1_000_000, "MB"), (bytes / 1000 % 1000, "KB"), (bytes % 1000, "B")];
    parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

impl Pagerduty {
    fn is_v1(&self) -> bool {
        !self.config.service_key.is_empty() || !self.config.service_key_file.is_empty()
    }

    fn event_v1(&self, action: &'static str, key: String, renderer: &Renderer<'_>) -> Result<Event, NotifyError> {
        let is_trigger = action == "trigger";
        let client = |template: &str| if is_trigger { renderer.text(template) } else { Ok(String::new()) };
        Ok(Event {
            event_type: action,
            incident_key: key,
            description: truncate_chars(renderer.text(&self.config.description)?, MAX_SUMMARY_CHARS),
            client: client(&self.config.client)?,
            client_url: client(&self.config.client_url)?,
            ..Event::default()
        })
    }

    fn event_v2(&self, action: &'static str, key: String, renderer: &Renderer<'_>) -> Result<Event, NotifyError> {
        let config = &self.config;
        let severity = if config.severity.is_empty() { "error" } else { &config.severity };
        let mut event = Event {
            client: renderer.text(&config.client)?,
            client_url: renderer.text(&config.client_url)?,
            event_action: action,
            dedup_key: key,
            payload: Some(Payload {
                summary: truncate_chars(renderer.text(&config.description)?, MAX_SUMMARY_CHARS),
                source: renderer.text(&config.source)?,
                severity: renderer.text(severity)?,
                class: renderer.text(&config.class)?,
                component: renderer.text(&config.component)?,
                group: renderer.text(&config.group)?,
                custom_details: Map::new(),
            }),
            ..Event::default()
        };
        for PagerdutyImage { src, alt, href } in &config.images {
            let image = Image { src: renderer.text(src)?, alt: renderer.text(alt)?, href: renderer.text(href)? };
            event.images.extend(Some(image).filter(|image| !image.src.is_empty()));
        }
        for PagerdutyLink { href, text } in &config.links {
            let link = Link { href: renderer.text(href)?, text: renderer.text(text)? };
            event.links.extend(Some(link).filter(|link| !link.href.is_empty()));
        }
        Ok(event)
    }

    /// The integration's key, which may be a template.
    async fn key(&self, renderer: &Renderer<'_>) -> Result<String, NotifyError> {
        let config = &self.config;
        let (name, setting, file, version) = match self.is_v1() {
            true => ("service key", &config.service_key, &config.service_key_file, "v1"),
            false => ("routing key", &config.routing_key, &config.routing_key_file, "v2"),
        };
        let key = match setting.is_empty() {
            false => setting.reveal().to_string(),
            true => {
                let read = read_secret(&format!("failed to read {name} from file"), file).await;
                read.map_err(|error| NotifyError { reason: FailureReason::FileReadError, ..error })?
            }
        };
        match renderer.text(&key).map_err(|error| in_template(error, version))? {
            key if key.is_empty() => {
                Err(NotifyError::permanent(FailureReason::ConfigError, format!("{name} cannot be empty")))
            }
            key => Ok(key),
        }
    }

    /// The event with its details, or without them if it would be too long.
    fn encode(&self, mut event: Event, details: Map<String, Value>) -> Result<String, NotifyError> {
        let set_details = |event: &mut Event, details| match &mut event.payload {
            Some(payload) => payload.custom_details = details,
            None => event.details = details,
        };
        set_details(&mut event, details);
        let body = json::payload(&event)?;
        if body.len() <= MAX_EVENT_BYTES {
            return Ok(body);
        }
        let limit = metric_bytes(MAX_EVENT_BYTES);
        let error =
            format!("Custom details have been removed because the original event exceeds the maximum size of {limit}");
        set_details(&mut event, Map::from_iter([("error".to_string(), Value::String(error))]));
        json::payload(&event)
    }
}

fn in_template(error: NotifyError, version: &str) -> NotifyError {
    let error = error.within(format!("failed to template PagerDuty {version} message"));
    NotifyError { reason: FailureReason::TemplateError, ..error }
}

#[async_trait]
impl Notifier for Pagerduty {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let action = match call.notification.status() {
            Status::Firing => "trigger",
            Status::Resolved => "resolve",
        };
        let renderer = call.renderer();
        let mut details = Map::new();
        for (name, template) in &self.config.details {
            let value = renderer.structure(template).map_err(|error| NotifyError {
                reason: FailureReason::TemplateError,
                ..error.within("failed to render details")
            })?;
            details.insert(name.clone(), value);
        }
        let dedup_key = call.notification.hashed_key();
        let key = self.key(&renderer).await?;
        let (event, url, retried, name) = match self.is_v1() {
            true => {
                let event = self.event_v1(action, dedup_key, &renderer).map_err(|error| in_template(error, "v1"))?;
                (Event { service_key: key, ..event }, URL_V1.to_string(), 403, "PagerDuty v1")
            }
            false => {
                let event = self.event_v2(action, dedup_key, &renderer).map_err(|error| in_template(error, "v2"))?;
                let url = self.config.url.as_ref().map(ApiUrl::to_string).unwrap_or_default();
                (Event { routing_key: key, ..event }, url, 429, "PagerDuty")
            }
        };
        let request = json_request(Method::POST, url, self.encode(event, details)?);
        let sent = send(&self.client, request).await;
        let response = sent.map_err(|error| {
            let error = error.within(format!("failed to post message to {name}"));
            NotifyError { reason: FailureReason::RequestError, ..error }
        })?;
        check(&response, &[retried], refusal).map_err(|error| match response.status {
            403 if self.is_v1() => NotifyError { reason: FailureReason::RateLimited, ..error },
            _ => error,
        })
    }
}
