//! Translation of escape sequences: a backslash and what follows.

use super::class::{EVERYTHING, NOTHING};
use super::error::RegexError;
use super::unicode_names::{CATEGORIES, SCRIPTS};

/// An escape sequence outside of a class.
pub(super) enum Escape {
    /// A code point, which may be a surrogate.
    Rune(u32),
    /// A class, in Rust's syntax.
    Class(String),
    /// An assertion, in Rust's syntax.
    Assertion(&'static str),
}

/// Reads the escape sequence at the start of `text`. Returns it and the rest.
pub(super) fn parse(text: &str) -> Result<(Escape, &str), RegexError> {
    let assertion = match text.as_bytes().get(1) {
        Some(b'A') => r"\A",
        Some(b'z') => r"\z",
        Some(b'b') => r"(?-u:\b)",
        Some(b'B') => r"(?-u:\B)",
        _ => {
            if let Some((class, after)) = parse_class(text)? {
                return Ok((Escape::Class(class), after));
            }
            return parse_rune(text).map(|(rune, after)| (Escape::Rune(rune), after));
        }
    };
    Ok((Escape::Assertion(assertion), &text[2..]))
}

/// Reads a class such as `\d`, `\pL` or `\p{Greek}` at the start of `text`. Returns it and the rest, or `None`.
pub(super) fn parse_class(text: &str) -> Result<Option<(String, &str)>, RegexError> {
    let Some(letter) = text.strip_prefix('\\').and_then(|escaped| escaped.chars().next()) else { return Ok(None) };
    let class = match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        'p' | 'P' => return parse_unicode_class(text).map(Some),
        _ => return Ok(None),
    };
    Ok(Some((class.to_string(), &text[2..])))
}

/// Reads `\pX`, `\p{name}`, `\p{^name}`, or the same with `\P`.
fn parse_unicode_class(text: &str) -> Result<(String, &str), RegexError> {
    let unknown = |part| RegexError::new("invalid character class range", part);
    let (name, end) = if text[2..].starts_with('{') {
        let end = text.find('}').ok_or_else(|| unknown(text))?;
        (&text[3..end], end + 1)
    } else {
        let end = 2 + text[2..].chars().next().map_or(0, char::len_utf8);
        (&text[2..end], end)
    };
    let (whole, after) = text.split_at(end);
    let (name, flipped) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
    let negated = whole.starts_with("\\P") != flipped;
    let p = if negated { 'P' } else { 'p' };
    let class = match name {
        // No text has surrogates.
        "Cs" => if negated { EVERYTHING } else { NOTHING }.to_string(),
        "Any" => if negated { NOTHING } else { EVERYTHING }.to_string(),
        _ if CATEGORIES.contains(&name) => format!("\\{p}{{gc={name}}}"),
        _ if SCRIPTS.binary_search(&name).is_ok() => format!("\\{p}{{sc={name}}}"),
        _ => return Err(unknown(whole)),
    };
    Ok((class, after))
}

/// Reads the escape sequence of a single code point at the start of `text`.
pub(super) fn parse_rune(text: &str) -> Result<(u32, &str), RegexError> {
    let Some(c) = text[1..].chars().next() else {
        return Err(RegexError::new("trailing backslash at end of expression", ""));
    };
    let after = &text[1 + c.len_utf8()..];
    let invalid = |rest: &str| RegexError::new("invalid escape sequence", &text[..text.len() - rest.len()]);
    let is_octal = |b: &u8| matches!(b, b'0'..=b'7');
    let rune = match c {
        // A single digit would be a back-reference, which Go does not have.
        '1'..='7' if !after.as_bytes().first().is_some_and(is_octal) => return Err(invalid(after)),
        '0'..='7' => {
            let more = after.bytes().take(2).take_while(is_octal).count();
            let rune = text[1..2 + more].bytes().fold(0, |rune, digit| rune * 8 + u32::from(digit - b'0'));
            return Ok((rune, &after[more..]));
        }
        'x' => return parse_hexadecimal(after).map_err(invalid),
        'a' => 7,
        'f' => 12,
        'n' => 10,
        'r' => 13,
        't' => 9,
        'v' => 11,
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return Err(invalid(after)),
    };
    Ok((rune, after))
}

/// Reads the `12` or `{12ab}` that follows `\x`. The error is the text after the invalid part.
fn parse_hexadecimal(text: &str) -> Result<(u32, &str), &str> {
    let mut chars = text.chars();
    let digit = |chars: &mut std::str::Chars<'_>| chars.next().and_then(|c| c.to_digit(16));
    if !text.starts_with('{') {
        if text.is_empty() {
            return Err(text);
        }
        let high = digit(&mut chars);
        let low = digit(&mut chars);
        return high.zip(low).map(|(high, low)| (high * 16 + low, chars.as_str())).ok_or(chars.as_str());
    }
    chars.next();
    let mut rune = 0;
    let mut any = false;
    while let Some(c) = chars.next() {
        rune = match c.to_digit(16) {
            Some(digit) => rune * 16 + digit,
            None if c == '}' && any => return Ok((rune, chars.as_str())),
            None => return Err(chars.as_str()),
        };
        any = true;
        if rune > u32::from(char::MAX) {
            return Err(chars.as_str());
        }
    }
    Err("")
}

/// Writes a character that stands for itself, within a class or outside.
pub(super) fn push_literal(c: char, out: &mut String) {
    if regex_syntax::is_meta_character(c) {
        out.push('\\');
    }
    out.push(c);
}

/// Writes a code point. A surrogate matches nothing.
pub(super) fn push_rune(rune: u32, out: &mut String) {
    match char::from_u32(rune) {
        Some(c) => push_literal(c, out),
        None => out.push_str(NOTHING),
    }
}
