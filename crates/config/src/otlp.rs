//! The section `otlp`: how OTLP metrics become series.

use serde::Deserialize;

/// The section `otlp`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// Whether every resource attribute becomes a label, apart from the ignored ones (default: false).
    pub promote_all_resource_attributes: bool,
    /// Resource attributes that become labels of all series of the resource (default: none).
    pub promote_resource_attributes: Vec<String>,
    /// Resource attributes that are left out when all others become labels (default: none).
    pub ignore_resource_attributes: Vec<String>,
    /// How names are translated (default: `UnderscoreEscapingWithSuffixes`).
    pub translation_strategy: TranslationStrategy,
    /// Whether `target_info` keeps `service.name`, `service.namespace` and `service.instance.id` (default: false).
    pub keep_identifying_resource_attributes: bool,
    /// Whether histograms with explicit bounds become native ones with custom buckets (default: false).
    pub convert_histograms_to_nhcb: bool,
    /// Whether the instrumentation scope's name, version, schema URL and attributes become labels (default: false).
    pub promote_scope_metadata: bool,
    /// Whether label names that start with one underscore get the prefix `key` (default: true).
    pub label_name_underscore_sanitization: bool,
    /// Whether runs of underscores in label names are kept (default: true).
    pub label_name_preserve_multiple_underscores: bool,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        OtlpConfig {
            promote_all_resource_attributes: false,
            promote_resource_attributes: Vec::new(),
            ignore_resource_attributes: Vec::new(),
            translation_strategy: TranslationStrategy::default(),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
        }
    }
}

/// Whether names are escaped to those that PromQL writes without quotes, and whether they get suffixes for units and
/// types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
pub enum TranslationStrategy {
    /// Other characters become underscores; units and `_total` are appended.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Other characters become underscores.
    UnderscoreEscapingWithoutSuffixes,
    /// Names stay as they are; units and `_total` are appended.
    NoUTF8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl TranslationStrategy {
    /// Whether other characters become underscores.
    pub fn escapes(self) -> bool {
        use TranslationStrategy::*;
        matches!(self, UnderscoreEscapingWithSuffixes | UnderscoreEscapingWithoutSuffixes)
    }

    /// Whether units and types are appended.
    pub fn adds_suffixes(self) -> bool {
        use TranslationStrategy::*;
        matches!(self, UnderscoreEscapingWithSuffixes | NoUTF8EscapingWithSuffixes)
    }
}

/// An invalid section `otlp`, in Prometheus's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtlpConfigError {
    /// All attributes are promoted, and yet some are named.
    #[error("'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously")]
    AllAndSome,
    /// Attributes are ignored, but not all others are promoted.
    #[error("'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true")]
    IgnoredWithoutAll,
    /// A list has an empty attribute name.
    #[error("invalid '{0}': empty OTel resource attribute")]
    Empty(&'static str),
    /// A list names an attribute twice.
    #[error("invalid '{0}': duplicated OTel resource attribute {1:?}")]
    Duplicate(&'static str, String),
}

impl OtlpConfig {
    /// Checks the section and trims the names of attributes.
    pub fn checked(mut self) -> Result<Self, OtlpConfigError> {
        let (key, names) = if self.promote_all_resource_attributes {
            if !self.promote_resource_attributes.is_empty() {
                return Err(OtlpConfigError::AllAndSome);
            }
            ("ignore_resource_attributes", &mut self.ignore_resource_attributes)
        } else {
            if !self.ignore_resource_attributes.is_empty() {
                return Err(OtlpConfigError::IgnoredWithoutAll);
            }
            ("promote_resource_attributes", &mut self.promote_resource_attributes)
        };
        let mut seen = std::collections::HashSet::new();
        for name in names {
            *name = name.trim().to_string();
            if name.is_empty() {
                return Err(OtlpConfigError::Empty(key));
            }
            if !seen.insert(name.clone()) {
                return Err(OtlpConfigError::Duplicate(key, name.clone()));
            }
        }
        Ok(self)
    }

    /// Whether a resource attribute becomes a label.
    pub fn promotes(&self, attribute: &str) -> bool {
        match self.promote_all_resource_attributes {
            true => !self.ignore_resource_attributes.iter().any(|name| name == attribute),
            false => self.promote_resource_attributes.iter().any(|name| name == attribute),
        }
    }
}

#[cfg(test)]
mod tests;
