//! The lexer: from the text of a template to tokens. It applies trim markers and drops comments.

use super::value::Value;
use crate::strconv::{parse_float, parse_int};

/// The offset of an error and the reason.
pub(super) type Failure = (usize, String);

/// A token and the offset of its first byte.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) offset: usize,
}

#[derive(Clone, Debug)]
pub(super) enum TokenKind {
    Text(String),
    Open,
    Close,
    OpenParen,
    CloseParen,
    Pipe,
    Comma,
    Declare,
    Assign,
    Space,
    Dot,
    Field(String),
    Variable(String),
    Word(String),
    Literal(Value),
    Eof,
}

impl PartialEq for TokenKind {
    /// Compares the kinds and ignores contents.
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl TokenKind {
    /// The form of the token in errors.
    pub(super) fn name(&self) -> String {
        match self {
            TokenKind::Text(text) => format!("{text:?}"),
            TokenKind::Open => "\"{{\"".into(),
            TokenKind::Close => "\"}}\"".into(),
            TokenKind::OpenParen => "\"(\"".into(),
            TokenKind::CloseParen => "\")\"".into(),
            TokenKind::Pipe => "\"|\"".into(),
            TokenKind::Comma => "\",\"".into(),
            TokenKind::Declare => "\":=\"".into(),
            TokenKind::Assign => "\"=\"".into(),
            TokenKind::Space => "\" \"".into(),
            TokenKind::Dot => "<.>".into(),
            TokenKind::Field(name) => format!("<.{name}>"),
            TokenKind::Variable(name) => format!("\"${name}\""),
            TokenKind::Word(word) => format!("<{word}>"),
            TokenKind::Literal(value) => format!("\"{value}\""),
            TokenKind::Eof => "EOF".into(),
        }
    }
}

/// Reads the tokens of a text.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Whether the lexer is between `{{` and `}}`.
    inside: bool,
    /// Whether the text that follows loses its leading space.
    trim: bool,
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Lexer { text, at: 0, inside: false, trim: false }
    }

    /// The offset of the next token.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The position within an action for a later [`Lexer::reset`]. `peeked` is a token that was read ahead; it will be read
    /// again.
    pub(super) fn mark(&self, peeked: Option<&Token>) -> usize {
        peeked.map_or(self.at, |token| token.offset)
    }

    /// Returns to a position within an action.
    pub(super) fn reset(&mut self, to: usize) {
        self.at = to;
        self.inside = true;
        self.trim = false;
    }

    /// The text from `start` to the token that was read ahead.
    pub(super) fn text_between(&self, start: usize, peeked: Option<&Token>) -> String {
        let end = peeked.map_or(self.at, |token| token.offset);
        self.text.get(start..end).unwrap_or("").trim().to_string()
    }

    /// A part of the text.
    pub(super) fn text_from(&self, start: usize, end: usize) -> String {
        self.text.get(start..end).unwrap_or("").to_string()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn token(&mut self, kind: TokenKind, length: usize) -> Token {
        let offset = self.at;
        self.at += length;
        Token { kind, offset }
    }

    pub(super) fn next(&mut self) -> Result<Token, Failure> {
        if self.inside { self.inside_action() } else { self.outside() }
    }

    fn outside(&mut self) -> Result<Token, Failure> {
        loop {
            let start = self.at;
            if self.rest().is_empty() {
                return Ok(Token { kind: TokenKind::Eof, offset: start });
            }
            let end = self.rest().find("{{").map_or(self.text.len(), |found| start + found);
            let mut text = &self.text[start..end];
            if std::mem::take(&mut self.trim) {
                text = text.trim_start_matches(SPACE);
            }
            let after = self.text.get(end + 2..).unwrap_or("");
            let trims = after.starts_with('-') && after[1..].starts_with(SPACE);
            if trims {
                text = text.trim_end_matches(SPACE);
            }
            if !text.is_empty() {
                self.at = end;
                return Ok(Token { kind: TokenKind::Text(text.to_string()), offset: start });
            }
            if end == self.text.len() {
                self.at = end;
                continue;
            }
            self.at = end + 2 + usize::from(trims);
            if self.comment()? {
                continue;
            }
            self.inside = true;
            return Ok(Token { kind: TokenKind::Open, offset: end });
        }
    }

    /// Skips a comment, `/* … */}}`. Returns whether there was one.
    fn comment(&mut self) -> Result<bool, Failure> {
        let body = self.rest().trim_start_matches(SPACE);
        if !body.starts_with("/*") {
            return Ok(false);
        }
        let begins = self.text.len() - body.len();
        let end = body.find("*/").ok_or((begins, "unclosed comment".to_string()))?;
        let after = &body[end + 2..];
        let trimmed = after.trim_start_matches(SPACE);
        self.trim = after.starts_with(SPACE) && trimmed.starts_with("-}}");
        let closing = if self.trim { "-}}" } else { "}}" };
        let rest = trimmed
            .strip_prefix(closing)
            .filter(|_| self.trim || after.starts_with("}}"))
            .ok_or((begins, "comment ends before closing delimiter".to_string()))?;
        self.at = self.text.len() - rest.len();
        Ok(true)
    }

    fn inside_action(&mut self) -> Result<Token, Failure> {
        let rest = self.rest();
        let spaces = rest.len() - rest.trim_start_matches(SPACE).len();
        if rest[spaces..].starts_with("-}}") && spaces > 0 {
            self.trim = true;
            self.inside = false;
            return Ok(self.token(TokenKind::Close, spaces + 3));
        }
        if spaces > 0 {
            return Ok(self.token(TokenKind::Space, spaces));
        }
        if rest.starts_with("}}") {
            self.inside = false;
            return Ok(self.token(TokenKind::Close, 2));
        }
        let Some(first) = rest.chars().next() else { return Err((self.at, "unclosed action".into())) };
        let word = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        match first {
            '(' => Ok(self.token(TokenKind::OpenParen, 1)),
            ')' => Ok(self.token(TokenKind::CloseParen, 1)),
            '|' => Ok(self.token(TokenKind::Pipe, 1)),
            ',' => Ok(self.token(TokenKind::Comma, 1)),
            '=' => Ok(self.token(TokenKind::Assign, 1)),
            ':' if rest.starts_with(":=") => Ok(self.token(TokenKind::Declare, 2)),
            '"' | '`' | '\'' => self.quoted(first),
            '$' => {
                let length = word(&rest[1..]);
                Ok(self.token(TokenKind::Variable(rest[1..=length].to_string()), length + 1))
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let length = word(&rest[1..]);
                let kind = if length == 0 { TokenKind::Dot } else { TokenKind::Field(rest[1..=length].to_string()) };
                Ok(self.token(kind, length + 1))
            }
            c if c.is_ascii_digit() || "+-.".contains(c) => self.number(),
            c if c.is_alphabetic() || c == '_' => {
                let length = word(rest);
                let kind = match &rest[..length] {
                    "true" => TokenKind::Literal(Value::Bool(true)),
                    "false" => TokenKind::Literal(Value::Bool(false)),
                    "nil" => TokenKind::Literal(Value::Nil),
                    name => TokenKind::Word(name.to_string()),
                };
                Ok(self.token(kind, length))
            }
            c => Err((self.at, format!("unexpected bad character U+{:04X} {c:?} in command", u32::from(c)))),
        }
    }

    fn number(&mut self) -> Result<Token, Failure> {
        let rest = self.rest();
        let mut length = 0;
        for (at, c) in rest.char_indices() {
            let sign = "+-".contains(c) && (at == 0 || matches!(rest.as_bytes()[at - 1], b'e' | b'E' | b'p' | b'P'));
            if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || sign) {
                break;
            }
            length = at + 1;
        }
        let text = &rest[..length];
        let digits = text.trim_start_matches(['+', '-']);
        let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let float = || parse_float(text).ok().filter(|_| is_number);
        let value = parse_int(text).map(Value::Int).or_else(|| float().map(Value::Float));
        let value = value.ok_or_else(|| (self.at, format!("bad number syntax: {text:?}")))?;
        Ok(self.token(TokenKind::Literal(value), length))
    }

    fn quoted(&mut self, quote: char) -> Result<Token, Failure> {
        let unterminated =
            || (self.at, format!("unterminated {}", if quote == '`' { "raw quoted string" } else { "quoted string" }));
        let mut out = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        loop {
            let (at, c) = chars.next().ok_or_else(unterminated)?;
            match c {
                c if c == quote => {
                    let value = match quote {
                        '\'' => Value::Int(out.chars().next().map_or(0, |c| i64::from(u32::from(c)))),
                        _ => Value::text(&out),
                    };
                    return Ok(self.token(TokenKind::Literal(value), at + 1));
                }
                '\n' if quote != '`' => return Err(unterminated()),
                '\\' if quote != '`' => {
                    let (_, escape) = chars.next().ok_or_else(unterminated)?;
                    let digits = match escape {
                        'x' => 2,
                        'u' => 4,
                        'U' => 8,
                        _ => 0,
                    };
                    let hex: String = (0..digits).filter_map(|_| chars.next()).map(|(_, c)| c).collect();
                    out.push(unescaped(escape, &hex).ok_or_else(|| (self.at, "invalid syntax".to_string()))?);
                }
                c => out.push(c),
            }
        }
    }
}

fn unescaped(escape: char, hex: &str) -> Option<char> {
    Some(match escape {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        '\\' | '"' | '\'' => escape,
        'x' | 'u' | 'U' => char::from_u32(u32::from_str_radix(hex, 16).ok()?)?,
        _ => return None,
    })
}
