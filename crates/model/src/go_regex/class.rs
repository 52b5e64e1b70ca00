//! Classes: `[a-z]`, `[^[:alpha:]\d]`.

use super::{GoRegexError, before, escape};

const INVALID_RANGE: &str = "invalid character class range";
/// The names of `[:name:]`, all of which are ASCII.
const NAMES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// Translates the class at the start of `text`; returns what follows it.
pub(super) fn translate<'t>(text: &'t str, out: &mut String) -> Result<&'t str, GoRegexError> {
    out.push('[');
    let mut rest = &text[1..];
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    // A bracket right at the start is a member.
    let mut is_first = true;
    loop {
        if let Some(after) = rest.strip_prefix(']').filter(|_| !is_first) {
            out.push(']');
            return Ok(after);
        }
        if rest.is_empty() {
            return Err(GoRegexError::new("missing closing ]", text));
        }
        is_first = false;
        rest = member(text, rest, out)?;
    }
}

fn member<'t>(class: &str, text: &'t str, out: &mut String) -> Result<&'t str, GoRegexError> {
    if let Some((name, after)) = text.strip_prefix("[:").and_then(|name| name.split_once(":]")) {
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(GoRegexError::new(INVALID_RANGE, before(text, after)));
        }
        out.push_str(before(text, after));
        return Ok(after);
    }
    if text.starts_with('\\') {
        if let Some((negated, members, after)) = escape::perl_class(text) {
            out.push_str(if negated { "[^" } else { "[" });
            out.push_str(members);
            out.push(']');
            return Ok(after);
        }
        if let Some((property, after)) = escape::property(text)? {
            out.push_str(&property);
            return Ok(after);
        }
    }
    let (low, after) = character(class, text)?;
    push(out, low);
    match after.strip_prefix('-') {
        Some(high) if !high.starts_with(']') => {
            let (high, after) = character(class, high)?;
            if high < low {
                return Err(GoRegexError::new(INVALID_RANGE, before(text, after)));
            }
            out.push('-');
            push(out, high);
            Ok(after)
        }
        _ => Ok(after),
    }
}

fn character<'t>(class: &str, text: &'t str) -> Result<(char, &'t str), GoRegexError> {
    match text.chars().next() {
        None => Err(GoRegexError::new("missing closing ]", class)),
        Some('\\') => escape::character(text),
        Some(c) => Ok((c, &text[c.len_utf8()..])),
    }
}

fn push(out: &mut String, c: char) {
    // Whatever is no letter or digit might mean something in a class.
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        out.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
    } else {
        out.push(c);
    }
}
