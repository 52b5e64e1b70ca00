//! Go's regular expressions (RE2's) in the syntax of the `regex` crate, and Go's templates of what they captured.
//!
//! The two syntaxes are close. What differs: in Go `\d`, `\s`, `\w` and `\b` are ASCII, `[` inside of a class is a plain
//! character (unless `[:name:]`), `&&`, `--` and `~~` have no meaning there, `\Q…\E` quotes, braces that are no count are
//! plain, an escape may be octal, and repetitions neither nest nor go beyond 1,000. Documented at <https://pkg.go.dev/regexp/syntax>.

mod class;
mod escape;
mod group;
mod repeat;
mod template;

pub use template::expand;

/// What is wrong with an expression, in Go's words: `missing closing ): `a(b``.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {what}: `{part}`")]
pub struct GoRegexError {
    what: &'static str,
    part: String,
}

impl GoRegexError {
    fn new(what: &'static str, part: &str) -> Self {
        GoRegexError { what, part: part.to_string() }
    }
}

const MISSING_PAREN: &str = "missing closing )";
const UNEXPECTED_PAREN: &str = "unexpected )";
const MISSING_ARGUMENT: &str = "missing argument to repetition operator";

/// Translates a Go expression to one of the `regex` crate, which still has to be compiled: sizes, depth and the names of groups and
/// properties are checked there.
pub fn translate(expression: &str) -> Result<String, GoRegexError> {
    Translator { whole: expression, out: String::with_capacity(expression.len() + 8), ..Translator::default() }.run()
}

/// The part of `text` that `rest`, its end, leaves.
fn before<'t>(text: &'t str, rest: &str) -> &'t str {
    &text[..text.len() - rest.len()]
}

/// Writes a character that means itself.
fn push_plain(out: &mut String, c: char) {
    if regex_syntax::is_meta_character(c) {
        out.push('\\');
    }
    out.push(c);
}

#[derive(Default)]
struct Translator<'t> {
    whole: &'t str,
    out: String,
    /// Groups that are open.
    depth: usize,
    /// Whether something stands here that can be repeated.
    is_repeatable: bool,
    /// The expression from the repetition on that was just read.
    last_repeat: Option<&'t str>,
}

impl<'t> Translator<'t> {
    fn run(mut self) -> Result<String, GoRegexError> {
        let mut rest = self.whole;
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            let last_repeat = self.last_repeat.take();
            rest = match c {
                '*' | '+' | '?' => self.repeat(rest, after, last_repeat)?,
                '{' => match repeat::count(rest)? {
                    Some(after) => self.repeat(rest, after, last_repeat)?,
                    None => self.plain(c, after),
                },
                '(' => self.open(rest)?,
                ')' => self.close(after)?,
                '|' => {
                    self.out.push('|');
                    self.is_repeatable = false;
                    after
                }
                '[' => self.atom(|out| class::translate(rest, out))?,
                '\\' => self.atom(|out| escape::outside(rest, out))?,
                '.' | '^' | '$' => self.atom(|out| {
                    out.push(c);
                    Ok(after)
                })?,
                _ => self.plain(c, after),
            };
        }
        match self.depth {
            0 => Ok(self.out),
            _ => Err(GoRegexError::new(MISSING_PAREN, self.whole)),
        }
    }

    fn plain(&mut self, c: char, after: &'t str) -> &'t str {
        push_plain(&mut self.out, c);
        self.is_repeatable = true;
        after
    }

    fn atom(
        &mut self,
        translate: impl FnOnce(&mut String) -> Result<&'t str, GoRegexError>,
    ) -> Result<&'t str, GoRegexError> {
        self.is_repeatable = true;
        translate(&mut self.out)
    }

    fn open(&mut self, text: &'t str) -> Result<&'t str, GoRegexError> {
        let (group, after) = group::open(text, self.whole)?;
        // Flags for what follows are no group.
        if !group.ends_with(')') {
            self.depth += 1;
            self.is_repeatable = false;
        }
        self.out.push_str(&group);
        Ok(after)
    }

    fn close(&mut self, after: &'t str) -> Result<&'t str, GoRegexError> {
        let unexpected = || GoRegexError::new(UNEXPECTED_PAREN, self.whole);
        self.depth = self.depth.checked_sub(1).ok_or_else(unexpected)?;
        self.out.push(')');
        self.is_repeatable = true;
        Ok(after)
    }

    /// A repetition at the start of `text`, which ends where `after` begins, but for a `?` that makes it reluctant.
    fn repeat(&mut self, text: &'t str, after: &'t str, last_repeat: Option<&'t str>) -> Result<&'t str, GoRegexError> {
        let after = after.strip_prefix('?').unwrap_or(after);
        if let Some(last) = last_repeat {
            return Err(GoRegexError::new("invalid nested repetition operator", before(last, after)));
        }
        if !self.is_repeatable {
            return Err(GoRegexError::new(MISSING_ARGUMENT, before(text, after)));
        }
        self.out.push_str(before(text, after));
        self.last_repeat = Some(text);
        Ok(after)
    }
}

#[cfg(test)]
mod tests;
