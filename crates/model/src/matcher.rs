//! Label matchers: `=`, `!=`, `=~` and `!~`. Regular expressions must match the whole value, as in Prometheus.

use std::fmt;
use std::sync::Arc;

use pharos_gocompat::GoQuoted;
use pharos_gocompat::regexp::{RegexError, Syntax};
use regex_syntax::hir::{Hir, HirKind};

use crate::labels::is_legacy_label_name;

/// The operator of a matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as PromQL writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// A condition on one label. A label that a series lacks has the empty value.
#[derive(Clone)]
pub struct Matcher {
    /// The name of the label.
    pub name: String,
    /// The operator.
    pub op: MatchOp,
    /// The value, or the regular expression as it was written.
    pub value: String,
    regex: Option<Arc<Pattern>>,
}

/// A regular expression that Go refuses or that exceeds a limit.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct MatcherError(pub String);

impl Matcher {
    /// A matcher of any kind.
    ///
    /// # Errors
    /// The regular expression is invalid.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, MatcherError> {
        let value = value.into();
        let pattern = |value: &str| Pattern::new(value).map_err(|error| MatcherError(error.to_string()));
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Arc::new(pattern(&value)?)),
        };
        Ok(Matcher { name: name.into(), op, value, regex })
    }

    /// The matcher `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Whether a label value satisfies the matcher.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => self.value == value,
            (MatchOp::NotEqual, _) => self.value != value,
            (MatchOp::NotRegex, Some(pattern)) => !pattern.is_match(value),
            (_, Some(pattern)) => pattern.is_match(value),
            (_, None) => false,
        }
    }

    /// Whether a series that lacks the label satisfies the matcher.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// The values that the regular expression matches, if they are a short list such as `a|b|c`. An index looks them up
    /// instead of trying all values.
    pub fn set_of_values(&self) -> Option<&[String]> {
        match (self.op, &self.regex) {
            (MatchOp::Regex | MatchOp::NotRegex, Some(pattern)) => pattern.literals.as_deref(),
            _ => None,
        }
    }

    /// The most memory that the compiled regular expression takes, bytes. A query bounds the sum over its matchers.
    pub fn regex_bytes(&self) -> usize {
        self.regex.as_ref().map_or(0, |p| p.bytes)
    }

    /// The longest known prefix of all values that the regular expression matches.
    pub fn prefix(&self) -> &str {
        self.regex.as_ref().map_or("", |p| &p.prefix)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_legacy_label_name(&self.name) {
            f.write_str(&self.name)?;
        } else {
            write!(f, "{}", GoQuoted(&self.name))?;
        }
        write!(f, "{}{}", self.op.as_str(), GoQuoted(&self.value))
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many values a regular expression is expanded to.
const MAX_LITERALS: usize = 256;

/// A compiled regular expression that must match a whole value, with shortcuts for simple ones. `.` matches newlines too,
/// as in Prometheus 3.
struct Pattern {
    kind: PatternKind,
    literals: Option<Vec<String>>,
    prefix: String,
    /// The most memory that it takes.
    bytes: usize,
}

enum PatternKind {
    Anything,
    NotEmpty,
    Literals(std::collections::HashSet<String>),
    Regex(regex::Regex),
}

impl Pattern {
    fn new(expression: &str) -> Result<Self, RegexError> {
        // Parsed first in every case, so that a bad expression is refused whatever shortcut applies.
        let syntax = Syntax::parse(expression)?;
        let parsed = syntax.hir();
        if expression == ".*" {
            return Ok(Pattern { kind: PatternKind::Anything, literals: None, prefix: String::new(), bytes: 0 });
        }
        if expression == ".+" {
            return Ok(Pattern { kind: PatternKind::NotEmpty, literals: None, prefix: String::new(), bytes: 0 });
        }
        let mut extractor = regex_syntax::hir::literal::Extractor::new();
        extractor.limit_total(MAX_LITERALS).limit_repeat(8).limit_class(16).limit_literal_len(512);
        let found = extractor.extract(parsed);
        // An assertion such as `^` or `\b` makes a literal conditional, so exactness holds only without one.
        if let Some(literals) =
            found.literals().filter(|l| parsed.properties().look_set().is_empty() && l.iter().all(|l| l.is_exact()))
        {
            let values: Vec<String> =
                literals.iter().filter_map(|l| String::from_utf8(l.as_bytes().to_vec()).ok()).collect();
            if !values.is_empty() {
                return Ok(Pattern::one_of(values));
            }
        }
        if let Some(values) = plain_alternatives(parsed) {
            return Ok(Pattern::one_of(values));
        }
        let prefix =
            found.longest_common_prefix().map_or(String::new(), |p| String::from_utf8(p.to_vec()).unwrap_or_default());
        let (regex, bytes) = syntax.compile_anchored()?;
        Ok(Pattern { kind: PatternKind::Regex(regex), literals: None, prefix, bytes })
    }

    fn one_of(mut values: Vec<String>) -> Self {
        values.sort_unstable();
        values.dedup();
        // Each value is held twice, with its allocation and its slot in the table.
        let bytes = values.iter().map(|value| 2 * value.len() + 96).sum();
        let kind = PatternKind::Literals(values.iter().cloned().collect());
        Pattern { kind, literals: Some(values), prefix: String::new(), bytes }
    }

    fn is_match(&self, value: &str) -> bool {
        match &self.kind {
            PatternKind::Anything => true,
            PatternKind::NotEmpty => !value.is_empty(),
            PatternKind::Literals(values) => values.contains(value),
            PatternKind::Regex(regex) => regex.is_match(value),
        }
    }
}

/// The values of `a|b|c`, without a limit on their number.
fn plain_alternatives(parsed: &Hir) -> Option<Vec<String>> {
    match parsed.kind() {
        HirKind::Capture(group) => plain_alternatives(&group.sub),
        HirKind::Alternation(alternatives) => {
            let literal = |one: &Hir| match one.kind() {
                HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).ok(),
                _ => None,
            };
            alternatives.iter().map(literal).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
