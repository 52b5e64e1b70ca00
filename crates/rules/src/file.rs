//! Rule files: they are parsed and checked, and errors have the words of Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use pharos_gocompat::parse_duration;
use pharos_model::{Limit, METRIC_NAME};
use pharos_promql::syntax::{self, ast::Expr};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Error, Spanned};

use crate::template::Template;

mod written;

pub use written::to_yaml;

/// Texts by name: labels or annotations.
pub type Texts = BTreeMap<String, String>;

/// The groups of a rule file that has no errors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleGroups {
    /// The groups in the order of the file.
    pub groups: Vec<RuleGroup>,
}

/// Rules that are evaluated together at regular intervals.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleGroup {
    /// The name, unique within the file.
    pub name: String,
    /// The time between evaluations, milliseconds. Without one, the server's default applies.
    pub interval_ms: Option<i64>,
    /// How long before the time of an evaluation expressions are evaluated, milliseconds.
    pub query_offset_ms: Option<i64>,
    /// The most series or active alerts of a rule.
    pub limit: Limit,
    /// Labels that all rules get.
    pub labels: Texts,
    /// The rules in the order of the file.
    pub rules: Vec<RuleSpec>,
}

/// A rule as the file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSpec {
    /// Whether the rule records or alerts.
    pub kind: RuleKind,
    /// The name of the series or the alert.
    pub name: String,
    /// The text of the expression.
    pub text: String,
    /// The parsed expression.
    pub expr: Expr,
    /// The value of `for`, milliseconds.
    pub hold_ms: i64,
    /// The value of `keep_firing_for`, milliseconds.
    pub keep_firing_ms: i64,
    /// Labels to add. Those of an alerting rule are templates.
    pub labels: Texts,
    /// The annotations of alerts, which are templates.
    pub annotations: Texts,
}

/// The kind of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// The result becomes series.
    Recording,
    /// The result becomes alerts.
    Alerting,
}

/// An error in a rule file, with its position if that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleFileError(pub String);

impl RuleGroups {
    /// Parses and checks the text of a file. With `ignore_unknown_fields`, unknown fields are not errors.
    ///
    /// # Errors
    /// All errors of the file.
    pub fn parse(text: &str, ignore_unknown_fields: bool) -> Result<Self, Vec<RuleFileError>> {
        if text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---") {
            return Ok(RuleGroups::default());
        }
        let parsed = match ignore_unknown_fields {
            true => from_yaml::<lenient::File>(text).map(|file| file.groups.into_iter().map(RawGroup::from).collect()),
            false => from_yaml::<strict::File>(text).map(|file| file.groups.into_iter().map(RawGroup::from).collect()),
        };
        let groups: Vec<RawGroup> = parsed.map_err(|error| vec![unmarshal_error(&error)])?;
        let mut checked = Vec::new();
        let mut errors = Vec::new();
        let mut names = BTreeSet::new();
        for group in groups {
            if group.name.value.is_empty() {
                errors.push(RuleFileError(format!("{}: Groupname must not be empty", place(&group.start))));
            } else if !names.insert(group.name.value.clone()) {
                let place = place(&group.start);
                let name = &group.name.value;
                errors.push(RuleFileError(format!("{place}: groupname: \"{name}\" is repeated in the same file")));
            }
            errors.extend(label_errors(&group.labels).map(RuleFileError));
            checked.extend(group.checked(&mut errors));
        }
        if errors.is_empty() { Ok(RuleGroups { groups: checked }) } else { Err(errors) }
    }

    /// Parses and checks the text of one group.
    ///
    /// # Errors
    /// All errors of the group.
    pub fn parse_group(text: &str) -> Result<RuleGroup, Vec<RuleFileError>> {
        let parsed = from_yaml::<strict::Group>(text).map_err(|error| vec![unmarshal_error(&error)])?;
        let group = RawGroup::from(parsed);
        let mut errors = Vec::new();
        if group.name.value.is_empty() {
            errors.push(RuleFileError("rule group name must not be empty".into()));
        }
        errors.extend(label_errors(&group.labels).map(RuleFileError));
        let checked = group.checked(&mut errors);
        checked.filter(|_| errors.is_empty()).ok_or(errors)
    }
}

fn from_yaml<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 2_000_000, max_depth: 48, max_documents: 2 },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// A syntax error, in the words of Prometheus's YAML library.
fn unmarshal_error(error: &Error) -> RuleFileError {
    let error = error.without_snippet();
    let line = error.location().map_or(0, |location| location.line());
    let reason = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            let of = match () {
                () if expected.contains(&"expr") => "rulefmt.Rule",
                () if expected.contains(&"rules") => "rulefmt.RuleGroup",
                () => "rulefmt.RuleGroups",
            };
            format!("field {field} not found in type {of}")
        }
        Error::Message { msg, .. } => msg.clone(),
        other => return RuleFileError(format!("yaml: line {line}: {}", other.to_string().replace('\n', " "))),
    };
    RuleFileError(format!("yaml: unmarshal errors:\n  line {line}: {reason}"))
}

/// A text with its position, which is 0:0 if the text is missing.
#[derive(Clone, Debug, Default)]
struct Placed {
    value: String,
    line: u64,
    column: u64,
}

impl From<Option<Spanned<String>>> for Placed {
    fn from(spanned: Option<Spanned<String>>) -> Self {
        spanned.map_or_else(Placed::default, |spanned| Placed {
            line: spanned.referenced.line(),
            column: spanned.referenced.column(),
            value: spanned.value,
        })
    }
}

fn place(of: &Placed) -> String {
    format!("{}:{}", of.line, of.column)
}

/// A group whose rules are not checked yet.
struct RawGroup {
    /// The position at which the group begins.
    start: Placed,
    name: Placed,
    interval_ms: i64,
    query_offset_ms: Option<i64>,
    limit: Limit,
    labels: Texts,
    rules: Vec<RawRule>,
}

struct RawRule {
    record: Placed,
    alert: Placed,
    expr: Placed,
    hold_ms: i64,
    keep_firing_ms: i64,
    labels: Texts,
    annotations: Texts,
}

/// Defines the types of a file, which either refuse unknown fields or ignore them.
macro_rules! file_types {
    ($module:ident, $unknown_fields:meta) => {
        mod $module {
            use super::*;

            #[derive(Debug, Default, Deserialize)]
            #[serde(default)]
            #[$unknown_fields]
            pub(super) struct File {
                #[serde(deserialize_with = "or_default")]
                pub(super) groups: Vec<Group>,
            }

            #[derive(Debug, Default, Deserialize)]
            #[serde(default)]
            #[$unknown_fields]
            pub(super) struct Group {
                name: Option<Spanned<String>>,
                #[serde(deserialize_with = "duration")]
                interval: Option<i64>,
                #[serde(deserialize_with = "duration")]
                query_offset: Option<i64>,
                #[serde(deserialize_with = "or_default")]
                limit: i64,
                #[serde(deserialize_with = "or_default")]
                rules: Vec<Rule>,
                #[serde(deserialize_with = "or_default")]
                labels: Texts,
            }

            #[derive(Debug, Default, Deserialize)]
            #[serde(default)]
            #[$unknown_fields]
            struct Rule {
                record: Option<Spanned<String>>,
                alert: Option<Spanned<String>>,
                expr: Option<Spanned<String>>,
                #[serde(rename = "for", deserialize_with = "duration")]
                hold: Option<i64>,
                #[serde(deserialize_with = "duration")]
                keep_firing_for: Option<i64>,
                #[serde(deserialize_with = "or_default")]
                labels: Texts,
                #[serde(deserialize_with = "or_default")]
                annotations: Texts,
            }

            impl From<Group> for RawGroup {
                fn from(group: Group) -> Self {
                    let name = Placed::from(group.name);
                    // The mapping begins at the key `name`, which is the first one in practice.
                    let start = Placed { column: name.column.saturating_sub(6), ..name.clone() };
                    RawGroup {
                        start,
                        name,
                        interval_ms: group.interval.unwrap_or(0),
                        query_offset_ms: group.query_offset,
                        limit: Limit::new(group.limit.max(0) as usize),
                        labels: group.labels,
                        rules: group.rules.into_iter().map(RawRule::from).collect(),
                    }
                }
            }

            impl From<Rule> for RawRule {
                fn from(rule: Rule) -> Self {
                    RawRule {
                        record: rule.record.into(),
                        alert: rule.alert.into(),
                        expr: rule.expr.into(),
                        hold_ms: rule.hold.unwrap_or(0),
                        keep_firing_ms: rule.keep_firing_for.unwrap_or(0),
                        labels: rule.labels,
                        annotations: rule.annotations,
                    }
                }
            }
        }
    };
}

file_types!(strict, serde(deny_unknown_fields));
file_types!(lenient, serde(expecting = "a mapping"));

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_duration(&text)).transpose().map_err(serde::de::Error::custom)
}

impl RawGroup {
    /// Returns the group if it has no errors, and appends its errors to `errors` otherwise.
    fn checked(self, errors: &mut Vec<RuleFileError>) -> Option<RuleGroup> {
        let count = self.rules.len();
        let mut rules = Vec::with_capacity(count);
        for (index, rule) in self.rules.into_iter().enumerate() {
            let name = if rule.alert.value.is_empty() { &rule.record.value } else { &rule.alert.value };
            let about = format!("group {:?}, rule {}, {name:?}", self.name.value, index + 1);
            match rule.checked() {
                Ok(rule) => rules.push(rule),
                Err(found) => errors.extend(found.into_iter().map(|(place, reason)| {
                    let place = place.map_or(String::new(), |place| format!("{place}: "));
                    RuleFileError(format!("{place}{about}: {reason}"))
                })),
            }
        }
        (rules.len() == count).then_some(RuleGroup {
            name: self.name.value,
            interval_ms: Some(self.interval_ms).filter(|ms| *ms > 0),
            query_offset_ms: self.query_offset_ms,
            limit: self.limit,
            labels: self.labels,
            rules,
        })
    }
}

/// The position of an error, if it is known, and the reason.
type RuleMistake = (Option<String>, String);

impl RawRule {
    fn checked(self) -> Result<RuleSpec, Vec<RuleMistake>> {
        let mut mistakes: Vec<RuleMistake> = Vec::new();
        let both = || Some(format!("{}: {}", place(&self.record), place(&self.alert)));
        match (self.record.value.is_empty(), self.alert.value.is_empty()) {
            (false, false) => mistakes.push((both(), "only one of 'record' and 'alert' must be set".into())),
            (true, true) => mistakes.push((both(), "one of 'record' or 'alert' must be set".into())),
            _ => {}
        }
        let at_expr = || Some(place(&self.expr));
        let expr = if self.expr.value.is_empty() {
            mistakes.push((at_expr(), "field 'expr' must be set in rule".into()));
            None
        } else {
            let parsed = syntax::parse(&self.expr.value);
            parsed.map_err(|e| mistakes.push((at_expr(), format!("could not parse expression: {e}")))).ok()
        };
        if !self.record.value.is_empty() {
            let reasons = self.recording_mistakes();
            mistakes.extend(reasons.into_iter().map(|reason| (Some(place(&self.record)), reason)));
        }
        mistakes.extend(label_errors(&self.labels).map(|reason| (None, reason)));
        let nameless = self.annotations.keys().filter(|name| name.is_empty());
        mistakes.extend(nameless.map(|name| (None, format!("invalid annotation name: {name}"))));
        mistakes.extend(self.template_mistakes().into_iter().map(|reason| (None, reason)));
        match expr {
            Some(expr) if mistakes.is_empty() => Ok(self.spec(expr)),
            _ => Err(mistakes),
        }
    }

    fn recording_mistakes(&self) -> Vec<String> {
        let name = &self.record.value;
        let mut reasons = Vec::new();
        let fields = [
            ("annotations", !self.annotations.is_empty()),
            ("for", self.hold_ms != 0),
            ("keep_firing_for", self.keep_firing_ms != 0),
        ];
        for (field, _) in fields.into_iter().filter(|(_, given)| *given) {
            reasons.push(format!("invalid field '{field}' in recording rule"));
        }
        if name.contains(['{', '}']) {
            reasons.push(format!("braces present in the recording rule name; should it be in expr?: {name}"));
        }
        reasons
    }

    fn template_mistakes(&self) -> Vec<String> {
        if self.alert.value.is_empty() {
            return Vec::new();
        }
        let labels = self.labels.iter().map(|(name, text)| ("label", name, text));
        let annotations = self.annotations.iter().map(|(name, text)| ("annotation", name, text));
        let mistake = |(what, name, text): (&str, &String, &String)| {
            let error = Template::of_alert(&self.alert.value, text).err()?;
            Some(format!("{what} {name:?}: {}", error.reason()))
        };
        labels.chain(annotations).filter_map(mistake).collect()
    }

    fn spec(self, expr: Expr) -> RuleSpec {
        let (kind, name) = match self.alert.value.is_empty() {
            true => (RuleKind::Recording, self.record.value),
            false => (RuleKind::Alerting, self.alert.value),
        };
        RuleSpec {
            kind,
            name,
            text: self.expr.value,
            expr,
            hold_ms: self.hold_ms,
            keep_firing_ms: self.keep_firing_ms,
            labels: self.labels,
            annotations: self.annotations,
        }
    }
}

fn label_errors(labels: &Texts) -> impl Iterator<Item = String> {
    let wrong = |name: &&String| name.is_empty() || *name == METRIC_NAME;
    labels.keys().filter(wrong).map(|name| format!("invalid label name: {name}"))
}

#[cfg(test)]
mod tests;
