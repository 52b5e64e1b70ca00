//! Parses series selectors: a metric name, matchers in braces, or both.

use pharos_gocompat::strconv::unquote;
use pharos_model::{MatchOp, Matcher};

use super::ast::{BinaryOp, Expr, Pos, TimeModifiers, VectorSelector};
use super::error::Failure;
use super::expression::{Context, MAX_REGEX_BYTES, Parser};
use super::token::{Kind, Token};

/// The label that holds the metric name.
pub(super) const METRIC_NAME: &str = "__name__";

const PLACE: &str = "label matching";

impl Parser<'_> {
    /// Parses a selector. `name` is the metric name if the caller has consumed one.
    pub(super) fn selector(&mut self, name: Option<Token>) -> Result<Expr, Failure> {
        self.height = 1;
        self.vector_selector(name).map(|selector| Expr::Vector(Box::new(selector)))
    }

    /// Parses a selector where no other expression is allowed.
    pub(super) fn only_selector(&mut self) -> Result<VectorSelector, Failure> {
        let token = self.peek()?;
        if token.kind == Kind::LeftBrace {
            return self.vector_selector(None);
        }
        if !token.kind.is_metric_name() {
            return Err(self.unexpected());
        }
        self.next()?;
        self.vector_selector(Some(token))
    }

    fn vector_selector(&mut self, name: Option<Token>) -> Result<VectorSelector, Failure> {
        let mut pos = name.map_or(self.peek()?.pos, |token| token.pos);
        let mut matchers = Vec::new();
        if self.peek()?.kind == Kind::LeftBrace {
            self.next()?;
            pos.end = self.matchers(&mut matchers)?;
        }
        let name = name.map_or("", |token| self.text(token)).to_string();
        if !name.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
        }
        Ok(VectorSelector { name, matchers, time: TimeModifiers::default(), anchored: false, smoothed: false, pos })
    }

    /// Parses matchers up to the closing brace and returns the end offset of that brace.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<usize, Failure> {
        loop {
            if let Some(close) = self.accept(Kind::RightBrace)? {
                return Ok(close.pos.end);
            }
            matchers.push(self.matcher()?);
            if self.accept(Kind::Comma)?.is_none() && self.peek()?.kind != Kind::RightBrace {
                return Err(self.unexpected_in(Context::new(PLACE, "\",\" or \"}\"")));
            }
        }
    }

    /// Parses a matcher such as `name="value"`, or a quoted metric name.
    fn matcher(&mut self) -> Result<Matcher, Failure> {
        let label = self.peek()?;
        let name = match label.kind {
            Kind::Identifier => self.text(label).to_string(),
            Kind::String => self.unquoted(label),
            _ => return Err(self.unexpected_in(Context::new(PLACE, "identifier or \"}\""))),
        };
        self.next()?;
        let op = match self.peek()?.kind {
            Kind::Assign => MatchOp::Equal,
            Kind::Binary(BinaryOp::Neq) => MatchOp::NotEqual,
            Kind::MatchRegex => MatchOp::Regex,
            Kind::MatchNotRegex => MatchOp::NotRegex,
            _ if label.kind == Kind::String => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return Err(self.unexpected_in(Context::new(PLACE, "label matching operator"))),
        };
        self.next()?;
        let value = self.peek()?;
        if value.kind != Kind::String {
            return Err(self.unexpected_in(Context::new(PLACE, "string")));
        }
        self.next()?;
        let pos = Pos { start: label.pos.start, end: value.pos.end };
        let matcher = Matcher::new(op, name, self.unquoted(value)).map_err(|e| self.error(pos, e.to_string()))?;
        self.regex_bytes += matcher.regex_bytes();
        if self.regex_bytes > MAX_REGEX_BYTES {
            let message = format!("the regular expressions may take more than {MAX_REGEX_BYTES} bytes together");
            return Err(self.error(pos, message));
        }
        Ok(matcher)
    }

    /// Returns the value of a string token. Label values are valid UTF-8, so replacing invalid bytes changes no match.
    fn unquoted(&self, token: Token) -> String {
        let bytes = unquote(self.text(token));
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }
}
