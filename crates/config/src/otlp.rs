//! Prometheus's `otlp:` section: how OTLP metrics become series.

use serde::Deserialize;

/// The `otlp` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// Make a label of every resource attribute but the ignored ones (default: false).
    pub promote_all_resource_attributes: bool,
    /// Resource attributes that become labels of every series of the resource (default: none).
    pub promote_resource_attributes: Vec<String>,
    /// Resource attributes that do not become labels when all others do (default: none).
    pub ignore_resource_attributes: Vec<String>,
    /// How names are translated (default: `UnderscoreEscapingWithSuffixes`).
    pub translation_strategy: TranslationStrategy,
    /// Keep `service.name`, `service.namespace` and `service.instance.id` in `target_info` (default: false).
    pub keep_identifying_resource_attributes: bool,
    /// Make native histograms with custom buckets of histograms with explicit bounds (default: false).
    pub convert_histograms_to_nhcb: bool,
    /// Make labels of the instrumentation scope's name, version, schema URL and attributes (default: false).
    pub promote_scope_metadata: bool,
    /// Put `key` before label names that begin with one underscore (default: true).
    pub label_name_underscore_sanitization: bool,
    /// Keep runs of underscores in label names (default: true).
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

/// What happens to names that PromQL could not write without quotes, and whether units and types become suffixes.
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

/// A section that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtlpConfigError {
    /// All attributes are promoted and some are named.
    #[error("'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously")]
    AllAndSome,
    /// Attributes are ignored though not all are promoted.
    #[error("'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true")]
    IgnoredWithoutAll,
    /// An attribute without name.
    #[error("invalid '{0}': empty OTel resource attribute")]
    Empty(&'static str),
    /// An attribute that is named twice.
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
mod tests {
    use super::*;

    #[test]
    fn sections_that_contradict_themselves_are_refused() {
        let parse = |json: &str| serde_json::from_str::<OtlpConfig>(json).unwrap().checked();
        assert_eq!(parse("{}"), Ok(OtlpConfig::default()));
        let all = r#""promote_all_resource_attributes": true"#;
        assert_eq!(
            parse(&format!(r#"{{{all}, "promote_resource_attributes": ["a"]}}"#)),
            Err(OtlpConfigError::AllAndSome)
        );
        assert_eq!(parse(r#"{"ignore_resource_attributes": ["a"]}"#), Err(OtlpConfigError::IgnoredWithoutAll));
        let twice = parse(r#"{"promote_resource_attributes": ["a", " a "]}"#);
        assert_eq!(twice, Err(OtlpConfigError::Duplicate("promote_resource_attributes", "a".into())));
        assert!(matches!(parse(r#"{"promote_resource_attributes": [" "]}"#), Err(OtlpConfigError::Empty(_))));
        let ignoring = parse(&format!(r#"{{{all}, "ignore_resource_attributes": ["a"]}}"#)).unwrap();
        assert!(ignoring.promotes("b") && !ignoring.promotes("a"));
        let strategy = parse(r#"{"translation_strategy": "NoTranslation"}"#).unwrap().translation_strategy;
        assert!(!strategy.escapes() && !strategy.adds_suffixes());
    }
}
