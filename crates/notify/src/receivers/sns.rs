//! Amazon SNS: a message to a topic, a phone or an endpoint.

mod config;
mod credentials;
mod signature;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use jiff::Timestamp;
use pharos_gocompat::template::escape_query;
use pharos_http_client::{HttpClient, HttpRequest, HttpResponse};

use self::credentials::Credentials;
use crate::config::ApiUrl;
use crate::error::{FailureReason, NotifyError};
use crate::http::{check, quoted, send};
use crate::integration::{Call, Notifier};
use crate::templates::Renderer;

pub use config::{SigV4Config, SnsConfig};

const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// The limit on a message to a phone, bytes.
const MAX_SMS_BYTES: usize = 1600;

pub(super) struct Sns {
    config: SnsConfig,
    client: HttpClient,
    credentials: credentials::Chain,
}

/// The parameters of a request in the query protocol of AWS.
type Parameters = Vec<(String, String)>;

impl Sns {
    fn parameters(&self, call: Call<'_>, renderer: &Renderer<'_>) -> Result<Parameters, NotifyError> {
        let config = &self.config;
        let text = |name: &str, template: &str| {
            renderer.text(template).map_err(|error| {
                let error = error.within(format!("execute '{name}' template"));
                NotifyError { retry: true, reason: FailureReason::ClientError, ..error }
            })
        };
        let mut attributes = Vec::new();
        for (name, value) in &config.attributes {
            attributes.push((text("attributes", name)?, text("attributes", value)?));
        }
        let mut parameters: Parameters =
            vec![("Action".into(), "Publish".into()), ("Version".into(), "2010-03-31".into())];
        let mut add = |name: &str, value: String| parameters.push((name.into(), value));
        if !config.topic_arn.is_empty() {
            let topic = text("topic_arn", &config.topic_arn)?;
            // Topics that keep the order need to know what belongs together.
            if topic.ends_with(".fifo") {
                add("MessageDeduplicationId", call.notification.hashed_key());
                add("MessageGroupId", call.notification.hashed_key());
            }
            add("TopicArn", topic);
        }
        if !config.phone_number.is_empty() {
            add("PhoneNumber", text("phone_number", &config.phone_number)?);
        }
        if !config.target_arn.is_empty() {
            add("TargetArn", text("target_arn", &config.target_arn)?);
        }
        let message = text("message", &config.message)?;
        let limit = if config.phone_number.is_empty() { MAX_MESSAGE_BYTES } else { MAX_SMS_BYTES };
        let end = message.floor_char_boundary(limit);
        if end < message.len() {
            attributes.push(("truncated".into(), "true".into()));
        }
        add("Message", message[..end].to_string());
        if !config.subject.is_empty() {
            add("Subject", text("subject", &config.subject)?);
        }
        for (index, (name, value)) in attributes.into_iter().enumerate() {
            let entry = format!("MessageAttributes.entry.{}", index + 1);
            add(&format!("{entry}.Name"), name);
            add(&format!("{entry}.Value.DataType"), "String".into());
            add(&format!("{entry}.Value.StringValue"), value);
        }
        Ok(parameters)
    }
}

/// Sends signed parameters to a service.
async fn query(
    client: &HttpClient,
    url: &ApiUrl,
    service: &str,
    region: &str,
    credentials: &Credentials,
    mut parameters: Parameters,
    now: Timestamp,
) -> Result<HttpResponse, NotifyError> {
    parameters.sort();
    let pairs = parameters.iter().map(|(name, value)| format!("{}={}", escape_query(name), escape_query(value)));
    let body = pairs.collect::<Vec<_>>().join("&");
    let scope = signature::Scope { service, region, now };
    let mut headers = scope.headers(url, &body, credentials)?;
    headers.push((CONTENT_TYPE, HeaderValue::from_static(signature::CONTENT_TYPE)));
    let (url, body) = (url.to_string(), Bytes::from(body));
    send(client, HttpRequest { method: Method::POST, url, shown_url: None, headers, body }).await
}

/// The content of the first element of a name in an answer.
fn element<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = response.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(content, _)| content)
}

/// What AWS says of a request that it refuses.
fn refusal(response: &HttpResponse) -> String {
    let body = quoted(response);
    element(&body, "Message").unwrap_or(&body).to_string()
}

#[async_trait]
impl Notifier for Sns {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let renderer = call.renderer();
        let url = renderer.text(&self.config.api_url).map_err(|error| {
            let error = error.within("execute 'api_url' template");
            NotifyError { retry: true, reason: FailureReason::ClientError, ..error }
        })?;
        let region = self.credentials.region().await?;
        let url = match url.is_empty() {
            true => format!("https://sns.{region}.amazonaws.com/"),
            false => url,
        };
        let url = ApiUrl::parse(&url).map_err(|e| NotifyError::temporary(FailureReason::Other, e))?;
        let url = if url.path().is_empty() { url.as_folder() } else { url };
        let parameters = self.parameters(call, &renderer)?;
        let now = call.notification.now;
        let credentials = self.credentials.get(&self.client, &region, now).await?;
        let response = query(&self.client, &url, "sns", &region, &credentials, parameters, now).await?;
        check(&response, &[], refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::element;

    #[test]
    fn elements_are_found_by_their_name() {
        let answer = "<r><AccessKeyId>ROLE</AccessKeyId><SessionToken>t</SessionToken></r>";
        assert_eq!(element(answer, "AccessKeyId"), Some("ROLE"));
        assert_eq!(element(answer, "SessionToken"), Some("t"));
        assert_eq!(element(answer, "None"), None);
        assert_eq!(element("<a>open", "a"), None);
    }
}
