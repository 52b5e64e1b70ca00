//! The formatted form of an expression, as Prometheus's `format_query` answers it: what is longer than a line is split.

use std::fmt::{self, Display, Write};

use super::ast::{Binary, Call, Expr, Subquery, Unary};
use super::print::{AggregateHead, Operator, SubquerySuffix, unsigned_base};

/// The longest expression that stays on one line, bytes.
const LINE: usize = 100;

/// Formats an expression; over 100 characters, its parts go to lines of their own, indented by two spaces a level.
pub fn pretty(expr: &Expr) -> String {
    let mut printer = Printer { out: String::new() };
    printer.expr(expr, 0);
    printer.out
}

struct Printer {
    out: String,
}

impl Printer {
    /// Writing to a string cannot fail.
    fn put(&mut self, part: impl Display) {
        let _ = write!(self.out, "{part}");
    }

    fn indent(&mut self, level: usize) {
        self.out.extend(std::iter::repeat_n("  ", level));
    }

    fn expr(&mut self, expr: &Expr, level: usize) {
        match expr {
            Expr::Unary(unary) => return self.unary(unary, level),
            // Prometheus does not indent these.
            Expr::Subquery(_) | Expr::Duration(_) if fits(expr) => return self.put(expr),
            Expr::Subquery(subquery) => return self.subquery(subquery, level),
            Expr::Binary(binary) if !fits(expr) => return self.binary(binary, level),
            _ => self.indent(level),
        }
        match expr {
            _ if fits(expr) => self.put(expr),
            Expr::Aggregate(aggregate) => {
                self.put(AggregateHead(aggregate));
                self.out.push_str("(\n");
                if let Some(param) = &aggregate.param {
                    self.expr(param, level + 1);
                    self.out.push_str(",\n");
                }
                self.expr(&aggregate.expr, level + 1);
                self.close(level);
            }
            Expr::Call(call) => self.call(call, level),
            Expr::Paren(paren) => {
                self.out.push_str("(\n");
                self.expr(&paren.expr, level + 1);
                self.close(level);
            }
            other => self.put(other),
        }
    }

    fn close(&mut self, level: usize) {
        self.out.push('\n');
        self.indent(level);
        self.out.push(')');
    }

    fn call(&mut self, call: &Call, level: usize) {
        self.put(call.func.name());
        self.out.push_str("(\n");
        for (index, arg) in call.args.iter().enumerate() {
            if index > 0 {
                self.out.push_str(",\n");
            }
            self.expr(arg, level + 1);
        }
        self.close(level);
    }

    fn binary(&mut self, binary: &Binary, level: usize) {
        match unsigned_base(binary) {
            Some(base) => {
                self.indent(level + 1);
                self.put(base);
            }
            None => self.expr(&binary.lhs, level + 1),
        }
        self.out.push('\n');
        self.indent(level);
        self.put(Operator(binary));
        self.out.push('\n');
        self.expr(&binary.rhs, level + 1);
    }

    fn subquery(&mut self, subquery: &Subquery, level: usize) {
        self.expr(&subquery.expr, level);
        self.put(SubquerySuffix(subquery));
    }

    /// The sign stands before the operand's first character, not before its indentation.
    fn unary(&mut self, unary: &Unary, level: usize) {
        self.indent(level);
        self.out.push(if unary.minus { '-' } else { '+' });
        let start = self.out.len();
        self.expr(&unary.expr, level);
        let blanks = self.out[start..].bytes().take_while(u8::is_ascii_whitespace).count();
        self.out.drain(start..start + blanks);
    }
}

/// Whether an expression is short enough for one line. Printing stops where the line is full.
fn fits(expr: &Expr) -> bool {
    write!(Line { left: LINE }, "{expr}").is_ok()
}

struct Line {
    left: usize,
}

impl Write for Line {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.left = self.left.checked_sub(part.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}
