//! The templates of notifications: those that every Alertmanager has, and the user's files.

mod functions;
mod json;
mod payload;
mod route_labels;
pub(crate) mod time;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use pharos_config::ConfigError;
use pharos_gocompat::template::{Format, Limits, TemplateError, TemplateSet, Value};

use self::functions::TemplateFunctions;
use crate::data::Data;
use crate::error::{FailureReason, NotifyError};

/// The templates to which the defaults of receivers refer.
const DEFAULTS: [&str; 2] = [include_str!("templates/default.tmpl"), include_str!("templates/email.tmpl")];

/// A notification about many alerts is long.
const LIMITS: Limits = Limits { steps: 10_000_000, output: 16 << 20 };

/// Named templates, which those of receivers call. Clones share them.
#[derive(Clone, Debug)]
pub struct Templates {
    set: TemplateSet,
    external_url: Arc<str>,
}

impl Templates {
    /// Loads the default templates, and over them the files that the patterns name. A pattern may match nothing.
    ///
    /// # Errors
    /// A pattern is malformed, or a file cannot be read or is not a template. The message names the file.
    pub fn load(patterns: &[String], external_url: &str) -> Result<Self, ConfigError> {
        let mut set = TemplateSet::default();
        for text in DEFAULTS {
            add(&mut set, "", text.to_string())?;
        }
        for pattern in patterns {
            for path in pharos_config::glob(Path::new(pattern))? {
                let text = std::fs::read_to_string(&path);
                let text =
                    text.map_err(|e| ConfigError::new(format!("unable to read template {}: {e}", path.display())))?;
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                add(&mut set, &name, text)?;
            }
        }
        Ok(Templates { set, external_url: external_url.into() })
    }

    /// The URL under which users reach the Alertmanager.
    pub fn external_url(&self) -> &str {
        &self.external_url
    }
}

fn add(set: &mut TemplateSet, name: &str, text: String) -> Result<(), ConfigError> {
    set.add(name, text, &functions::is_known).map_err(|e| ConfigError::new(e.to_string()))
}

/// Expands templates with the data of one notification.
pub(crate) struct Renderer<'a> {
    templates: &'a Templates,
    /// The data.
    pub(crate) data: Data,
    value: Value,
    functions: TemplateFunctions,
}

impl<'a> Renderer<'a> {
    pub(crate) fn new(templates: &'a Templates, data: Data, now: Timestamp) -> Self {
        let functions = TemplateFunctions { now, route_labels: data.route_labels.clone() };
        Renderer { templates, value: data.to_value(), data, functions }
    }

    /// Expands a template to text.
    pub(crate) fn text(&self, template: &str) -> Result<String, NotifyError> {
        self.expand(template, Format::Text).map_err(failed)
    }

    /// Expands a template to HTML.
    pub(crate) fn html(&self, template: &str) -> Result<String, NotifyError> {
        self.expand(template, Format::Html).map_err(failed)
    }

    fn expand(&self, template: &str, format: Format) -> Result<String, TemplateError> {
        // Most settings have no actions.
        if !template.contains("{{") && format == Format::Text {
            return Ok(template.to_string());
        }
        let parsed = self.templates.set.template("", template.to_string(), &functions::is_known)?;
        parsed.execute_as(format, &self.value, &self.functions, LIMITS)
    }

    /// Expands the texts of a structure. What they expand to may be YAML, which becomes a part of the structure.
    pub(crate) fn structure(&self, value: &serde_json::Value) -> Result<serde_json::Value, NotifyError> {
        payload::expand(value, &|template| self.text(template))
    }
}

fn failed(error: TemplateError) -> NotifyError {
    NotifyError::permanent(FailureReason::Other, error.to_string())
}

#[cfg(test)]
mod tests;
