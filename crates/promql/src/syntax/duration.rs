//! Parses duration arithmetic inside brackets and after `offset`.

use super::ast::{BinaryOp, DurationExpr, DurationOp, Expr, NumberLiteral, Pos};
use super::error::Failure;
use super::expression::{Context, Parser};
use super::token::{Kind, Preprocessor};

/// Binding power of products and signs. Sums have 1.
const PRODUCT: u8 = 2;
const POWER: u8 = 3;

/// Maximum duration in seconds: more nanoseconds do not fit into a signed 64-bit integer.
const OUT_OF_RANGE: f64 = (1u64 << 63) as f64 / 1e9;

impl Parser<'_> {
    /// Parses a duration whose operators have a binding power of at least `min`.
    pub(super) fn duration_expression(&mut self, min: u8, context: Context) -> Result<Expr, Failure> {
        self.enter()?;
        let operand = self.duration_operand(context)?;
        let duration = self.duration_operators(operand, min, context)?;
        self.leave();
        Ok(duration)
    }

    fn duration_operators(&mut self, operand: Expr, min: u8, context: Context) -> Result<Expr, Failure> {
        let mut lhs = operand;
        loop {
            let token = self.peek()?;
            let Some((op, power)) = duration_operator(token.kind).filter(|(_, power)| *power >= min) else {
                return Ok(lhs);
            };
            self.next()?;
            let height = self.height;
            let rhs = self.duration_expression(power + u8::from(power != POWER), context)?;
            let zero = matches!(&rhs, Expr::Number(number) if number.value == 0.0);
            match op {
                DurationOp::Div if zero => return Err(self.error(token.pos, "division by zero")),
                DurationOp::Mod if zero => return Err(self.error(token.pos, "modulo by zero")),
                _ => {}
            }
            let pos = Pos { start: lhs.pos().start, end: rhs.pos().end };
            self.grow(height.max(self.height), pos)?;
            lhs = node(op, Some(lhs), Some(rhs), pos);
        }
    }

    fn duration_operand(&mut self, context: Context) -> Result<Expr, Failure> {
        self.height = 1;
        let token = self.peek()?;
        match token.kind {
            Kind::Number | Kind::Duration => {
                let number = self.number()?;
                self.in_range(&number, number.pos)?;
                Ok(Expr::Number(number))
            }
            Kind::Binary(BinaryOp::Add | BinaryOp::Sub) => {
                self.next()?;
                let operand = self.duration_expression(PRODUCT + 1, context)?;
                self.signed(token.kind == Kind::Binary(BinaryOp::Sub), token.pos, operand)
            }
            Kind::LeftParen => {
                self.next()?;
                self.duration_in_parens(token.pos.start, context)
            }
            Kind::Preprocessor(word) => self.duration_call(word, context),
            _ => Err(self.unexpected_in(context)),
        }
    }

    /// Parses the rest of a parenthesized duration. The opening parenthesis, at `start`, was already consumed.
    fn duration_in_parens(&mut self, start: usize, context: Context) -> Result<Expr, Failure> {
        let inner = self.duration_expression(0, context)?;
        let end = self.expect_in(Kind::RightParen, context)?;
        if let Expr::Duration(mut inner) = inner {
            inner.wrapped = true;
            return Ok(Expr::Duration(inner));
        }
        // A number literal cannot record its parentheses, so it becomes the operand of a unary plus.
        let pos = Pos { start, end };
        self.grow(self.height, pos)?;
        let rhs = Some(Box::new(inner));
        Ok(Expr::Duration(Box::new(DurationExpr { op: DurationOp::Add, lhs: None, rhs, wrapped: true, pos })))
    }

    /// Parses `step()`, `range()`, `min_of(a, b)` or `max_of(a, b)`.
    fn duration_call(&mut self, word: Preprocessor, context: Context) -> Result<Expr, Failure> {
        let op = match word {
            Preprocessor::Step => DurationOp::Step,
            Preprocessor::Range => DurationOp::Range,
            Preprocessor::MinOf => DurationOp::Min,
            Preprocessor::MaxOf => DurationOp::Max,
            Preprocessor::Start | Preprocessor::End => return Err(self.unexpected_in(context)),
        };
        let start = self.next()?.pos.start;
        self.expect_in(Kind::LeftParen, context)?;
        let (mut lhs, mut rhs) = (None, None);
        if matches!(op, DurationOp::Min | DurationOp::Max) {
            lhs = Some(self.duration_expression(0, context)?);
            let height = self.height;
            self.expect_in(Kind::Comma, context)?;
            rhs = Some(self.duration_expression(0, context)?);
            self.height = self.height.max(height);
        }
        let end = self.expect_in(Kind::RightParen, context)?;
        let pos = Pos { start, end };
        self.grow(self.height, pos)?;
        Ok(node(op, lhs, rhs, pos))
    }

    /// Parses the duration after `offset`. A number, a call or a signed parenthesis ends the duration, so that
    /// `foo offset 5m + 1` adds 1 to the samples.
    pub(super) fn offset_duration(&mut self, context: Context) -> Result<Expr, Failure> {
        let token = self.peek()?;
        let Kind::Binary(BinaryOp::Add | BinaryOp::Sub) = token.kind else {
            let operand = self.duration_operand(context)?;
            let complete = token.kind != Kind::LeftParen;
            return if complete { Ok(operand) } else { self.duration_operators(operand, 0, context) };
        };
        self.next()?;
        let minus = token.kind == Kind::Binary(BinaryOp::Sub);
        let inner = self.peek()?.kind;
        if let Kind::Binary(BinaryOp::Add | BinaryOp::Sub) = inner {
            let operand = self.duration_expression(PRODUCT + 1, context)?;
            let operand = self.signed(minus, token.pos, operand)?;
            return self.duration_operators(operand, 0, context);
        }
        if let Kind::Number | Kind::Duration = inner {
            let number = self.number()?;
            return self.signed(minus, token.pos, Expr::Number(number));
        }
        let operand = self.duration_operand(context)?;
        if let (Kind::Preprocessor(_), false) = (inner, minus) {
            let pos = Pos { start: token.pos.start, end: operand.pos().end };
            return Ok(node(DurationOp::Add, None, Some(operand), pos));
        }
        self.signed(minus, token.pos, operand)
    }

    fn signed(&mut self, minus: bool, sign: Pos, operand: Expr) -> Result<Expr, Failure> {
        let pos = Pos { start: sign.start, end: operand.pos().end };
        match operand {
            Expr::Number(mut number) => {
                number.value = if minus { -number.value } else { number.value };
                self.in_range(&number, sign)?;
                number.pos = pos;
                Ok(Expr::Number(number))
            }
            operand if minus => {
                self.grow(self.height, pos)?;
                Ok(node(DurationOp::Sub, None, Some(operand), pos))
            }
            operand => Ok(operand),
        }
    }

    fn in_range(&self, number: &NumberLiteral, pos: Pos) -> Result<(), Failure> {
        if number.value.is_nan() || number.value.abs() > OUT_OF_RANGE {
            return Err(self.error(pos, "duration out of range"));
        }
        Ok(())
    }

    /// Consumes a token of the given kind and returns its end offset.
    fn expect_in(&mut self, kind: Kind, context: Context) -> Result<usize, Failure> {
        if self.peek()?.kind != kind {
            return Err(self.unexpected_in(context));
        }
        Ok(self.next()?.pos.end)
    }
}

fn node(op: DurationOp, lhs: Option<Expr>, rhs: Option<Expr>, pos: Pos) -> Expr {
    let (lhs, rhs) = (lhs.map(Box::new), rhs.map(Box::new));
    Expr::Duration(Box::new(DurationExpr { op, lhs, rhs, wrapped: false, pos }))
}

fn duration_operator(kind: Kind) -> Option<(DurationOp, u8)> {
    let Kind::Binary(op) = kind else { return None };
    Some(match op {
        BinaryOp::Add => (DurationOp::Add, 1),
        BinaryOp::Sub => (DurationOp::Sub, 1),
        BinaryOp::Mul => (DurationOp::Mul, PRODUCT),
        BinaryOp::Div => (DurationOp::Div, PRODUCT),
        BinaryOp::Mod => (DurationOp::Mod, PRODUCT),
        BinaryOp::Pow => (DurationOp::Pow, POWER),
        _ => return None,
    })
}
