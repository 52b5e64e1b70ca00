//! Scripts and style sheets: how their text is followed, and how values are inserted. Scripts are rare in notifications, so
//! this knows strings and comments only. A slash is never taken for the beginning of a regular expression.

use super::escape::UNSAFE;
use crate::template::value::Value;

/// Where in a script or a style sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::template) enum Part {
    Code,
    Double,
    Single,
    /// A template literal.
    Backtick,
    LineComment,
    BlockComment,
}

impl Part {
    /// Follows the beginning of a text. Writes it, without comments, if there is an output; returns the part at its end and its
    /// length.
    pub(super) fn advance(self, text: &str, is_script: bool, out: Option<&mut String>) -> (Part, usize) {
        let bytes = text.as_bytes();
        let mut ignored = String::new();
        let out = out.unwrap_or(&mut ignored);
        match self {
            Part::Code => {
                let end = bytes.iter().enumerate().find_map(|(at, byte)| {
                    let part = match (byte, bytes.get(at + 1)) {
                        (b'"', _) => Part::Double,
                        (b'\'', _) => Part::Single,
                        (b'`', _) if is_script => Part::Backtick,
                        (b'/', Some(b'/')) => Part::LineComment,
                        (b'/', Some(b'*')) => Part::BlockComment,
                        _ => return None,
                    };
                    Some((at, part))
                });
                match end {
                    None => {
                        out.push_str(text);
                        (Part::Code, text.len())
                    }
                    Some((at, part @ (Part::LineComment | Part::BlockComment))) => {
                        out.push_str(&text[..at]);
                        (part, at + 2)
                    }
                    Some((at, part)) => {
                        out.push_str(&text[..=at]);
                        (part, at + 1)
                    }
                }
            }
            Part::LineComment => match text.find(['\n', '\r']) {
                Some(at) => (Part::Code, at),
                None => (self, text.len()),
            },
            Part::BlockComment => match text.find("*/") {
                Some(at) => {
                    out.push(if text[..at].contains('\n') { '\n' } else { ' ' });
                    (Part::Code, at + 2)
                }
                None => (self, text.len()),
            },
            Part::Double | Part::Single | Part::Backtick => {
                let quote = match self {
                    Part::Double => b'"',
                    Part::Single => b'\'',
                    _ => b'`',
                };
                let mut is_escaped = false;
                let end = bytes.iter().position(|byte| {
                    let ends = !is_escaped && *byte == quote;
                    is_escaped = !is_escaped && *byte == b'\\';
                    ends
                });
                let length = end.map_or(text.len(), |at| at + 1);
                out.push_str(&text[..length]);
                (if end.is_some() { Part::Code } else { self }, length)
            }
        }
    }

    /// The part at the end of a text.
    pub(super) fn follow(self, mut text: &str, is_script: bool) -> Part {
        let mut part = self;
        while !text.is_empty() {
            let (next, length) = part.advance(text, is_script, None);
            if length == 0 && next == part {
                break;
            }
            part = next;
            text = &text[length..];
        }
        part
    }
}

/// A value as an expression of a script.
pub(super) fn value(value: &Value) -> String {
    let json = json(value);
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '$' | '_'));
    match is_word(json.chars().next()) || is_word(json.chars().last()) {
        true => format!(" {json} "),
        false => json,
    }
}

fn json(value: &Value) -> String {
    let object = |entries: Vec<(&String, String)>| {
        let entries: Vec<_> = entries.into_iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
        format!("{{{}}}", entries.join(","))
    };
    match value.plain() {
        Value::Nil => "null".into(),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => value.to_string(),
        Value::Duration(ns) => ns.to_string(),
        Value::Text(text) => quoted(text),
        Value::List(list) => format!("[{}]", list.items.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Texts(map) => object(map.iter().map(|(name, text)| (name, quoted(text))).collect()),
        Value::Map(map) => object(map.iter().map(|(name, value)| (name, json(value))).collect()),
        Value::Record(_) | Value::Object(_) => quoted(&value.to_string()),
    }
}

/// A string of JSON that no page takes for markup.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

/// Escapes for a string of a script.
pub(super) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\x0c' => out.push_str("\\f"),
            '/' | '\\' => out.extend(['\\', c]),
            '\0' | '\x0b' | '"' | '`' | '&' | '\'' | '+' | '<' | '>' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// Replaces a value of a style that could end it or run a script.
pub(super) fn style_value(text: &str) -> String {
    let is_unsafe = text.contains(['\0', '"', '\'', '(', ')', '/', ';', '@', '[', '\\', ']', '`', '{', '}', '<', '>']);
    let word: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    let word = word.to_ascii_lowercase();
    match is_unsafe || text.contains("--") || word.contains("expression") || word.contains("mozbinding") {
        true => UNSAFE.into(),
        false => text.to_string(),
    }
}

/// Escapes for a string of a style sheet.
pub(super) fn style_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\0' | '\t' | '\n' | '\x0c' | '\r' | '"' | '&' | '\'' | '(' | ')' | '+' | '/' | ':' | ';' | '<' | '>'
            | '{' | '}' => {
                out.push_str(&format!("\\{:x}", u32::from(c)));
                // A digit or a space that follows would belong to the escape.
                if chars.peek().is_none_or(|next| next.is_ascii_hexdigit() || next.is_ascii_whitespace()) {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
    }
    out
}
