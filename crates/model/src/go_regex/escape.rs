//! Escape sequences, outside of classes and within.

use super::{GoRegexError, before, push_plain};

/// Abbreviations of general categories. Every other name of `\p{…}` is one of a script.
const CATEGORIES: [&str; 37] = [
    "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P",
    "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs", "Any",
];

/// Translates the escape sequence at the start of `text`, outside of a class; returns what follows it.
pub(super) fn outside<'t>(text: &'t str, out: &mut String) -> Result<&'t str, GoRegexError> {
    let rest = &text[1..];
    let assertion = match rest.as_bytes().first() {
        Some(b'A') => r"\A",
        Some(b'z') => r"\z",
        Some(b'b') => r"(?-u:\b)",
        Some(b'B') => r"(?-u:\B)",
        Some(b'Q') => return Ok(quoted(&rest[1..], out)),
        _ => "",
    };
    if !assertion.is_empty() {
        out.push_str(assertion);
        return Ok(&rest[1..]);
    }
    if let Some((negated, members, after)) = perl_class(text) {
        out.push_str(if negated { "[^" } else { "[" });
        out.push_str(members);
        out.push(']');
        return Ok(after);
    }
    if let Some((class, after)) = property(text)? {
        out.push_str(&class);
        return Ok(after);
    }
    let (c, after) = character(text)?;
    push_plain(out, c);
    Ok(after)
}

/// `\Q…\E`, or to the end.
fn quoted<'t>(text: &'t str, out: &mut String) -> &'t str {
    let (quoted, after) = text.split_once(r"\E").unwrap_or((text, ""));
    quoted.chars().for_each(|c| push_plain(out, c));
    after
}

/// `\d`, `\s`, `\w` and what they leave out: whether it is negated, the members of the class, and what follows.
pub(super) fn perl_class(text: &str) -> Option<(bool, &'static str, &str)> {
    let (negated, members) = match text.as_bytes().get(1)? {
        b'd' => (false, "0-9"),
        b'D' => (true, "0-9"),
        b's' => (false, r"\t\n\f\r "),
        b'S' => (true, r"\t\n\f\r "),
        b'w' => (false, "0-9A-Za-z_"),
        b'W' => (true, "0-9A-Za-z_"),
        _ => return None,
    };
    Some((negated, members, &text[2..]))
}

/// `\pL`, `\p{Greek}`, `\p{^Greek}` and `\P…`, and what follows; none when it is another escape.
pub(super) fn property(text: &str) -> Result<Option<(String, &str)>, GoRegexError> {
    let negative = match text.as_bytes().get(1) {
        Some(b'p') => false,
        Some(b'P') => true,
        _ => return Ok(None),
    };
    let rest = &text[2..];
    let (name, after) = match rest.strip_prefix('{') {
        Some(braced) => {
            let unclosed = || GoRegexError::new("invalid character class range", text);
            braced.split_once('}').ok_or_else(unclosed)?
        }
        None => rest.split_at(rest.chars().next().map_or(0, char::len_utf8)),
    };
    let (name, negated) = name.strip_prefix('^').map_or((name, negative), |name| (name, !negative));
    let is_script = || {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_uppercase()) && bytes.all(|b| b.is_ascii_alphabetic() || b == b'_')
    };
    let class = match CATEGORIES.contains(&name) {
        true => format!("{{{name}}}"),
        false if is_script() => format!("{{Script={name}}}"),
        false => String::new(),
    };
    let class = format!(r"\{}{class}", if negated { 'P' } else { 'p' });
    if !class.ends_with('}') || regex_syntax::parse(&class).is_err() {
        return Err(GoRegexError::new("invalid character class range", before(text, after)));
    }
    Ok(Some((class, after)))
}

/// The character that the escape sequence at the start of `text` stands for, and what follows.
pub(super) fn character(text: &str) -> Result<(char, &str), GoRegexError> {
    let rest = &text[1..];
    let Some(c) = rest.chars().next() else {
        return Err(GoRegexError::new("trailing backslash at end of expression", ""));
    };
    let after = &rest[c.len_utf8()..];
    let found = match c {
        'a' => Some(('\u{7}', after)),
        'f' => Some(('\u{c}', after)),
        'n' => Some(('\n', after)),
        'r' => Some(('\r', after)),
        't' => Some(('\t', after)),
        'v' => Some(('\u{b}', after)),
        'x' => return hexadecimal(text, after),
        '0' => Some(octal(rest)),
        '1'..='7' if after.starts_with(|next: char| next.is_digit(8)) => Some(octal(rest)),
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => Some((c, after)),
        _ => None,
    };
    found.ok_or_else(|| GoRegexError::new("invalid escape sequence", before(text, after)))
}

/// At most three octal digits at the start of `text`.
fn octal(text: &str) -> (char, &str) {
    let digits = text.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let (digits, after) = text.split_at(digits);
    let code = digits.bytes().fold(0, |code, b| code * 8 + u32::from(b - b'0'));
    // At most 0o777, which is a character.
    (char::from_u32(code).unwrap_or_default(), after)
}

fn hexadecimal<'t>(text: &'t str, after: &'t str) -> Result<(char, &'t str), GoRegexError> {
    let (digits, rest) = match after.strip_prefix('{') {
        Some(braced) => braced.split_once('}').unwrap_or(("", "")),
        None => after.split_at_checked(2).unwrap_or(("", "")),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let code = if is_number { u32::from_str_radix(digits, 16).ok() } else { None };
    let invalid = || GoRegexError::new("invalid escape sequence", before(text, rest));
    Ok((code.and_then(char::from_u32).ok_or_else(invalid)?, rest))
}
