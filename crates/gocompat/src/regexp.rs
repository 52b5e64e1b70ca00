//! Regular expressions with the syntax and meaning of Go (RE2), executed by the `regex` crate.
//!
//! An expression is checked completely and translated to Rust's syntax. Go's errors keep their words, and an expression
//! that both languages accept means what it means in Go: `\d`, `\s`, `\w` and `\b` are ASCII; `{` is a character unless it
//! starts a repetition; `[`, `&&`, `--` and `~~` are nothing special within a class; `\Q…\E` quotes. The dialect is that of
//! `github.com/grafana/regexp`, which Prometheus uses.

mod class;
mod error;
mod escape;
mod expand;
mod translate;
mod unicode_names;

use std::fmt;

pub use error::RegexError;
use regex_syntax::hir::Hir;

use error::MAX_NESTING;
use translate::translate;

/// Limits on the memory of a compiled expression, bytes. The first one that suffices applies.
const REGEX_BYTES: [usize; 3] = [16 << 10, 256 << 10, 4 << 20];
/// A limit on the caches of a compiled expression, bytes.
const REGEX_CACHE_BYTES: usize = 1 << 20;

/// An expression that was checked and parsed but not compiled.
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

    /// The syntax tree, from which callers take literals and prefixes.
    pub fn hir(&self) -> &Hir {
        &self.hir
    }

    /// Compiles the expression so that it must match a whole text. Returns it with a bound on the memory that it takes,
    /// bytes.
    ///
    /// # Errors
    /// The compiled expression is too large.
    pub fn compile_anchored(&self) -> Result<(regex::Regex, usize), RegexError> {
        compile(&format!("^(?s:{})$", self.pattern), self.expression)
    }
}

/// Compiles a translated expression. Returns it with a bound on the memory that it takes, bytes.
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
        // Nothing else can fail after the translation.
        _ => RegexError::nests_too_deeply(expression),
    })
}

/// A compiled expression.
#[derive(Clone)]
pub struct GoRegex {
    regex: regex::Regex,
    /// The names of the groups. The first group is the whole match.
    names: Vec<Option<String>>,
}

impl GoRegex {
    /// Compiles `^(?s:expression)$`, which must match a whole text and in which `.` matches newlines too. As in
    /// Prometheus, it is this that must be valid, and that errors show.
    ///
    /// # Errors
    /// Go refuses the expression, or it exceeds a limit.
    pub fn anchored(expression: &str) -> Result<Self, RegexError> {
        GoRegex::unanchored(&format!("^(?s:{expression})$"))
    }

    /// Compiles an expression that matches anywhere in a text.
    ///
    /// # Errors
    /// Go refuses the expression, or it exceeds a limit.
    pub fn unanchored(expression: &str) -> Result<Self, RegexError> {
        let translated = translate(expression)?;
        let (regex, _) = compile(&translated.pattern, expression)?;
        Ok(GoRegex { regex, names: translated.names })
    }

    /// Whether the expression matches a text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// What the groups match in a text, if the expression matches it.
    pub fn captures<'t>(&self, text: &'t str) -> Option<regex::Captures<'t>> {
        self.regex.captures(text)
    }

    /// Appends a template to `out` in which `$1`, `$name`, `${1}` and `${name}` are replaced by what the groups matched and
    /// `$$` by `$`. A group that is unknown or did not match is empty. A `$` before anything else stays.
    pub fn expand(&self, template: &str, captures: &regex::Captures<'_>, out: &mut String) {
        expand::expand(template, &self.names, captures, out);
    }

    /// Replaces each match in `text` by the template, as [`GoRegex::expand`] does.
    pub fn replace_all(&self, text: &str, template: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut end = 0;
        for captures in self.regex.captures_iter(text) {
            let Some(whole) = captures.get(0) else { continue };
            out.push_str(&text[end..whole.start()]);
            self.expand(template, &captures, &mut out);
            end = whole.end();
        }
        out.push_str(&text[end..]);
        out
    }
}

impl fmt::Debug for GoRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GoRegex({})", self.regex)
    }
}

/// A regular expression that matches a text and nothing else, as Go's `QuoteMeta` writes it.
pub fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests;
