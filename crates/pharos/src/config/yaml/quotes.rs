//! Quoted numbers and booleans: `sample_limit: "10"`, `honor_labels: 'true'`. Quotes make them strings, which Prometheus does not
//! take for numbers and booleans. The parser tells no quoted scalar from a plain one, so this finds out by changing the text
//! between the quotes: a field that cannot be read any more wants a number or boolean.

use serde::de::DeserializeOwned;
use serde_saphyr::Error;

use super::super::error::Place;
use super::super::source::SourceMap;
use super::options;

/// How many quoted values that are read in a way of their own, such as durations, are told apart.
const MAX_ROUNDS: usize = 32;

/// A quoted scalar where a number or boolean must be.
pub(super) struct Quoted {
    pub(super) place: Place,
    pub(super) text: String,
    /// What the field wants, in the parser's words.
    pub(super) wanted: &'static str,
}

/// Finds the first quoted number or boolean of a text that can be read as a `T`.
pub(super) fn quoted_value<T: DeserializeOwned>(text: &str) -> Option<Quoted> {
    if !may_have_any(text) {
        return None;
    }
    let mut suspects = SourceMap::new(text, options()).texts(is_number_or_boolean);
    for _ in 0..MAX_ROUNDS {
        let places: Vec<Place> = suspects.iter().map(|(place, _)| *place).collect();
        let changed = with_changed_values(text, &places);
        let error = serde_saphyr::from_str_with_options::<T>(&changed, options()).err()?;
        let mut error = error.without_snippet();
        while let Error::AliasError { error: inner, .. } = error {
            error = inner.without_snippet();
        }
        let location = error.location()?;
        let place = Place { line: location.line(), column: location.column() };
        let at = suspects.iter().position(|(suspect, _)| *suspect == place)?;
        let (place, text) = suspects.swap_remove(at);
        // Other errors are of fields that take strings, but not this one.
        if let Error::InvalidScalar { ty, .. } = error {
            return Some(Quoted { place, text, wanted: ty });
        }
    }
    None
}

/// Whether a text has a quote that is followed by a number or boolean. Nearly no configuration has.
fn may_have_any(text: &str) -> bool {
    let mut parts = text.split(['"', '\'']);
    parts.next();
    parts.any(is_number_or_boolean)
}

fn is_number_or_boolean(text: &str) -> bool {
    let booleans = ["true", "false", "yes", "no", "on", "off", "y", "n"];
    let text = text.trim();
    booleans.iter().any(|boolean| text.eq_ignore_ascii_case(boolean)) || text.parse::<f64>().is_ok()
}

/// The text with `?` in place of the first character of the quoted values at these places.
fn with_changed_values(text: &str, places: &[Place]) -> String {
    let mut places: Vec<Place> = places.to_vec();
    places.sort_unstable();
    let mut places = places.into_iter().peekable();
    let mut out = String::with_capacity(text.len());
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let mut columns = Vec::new();
        while let Some(place) = places.next_if(|place| place.line == number) {
            columns.push(place.column);
        }
        let mut quoted = false;
        for (column, c) in (1..).zip(line.chars()) {
            out.push(if quoted { '?' } else { c });
            quoted = matches!(c, '"' | '\'') && columns.contains(&column);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(serde::Deserialize)]
    #[allow(dead_code, reason = "only whether it can be read matters")]
    struct Section {
        #[serde(default)]
        flag: bool,
        #[serde(default)]
        number: u64,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        timeout: Option<pharos_config::PromDuration>,
    }

    fn found(text: &str) -> Option<(u64, u64, String, &'static str)> {
        let quoted = quoted_value::<Section>(text)?;
        Some((quoted.place.line, quoted.place.column, quoted.text, quoted.wanted))
    }

    #[test]
    fn quoted_numbers_and_booleans_are_found() {
        assert_eq!(found("flag: \"true\"\n"), Some((1, 7, "true".into(), "boolean")));
        assert_eq!(found("labels: {a: '1'}\nnumber: '5'\n"), Some((2, 9, "5".into(), "u64")));
        assert_eq!(found("{timeout: '0', labels: {é: 'no'}, flag: 'no'}\n"), Some((1, 41, "no".into(), "boolean")));
    }

    #[test]
    fn text_that_looks_like_numbers_is_left_alone() {
        for text in ["flag: true\nnumber: 5\n", "labels: {a: '1', b: \"true\"}\ntimeout: '0'\n", "flag: yes # '5'\n"] {
            assert_eq!(found(text), None, "{text:?}");
        }
    }
}
