//! Splits a query into tokens without allocating. Positions are byte offsets into the query.
//!
//! The rules depend on the context: expressions, label matchers inside braces, and durations inside brackets each
//! have their own. The parser stops at the first error.

use super::ast::{BinaryOp, Pos};
use super::error::{Failure, ParseError};
use super::token::{Keyword, Kind, Preprocessor, Token};
use pharos_gocompat::strconv::{go_char, unicode_name};

/// The rules that apply to the next token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Expressions, and the rest of a pair of brackets after its first number.
    Statement,
    /// A duration inside brackets, up to its first number.
    Duration,
    /// The end of the query was reached.
    End,
}

/// Produces the tokens of a query one at a time.
pub(super) struct Lexer<'a> {
    pub(super) input: &'a str,
    mode: Mode,
    /// Byte offset of the next character.
    at: usize,
    /// Byte offset at which the current token starts.
    start: usize,
    open_parens: usize,
    in_braces: bool,
    in_brackets: bool,
    had_colon: bool,
    had_duration: bool,
}

type Lexed = Result<Kind, Failure>;

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a str) -> Self {
        Lexer {
            input,
            mode: Mode::Statement,
            at: 0,
            start: 0,
            open_parens: 0,
            in_braces: false,
            in_brackets: false,
            had_colon: false,
            had_duration: false,
        }
    }

    /// Returns the next token, and [`Kind::Eof`] on every call after the last one.
    pub(super) fn next_token(&mut self) -> Result<Token, Failure> {
        self.start = self.at;
        let kind = match self.mode {
            Mode::End => Kind::Eof,
            Mode::Duration => self.duration_token()?,
            Mode::Statement => {
                self.skip_blanks();
                if self.in_braces { self.brace_token()? } else { self.statement_token()? }
            }
        };
        Ok(Token { kind, pos: Pos { start: self.start, end: self.at } })
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.input.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn char_at(&self) -> Option<char> {
        self.input.get(self.at..).and_then(|rest| rest.chars().next())
    }

    /// Consumes the next byte if it is one of `bytes`, and returns whether it did.
    pub(super) fn accept(&mut self, bytes: &[u8]) -> bool {
        let accepted = self.at < self.input.len() && bytes.contains(&self.byte(0));
        self.at += usize::from(accepted);
        accepted
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, Failure> {
        let pos = Pos { start: self.start, end: self.input.len() };
        Err(Box::new(ParseError::new(self.input, pos, message)))
    }

    fn skip_spaces(&mut self) {
        while self.accept(b" \t\n\r") {}
        self.start = self.at;
    }

    /// Skips whitespace and comments.
    fn skip_blanks(&mut self) {
        loop {
            self.skip_spaces();
            if self.byte(0) != b'#' {
                return;
            }
            let rest = &self.input.as_bytes()[self.at..];
            self.at += rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
        }
    }

    /// Consumes `len` bytes as a token of the given kind.
    fn take(&mut self, len: usize, kind: Kind) -> Lexed {
        self.at += len;
        Ok(kind)
    }

    fn statement_token(&mut self) -> Lexed {
        let Some(c) = self.char_at() else { return self.end_of_statement() };
        match c {
            ',' => self.take(1, Kind::Comma),
            '*' | '/' | '%' | '+' | '-' | '^' | '=' | '!' | '<' | '>' => self.operator(c),
            '0'..='9' => self.number_or_duration(),
            '.' if self.byte(1).is_ascii_digit() => self.number_or_duration(),
            '"' | '\'' | '`' => self.string(),
            'a'..='z' | 'A'..='Z' | '_' | ':' if self.in_brackets => self.word_in_brackets(c),
            'a'..='z' | 'A'..='Z' | '_' | ':' => self.word(),
            '(' => self.open_paren(),
            ')' => self.close_paren(),
            '{' => {
                self.in_braces = true;
                self.take(1, Kind::LeftBrace)
            }
            '[' if self.in_brackets => self.error(format!("unexpected left bracket {}", go_char(c))),
            '[' => {
                self.had_colon = false;
                self.in_brackets = true;
                self.mode = Mode::Duration;
                self.take(1, Kind::LeftBracket)
            }
            ']' if !self.in_brackets => self.error(format!("unexpected right bracket {}", go_char(c))),
            ']' => {
                self.in_brackets = false;
                self.take(1, Kind::RightBracket)
            }
            '@' => self.take(1, Kind::At),
            _ => self.error(format!("unexpected character: {}", go_char(c))),
        }
    }

    fn end_of_statement(&mut self) -> Lexed {
        if self.open_parens != 0 {
            return self.error("unclosed left parenthesis");
        }
        if self.in_brackets {
            return self.error("unclosed left bracket");
        }
        self.mode = Mode::End;
        Ok(Kind::Eof)
    }

    fn operator(&mut self, c: char) -> Lexed {
        let (len, op) = match (c, self.byte(1)) {
            ('*', _) => (1, BinaryOp::Mul),
            ('/', _) => (1, BinaryOp::Div),
            ('%', _) => (1, BinaryOp::Mod),
            ('+', _) => (1, BinaryOp::Add),
            ('-', _) => (1, BinaryOp::Sub),
            ('^', _) => (1, BinaryOp::Pow),
            ('=', b'=') => (2, BinaryOp::Eql),
            ('=', b'~') => return self.error("unexpected character after '=': '~'"),
            ('=', _) => return self.take(1, Kind::Assign),
            ('!', b'=') => (2, BinaryOp::Neq),
            ('<', b'=') => (2, BinaryOp::Lte),
            ('<', b'/') => (2, BinaryOp::TrimUpper),
            ('<', _) => (1, BinaryOp::Lss),
            ('>', b'=') => (2, BinaryOp::Gte),
            ('>', b'/') => (2, BinaryOp::TrimLower),
            ('>', _) => (1, BinaryOp::Gtr),
            _ => return self.after_exclamation(""),
        };
        self.take(len, Kind::Binary(op))
    }

    /// Reports a `!` whose next character does not complete an operator.
    fn after_exclamation(&mut self, place: &str) -> Lexed {
        self.at += 1;
        let next = self.char_at().unwrap_or(char::REPLACEMENT_CHARACTER);
        self.error(format!("unexpected character after '!'{place}: {}", go_char(next)))
    }

    fn open_paren(&mut self) -> Lexed {
        self.open_parens += 1;
        self.take(1, Kind::LeftParen)
    }

    /// Consumes a `)`. An unmatched one is reported at the position after it, as Prometheus does.
    fn close_paren(&mut self) -> Lexed {
        self.at += 1;
        let Some(open) = self.open_parens.checked_sub(1) else {
            self.start = self.at;
            return self.error("unexpected right parenthesis ')'");
        };
        self.open_parens = open;
        Ok(Kind::RightParen)
    }

    fn word(&mut self) -> Lexed {
        while self.byte(0).is_ascii_alphanumeric() || matches!(self.byte(0), b'_' | b':') {
            self.at += 1;
        }
        let kind = Kind::of_word(&self.input[self.start..self.at]);
        let fills = matches!(kind, Kind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight));
        if fills && !self.input[self.at..].trim_start_matches([' ', '\t', '\n', '\r']).starts_with('(') {
            return Ok(Kind::Identifier);
        }
        Ok(kind)
    }

    fn word_in_brackets(&mut self, c: char) -> Lexed {
        if c == ':' {
            if self.had_colon {
                return self.error("unexpected colon ':'");
            }
            self.had_colon = true;
            return self.take(1, Kind::Colon);
        }
        match self.duration_word() {
            Some(kind) => Ok(kind),
            None => self.error(format!("unexpected character: {}, expected ':'", go_char(c))),
        }
    }

    /// Consumes the word `step`, `range`, `max_of` or `min_of` if it is next.
    fn duration_word(&mut self) -> Option<Kind> {
        let rest = &self.input.as_bytes()[self.at..];
        let len = rest.iter().position(|b| !b.is_ascii_alphabetic() && *b != b'_').unwrap_or(rest.len());
        let kind = Kind::of_word(&self.input[self.at..self.at + len]);
        use Preprocessor::*;
        let known = matches!(kind, Kind::Preprocessor(Step | Range | MaxOf | MinOf));
        known.then(|| {
            self.at += len;
            kind
        })
    }

    fn duration_token(&mut self) -> Lexed {
        self.skip_spaces();
        let Some(c) = self.char_at() else { return self.error("unexpected end of input in duration expression") };
        match c {
            ']' => {
                self.in_brackets = false;
                self.had_colon = false;
                self.mode = Mode::Statement;
                self.take(1, Kind::RightBracket)
            }
            ':' => self.colon_in_duration(),
            '(' => self.open_paren(),
            ')' => self.close_paren(),
            '+' | '-' | '*' | '/' | '%' | '^' => self.operator(c),
            ',' => self.take(1, Kind::Comma),
            '0'..='9' | '.' if c != '.' || self.byte(1).is_ascii_digit() => {
                self.had_duration = true;
                self.mode = Mode::Statement;
                self.number_or_duration()
            }
            _ => match self.duration_word() {
                Some(kind) => Ok(kind),
                None => self.error(format!("unexpected character in duration expression: {}", go_char(c))),
            },
        }
    }

    fn colon_in_duration(&mut self) -> Lexed {
        self.at += 1;
        let message = if !self.had_duration {
            "unexpected colon before duration in duration expression"
        } else if self.had_colon {
            "unexpected repeated colon in duration expression"
        } else {
            self.had_colon = true;
            return Ok(Kind::Colon);
        };
        self.start = self.at;
        self.error(message)
    }

    fn brace_token(&mut self) -> Lexed {
        let Some(c) = self.char_at() else { return self.error("unexpected end of input inside braces") };
        match (c, self.byte(1)) {
            ('a'..='z' | 'A'..='Z' | '_', _) => {
                while self.byte(0).is_ascii_alphanumeric() || self.byte(0) == b'_' {
                    self.at += 1;
                }
                Ok(Kind::Identifier)
            }
            (',', _) => self.take(1, Kind::Comma),
            ('"' | '\'' | '`', _) => self.string(),
            ('=', b'~') => self.take(2, Kind::MatchRegex),
            ('=', _) => self.take(1, Kind::Assign),
            ('!', b'~') => self.take(2, Kind::MatchNotRegex),
            ('!', b'=') => self.take(2, Kind::Binary(BinaryOp::Neq)),
            ('!', _) => self.after_exclamation(" inside braces"),
            ('{', _) => self.error("unexpected left brace '{'"),
            ('}', _) => {
                self.in_braces = false;
                self.take(1, Kind::RightBrace)
            }
            _ => self.error(format!("unexpected character inside braces: {}", go_char(c))),
        }
    }

    /// Consumes a quoted string. The token includes the quotes.
    fn string(&mut self) -> Lexed {
        let quote = self.byte(0);
        let raw = quote == b'`';
        self.at += 1;
        loop {
            let Some(c) = self.char_at() else {
                return self.error(if raw { "unterminated raw string" } else { "unterminated quoted string" });
            };
            self.at += c.len_utf8();
            match c {
                char::REPLACEMENT_CHARACTER => return self.error("invalid UTF-8 rune"),
                '\n' if !raw => return self.error("unterminated quoted string"),
                '\\' if !raw => self.escape(quote)?,
                c if c == char::from(quote) => return Ok(Kind::String),
                _ => {}
            }
        }
    }

    /// Validates and consumes an escape sequence whose backslash was already consumed.
    fn escape(&mut self, quote: u8) -> Result<(), Failure> {
        let (digits, base, largest) = match self.byte(0) {
            b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\' => {
                self.at += 1;
                return Ok(());
            }
            c if c == quote => {
                self.at += 1;
                return Ok(());
            }
            b'0'..=b'7' => (3, 8, 0xff),
            b'x' => (2, 16, 0xff),
            b'u' => (4, 16, char::MAX as u32),
            b'U' => (8, 16, char::MAX as u32),
            _ => {
                return match self.char_at() {
                    None => self.error("escape sequence not terminated"),
                    Some(c) => self.error(format!("unknown escape sequence {}", unicode_name(c))),
                };
            }
        };
        self.at += usize::from(base == 16);
        let mut value = 0u32;
        for _ in 0..digits {
            let Some(c) = self.char_at() else { return self.error("escape sequence not terminated") };
            let Some(digit) = c.to_digit(base) else {
                return self.error(format!("illegal character {} in escape sequence", unicode_name(c)));
            };
            self.at += 1;
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        if value > largest || (0xd800..0xe000).contains(&value) {
            return self.error("escape sequence is an invalid Unicode code point");
        }
        Ok(())
    }

    fn number_or_duration(&mut self) -> Lexed {
        if self.scan_number() {
            return Ok(Kind::Number);
        }
        if self.scan_rest_of_duration() {
            return Ok(Kind::Duration);
        }
        let text = &self.input[self.start..self.at];
        self.error(format!("bad number or duration syntax: {}", pharos_gocompat::GoQuoted(text)))
    }

    /// Consumes the longest prefix that looks like a number, and returns whether it can be one. The caller still has to
    /// parse it: `0x` passes.
    fn scan_number(&mut self) -> bool {
        let digits: &[u8] = if self.accept(b"0") && self.accept(b"xX") {
            self.accept(b"_");
            b"0123456789abcdefABCDEF"
        } else {
            b"0123456789"
        };
        self.accept(b".");
        self.accept(digits);
        let (mut had_dot, mut had_exponent) = (false, false);
        while self.at < self.input.len() {
            if self.accept(b".") {
                let repeated = std::mem::replace(&mut had_dot, true);
                if repeated || self.accept(b"_.") || digits.len() > 10 {
                    return false;
                }
            } else if had_exponent && matches!(self.byte(0), b'e' | b'E') {
                self.at += 1;
                return false;
            } else if self.accept(b"eE") {
                had_exponent = true;
                self.accept(b"+-");
                if self.accept(b"._eE") || self.at == self.input.len() {
                    return false;
                }
            } else if self.accept(b"_") {
                if self.accept(b"._eE") || self.at == self.input.len() {
                    return false;
                }
            } else if self.accept(digits) {
                while self.accept(digits) {}
            } else {
                break;
            }
        }
        !is_alphanumeric(self.byte(0))
    }

    /// Consumes the rest of a duration whose leading digits were already consumed, and returns whether it is valid.
    fn scan_rest_of_duration(&mut self) -> bool {
        if !self.accept(b"smhdwy") {
            return false;
        }
        self.accept(b"s");
        while self.accept(b"0123456789") {
            while self.accept(b"0123456789") {}
            if !self.accept(b"smhdw") {
                return false;
            }
            self.accept(b"s");
        }
        let more = is_alphanumeric(self.byte(0));
        self.at += usize::from(more);
        !more
    }
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
