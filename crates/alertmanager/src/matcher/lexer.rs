//! Tokens of the UTF-8 syntax, with the columns that errors show.

/// Whether a character ends an unquoted name or value, and so forces quotes.
pub(super) fn is_reserved(c: char) -> bool {
    is_space(c) || "{}!=~,\\\"'`".contains(c)
}

/// Go's `unicode.IsSpace`.
fn is_space(c: char) -> bool {
    c.is_whitespace()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    OpenBrace,
    CloseBrace,
    Comma,
    Equal,
    NotEqual,
    Regex,
    NotRegex,
    Quoted,
    Unquoted,
}

/// A token and where it is, in characters from the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'i> {
    pub(super) kind: Kind,
    pub(super) text: &'i str,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Reads tokens one after the other. Ends at the first error.
pub(super) struct Lexer<'i> {
    rest: &'i str,
    /// Characters that were read.
    column: usize,
    peeked: Option<Result<Option<Token<'i>>, String>>,
}

impl<'i> Lexer<'i> {
    pub(super) fn new(input: &'i str) -> Self {
        Lexer { rest: input, column: 0, peeked: None }
    }

    /// The number of characters before the next token.
    pub(super) fn column(&self) -> usize {
        match &self.peeked {
            Some(Ok(Some(token))) => token.start,
            _ => self.column,
        }
    }

    /// The next token, which stays; none at the end.
    pub(super) fn peek(&mut self) -> Result<Option<Token<'i>>, String> {
        if self.peeked.is_none() {
            self.peeked = Some(self.scan());
        }
        self.peeked.clone().unwrap_or(Ok(None))
    }

    /// The next token, which is consumed.
    pub(super) fn next(&mut self) -> Result<Option<Token<'i>>, String> {
        let token = self.peek();
        if matches!(token, Ok(Some(_))) {
            self.peeked = None;
        }
        token
    }

    fn scan(&mut self) -> Result<Option<Token<'i>>, String> {
        let blank = self.rest.chars().take_while(|c| is_space(*c));
        let (characters, bytes) = blank.fold((0, 0), |(n, bytes), c| (n + 1, bytes + c.len_utf8()));
        self.rest = &self.rest[bytes..];
        self.column += characters;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let token = match first {
            '{' => self.take(Kind::OpenBrace, 1),
            '}' => self.take(Kind::CloseBrace, 1),
            ',' => self.take(Kind::Comma, 1),
            '=' if self.rest.starts_with("=~") => self.take(Kind::Regex, 2),
            '=' => self.take(Kind::Equal, 1),
            '!' => return self.scan_negation().map(Some),
            '"' => return self.scan_quoted().map(Some),
            c if is_reserved(c) => {
                return Err(format!("{}:{}: {c}: invalid input", self.column, self.column + 1));
            }
            _ => {
                let length = self.rest.find(is_reserved).unwrap_or(self.rest.len());
                self.take(Kind::Unquoted, length)
            }
        };
        Ok(Some(token))
    }

    fn scan_negation(&mut self) -> Result<Token<'i>, String> {
        match self.rest.chars().nth(1) {
            Some('=') => Ok(self.take(Kind::NotEqual, 2)),
            Some('~') => Ok(self.take(Kind::NotRegex, 2)),
            Some(_) => Err(format!("{}:{}: !: expected one of '=~'", self.column, self.column + 1)),
            None => {
                let end = self.column + 1;
                Err(format!("{}:{end}: unexpected end of input, expected one of '=~'", self.column))
            }
        }
    }

    fn scan_quoted(&mut self) -> Result<Token<'i>, String> {
        let mut is_escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => return Ok(self.take(Kind::Quoted, at + 1)),
                _ => {}
            }
        }
        let end = self.column + self.rest.chars().count();
        Err(format!("{}:{end}: {}: missing end \"", self.column, self.rest))
    }

    fn take(&mut self, kind: Kind, bytes: usize) -> Token<'i> {
        let (text, rest) = self.rest.split_at(bytes);
        let start = self.column;
        self.column += text.chars().count();
        self.rest = rest;
        Token { kind, text, start, end: self.column }
    }
}
