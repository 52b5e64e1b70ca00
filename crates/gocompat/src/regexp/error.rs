//! What is wrong with an expression, and the limit on its nesting.

/// How deep groups and repetitions may nest, as in Go.
pub(super) const MAX_NESTING: u32 = 1000;
/// How much of an expression is in the message that it exceeds a limit, bytes.
const EXCERPT_BYTES: usize = 200;

/// What is wrong with an expression, in the words of Go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {reason}: `{part}`")]
pub struct RegexError {
    reason: String,
    part: String,
}

impl RegexError {
    pub(super) fn new(reason: impl Into<String>, part: &str) -> Self {
        RegexError { reason: reason.into(), part: part.to_string() }
    }

    /// An expression exceeds a limit. It may be long, so the message has its beginning.
    pub(super) fn beyond(limit: &str, expression: &str) -> Self {
        let end = expression.floor_char_boundary(EXCERPT_BYTES);
        let dots = if end < expression.len() { "…" } else { "" };
        RegexError { reason: limit.into(), part: format!("{}{dots}", &expression[..end]) }
    }

    pub(super) fn nests_too_deeply(expression: &str) -> Self {
        RegexError::beyond("expression nests too deeply", expression)
    }

    /// An error of the parser that reads the translation. Only its limits are left to be hit.
    pub(super) fn from_parser(error: &regex_syntax::Error, expression: &str) -> Self {
        use regex_syntax::ast::ErrorKind;
        match error {
            regex_syntax::Error::Parse(e) if matches!(e.kind(), ErrorKind::NestLimitExceeded(_)) => {
                RegexError::nests_too_deeply(expression)
            }
            regex_syntax::Error::Parse(e) => RegexError::new(e.kind().to_string(), expression),
            regex_syntax::Error::Translate(e) => RegexError::new(e.kind().to_string(), expression),
            other => RegexError::new(other.to_string(), expression),
        }
    }
}
