//! Regular expressions with Go's (RE2's) syntax and meaning, run by the `regex` crate.
//!
//! Go's expression is checked in full and written anew in Rust's syntax, so that what Go refuses is refused, in Go's
//! words, and what both accept means what it means in Go: `\d`, `\s`, `\w` and `\b` are ASCII, `{` is a character unless
//! it starts a repetition, `[`, `&&`, `--` and `~~` mean nothing special inside of a class, `\Q…\E` quotes. The dialect
//! is that of `github.com/grafana/regexp`, which Prometheus uses.

mod class;
mod escape;
mod expand;
mod translate;
mod unicode_names;

use std::fmt;

use regex_syntax::hir::Hir;
use translate::translate;

/// Memory that a compiled regular expression may take, bytes: the first that is enough, and none more than the last.
const REGEX_BYTES: [usize; 3] = [16 << 10, 256 << 10, 4 << 20];
/// What a compiled regular expression may take besides as it is used, bytes.
const REGEX_CACHE_BYTES: usize = 1 << 20;
/// Of an expression that hits one of our limits this much is in the message, bytes.
const EXCERPT_BYTES: usize = 200;
/// How deep groups and repetitions nest at most, as in Go.
const MAX_NESTING: u32 = 1000;

/// What is wrong with an expression, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {reason}: `{part}`")]
pub struct RegexError {
    reason: String,
    part: String,
}

impl RegexError {
    fn new(reason: impl Into<String>, part: &str) -> Self {
        RegexError { reason: reason.into(), part: part.to_string() }
    }

    /// One that hits a limit, and may be long.
    fn beyond(limit: &str, expression: &str) -> Self {
        let end = expression.floor_char_boundary(EXCERPT_BYTES);
        let dots = if end < expression.len() { "…" } else { "" };
        RegexError { reason: limit.into(), part: format!("{}{dots}", &expression[..end]) }
    }

    fn nests_too_deeply(expression: &str) -> Self {
        RegexError::beyond("expression nests too deeply", expression)
    }

    /// An error of the parser that reads the translation. Only its limits are left to be hit.
    fn from_parser(error: &regex_syntax::Error, expression: &str) -> Self {
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

/// An expression that was checked and parsed, but not compiled.
pub struct Syntax<'e> {
    expression: &'e str,
    pattern: String,
    hir: Hir,
}

impl<'e> Syntax<'e> {
    /// Checks and parses an expression in which `.` matches newlines too.
    ///
    /// # Errors
    /// Go refuses the expression, or it nests too deeply.
    pub fn parse(expression: &'e str) -> Result<Self, RegexError> {
        let pattern = translate(expression)?.pattern;
        let mut parser = regex_syntax::ParserBuilder::new();
        parser.dot_matches_new_line(true).nest_limit(MAX_NESTING);
        let hir = parser.build().parse(&pattern).map_err(|error| RegexError::from_parser(&error, expression))?;
        Ok(Syntax { expression, pattern, hir })
    }

    /// The syntax tree, from which literals and prefixes are taken.
    pub fn hir(&self) -> &Hir {
        &self.hir
    }

    /// Compiles the expression so that it must match a whole text, and says how many bytes it takes at most.
    ///
    /// # Errors
    /// The compiled expression is too large.
    pub fn compile_anchored(&self) -> Result<(regex::Regex, usize), RegexError> {
        compile(&format!("^(?s:{})$", self.pattern), self.expression)
    }
}

/// Compiles a translated expression within bounds of memory, and says how many bytes it takes at most.
fn compile(translated: &str, expression: &str) -> Result<(regex::Regex, usize), RegexError> {
    let compile = |bytes: usize| {
        let mut builder = regex::RegexBuilder::new(translated);
        builder.size_limit(bytes).dfa_size_limit(bytes.max(REGEX_CACHE_BYTES)).nest_limit(MAX_NESTING);
        builder.build().map(|regex| (regex, bytes))
    };
    let [small, medium, large] = REGEX_BYTES;
    let built = compile(small).or_else(|_| compile(medium)).or_else(|_| compile(large));
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => RegexError::beyond("expression too large", expression),
        // The only way to fail that the translation leaves open.
        _ => RegexError::nests_too_deeply(expression),
    })
}

/// A compiled expression that must match a whole text; `.` matches newlines too, as in Prometheus 3.
#[derive(Clone)]
pub struct GoRegex {
    regex: regex::Regex,
    /// The name of each group, where it has one. The first is the whole match.
    names: Vec<Option<String>>,
}

impl GoRegex {
    /// Compiles `^(?s:expression)$`; like Prometheus it is the whole of this that must be valid, and errors show it.
    pub fn anchored(expression: &str) -> Result<Self, RegexError> {
        let anchored = format!("^(?s:{expression})$");
        let translated = translate(&anchored)?;
        let (regex, _) = compile(&translated.pattern, &anchored)?;
        Ok(GoRegex { regex, names: translated.names })
    }

    /// Whether the text matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// What the groups match in a text, if it matches.
    pub fn captures<'t>(&self, text: &'t str) -> Option<regex::Captures<'t>> {
        self.regex.captures(text)
    }

    /// Appends a template to `out`, with `$1`, `$name`, `${1}` and `${name}` replaced by what the groups matched and
    /// `$$` by `$`. A group that is unknown or did not match is empty; a `$` before anything else stays.
    pub fn expand(&self, template: &str, captures: &regex::Captures<'_>, out: &mut String) {
        expand::expand(template, &self.names, captures, out);
    }
}

impl fmt::Debug for GoRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GoRegex({})", self.regex)
    }
}

#[cfg(test)]
mod tests;
