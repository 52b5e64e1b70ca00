//! Parses the modifiers that follow an expression: ranges, subqueries, `offset`, `@`, `anchored` and `smoothed`.

use super::ast::{
    AtPreprocessor, BinaryOp, DurationExpr, Expr, MatrixSelector, Pos, Subquery, TimeModifiers, VectorSelector,
};
use super::error::Failure;
use super::expression::{Context, Parser};
use super::number::milliseconds;
use super::token::{Keyword, Kind, Preprocessor, Token};

const OFFSET: Context = Context::new("offset", "number, duration, step(), or range()");
const AT: Context = Context::new("@", "timestamp");
const RANGE: Context = Context::new("subquery or range selector", "number, duration, step(), or range()");
const BEHIND_RANGE: Context = Context::new("subquery or range", "\":\" or \"]\"");
const STEP: Context = Context::new("subquery selector", "number, duration, step(), range(), or \"]\"");
const BEHIND_STEP: Context = Context::new("subquery selector", "\"]\"");

impl Parser<'_> {
    /// Parses all modifiers that follow an expression and applies them to it.
    pub(super) fn modifiers(&mut self, mut expr: Expr) -> Result<Expr, Failure> {
        loop {
            let token = self.peek()?;
            match token.kind {
                Kind::LeftBracket => expr = self.range(expr)?,
                Kind::Keyword(Keyword::Offset) => self.offset(&mut expr)?,
                Kind::At => self.at_modifier(&mut expr)?,
                Kind::Keyword(Keyword::Anchored) => {
                    self.next()?;
                    self.extend(&mut expr, true)?;
                }
                Kind::Keyword(Keyword::Smoothed) => {
                    self.next()?;
                    self.extend(&mut expr, false)?;
                }
                _ => return Ok(expr),
            }
        }
    }

    /// Parses `[range]` or `[range:step]`.
    fn range(&mut self, expr: Expr) -> Result<Expr, Failure> {
        let height = self.height;
        let open = self.next()?;
        let range = self.positive_duration(RANGE)?;
        let mut inside = self.height;
        let token = self.peek()?;
        match token.kind {
            Kind::RightBracket => {
                self.next()?;
                self.grow(height.max(inside), token.pos)?;
                return self.matrix(expr, range, open, token);
            }
            Kind::Colon => self.next()?,
            _ => return Err(self.unexpected_in(BEHIND_RANGE)),
        };
        let step = if self.peek()?.kind == Kind::RightBracket {
            (0, None)
        } else {
            let step = self.positive_duration(STEP)?;
            inside = inside.max(self.height);
            step
        };
        let Some(close) = self.accept(Kind::RightBracket)? else {
            return Err(self.unexpected_in(BEHIND_STEP));
        };
        let pos = Pos { start: expr.pos().start, end: close.pos.end };
        self.grow(height.max(inside), pos)?;
        let ((range, range_expr), (step, step_expr)) = (range, step);
        let time = TimeModifiers::default();
        Ok(Expr::Subquery(Box::new(Subquery { expr, range, range_expr, step, step_expr, time, pos })))
    }

    fn matrix(
        &self,
        expr: Expr,
        (range, range_expr): (i64, Option<DurationExpr>),
        open: Token,
        close: Token,
    ) -> Result<Expr, Failure> {
        let brackets = Pos { start: open.pos.start, end: close.pos.end };
        let Expr::Vector(selector) = expr else {
            return Err(self.error(brackets, "ranges only allowed for vector selectors"));
        };
        if selector.time.offset != 0 || selector.time.offset_expr.is_some() {
            return Err(self.error(brackets, "no offset modifiers allowed before range"));
        }
        if selector.time.at.is_some() || selector.time.at_preprocessor.is_some() {
            return Err(self.error(brackets, "no @ modifiers allowed before range"));
        }
        let pos = Pos { start: selector.pos.start, end: close.pos.end };
        Ok(Expr::Matrix(Box::new(MatrixSelector { selector: *selector, range, range_expr, pos })))
    }

    /// Parses a duration greater than zero. Returns milliseconds, or an expression for the evaluator to compute.
    fn positive_duration(&mut self, context: Context) -> Result<(i64, Option<DurationExpr>), Failure> {
        let duration = self.duration_expression(0, context)?;
        // Prometheus reads the next token before it checks the duration, so an error in that token takes precedence.
        self.peek()?;
        match duration {
            Expr::Number(number) if number.value <= 0.0 => {
                Err(self.error(number.pos, "duration must be greater than 0"))
            }
            other => Ok(constant_or_expression(other)),
        }
    }

    fn offset(&mut self, expr: &mut Expr) -> Result<(), Failure> {
        self.next()?;
        let height = self.height;
        let duration = self.offset_duration(OFFSET)?;
        self.grow(height.max(self.height), duration.pos())?;
        let (pos, end) = (expr.pos(), self.end);
        let Some((time, expr_end)) = time_modifiers(expr) else {
            let what =
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(self.error(pos, what));
        };
        if time.offset != 0 || time.offset_expr.is_some() {
            return Err(self.error(pos, "offset may not be set multiple times"));
        }
        (time.offset, time.offset_expr) = constant_or_expression(duration);
        *expr_end = end;
        Ok(())
    }

    fn at_modifier(&mut self, expr: &mut Expr) -> Result<(), Failure> {
        self.next()?;
        if let Kind::Preprocessor(word @ (Preprocessor::Start | Preprocessor::End)) = self.peek()?.kind {
            self.next()?;
            for kind in [Kind::LeftParen, Kind::RightParen] {
                if self.peek()?.kind != kind {
                    return Err(self.unexpected_in(AT));
                }
                // The closing parenthesis is consumed below, where its position is needed.
                if kind == Kind::LeftParen {
                    self.next()?;
                }
            }
            let end = self.next()?.pos.end;
            let preprocessor = if word == Preprocessor::Start { AtPreprocessor::Start } else { AtPreprocessor::End };
            return self.set_at(expr, end, |time| time.at_preprocessor = Some(preprocessor));
        }
        let sign = self.peek()?.kind;
        if let Kind::Binary(BinaryOp::Add | BinaryOp::Sub) = sign {
            self.next()?;
        }
        if !matches!(self.peek()?.kind, Kind::Number | Kind::Duration) {
            return Err(self.unexpected_in(AT));
        }
        let number = self.number()?;
        let seconds = if sign == Kind::Binary(BinaryOp::Sub) { -number.value } else { number.value };
        if !seconds.is_finite() || seconds >= i64::MAX as f64 || seconds <= i64::MIN as f64 {
            let shown = match seconds {
                s if s.is_nan() => "NaN".to_string(),
                s if s.is_infinite() => String::from(if s > 0.0 { "+Inf" } else { "-Inf" }),
                s => format!("{s:.6}"),
            };
            return Err(self.error(expr.pos(), format!("timestamp out of bounds for @ modifier: {shown}")));
        }
        self.set_at(expr, number.pos.end, |time| time.at = Some((seconds * 1000.0).round() as i64))
    }

    fn set_at(&self, expr: &mut Expr, end: usize, set: impl FnOnce(&mut TimeModifiers)) -> Result<(), Failure> {
        let pos = expr.pos();
        let Some((time, expr_end)) = time_modifiers(expr) else {
            let what =
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(self.error(pos, what));
        };
        if time.at.is_some() || time.at_preprocessor.is_some() {
            return Err(self.error(pos, "@ <timestamp> may not be set multiple times"));
        }
        set(time);
        *expr_end = end;
        Ok(())
    }

    /// Applies `anchored`, or `smoothed` if `anchored` is false, to a selector.
    fn extend(&self, expr: &mut Expr, anchored: bool) -> Result<(), Failure> {
        let pos = expr.pos();
        let word = if anchored { "anchored" } else { "smoothed" };
        let selector: &mut VectorSelector = match expr {
            Expr::Vector(selector) => selector,
            Expr::Matrix(matrix) => &mut matrix.selector,
            Expr::Subquery(_) => {
                return Err(self.error(pos, format!("{word} modifier is not supported for subqueries")));
            }
            _ => return Err(self.error(pos, format!("{word} modifier not implemented"))),
        };
        selector.anchored |= anchored;
        selector.smoothed |= !anchored;
        if selector.anchored && selector.smoothed {
            return Err(self.error(pos, "anchored and smoothed modifiers cannot be used together"));
        }
        Ok(())
    }
}

/// Returns the time modifiers and the end offset of an expression, if it supports `offset` and `@`.
fn time_modifiers(expr: &mut Expr) -> Option<(&mut TimeModifiers, &mut usize)> {
    match expr {
        Expr::Vector(vector) => Some((&mut vector.time, &mut vector.pos.end)),
        Expr::Matrix(matrix) => Some((&mut matrix.selector.time, &mut matrix.pos.end)),
        Expr::Subquery(subquery) => Some((&mut subquery.time, &mut subquery.pos.end)),
        _ => None,
    }
}

/// Converts a parsed duration to milliseconds, or to 0 and the expression that computes them.
fn constant_or_expression(duration: Expr) -> (i64, Option<DurationExpr>) {
    match duration {
        Expr::Number(number) => (milliseconds(number.value), None),
        Expr::Duration(expr) => (0, Some(*expr)),
        _ => (0, None),
    }
}
