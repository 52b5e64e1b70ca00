//! Translation of character classes, `[…]`.

use super::error::RegexError;
use super::escape;

/// The class of no character.
pub(super) const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";
/// The class of all characters.
pub(super) const EVERYTHING: &str = r"[\x{0}-\x{10FFFF}]";

/// Names between `[:` and `:]`, all ASCII.
const POSIX_NAMES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// Translates the class at the start of `text` and returns the rest.
pub(super) fn translate<'t>(text: &'t str, out: &mut String) -> Result<&'t str, RegexError> {
    let start = out.len();
    let mut rest = &text[1..];
    let negated = rest.starts_with('^');
    out.push('[');
    if negated {
        out.push('^');
        rest = &rest[1..];
    }
    let members = out.len();
    let mut first = true;
    // A closing bracket at the start is a member.
    while first || !rest.starts_with(']') {
        first = false;
        rest = match named(rest, out)? {
            Some(after) => after,
            None => range(rest, text, out)?,
        };
    }
    if out.len() == members {
        out.truncate(start);
        out.push_str(if negated { EVERYTHING } else { NOTHING });
    } else {
        out.push(']');
    }
    Ok(&rest[1..])
}

/// Translates `[:name:]`, `\p{name}` or a class such as `\d`. Returns the rest, or `None` if there is no such class.
fn named<'t>(text: &'t str, out: &mut String) -> Result<Option<&'t str>, RegexError> {
    if let Some(end) = text.strip_prefix("[:").and_then(|inner| inner.find(":]")) {
        let (whole, after) = text.split_at(end + 4);
        let name = &whole[2..end + 2];
        if !POSIX_NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(RegexError::new("invalid character class range", whole));
        }
        out.push_str(whole);
        return Ok(Some(after));
    }
    let Some((class, after)) = escape::parse_class(text)? else { return Ok(None) };
    out.push_str(&class);
    Ok(Some(after))
}

/// Translates a character or two with `-` between them. `class` is the text from the start of the class.
fn range<'t>(text: &'t str, class: &str, out: &mut String) -> Result<&'t str, RegexError> {
    let (low, mut rest) = member(text, class)?;
    let mut high = low;
    let is_range = rest.strip_prefix('-').is_some_and(|end| !end.is_empty() && !end.starts_with(']'));
    if is_range {
        (high, rest) = member(&rest[1..], class)?;
        if high < low {
            let part = &text[..text.len() - rest.len()];
            return Err(RegexError::new("invalid character class range", part));
        }
    }
    push_range(low, high, out);
    Ok(rest)
}

/// Writes a range without surrogates, which no text has.
fn push_range(low: u32, high: u32, out: &mut String) {
    const SURROGATES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;
    let low = if SURROGATES.contains(&low) { 0xe000 } else { low };
    let high = if SURROGATES.contains(&high) { 0xd7ff } else { high };
    if low > high {
        return;
    }
    escape::push_rune(low, out);
    if low != high {
        out.push('-');
        escape::push_rune(high, out);
    }
}

fn member<'t>(text: &'t str, class: &str) -> Result<(u32, &'t str), RegexError> {
    match text.chars().next() {
        None => Err(RegexError::new("missing closing ]", class)),
        Some('\\') => escape::parse_rune(text),
        Some(c) => Ok((u32::from(c), &text[c.len_utf8()..])),
    }
}
