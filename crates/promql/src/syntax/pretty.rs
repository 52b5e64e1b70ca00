//! Formats an expression over several lines, in the style of Prometheus's `format_query` endpoint.

use std::fmt::{self, Display, Write};

use super::ast::{Binary, Call, Expr, Subquery, Unary};
use super::print::{AggregateHead, Operator, SubquerySuffix, unsigned_base};

/// Maximum length of an expression on a single line, in bytes.
const LINE: usize = 100;

/// Formats an expression. The parts of one longer than 100 bytes are on separate lines, indented by two spaces per
/// level of nesting.
pub fn pretty(expr: &Expr) -> String {
    let mut printer = Printer { out: String::new() };
    printer.expr(expr, 0);
    printer.out
}

struct Printer {
    out: String,
}

impl Printer {
    // Writing to a `String` never fails.
    fn put(&mut self, part: impl Display) {
        let _ = write!(self.out, "{part}");
    }

    fn indent(&mut self, level: usize) {
        self.out.extend(std::iter::repeat_n("  ", level));
    }

    fn expr(&mut self, expr: &Expr, level: usize) {
        match expr {
            Expr::Unary(unary) => return self.unary(unary, level),
            // Prometheus does not indent subqueries and duration expressions.
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

    /// Prints the sign directly before the operand: the operand's indentation is removed.
    fn unary(&mut self, unary: &Unary, level: usize) {
        self.indent(level);
        self.out.push(if unary.minus { '-' } else { '+' });
        let start = self.out.len();
        self.expr(&unary.expr, level);
        let blanks = self.out[start..].bytes().take_while(u8::is_ascii_whitespace).count();
        self.out.drain(start..start + blanks);
    }
}

/// Returns whether an expression fits on one line. Printing stops as soon as the line is full.
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
