//! The value of a `Content-Type` header, read by the rules of Go's `mime` package.

use std::collections::BTreeMap;

/// A media type and what matters of its parameters.
#[derive(Debug, PartialEq)]
pub(super) struct MediaType {
    /// Type and subtype in lower case.
    pub(super) name: String,
    /// The parameter `version`; empty if there is none.
    pub(super) version: String,
}

/// Reads a header. The error is Go's.
pub(super) fn parse_media_type(header: &str) -> Result<MediaType, &'static str> {
    let (name, mut rest) = header.split_at(header.find(';').unwrap_or(header.len()));
    let name = name.to_lowercase().trim().to_string();
    check_name(&name)?;
    let mut parameters = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || rest.trim_end() == ";" {
            let version = parameters.remove("version").unwrap_or_default();
            return Ok(MediaType { name, version });
        }
        let (key, value, after) = parameter(rest).ok_or("mime: invalid media parameter")?;
        rest = after;
        if parameters.insert(key, value.clone()).is_some_and(|earlier| earlier != value) {
            return Err("mime: duplicate parameter name");
        }
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let (kind, rest) = token(name);
    if kind.is_empty() {
        return Err("mime: no media type");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let subtype = rest.strip_prefix('/').ok_or("mime: expected slash after first token")?;
    match token(subtype) {
        ("", _) => Err("mime: expected token after slash"),
        (_, "") => Ok(()),
        _ => Err("mime: unexpected content after media subtype"),
    }
}

/// Name and value of the parameter that begins with a semicolon, and what follows.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let (key, rest) = token(text.strip_prefix(';')?.trim_start());
    let rest = rest.trim_start().strip_prefix('=').filter(|_| !key.is_empty())?;
    let (value, rest) = value(rest.trim_start())?;
    Some((key.to_ascii_lowercase(), value, rest))
}

/// A value, quoted or not, and what follows.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return (!value.is_empty()).then(|| (value.to_string(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\r' | '\n' => return None,
            // Before other characters a backslash stands for itself: it may be of a path of Windows.
            '\\' => {
                value.push(chars.next_if(|(_, next)| r#"()<>@,;:\"/[]?="#.contains(*next)).map_or(c, |(_, next)| next))
            }
            _ => value.push(c),
        }
    }
    None
}

/// The token at the beginning of a text, and what follows.
fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`{|}~".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_go_reads_them() {
        let invalid = Err("mime: invalid media parameter");
        for (header, expected) in [
            ("text/plain; version=0.0.4; charset=utf-8", Ok(("text/plain", "0.0.4"))),
            ("TEXT/Plain ; VERSION = 1 ", Ok(("text/plain", "1"))),
            ("text/plain;", Ok(("text/plain", ""))),
            ("text/plain;;", invalid),
            ("text/plain; version", invalid),
            ("text/plain; version=", invalid),
            ("text/plain; version=\"\"", Ok(("text/plain", ""))),
            ("text/plain; version=\"1\\\"0\"", Ok(("text/plain", "1\"0"))),
            ("text/plain; version=\"a\\b\"", Ok(("text/plain", "a\\b"))),
            ("text/plain; version=\"1.0.0", invalid),
            ("text/plain; version=\"1\"x", invalid),
            ("text/plain; charset=utf-8; =x", invalid),
            ("text/plain; version=1; version=1", Ok(("text/plain", "1"))),
            ("text/plain; version=1; version=2", Err("mime: duplicate parameter name")),
            ("text", Ok(("text", ""))),
            ("text/plain, text/html", Err("mime: unexpected content after media subtype")),
            ("te xt/plain", Err("mime: expected slash after first token")),
            ("text/", Err("mime: expected token after slash")),
            (";version=1", Err("mime: no media type")),
        ] {
            let expected = expected.map(|(name, version)| MediaType { name: name.into(), version: version.into() });
            assert_eq!(parse_media_type(header), expected, "{header}");
        }
    }
}
