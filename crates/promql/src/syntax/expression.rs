//! The core of the parser: one token of lookahead, precedence climbing, literals and parentheses.

use pharos_gocompat::parse_duration;
use pharos_gocompat::strconv::unquote;

use super::ast::{Binary, BinaryOp, Expr, NumberLiteral, Paren, Pos, StringLiteral, Unary};
use super::error::{Failure, ParseError};
use super::lexer::Lexer;
use super::number;
use super::token::{Keyword, Kind, Token};

/// Maximum nesting depth of parentheses, calls, signs and powers.
pub const MAX_NESTING: usize = 200;
/// Maximum height of the syntax tree. Each operator of a chain such as `a or b or c` adds one.
pub const MAX_HEIGHT: usize = 1000;
/// Maximum length of a query, in bytes.
pub const MAX_QUERY_BYTES: usize = 1 << 20;
/// Maximum memory that all compiled regular expressions of a query may use, in bytes.
pub const MAX_REGEX_BYTES: usize = 128 << 20;

/// Binding power of `*`, which is also that of a sign.
const PRODUCT: u8 = 5;

/// Context for an error about an unexpected token: the enclosing construct, and the tokens that it allows.
#[derive(Clone, Copy)]
pub(super) struct Context {
    pub(super) place: &'static str,
    pub(super) expected: &'static str,
}

impl Context {
    pub(super) const fn new(place: &'static str, expected: &'static str) -> Self {
        Context { place, expected }
    }
}

/// The state of parsing one query.
pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    peeked: Option<Token>,
    /// Byte offset of the end of the last consumed token.
    pub(super) end: usize,
    nesting: usize,
    /// Height of the expression that was parsed last.
    pub(super) height: usize,
    /// Number of aggregations whose arguments are being parsed. Error messages mention that there is one.
    pub(super) aggregations: usize,
    /// Maximum size of the regular expressions compiled so far, in bytes.
    pub(super) regex_bytes: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(input: &'a str) -> Result<Self, Failure> {
        if input.len() > MAX_QUERY_BYTES {
            let message = format!("the query has {} bytes, more than the {MAX_QUERY_BYTES} allowed", input.len());
            return Err(Box::new(ParseError::new(input, Pos::default(), message)));
        }
        Ok(Parser {
            lexer: Lexer::new(input),
            peeked: None,
            end: 0,
            nesting: 0,
            height: 0,
            aggregations: 0,
            regex_bytes: 0,
        })
    }

    pub(super) fn input(&self) -> &'a str {
        self.lexer.input
    }

    pub(super) fn text(&self, token: Token) -> &'a str {
        &self.lexer.input[token.pos.start..token.pos.end]
    }

    /// Returns the next token without consuming it. Only this method reads from the lexer, so that errors occur in the
    /// same order as in Prometheus.
    pub(super) fn peek(&mut self) -> Result<Token, Failure> {
        if let Some(token) = self.peeked {
            return Ok(token);
        }
        let token = self.lexer.next_token()?;
        self.peeked = Some(token);
        Ok(token)
    }

    pub(super) fn next(&mut self) -> Result<Token, Failure> {
        let token = self.peek()?;
        self.peeked = None;
        self.end = token.pos.end;
        Ok(token)
    }

    /// Consumes the next token if it has the given kind.
    pub(super) fn accept(&mut self, kind: Kind) -> Result<Option<Token>, Failure> {
        if self.peek()?.kind == kind { self.next().map(Some) } else { Ok(None) }
    }

    pub(super) fn expect(&mut self, kind: Kind) -> Result<Token, Failure> {
        if self.peek()?.kind == kind { self.next() } else { Err(self.unexpected()) }
    }

    pub(super) fn expect_end(&mut self) -> Result<(), Failure> {
        self.expect(Kind::Eof).map(|_| ())
    }

    pub(super) fn error(&self, pos: Pos, message: impl Into<String>) -> Failure {
        Box::new(ParseError::new(self.lexer.input, pos, message))
    }

    /// Creates an error about the next token for places without a [`Context`] of their own.
    pub(super) fn unexpected(&mut self) -> Failure {
        let place = if self.aggregations > 0 { "aggregation" } else { "" };
        self.unexpected_in(Context::new(place, ""))
    }

    /// Creates an error about the next token, with a context.
    pub(super) fn unexpected_in(&mut self, context: Context) -> Failure {
        let token = match self.peek() {
            Ok(token) => token,
            Err(error) => return error,
        };
        let mut message = format!("unexpected {}", token.kind.describe(self.text(token)));
        for (word, part) in [(" in ", context.place), (", expected ", context.expected)] {
            if !part.is_empty() {
                message.push_str(word);
                message.push_str(part);
            }
        }
        self.error(token.pos, message)
    }

    /// Enters a nesting level, which [`Parser::leave`] ends. Fails beyond [`MAX_NESTING`].
    pub(super) fn enter(&mut self) -> Result<(), Failure> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            let pos = self.peek()?.pos;
            return Err(self.error(pos, format!("the expression is nested deeper than {MAX_NESTING} levels")));
        }
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.nesting -= 1;
    }

    /// Sets the height of a node from the height of its highest child. Fails beyond [`MAX_HEIGHT`].
    pub(super) fn grow(&mut self, child: usize, pos: Pos) -> Result<(), Failure> {
        self.height = child + 1;
        if self.height > MAX_HEIGHT {
            return Err(self.error(pos, format!("the expression has a chain of more than {MAX_HEIGHT} operations")));
        }
        Ok(())
    }

    /// Parses an expression whose operators have a binding power of at least `min`.
    pub(super) fn expression(&mut self, min: u8) -> Result<Expr, Failure> {
        self.enter()?;
        let mut lhs = self.operand()?;
        while let Kind::Binary(op) = self.peek()?.kind {
            let power = binding_power(op);
            if power < min {
                break;
            }
            lhs = self.binary(lhs, op)?;
        }
        self.leave();
        Ok(lhs)
    }

    fn binary(&mut self, lhs: Expr, op: BinaryOp) -> Result<Expr, Failure> {
        let left_height = self.height;
        self.next()?;
        let return_bool = self.accept(Kind::Keyword(Keyword::Bool))?.is_some();
        let matching = self.vector_matching()?;
        let right_associative = op == BinaryOp::Pow;
        let rhs = self.expression(binding_power(op) + u8::from(!right_associative))?;
        let pos = Pos { start: lhs.pos().start, end: rhs.pos().end };
        self.grow(left_height.max(self.height), pos)?;
        Ok(Expr::Binary(Box::new(Binary { op, lhs, rhs, matching: Some(matching), return_bool, pos })))
    }

    /// Parses a signed operand, or a primary expression with its modifiers.
    fn operand(&mut self) -> Result<Expr, Failure> {
        let token = self.peek()?;
        let Kind::Binary(BinaryOp::Add | BinaryOp::Sub) = token.kind else {
            let primary = self.primary()?;
            return self.modifiers(primary);
        };
        self.next()?;
        let minus = token.kind == Kind::Binary(BinaryOp::Sub);
        let mut expr = self.expression(PRODUCT + 1)?;
        if let Expr::Number(number) = &mut expr {
            number.value = if minus { -number.value } else { number.value };
            number.pos.start = token.pos.start;
            return Ok(expr);
        }
        let pos = Pos { start: token.pos.start, end: expr.pos().end };
        self.grow(self.height, pos)?;
        Ok(Expr::Unary(Box::new(Unary { minus, expr, pos })))
    }

    fn primary(&mut self) -> Result<Expr, Failure> {
        self.height = 1;
        let token = self.peek()?;
        match token.kind {
            Kind::Number | Kind::Duration => self.number().map(Expr::Number),
            Kind::String => {
                self.next()?;
                Ok(Expr::String(string_literal(self.text(token), token.pos)))
            }
            Kind::LeftParen => self.paren(),
            Kind::LeftBrace => self.selector(None),
            Kind::Aggregate(op) => {
                self.next()?;
                let keywords = [Kind::LeftParen, Kind::Keyword(Keyword::By), Kind::Keyword(Keyword::Without)];
                if keywords.contains(&self.peek()?.kind) {
                    self.aggregate(op, token)
                } else {
                    self.selector(Some(token))
                }
            }
            Kind::Identifier | Kind::Preprocessor(_) => {
                self.next()?;
                if self.peek()?.kind == Kind::LeftParen { self.call(token) } else { self.selector(Some(token)) }
            }
            kind if kind.is_metric_name() => {
                self.next()?;
                self.selector(Some(token))
            }
            _ => Err(self.unexpected()),
        }
    }

    fn paren(&mut self) -> Result<Expr, Failure> {
        let open = self.next()?;
        let expr = self.expression(0)?;
        let close = self.expect(Kind::RightParen)?;
        let pos = Pos { start: open.pos.start, end: close.pos.end };
        self.grow(self.height, pos)?;
        Ok(Expr::Paren(Box::new(Paren { expr, pos })))
    }

    /// Parses the number or duration that the caller has peeked.
    pub(super) fn number(&mut self) -> Result<NumberLiteral, Failure> {
        let token = self.next()?;
        let text = self.text(token);
        let duration = token.kind == Kind::Duration;
        let value = if duration { parse_duration(text).map(number::seconds) } else { number::parse_number(text) };
        let value = value.map_err(|message| self.error(token.pos, message))?;
        Ok(NumberLiteral { value, duration, pos: token.pos })
    }
}

fn string_literal(literal: &str, pos: Pos) -> StringLiteral {
    match String::from_utf8(unquote(literal)) {
        Ok(value) => StringLiteral { value, bytes: None, pos },
        Err(error) => {
            let value = String::from_utf8_lossy(error.as_bytes()).into_owned();
            StringLiteral { value, bytes: Some(error.into_bytes().into_boxed_slice()), pos }
        }
    }
}

/// Returns the binding power of an operator. A higher one takes precedence.
fn binding_power(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        op if op.is_comparison() || matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Pow => 6,
        _ => PRODUCT,
    }
}
