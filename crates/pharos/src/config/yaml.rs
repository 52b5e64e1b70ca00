//! Parses YAML into sections, with errors that name position and field. Size, nesting and anchors are bounded.

mod nulls;
mod quotes;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter};

use super::error::{ConfigError, Place};
use super::source::SourceMap;
use crate::text::{clip, nearest};

/// Largest configuration file in bytes. Thousands of scrape sections fit in a tenth of it.
pub(super) const MAX_FILE_BYTES: u64 = 32 << 20;
const MAX_NODES: usize = 2_000_000;
const MAX_ALIASED_NODES: usize = 200_000;
const MAX_DEPTH: usize = 48;

/// Parser options of configuration files, with limits against hostile input.
pub(crate) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 2 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            max_documents: 2,
            max_aliases: 10_000,
            max_anchors: 10_000,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_ALIASED_NODES,
            max_replay_stack_depth: 16,
        },
        emit_comments: false,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

/// Reads a file. Errors name the file and the position of invalid UTF-8.
pub(super) fn read(file: &Path) -> Result<String, ConfigError> {
    use std::io::Read;
    let unreadable = |error: std::io::Error| ConfigError::at(file, None, format!("cannot read file: {error}"));
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let mut bytes = Vec::new();
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::at(file, None, format!("file is larger than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let last_line = valid.rsplit('\n').next().unwrap_or_default();
        let line = valid.matches('\n').count() as u64 + 1;
        let column = last_line.chars().count() as u64 + 1;
        ConfigError::at(file, Some(Place { line, column }), "not UTF-8 text")
    })
}

/// Whether a text has nothing but comments and empty lines.
fn is_empty(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// Parses the text of a file. An empty one has all defaults.
pub(super) fn parse<T: DeserializeOwned + Default>(file: &Path, text: &str) -> Result<T, ConfigError> {
    if is_empty(text) {
        return Ok(T::default());
    }
    match serde_saphyr::from_str_with_options(text, options()) {
        Ok(parsed) => unquoted(file, text, parsed),
        Err(error) => match nulls::without_null_fields(text) {
            Some(text) => match serde_saphyr::from_str_with_options(&text, options()) {
                Ok(parsed) => unquoted(file, &text, parsed),
                Err(error) => Err(explain(file, &text, &error)),
            },
            None => Err(explain(file, text, &error)),
        },
    }
}

/// What was parsed, unless a number or boolean in the text is quoted.
fn unquoted<T: DeserializeOwned>(file: &Path, text: &str, parsed: T) -> Result<T, ConfigError> {
    let Some(quoted) = quotes::quoted_value::<T>(text) else { return Ok(parsed) };
    let path = SourceMap::new(text, options()).value_at(quoted.place);
    let path = path.map_or(String::new(), |path| format!("{path}: "));
    let (wanted, found) = (in_words(quoted.wanted), clip(&quoted.text, 64));
    Err(ConfigError::at(
        file,
        Some(quoted.place),
        format!("{path}expected {wanted}, found the string {found:?}; remove the quotes"),
    ))
}

/// Turns a parser error into one that names position and field.
fn explain(file: &Path, text: &str, error: &Error) -> ConfigError {
    let mut error = error.without_snippet();
    while let Error::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    let location = error.location().filter(|location| location.line() > 0);
    let place = location.map(|location| Place { line: location.line(), column: location.column() });
    if let Some(place) = place.filter(|place| is_indented_by_tab(text, *place)) {
        return ConfigError::at(file, Some(place), "tabs cannot indent YAML; use spaces");
    }
    let source = SourceMap::new(text, options());
    let found = place.and_then(|place| match error {
        Error::SerdeUnknownField { field, .. } => source.key_named(field, place),
        _ => source.value_at(place).or_else(|| source.key_at(place)).map(|path| (path, place)),
    });
    let reason = reason(error);
    match (found, error) {
        (Some((path, place)), _) => ConfigError::at(file, Some(place), format!("{path}: {reason}")),
        (None, Error::SerdeUnknownField { field, .. }) => {
            ConfigError::at(file, place, format!("{}: {reason}", clip(field, 64)))
        }
        (None, _) => ConfigError::at(file, place, reason),
    }
}

fn is_indented_by_tab(text: &str, place: Place) -> bool {
    let lines = text.lines().skip(place.line.saturating_sub(2) as usize).take(2);
    let mut indents = lines.map(|line| &line[..line.len() - line.trim_start().len()]);
    indents.any(|indent| indent.contains('\t'))
}

fn reason(error: &Error) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            let meant = nearest(field, expected.iter().copied());
            meant.map_or("unknown field".into(), |meant| format!("unknown field, did you mean {meant:?}?"))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            let known = expected.join(", ");
            format!("unknown value {:?}; expected one of {known}", clip(variant, 64))
        }
        Error::SerdeInvalidType { unexpected, expected, .. } => format!("expected {expected}, found {unexpected}"),
        Error::SerdeInvalidValue { unexpected, expected, .. } => format!("expected {expected}, found {unexpected}"),
        Error::SerdeMissingField { field, .. } => format!("field {field:?} is missing"),
        Error::InvalidScalar { ty, .. } => format!("expected {}", in_words(ty)),
        Error::Unexpected { expected, .. } => format!("expected {}", in_words(expected)),
        Error::NullIntoString { .. } => "expected a string, found nothing".into(),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("{:?} is set twice", clip(key, 64)),
        Error::MultipleDocuments { .. } => "a file may hold only one YAML document".into(),
        Error::Message { msg, .. } => msg.clone(),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "anchors and aliases expand to too many values".into(),
        other => DefaultMessageFormatter.format_message(other).replace('\n', " "),
    }
}

/// What the parser expected, in words for people who write configurations.
fn in_words(expected: &str) -> &str {
    match expected {
        "mapping start" => "fields (a mapping)",
        "sequence start" => "a list",
        "string scalar" | "scalar" => "a single value",
        "boolean" => "true or false",
        "floating point" => "a number",
        "u64" | "u32" | "usize" => "a non-negative integer",
        "i64" | "i32" => "an integer",
        other => other,
    }
}
