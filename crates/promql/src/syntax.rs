//! From text to a checked syntax tree, and back to text.
//!
//! The stages are a lexer without allocation, a parser by operator precedence, a check of types, and two printers. The
//! language, the texts of errors and the printed forms are those of Prometheus with all experimental features on.
//!
//! Invariants: neither the parser's recursion nor the height of a tree exceeds a fixed limit, so parsing, checking,
//! printing and dropping fit a thread's stack whatever the query; a printed tree parses to the same tree.

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

pub use error::ParseError;
pub use expression::{MAX_HEIGHT, MAX_NESTING, MAX_QUERY_BYTES, MAX_REGEX_BYTES};
pub(crate) use height::height;
pub use pretty::pretty;

use ast::{Expr, Pos};
use error::Failure;
use expression::Parser;
use pharos_model::Matcher;
use token::Kind;

/// Parses a query and checks its types. Fails with the first error, in Prometheus's words.
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

/// Parses a series selector, such as a `match[]` parameter. Unlike in a query, it may match the empty series.
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
