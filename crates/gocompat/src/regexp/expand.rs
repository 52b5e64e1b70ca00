//! Expansion of replacement templates: `$1`, `${name}`.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Appends a template in which references to groups are replaced by what they matched. `names` has the names of the
/// groups.
pub(super) fn expand(template: &str, names: &[Option<String>], captures: &Captures<'_>, out: &mut String) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            after
        } else if let Some((name, after)) = parse_name(after) {
            out.push_str(group(name, names, captures));
            after
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
}

/// What a group matched, or the empty string. Among groups with the same name it is the first one that matched.
fn group<'t>(name: &str, names: &[Option<String>], captures: &Captures<'t>) -> &'t str {
    let text = |index| captures.get(index).map(|found| found.as_str());
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if is_number {
        return name.parse().ok().and_then(text).unwrap_or_default();
    }
    let mut named = names.iter().enumerate().filter(|(_, known)| known.as_deref() == Some(name));
    named.find_map(|(index, _)| text(index)).unwrap_or_default()
}

/// Reads `name` or `{name}` at the start of `text`. Returns the name and the rest.
fn parse_name(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('{');
    let text = inner.unwrap_or(text);
    let end = text.find(|c| !is_name_char(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let after = if inner.is_some() { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, after))
}

/// Whether a character is a letter, a decimal digit or `_`.
fn is_name_char(c: char) -> bool {
    static UNICODE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\pL\p{Nd}]$").ok());
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    UNICODE.as_ref().is_some_and(|regex| regex.is_match(c.encode_utf8(&mut [0; 4])))
}
