//! The section of Jira.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pharos_config::{ConfigError, HttpConfig, PromDuration};
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};

use super::Jira;
use crate::config::inherit::{self, Inherit};
use crate::config::{ApiUrl, GlobalConfig, Section, section};
use crate::integration::{IntegrationConfig, Notifier};

section! {
    /// An entry of `jira_configs`.
    pub struct JiraConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client, with the credentials of a user.
        pub http_config: Option<HttpConfig>,
        /// The interface, such as `https://company.atlassian.net/rest/api/2/`.
        pub api_url: Option<ApiUrl>,
        /// Which Jira it is: `cloud`, `datacenter`, or `auto` (the default), which depends on the host.
        pub api_type: String = "auto",
        /// The project of the issues.
        pub project: String,
        /// The title.
        pub summary: JiraField = JiraField::new(r#"{{ template "jira.default.summary" . }}"#),
        /// The text.
        pub description: JiraField = JiraField::new(r#"{{ template "jira.default.description" . }}"#),
        /// Labels.
        pub labels: Vec<String>,
        /// The priority.
        pub priority: String = r#"{{ template "jira.default.priority" . }}"#,
        /// The type of the issues.
        pub issue_type: String,
        /// The transition that reopens an issue.
        pub reopen_transition: String,
        /// The transition that resolves an issue.
        pub resolve_transition: String,
        /// The resolution of issues that are not reopened.
        pub wont_fix_resolution: String,
        /// How long after its resolution an issue is reopened.
        pub reopen_duration: PromDuration,
        /// Further fields, whose texts are templates.
        pub fields: BTreeMap<String, serde_json::Value>,
    }
}

/// A field of an issue: its template, or that and whether it is updated.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JiraField {
    /// The template.
    pub template: String,
    /// Whether the field of an existing issue is updated (default: true).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_update: Option<bool>,
}

impl JiraField {
    fn new(template: &str) -> Self {
        JiraField { template: template.into(), enable_update: None }
    }
}

impl crate::config::omit::Omit for JiraField {}

impl<'de> Deserialize<'de> for JiraField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Fields {
            template: String,
            enable_update: Option<bool>,
        }

        struct Field;

        impl<'de> Visitor<'de> for Field {
            type Value = JiraField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a template, or a section with `template` and `enable_update`")
            }

            fn visit_str<E>(self, template: &str) -> Result<JiraField, E> {
                Ok(JiraField::new(template))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<JiraField, A::Error> {
                let Fields { template, enable_update } = Fields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(JiraField { template, enable_update })
            }
        }

        deserializer.deserialize_any(Field)
    }
}

impl Section for JiraConfig {
    const NAME: &'static str = "jira";

    fn check(&mut self) -> Result<(), String> {
        if self.project.is_empty() {
            return Err("missing project in jira_config".into());
        }
        if self.issue_type.is_empty() {
            return Err("missing issue_type in jira_config".into());
        }
        match self.api_type.as_str() {
            "auto" | "cloud" | "datacenter" => Ok(()),
            _ => Err("unknown api_type on jira_config, must be auto, cloud or datacenter".into()),
        }
    }
}

impl Inherit for JiraConfig {
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
        inherit::http_config(&mut self.http_config, global)?;
        inherit::or_global(&mut self.api_url, &global.jira_api_url);
        self.api_url.as_ref().map(drop).ok_or_else(|| "no global Jira Cloud URL set".to_string())
    }

    fn set_directory(&mut self, directory: &std::path::Path) {
        inherit::set_directory(&mut self.http_config, directory);
    }
}

impl IntegrationConfig for JiraConfig {
    const KIND: &'static str = "jira";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        let url = self.api_url.clone().ok_or_else(|| ConfigError::new("no global Jira Cloud URL set"))?;
        Ok(Arc::new(Jira { url, client: super::super::client(&self.http_config)?, config: self.clone() }))
    }
}
