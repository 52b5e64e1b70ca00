//! Parameters of queries, which may be repeated.

use std::collections::BTreeMap;

use pharos_gocompat::GoRegex;
use pharos_model::MatchOp;

use super::ApiError;
use crate::matcher::{Matcher, Syntax};

/// The parameters of a request in their order.
pub(super) type Pairs = axum::extract::Query<Vec<(String, String)>>;

/// The last value of a parameter.
fn last<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A switch that is on unless the request says otherwise.
pub(super) fn switch(pairs: &[(String, String)], name: &str) -> Result<bool, ApiError> {
    match last(pairs, name).unwrap_or("true") {
        "true" | "1" | "yes" | "ok" | "y" | "on" | "selected" | "checked" | "t" | "enabled" | "" => Ok(true),
        "false" | "0" | "no" | "n" | "off" | "f" | "disabled" => Ok(false),
        other => Err(ApiError::type_of(name, "query", "boolean", other)),
    }
}

/// The matchers of a parameter that may be repeated.
pub(super) fn matchers(pairs: &[(String, String)], name: &str, syntax: Syntax) -> Result<Vec<Matcher>, String> {
    let values = pairs.iter().filter(|(key, _)| key == name);
    values.map(|(_, value)| syntax.matcher(value, "api")).collect()
}

/// Which alerts a request asks for, by labels and receivers.
pub(super) struct Filter {
    /// What the labels of an alert satisfy.
    pub(super) labels: Vec<Matcher>,
    receiver: Option<GoRegex>,
    receiver_labels: Vec<Matcher>,
}

impl Filter {
    pub(super) fn parse(pairs: &[(String, String)], syntax: Syntax) -> Result<Self, ApiError> {
        let labels = matchers(pairs, "filter", syntax).map_err(ApiError::BadRequest)?;
        let receiver = last(pairs, "receiver").map(|text| GoRegex::unanchored(&format!("^(?:{text})$"))).transpose();
        let receiver =
            receiver.map_err(|error| ApiError::BadRequest(format!("failed to parse receiver param: {error}")))?;
        Ok(Filter { labels, receiver, receiver_labels: receiver_matchers(pairs, syntax)? })
    }

    /// Whether a receiver is asked for.
    pub(super) fn keeps_receiver(&self, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.receiver.as_ref().is_none_or(|receiver| receiver.is_match(name))
            && (self.receiver_labels.is_empty()
                || labels.is_some_and(|labels| satisfies(&self.receiver_labels, labels)))
    }
}

/// The matchers of labels of receivers.
pub(super) fn receiver_matchers(pairs: &[(String, String)], syntax: Syntax) -> Result<Vec<Matcher>, ApiError> {
    let failed = |error: String| ApiError::BadRequest(format!("failed to parse receiver_matchers param: {error}"));
    matchers(pairs, "receiver_matchers", syntax).map_err(failed)
}

/// Whether labels satisfy the matchers of a filter. As in Alertmanager, a matcher of the empty value asks whether the label
/// exists.
pub(super) fn satisfies(matchers: &[Matcher], labels: &BTreeMap<String, String>) -> bool {
    matchers.iter().all(|matcher| {
        let value = labels.get(matcher.name());
        let is_negative = matches!(matcher.op(), MatchOp::NotEqual | MatchOp::NotRegex);
        (matcher.value().is_empty() && is_negative == value.is_some())
            || matcher.matches(value.map_or("", String::as_str))
    })
}
