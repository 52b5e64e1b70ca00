//! What begins a group: `(`, `(?P<name>`, `(?<name>`, `(?flags:`, and `(?flags)`, which begins none.

use std::collections::BTreeMap;

use super::{GoRegexError, MISSING_PAREN, before};

/// The group at the start of `text` in the syntax of the `regex` crate, and what follows.
pub(super) fn open<'t>(text: &'t str, whole: &str) -> Result<(String, &'t str), GoRegexError> {
    let Some(perl) = text.strip_prefix("(?") else { return Ok(("(".into(), &text[1..])) };
    match perl.strip_prefix("P<").or_else(|| perl.strip_prefix('<')) {
        Some(name) => named(text, name),
        None => flags(text, perl, whole),
    }
}

fn named<'t>(text: &'t str, name: &'t str) -> Result<(String, &'t str), GoRegexError> {
    const INVALID: &str = "invalid named capture";
    let (name, after) = name.split_once('>').ok_or_else(|| GoRegexError::new(INVALID, text))?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(GoRegexError::new(INVALID, before(text, after)));
    }
    Ok((format!("(?P<{name}>"), after))
}

fn flags<'t>(text: &'t str, perl: &'t str, whole: &str) -> Result<(String, &'t str), GoRegexError> {
    let mut flags: BTreeMap<char, bool> = BTreeMap::new();
    let (mut on, mut any) = (true, false);
    for (at, c) in perl.char_indices() {
        let after = &perl[at + c.len_utf8()..];
        match c {
            'i' | 'm' | 's' | 'U' => {
                flags.insert(c, on);
                any = true;
            }
            '-' if on => (on, any) = (false, false),
            ':' | ')' if on || any => return Ok((written(&flags, c), after)),
            _ => return Err(GoRegexError::new("invalid or unsupported Perl syntax", before(text, after))),
        }
    }
    Err(GoRegexError::new(MISSING_PAREN, whole))
}

/// The `regex` crate wants each flag once, and some flag where no group begins.
fn written(flags: &BTreeMap<char, bool>, end: char) -> String {
    let of = |wanted: bool| flags.iter().filter(move |(_, on)| **on == wanted).map(|(flag, _)| *flag);
    let (on, off): (String, String) = (of(true).collect(), of(false).collect());
    match (on.is_empty() && off.is_empty(), off.is_empty()) {
        // No flag changes: nothing, as an empty set of flags that are there anyway.
        (true, _) if end == ')' => "(?u)".into(),
        (_, true) => format!("(?{on}{end}"),
        (_, false) => format!("(?{on}-{off}{end}"),
    }
}
