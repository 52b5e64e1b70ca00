//! Jira: an issue for each group, found again by a label, and moved through its workflow as the group fires and resolves.

mod config;

use std::fmt::Write as _;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderValue, Method};
use pharos_gocompat::GoQuoted;
use pharos_http_client::{HttpClient, HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::alert::Status;
use crate::config::ApiUrl;
use crate::error::{FailureReason, NotifyError};
use crate::http::{check, quoted, send};
use crate::integration::{Call, Notifier};
use crate::json;
use crate::templates::Renderer;
use crate::text::truncate_chars;

pub use config::{JiraConfig, JiraField};

const MAX_SUMMARY_CHARS: usize = 255;
const MAX_DESCRIPTION_CHARS: usize = 32_767;

pub(super) struct Jira {
    config: JiraConfig,
    url: ApiUrl,
    client: HttpClient,
}

/// An issue that was found.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Issue {
    key: String,
    fields: IssueFields,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IssueFields {
    status: Option<IssueStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IssueStatus {
    #[serde(rename = "statusCategory")]
    category: Category,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Category {
    key: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Found {
    issues: Vec<Issue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Transitions {
    transitions: Vec<Transition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Transition {
    id: String,
    name: String,
}

fn failed(message: impl Into<String>) -> NotifyError {
    NotifyError::permanent(FailureReason::Other, message)
}

/// Reads an answer of Jira.
fn read<'a, T: Deserialize<'a>>(response: &'a HttpResponse) -> Result<T, NotifyError> {
    serde_json::from_slice(&response.body).map_err(|e| failed(e.to_string()))
}

impl Jira {
    async fn request<T: Serialize>(
        &self,
        method: Method,
        url: String,
        body: Option<&T>,
    ) -> Result<HttpResponse, NotifyError> {
        let body = body.map(json::payload).transpose()?.unwrap_or_default();
        let json = HeaderValue::from_static("application/json");
        let headers = vec![(CONTENT_TYPE, json), (ACCEPT_LANGUAGE, HeaderValue::from_static("en"))];
        let request = HttpRequest { method, url, shown_url: None, headers, body: Bytes::from(body) };
        // As in Alertmanager, only an answer of Jira's makes another attempt worthwhile.
        let response = send(&self.client, request).await.map_err(|error| NotifyError { retry: false, ..error })?;
        check(&response, &[429], quoted)?;
        Ok(response)
    }

    /// The query for the group's issue.
    fn query(&self, label: &str, status: Status, project: &str) -> String {
        let config = &self.config;
        let mut query = String::new();
        if !config.wont_fix_resolution.is_empty() {
            let resolution = GoQuoted(&config.wont_fix_resolution);
            let _ = write!(query, "(resolution is EMPTY or resolution != {resolution}) and ");
        }
        let minutes = config.reopen_duration.as_millis() / 60_000;
        if status == Status::Firing && !config.reopen_transition.is_empty() && minutes > 0 {
            let _ = write!(query, "(resolutiondate is EMPTY OR resolutiondate >= -{minutes}m) and ");
        } else {
            query.push_str("statusCategory != Done and ");
        }
        let (project, label) = (GoQuoted(project), GoQuoted(label));
        let _ = write!(query, "project={project} and labels={label} order by status ASC,resolutiondate DESC");
        query
    }

    /// Where issues are searched. Jira Cloud has a place of its own since version 3.
    fn search_url(&self) -> String {
        let is_cloud = match self.config.api_type.as_str() {
            "cloud" => true,
            "datacenter" => false,
            _ => self.url.host().ends_with("atlassian.net"),
        };
        match is_cloud {
            true => self.url.join("search/jql").to_string().replacen("/rest/api/2/", "/rest/api/3/", 1),
            false => self.url.join("search").to_string(),
        }
    }

    async fn existing(&self, label: &str, status: Status, project: &str) -> Result<Option<Issue>, NotifyError> {
        let query = self.query(label, status, project);
        let body = json!({ "fields": ["status"], "jql": query, "maxResults": 2 });
        let response = self.request(Method::POST, self.search_url(), Some(&body)).await;
        let response = response.map_err(|error| error.within("HTTP request to JIRA API"))?;
        Ok(read::<Found>(&response)?.issues.into_iter().next())
    }

    /// The fields of the issue.
    fn fields(&self, label: String, renderer: &Renderer<'_>) -> Result<Map<String, Value>, NotifyError> {
        let config = &self.config;
        let text = |name: &str, template: &str| {
            renderer.text(template).map_err(|error| error.within(format!("{name} template")))
        };
        let mut fields = Map::new();
        fields.insert(
            "summary".into(),
            truncate_chars(text("summary", &config.summary.template)?, MAX_SUMMARY_CHARS).into(),
        );
        fields.insert("project".into(), json!({ "key": text("project", &config.project)? }));
        fields.insert("issuetype".into(), name(text("issue_type", &config.issue_type)?));
        let description = truncate_chars(text("description", &config.description.template)?, MAX_DESCRIPTION_CHARS);
        if let Some(description) = self.description(&description)? {
            fields.insert("description".into(), description);
        }
        let mut labels = vec![label];
        for (index, template) in config.labels.iter().enumerate() {
            labels.push(text(&format!("labels[{index}]"), template)?);
        }
        labels.sort();
        fields.insert("labels".into(), labels.into());
        let priority = text("priority", &config.priority)?;
        if !priority.is_empty() {
            fields.insert("priority".into(), name(priority));
        }
        for (field, template) in &config.fields {
            let value = renderer.structure(template).map_err(|error| error.within("fields template"))?;
            fields.insert(field.clone(), value);
        }
        Ok(fields)
    }

    /// The description: a text, or a document in JSON since version 3 of the interface.
    fn description(&self, text: &str) -> Result<Option<Value>, NotifyError> {
        if !self.url.path().trim_end_matches('/').ends_with("/3") {
            return Ok(Some(text).filter(|text| !text.is_empty()).map(Value::from));
        }
        match text.trim() {
            "" => Ok(None),
            text => {
                let document = serde_json::from_str(text);
                document.map(Some).map_err(|_| failed("description template: invalid JSON for API v3"))
            }
        }
    }

    /// Moves an issue to where the status of the group belongs.
    async fn transition(&self, issue: &Issue, status: Status) -> Result<(), NotifyError> {
        let Some(current) = &issue.fields.status else { return Ok(()) };
        let is_done = current.category.key == "done";
        let wanted = match status {
            Status::Firing if is_done => &self.config.reopen_transition,
            Status::Resolved if !is_done => &self.config.resolve_transition,
            _ => return Ok(()),
        };
        if wanted.is_empty() || issue.key.is_empty() {
            return Ok(());
        }
        let url = self.url.join(&format!("issue/{}/transitions", issue.key)).to_string();
        let response = self.request::<Value>(Method::GET, url.clone(), None).await?;
        let transitions = read::<Transitions>(&response)?.transitions;
        let transition = transitions.into_iter().find(|transition| transition.name == *wanted);
        let missing = || failed(format!("can't find transition {wanted} for issue {}", issue.key));
        let body = json!({ "transition": { "id": transition.ok_or_else(missing)?.id } });
        self.request(Method::POST, url, Some(&body)).await.map(drop)
    }
}

/// A value that is chosen by its name.
fn name(name: String) -> Value {
    if name.is_empty() { json!({}) } else { json!({ "name": name }) }
}

#[async_trait]
impl Notifier for Jira {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let renderer = call.renderer();
        let status = call.notification.status();
        let label = format!("ALERT{{{}}}", call.notification.hashed_key());
        let looked_up = async {
            let project = renderer.text(&self.config.project);
            let project = project.map_err(|error| error.within("invalid project template or value"))?;
            self.existing(&label, status, &project).await
        };
        let existing = looked_up.await.map_err(|error| error.within("failed to look up existing issues"))?;
        if existing.is_none() && status == Status::Resolved {
            return Ok(());
        }
        let mut fields = self.fields(label, &renderer)?;
        let (method, path) = match &existing {
            None => (Method::POST, "issue".to_string()),
            Some(issue) => {
                for (field, config) in [("summary", &self.config.summary), ("description", &self.config.description)] {
                    if config.enable_update == Some(false) {
                        fields.remove(field);
                    }
                }
                (Method::PUT, format!("issue/{}", issue.key))
            }
        };
        let what = format!("failed to {method} request to {}", GoQuoted(&path));
        let sent = self.request(method, self.url.join(&path).to_string(), Some(&json!({ "fields": fields }))).await;
        sent.map_err(|error| error.within(what))?;
        match &existing {
            Some(issue) => self.transition(issue, status).await,
            None => Ok(()),
        }
    }
}
