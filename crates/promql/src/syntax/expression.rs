//! The parser's core: tokens one ahead, operators by precedence, literals and parentheses.

use pharos_gocompat::parse_duration;
use pharos_gocompat::strconv::unquote;

use super::ast::{Binary, BinaryOp, Expr, NumberLiteral, Paren, Pos, StringLiteral, Unary};
use super::error::{Failure, ParseError};
use super::lexer::Lexer;
use super::number;
use super::token::{Keyword, Kind, Token};

/// How deep expressions may be nested in parentheses, calls, signs and powers.
pub const MAX_NESTING: usize = 200;
/// How high a tree may be; a chain such as `a or b or c` is one higher with each operator.
pub const MAX_HEIGHT: usize = 1000;
/// How long a query may be, bytes.
pub const MAX_QUERY_BYTES: usize = 1 << 20;
/// Most memory that the compiled regular expressions of a query may take, bytes.
pub const MAX_REGEX_BYTES: usize = 128 << 20;

/// The binding power of `*`; a sign binds as tight.
const PRODUCT: u8 = 5;

/// What a message says about an unexpected token: where it stands, and what would have been right.
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
    /// Where the token ends that was taken last.
    pub(super) end: usize,
    nesting: usize,
    /// The height of the expression that was parsed last.
    pub(super) height: usize,
    /// How many aggregations' arguments are being parsed; messages mention it.
    pub(super) aggregations: usize,
    /// What the compiled regular expressions may take, bytes.
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

    /// The next token, which stays the next one. It is read only here, so that errors come in Prometheus's order.
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

    /// Takes the next token if it is of a kind.
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

    /// An error about the next token, where no more precise one fits.
    pub(super) fn unexpected(&mut self) -> Failure {
        let place = if self.aggregations > 0 { "aggregation" } else { "" };
        self.unexpected_in(Context::new(place, ""))
    }

    /// An error about the next token.
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

    /// Goes one level deeper; [`Parser::leave`] comes back.
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

    /// Notes the height of a node whose highest child is `child` high.
    pub(super) fn grow(&mut self, child: usize, pos: Pos) -> Result<(), Failure> {
        self.height = child + 1;
        if self.height > MAX_HEIGHT {
            return Err(self.error(pos, format!("the expression has a chain of more than {MAX_HEIGHT} operations")));
        }
        Ok(())
    }

    /// An expression whose operators bind at least as tight as `min`.
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

    /// A signed operand, or a primary expression with its modifiers.
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

    /// A number or duration, which is known to be next.
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

/// How tight an operator binds.
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
