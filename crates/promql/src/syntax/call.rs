//! Parses function calls, aggregations, and clauses that list labels, such as `by`, `on` and `group_left`.

use pharos_gocompat::GoQuoted;
use pharos_gocompat::strconv::{quote_bytes, unquote};

use super::ast::{Aggregate, AggregateOp, BinaryOp, Call, Cardinality, Expr, Pos, VectorMatching};
use super::error::Failure;
use super::expression::{Context, Parser};
use super::token::{Keyword, Kind, Token};
use crate::functions::Function;

const GROUPING: &str = "grouping opts";

impl Parser<'_> {
    /// Parses a call of the function `name`. The next token must be the opening parenthesis.
    pub(super) fn call(&mut self, name: Token) -> Result<Expr, Failure> {
        let (args, end) = self.arguments()?;
        let text = self.text(name);
        let Some(func) = Function::from_name(text) else {
            return Err(self.error(name.pos, format!("unknown function with name {}", GoQuoted(text))));
        };
        let pos = Pos { start: name.pos.start, end };
        self.grow(self.height, pos)?;
        Ok(Expr::Call(Call { func, args, pos }))
    }

    /// Parses arguments in parentheses and returns them with their end offset. Sets the height to the maximum height of
    /// the arguments.
    fn arguments(&mut self) -> Result<(Vec<Expr>, usize), Failure> {
        self.expect(Kind::LeftParen)?;
        let mut args = Vec::new();
        let mut height = 0;
        if let Some(close) = self.accept(Kind::RightParen)? {
            self.height = height;
            return Ok((args, close.pos.end));
        }
        loop {
            args.push(self.expression(0)?);
            height = height.max(self.height);
            let Some(comma) = self.accept(Kind::Comma)? else { break };
            if !self.peek()?.kind.begins_expression() {
                return Err(self.error(comma.pos, "trailing commas not allowed in function call args"));
            }
        }
        let close = self.expect(Kind::RightParen)?;
        self.height = height;
        Ok((args, close.pos.end))
    }

    /// Parses an aggregation. The next token must start its grouping clause or its arguments.
    pub(super) fn aggregate(&mut self, op: AggregateOp, name: Token) -> Result<Expr, Failure> {
        let before = self.grouping()?;
        self.aggregations += 1;
        let (args, mut end) = self.arguments()?;
        self.aggregations -= 1;
        let height = self.height;
        let grouping = match before {
            Some((without, labels, _)) => Some((without, labels)),
            None => self.grouping()?.map(|(without, labels, grouping_end)| {
                end = grouping_end;
                (without, labels)
            }),
        };
        let pos = Pos { start: name.pos.start, end };
        let (without, grouping) = grouping.unwrap_or_default();
        let (param, expr) = self.aggregate_operands(op, args, pos)?;
        self.grow(height, pos)?;
        Ok(Expr::Aggregate(Box::new(Aggregate { op, expr, param, grouping, without, pos })))
    }

    fn aggregate_operands(&self, op: AggregateOp, args: Vec<Expr>, pos: Pos) -> Result<(Option<Expr>, Expr), Failure> {
        let (expected, got) = (1 + usize::from(op.has_param()), args.len());
        if got == 0 {
            return Err(self.error(pos, "no arguments for aggregate expression provided"));
        }
        let mut args = args.into_iter();
        let operands = match (op.has_param(), args.next(), args.next(), args.next()) {
            (true, Some(param), Some(expr), None) => Some((Some(param), expr)),
            (false, Some(expr), None, None) => Some((None, expr)),
            _ => None,
        };
        operands.ok_or_else(|| {
            let what = "wrong number of arguments for aggregate expression provided";
            self.error(pos, format!("{what}, expected {expected}, got {got}"))
        })
    }

    /// Parses a `by (…)` or `without (…)` clause, if one is next. Returns whether it is `without`, its labels, and its
    /// end offset.
    fn grouping(&mut self) -> Result<Option<(bool, Vec<String>, usize)>, Failure> {
        let without = match self.peek()?.kind {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.next()?;
        let (labels, end) = self.labels()?;
        Ok(Some((without, labels, end)))
    }

    /// Parses label names in parentheses and returns them with their end offset.
    fn labels(&mut self) -> Result<(Vec<String>, usize), Failure> {
        if self.accept(Kind::LeftParen)?.is_none() {
            return Err(self.unexpected_in(Context::new(GROUPING, "\"(\"")));
        }
        let mut labels = Vec::new();
        loop {
            if let Some(close) = self.accept(Kind::RightParen)? {
                return Ok((labels, close.pos.end));
            }
            labels.push(self.label()?);
            if self.accept(Kind::Comma)?.is_none() && self.peek()?.kind != Kind::RightParen {
                return Err(self.unexpected_in(Context::new(GROUPING, "\",\" or \")\"")));
            }
        }
    }

    fn label(&mut self) -> Result<String, Failure> {
        let token = self.peek()?;
        if token.kind == Kind::String {
            self.next()?;
            let bytes = unquote(self.text(token));
            return String::from_utf8(bytes).ok().filter(|name| !name.is_empty()).ok_or_else(|| {
                let quoted = quote_bytes(&unquote(self.text(token)));
                self.error(token.pos, format!("invalid label name for grouping: {quoted}"))
            });
        }
        if !token.kind.is_grouping_label() {
            return Err(self.unexpected_in(Context::new(GROUPING, "label")));
        }
        self.next()?;
        Ok(self.text(token).to_string())
    }

    /// Parses the matching clauses between a binary operator and its right operand. `bool` was already consumed.
    pub(super) fn vector_matching(&mut self) -> Result<VectorMatching, Failure> {
        let mut matching = VectorMatching::default();
        let clause = self.peek()?.kind;
        if let Kind::Keyword(Keyword::On | Keyword::Ignoring) = clause {
            self.next()?;
            matching.on = clause == Kind::Keyword(Keyword::On);
            matching.labels = self.labels()?.0;
            self.group_clause(&mut matching)?;
        }
        self.fill_clauses(&mut matching)?;
        Ok(matching)
    }

    fn group_clause(&mut self, matching: &mut VectorMatching) -> Result<(), Failure> {
        matching.card = match self.peek()?.kind {
            Kind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
            Kind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
            _ => return Ok(()),
        };
        self.next()?;
        let next = self.peek()?.kind;
        if next == Kind::LeftParen || !next.begins_expression() {
            matching.include = self.labels()?.0;
        }
        Ok(())
    }

    fn fill_clauses(&mut self, matching: &mut VectorMatching) -> Result<(), Failure> {
        if self.accept(Kind::Keyword(Keyword::Fill))?.is_some() {
            let value = self.fill_value()?;
            matching.fill_left = Some(value);
            matching.fill_right = Some(value);
            return Ok(());
        }
        if self.accept(Kind::Keyword(Keyword::FillLeft))?.is_some() {
            matching.fill_left = Some(self.fill_value()?);
            if self.accept(Kind::Keyword(Keyword::FillRight))?.is_some() {
                matching.fill_right = Some(self.fill_value()?);
            }
        } else if self.accept(Kind::Keyword(Keyword::FillRight))?.is_some() {
            matching.fill_right = Some(self.fill_value()?);
            if self.accept(Kind::Keyword(Keyword::FillLeft))?.is_some() {
                matching.fill_left = Some(self.fill_value()?);
            }
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Result<f64, Failure> {
        self.expect(Kind::LeftParen)?;
        let minus = self.accept(Kind::Binary(BinaryOp::Sub))?.is_some();
        if !minus {
            self.accept(Kind::Binary(BinaryOp::Add))?;
        }
        if !matches!(self.peek()?.kind, Kind::Number | Kind::Duration) {
            return Err(self.unexpected());
        }
        let value = self.number()?.value;
        self.expect(Kind::RightParen)?;
        Ok(if minus { -value } else { value })
    }
}
