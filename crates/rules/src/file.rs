//! Rule files: what they say, and what is wrong with them in the words of Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use pharos_gocompat::parse_duration;
use pharos_model::METRIC_NAME;

use pharos_promql::syntax::{self, ast::Expr};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Error, Spanned};

use crate::template::Template;

/// Labels and annotations by name.
pub type Texts = BTreeMap<String, String>;

/// The groups of a file, checked.
#[derive(Clone, Debug, Default)]
pub struct RuleGroups {
    /// The groups in their order.
    pub groups: Vec<RuleGroup>,
}

/// Rules that are evaluated one after the other, again and again.
#[derive(Clone, Debug)]
pub struct RuleGroup {
    /// Its name, unique within the file.
    pub name: String,
    /// Time between evaluations, milliseconds; none is the default of whoever runs the group.
    pub interval_ms: Option<i64>,
    /// How far back expressions are evaluated, milliseconds.
    pub query_offset_ms: Option<i64>,
    /// Most series or alerts of a rule; 0 is no limit.
    pub limit: usize,
    /// Labels of all its rules.
    pub labels: Texts,
    /// The rules in their order.
    pub rules: Vec<RuleSpec>,
}

/// One rule as the file says it.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// Whether it records or alerts.
    pub kind: RuleKind,
    /// The name of the series or of the alert.
    pub name: String,
    /// The expression's text.
    pub text: String,
    /// The expression.
    pub expr: Expr,
    /// `for`, milliseconds.
    pub hold_ms: i64,
    /// `keep_firing_for`, milliseconds.
    pub keep_firing_ms: i64,
    /// Labels that are added; templates in an alerting rule.
    pub labels: Texts,
    /// Annotations of an alert, templates.
    pub annotations: Texts,
}

/// What a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Its result becomes series.
    Recording,
    /// Its result becomes alerts.
    Alerting,
}

/// One mistake in a rule file, with its place where it is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleFileError(pub String);

impl RuleGroups {
    /// Parses and checks a file's text. `ignore_unknown_fields` passes over fields that nobody knows.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, ignore_unknown_fields: bool) -> Result<Self, Vec<RuleFileError>> {
        if text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---") {
            return Ok(RuleGroups::default());
        }
        let parsed = match ignore_unknown_fields {
            true => from_yaml::<lenient::File>(text).map(|file| file.groups.into_iter().map(RawGroup::from).collect()),
            false => from_yaml::<strict::File>(text).map(|file| file.groups.into_iter().map(RawGroup::from).collect()),
        };
        let groups: Vec<RawGroup> = parsed.map_err(|error| vec![unmarshal_error(&error)])?;
        let (mut checked, mut errors, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        for group in groups {
            if group.name.value.is_empty() {
                errors.push(RuleFileError(format!("{}: Groupname must not be empty", place(&group.start))));
            } else if !names.insert(group.name.value.clone()) {
                let (place, name) = (place(&group.start), &group.name.value);
                errors.push(RuleFileError(format!("{place}: groupname: \"{name}\" is repeated in the same file")));
            }
            errors.extend(label_errors(&group.labels).map(RuleFileError));
            checked.extend(group.checked(&mut errors));
        }
        if errors.is_empty() { Ok(RuleGroups { groups: checked }) } else { Err(errors) }
    }
}

fn from_yaml<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 2_000_000, max_depth: 48, max_documents: 2 },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// A mistake of form, as Prometheus's YAML library words it.
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

/// A text and where it stands; 0:0 when it is not there.
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

/// A group before its rules are checked.
struct RawGroup {
    /// Where the group begins.
    start: Placed,
    name: Placed,
    interval_ms: i64,
    query_offset_ms: Option<i64>,
    limit: usize,
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

/// The types that are read, once with unknown fields refused and once without.
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
                    // Where the mapping begins: at its key `name`, when that comes first, as it does.
                    let start = Placed { column: name.column.saturating_sub(6), ..name.clone() };
                    RawGroup {
                        start,
                        name,
                        interval_ms: group.interval.unwrap_or(0),
                        query_offset_ms: group.query_offset,
                        limit: group.limit.max(0) as usize,
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
    /// The group when all is right with it; what is wrong goes to `errors`.
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

/// The reason of a mistake, and where it is.
type Mistake = (Option<String>, String);

impl RawRule {
    fn checked(self) -> Result<RuleSpec, Vec<Mistake>> {
        let mut mistakes: Vec<Mistake> = Vec::new();
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
        let (hold_ms, keep_firing_ms) = (self.hold_ms, self.keep_firing_ms);
        let (labels, annotations) = (self.labels, self.annotations);
        RuleSpec { kind, name, text: self.expr.value, expr, hold_ms, keep_firing_ms, labels, annotations }
    }
}

fn label_errors(labels: &Texts) -> impl Iterator<Item = String> {
    let wrong = |name: &&String| name.is_empty() || *name == METRIC_NAME;
    labels.keys().filter(wrong).map(|name| format!("invalid label name: {name}"))
}

#[cfg(test)]
mod tests;
