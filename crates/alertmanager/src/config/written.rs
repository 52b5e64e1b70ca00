//! The file as it is written: every field may be missing or null, and names keep their places for errors.

use std::collections::BTreeMap;

use pharos_config::PromDuration;
use pharos_model::MatchOp;
use pharos_model::labels::is_legacy_label_name;
use pharos_notify::config::{GlobalConfig, ReceiverConfig};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_saphyr::{Error, Location, Spanned};

use super::Mistake;
use crate::interval::TimeInterval;
use crate::matcher::{Matcher, Syntax};

/// A list of names with their places.
pub(super) type Names = Option<Vec<Spanned<String>>>;
/// Labels with the values that they must have.
pub(super) type Equal = Option<BTreeMap<String, String>>;
/// Labels with regular expressions.
pub(super) type Regexes = Option<BTreeMap<String, Option<String>>>;

/// The whole file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) global: Option<Spanned<GlobalConfig>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) route: Option<Spanned<WrittenRoute>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inhibit_rules: Option<Vec<Spanned<WrittenInhibitRule>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receivers: Option<Vec<Spanned<ReceiverConfig>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) templates: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mute_time_intervals: Option<Vec<Spanned<WrittenIntervals>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_intervals: Option<Vec<Spanned<WrittenIntervals>>>,
    // Both may hold secrets, so neither is printed.
    #[serde(skip_serializing)]
    pub(super) tracing: Option<IgnoredAny>,
    #[serde(skip_serializing)]
    pub(super) event_recorder: Option<IgnoredAny>,
}

/// A node of the routing tree.
#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenRoute {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) receiver: Option<Spanned<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group_by: Names,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub(super) equal: Equal,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) match_re: Regexes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) matchers: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mute_time_intervals: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) active_time_intervals: Names,
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    pub(super) continues: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) routes: Option<Vec<Spanned<WrittenRoute>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group_wait: Option<Spanned<PromDuration>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group_interval: Option<Spanned<PromDuration>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) repeat_interval: Option<Spanned<PromDuration>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<BTreeMap<String, String>>,
}

/// An inhibition rule.
#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenInhibitRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source_match: Equal,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source_match_re: Regexes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source_matchers: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_match: Equal,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_match_re: Regexes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_matchers: Names,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) equal: Names,
}

/// Intervals of time with a name.
#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenIntervals {
    pub(super) name: Option<String>,
    pub(super) time_intervals: Option<Vec<TimeInterval>>,
}

impl Written {
    /// The file with the defaults of `global`, and with `<secret>` in place of secrets.
    pub(super) fn print(&self, global: &GlobalConfig) -> String {
        #[derive(Serialize)]
        struct Global<'g> {
            global: &'g GlobalConfig,
        }
        let sections = [serde_saphyr::to_string(&Global { global }), serde_saphyr::to_string(self)];
        let print = |section: Result<String, _>| match section {
            Ok(text) => text,
            Err(error) => format!("# cannot print the configuration: {error}\n"),
        };
        sections.map(print).concat()
    }
}

/// Parses a file.
pub(super) fn parse(text: &str) -> Result<Written, Mistake> {
    let is_blank = |line: &str| matches!(line.trim(), "" | "---") || line.trim_start().starts_with('#');
    if text.lines().all(is_blank) {
        return Err(Mistake::nowhere("no route provided in config"));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 500_000, max_depth: 48, max_documents: 2 },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| mistake(&error))
}

/// Turns an error of the parser into a mistake with a place.
fn mistake(error: &Error) -> Mistake {
    let mut error = error.without_snippet();
    while let Error::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    let reason = match error {
        Error::SerdeUnknownField { field, .. } => format!("field {field} not found"),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("field {key} already set"),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("expected {expected}, found {unexpected}")
        }
        Error::Message { msg, .. } => msg.clone(),
        other => {
            use serde_saphyr::MessageFormatter;
            serde_saphyr::DefaultMessageFormatter.format_message(other).replace('\n', " ")
        }
    };
    match error.location() {
        Some(location) => Mistake::at(location, reason),
        None => Mistake::nowhere(reason),
    }
}

/// The matchers of a node in all three notations, sorted.
pub(super) fn matchers(
    equal: &Equal,
    regexes: &Regexes,
    matchers: &Names,
    place: Location,
    syntax: Syntax,
) -> Result<Vec<Matcher>, Mistake> {
    let mistake = |reason: String| Mistake::at(place, reason);
    let mut found = Vec::new();
    let check_name = |name: &str| match is_legacy_label_name(name) {
        true => Ok(()),
        false => Err(mistake(format!("invalid label name {name:?}"))),
    };
    for (name, value) in equal.iter().flatten() {
        check_name(name)?;
        found.push(Matcher::new(MatchOp::Equal, name, value).map_err(mistake)?);
    }
    for (name, expression) in regexes.iter().flatten() {
        check_name(name)?;
        let expression = expression.as_deref().ok_or_else(|| mistake(format!("invalid regexp value for {name:?}")))?;
        found.push(Matcher::new(MatchOp::Regex, name, expression).map_err(mistake)?);
    }
    for line in matchers.iter().flatten() {
        found.extend(syntax.matchers(&line.value, "config").map_err(|error| Mistake::at(line.referenced, error))?);
    }
    found.sort();
    Ok(found)
}
