//! The classic syntax: `name="value",other=~value`, where names are `[a-zA-Z_:][a-zA-Z0-9_:]*` and quotes are optional.

use pharos_model::MatchOp;
use pharos_model::labels::is_legacy_metric_name;

use super::Matcher;

/// Parses any number of matchers, with or without braces around them.
pub(super) fn matchers(input: &str) -> Result<Vec<Matcher>, String> {
    let inner = input.strip_prefix('{').unwrap_or(input);
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    split(inner).into_iter().map(matcher).collect()
}

/// Splits at commas outside quotes. Blank text after the last comma is ignored.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            ',' if !is_quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            ',' => {}
            '"' if is_escaped => is_escaped = false,
            '"' => is_quoted = !is_quoted,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    let last = text[start..].trim();
    parts.extend((!last.is_empty()).then_some(last));
    parts
}

/// Parses one matcher.
pub(super) fn matcher(input: &str) -> Result<Matcher, String> {
    let bad_format = || format!("bad matcher format: {input}");
    let trimmed = input.trim_matches(is_blank);
    let name_end = trimmed.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').unwrap_or(trimmed.len());
    let (name, rest) = trimmed.split_at(name_end);
    if !is_legacy_metric_name(name) {
        return Err(bad_format());
    }
    let rest = rest.trim_start_matches(is_blank);
    let operators =
        [("=~", MatchOp::Regex), ("=", MatchOp::Equal), ("!=", MatchOp::NotEqual), ("!~", MatchOp::NotRegex)];
    let found = operators.into_iter().find_map(|(text, op)| rest.strip_prefix(text).map(|value| (op, value)));
    let (op, value) = found.ok_or_else(bad_format)?;
    Matcher::new(op, name, &unescape(value.trim_matches(is_blank))?)
}

/// Go's `\s`.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

/// The value that a text stands for. Backslashes escape `n`, `"` and themselves; before anything else they are literal.
fn unescape(text: &str) -> Result<String, String> {
    let unescaped_quote = || format!("matcher value contains unescaped double quote: {text}");
    let body = text.strip_prefix('"');
    let mut expects_quote = body.is_some();
    let body = body.unwrap_or(text);
    let mut value = String::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('n') => value.push('\n'),
                Some(c @ ('"' | '\\')) => value.push(c),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            '"' if expects_quote && rest.as_str().is_empty() => expects_quote = false,
            '"' => return Err(unescaped_quote()),
            c => value.push(c),
        }
    }
    if expects_quote { Err(unescaped_quote()) } else { Ok(value) }
}
