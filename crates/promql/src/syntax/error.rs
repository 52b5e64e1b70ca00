//! What is wrong with a query, and where, in Prometheus's words.

use std::fmt;

use super::ast::Pos;

/// Why a query was refused. Its `Display` is the text that Prometheus answers: `1:5: parse error: unclosed left parenthesis`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where, in bytes of the query.
    pub pos: Pos,
    /// What is wrong, without the position.
    pub message: String,
    /// Line and column of `pos.start`, both from 1, the column in bytes; none for an empty query.
    pub line_column: Option<(usize, usize)>,
}

/// An error on its way up: one word, which keeps the frames of the recursive parser small.
pub(super) type Failure = Box<ParseError>;

impl ParseError {
    /// An error at a place of a query.
    pub(super) fn new(query: &str, pos: Pos, message: impl Into<String>) -> Self {
        let before = &query.as_bytes()[..pos.start.min(query.len())];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
        ParseError { pos, message: message.into(), line_column: (!query.is_empty()).then_some((line, column)) }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line_column {
            Some((line, column)) => write!(f, "{line}:{column}: parse error: {}", self.message),
            None => write!(f, "unknown position: parse error: {}", self.message),
        }
    }
}

impl std::error::Error for ParseError {}
