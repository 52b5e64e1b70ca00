//! Relabelling: the rules as they are written, with Prometheus's checks. [`rule`] compiles and applies them.
//!
//! Rules live beside the sections that contain them, because every section that relabels (scrapes, alerts, remote write)
//! compiles its rules when it is checked.

use pharos_gocompat::GoRegex;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::protocols::ValidationScheme;

mod rule;

pub use rule::{RelabelRule, relabel};

/// Compiles an expression as Go does, anchored at both ends; `.` also matches line breaks.
fn compile_regex(expression: &str) -> Result<GoRegex, String> {
    GoRegex::anchored(expression).map_err(|error| error.to_string())
}

/// The action of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Default)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are those of Prometheus's documentation")]
pub enum RelabelAction {
    #[default]
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

use RelabelAction::*;

impl RelabelAction {
    const ALL: [RelabelAction; 11] =
        [Replace, Keep, Drop, KeepEqual, DropEqual, HashMod, LabelMap, LabelDrop, LabelKeep, Lowercase, Uppercase];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Replace => "replace",
            Keep => "keep",
            Drop => "drop",
            KeepEqual => "keepequal",
            DropEqual => "dropequal",
            HashMod => "hashmod",
            LabelMap => "labelmap",
            LabelDrop => "labeldrop",
            LabelKeep => "labelkeep",
            Lowercase => "lowercase",
            Uppercase => "uppercase",
        }
    }
}

impl<'de> Deserialize<'de> for RelabelAction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let lower = name.to_lowercase();
        RelabelAction::ALL
            .into_iter()
            .find(|action| action.as_str() == lower)
            .ok_or_else(|| D::Error::custom(format!("unknown relabel action {name:?}")))
    }
}

/// A relabelling rule. By default it replaces the target label with the joined values of the source labels.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelabelConfig {
    /// Labels whose values are joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_labels: Option<Vec<String>>,
    /// The separator between the joined values (default: `;`).
    pub separator: String,
    /// The expression that the joined values must match as a whole (default: `(.*)`).
    #[serde(deserialize_with = "checked_regex")]
    pub regex: String,
    /// The divisor of `hashmod`.
    #[serde(skip_serializing_if = "is_zero")]
    pub modulus: u64,
    /// The label that gets the result.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_label: String,
    /// The result, in which `$1` and `${name}` stand for groups of the expression (default: `$1`).
    pub replacement: String,
    /// The action (default: `replace`).
    pub action: RelabelAction,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn checked_regex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let expression = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    compile_regex(&expression).map_err(D::Error::custom)?;
    Ok(expression)
}

pub(crate) const DEFAULT_REGEX: &str = "(.*)";
pub(crate) const DEFAULT_REPLACEMENT: &str = "$1";
const DEFAULT_SEPARATOR: &str = ";";

impl Default for RelabelConfig {
    fn default() -> Self {
        RelabelConfig {
            source_labels: None,
            separator: DEFAULT_SEPARATOR.into(),
            regex: DEFAULT_REGEX.into(),
            modulus: 0,
            target_label: String::new(),
            replacement: DEFAULT_REPLACEMENT.into(),
            action: RelabelAction::Replace,
        }
    }
}

impl RelabelConfig {
    /// Checks the fields against the action.
    pub fn check(&self, scheme: ValidationScheme) -> Result<(), ConfigError> {
        let refuse = |message: String| Err(ConfigError::new(message));
        let action = self.action.as_str();
        if self.modulus == 0 && self.action == HashMod {
            return refuse("relabel configuration for hashmod requires non-zero modulus".into());
        }
        let writes_target = matches!(self.action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
        if writes_target && self.target_label.is_empty() {
            return refuse(format!("relabel configuration for {action} action requires 'target_label' value"));
        }
        let target_is_template = self.action == Replace && self.target_label.contains('$');
        let is_valid_target = if target_is_template {
            is_valid_template(scheme, &self.target_label)
        } else {
            !writes_target || scheme.is_valid_label_name(&self.target_label)
        };
        if !is_valid_target {
            return refuse(format!("{:?} is invalid 'target_label' for {action} action", self.target_label));
        }
        let takes_no_replacement = matches!(self.action, Lowercase | Uppercase | KeepEqual | DropEqual);
        if takes_no_replacement && self.replacement != DEFAULT_REPLACEMENT {
            return refuse(format!("'replacement' can not be set for {action} action"));
        }
        if self.action == LabelMap && !is_valid_template(scheme, &self.replacement) {
            return refuse(format!("{:?} is invalid 'replacement' for {action} action", self.replacement));
        }
        self.check_only_fields()
    }

    fn check_only_fields(&self) -> Result<(), ConfigError> {
        let action = self.action.as_str();
        let plain = self.modulus == 0 && self.separator == DEFAULT_SEPARATOR && self.replacement == DEFAULT_REPLACEMENT;
        match self.action {
            DropEqual | KeepEqual if !plain || self.regex != DEFAULT_REGEX => Err(ConfigError::new(format!(
                "{action} action requires only 'source_labels' and `target_label`, and no other fields"
            ))),
            LabelDrop | LabelKeep if !plain || self.source_labels.is_some() || !self.target_label.is_empty() => {
                Err(ConfigError::new(format!("{action} action requires only 'regex', and no other fields")))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a template yields a valid label name. In the legacy scheme it consists of letters, digits, `_` and references
/// to groups.
fn is_valid_template(scheme: ValidationScheme, template: &str) -> bool {
    if scheme == ValidationScheme::Utf8 {
        return !template.is_empty();
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = template;
    let mut at_start = true;
    while let Some(first) = rest.chars().next() {
        if first == '$' {
            let (name, after) = match rest[1..].strip_prefix('{') {
                Some(braced) => match braced.split_once('}') {
                    Some(parts) => parts,
                    None => return false,
                },
                None => rest[1..].split_at(rest[1..].find(|c| !is_word(c)).unwrap_or(rest.len() - 1)),
            };
            if name.is_empty() || !name.chars().all(is_word) {
                return false;
            }
            rest = after;
        } else if is_word(first) && !(at_start && first.is_ascii_digit()) {
            rest = &rest[1..];
        } else {
            return false;
        }
        at_start = false;
    }
    !at_start
}
