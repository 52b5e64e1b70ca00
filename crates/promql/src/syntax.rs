//! From text to a checked syntax tree, and back to text.
//!
//! A lexer that does not allocate, an operator-precedence parser, a type checker and two printers. The language, the texts
//! of errors and the printed forms are those of Prometheus with all experimental features enabled.
//!
//! Invariants: the recursion of the parser and the height of a tree have fixed limits, so that parsing, checking, printing
//! and dropping any query fit the stack of a thread. A printed tree parses to the same tree.

pub mod ast;
mod call;
mod check;
mod duration;
mod error;
mod expression;
mod height;
mod lexer;
mod modifier;
mod number;
pub mod operators;
mod pretty;
mod print;
mod selector;
mod token;
mod visit;

pub use error::ParseError;
pub use expression::{MAX_HEIGHT, MAX_NESTING, MAX_QUERY_BYTES, MAX_REGEX_BYTES};
pub(crate) use height::height;
pub use pretty::pretty;

use ast::{Expr, Pos};
use error::Failure;
use expression::Parser;
use pharos_model::Matcher;
use token::Kind;

/// Parses a query and checks its types. The text of an error is that of Prometheus.
pub fn parse(input: &str) -> Result<Expr, ParseError> {
    parse_query(input).map_err(|failure| *failure)
}

fn parse_query(input: &str) -> Result<Expr, Failure> {
    let mut parser = Parser::new(input)?;
    if parser.peek()?.kind == Kind::Eof {
        return Err(parser.error(Pos::default(), "no expression found in input"));
    }
    let mut expr = parser.expression(0)?;
    parser.expect_end()?;
    check::check(&parser, &mut expr)?;
    Ok(expr)
}

/// Parses a series selector, such as a `match[]` parameter. Unlike a selector in a query, it may match every series.
pub fn parse_metric_selector(input: &str) -> Result<Vec<Matcher>, ParseError> {
    parse_selector(input).map_err(|failure| *failure)
}

fn parse_selector(input: &str) -> Result<Vec<Matcher>, Failure> {
    let mut parser = Parser::new(input)?;
    let selector = parser.only_selector()?;
    parser.expect_end()?;
    Ok(selector.matchers)
}

#[cfg(test)]
mod tests;
