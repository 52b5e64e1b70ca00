//! Matchers of routes, inhibition rules, silences and API filters.
//!
//! Two syntaxes exist: the classic one, and the UTF-8 one with quoted names. [`Syntax`] says which of them a process
//! accepts; by default it is both, and where they disagree about an input the classic one wins, as in Alertmanager.
//! Regular expressions must match the whole value, and `.` does not match a newline.

mod classic;
mod lexer;
mod utf8;

use std::cmp::Ordering;
use std::fmt;

use pharos_gocompat::GoQuoted;
use pharos_gocompat::regexp::GoRegex;
use pharos_model::MatchOp;
use pharos_model::labels::is_legacy_label_name;

use lexer::is_reserved;

/// A condition on one label. A label that an alert lacks has the empty value.
#[derive(Clone)]
pub struct Matcher {
    test: pharos_model::Matcher,
    value: String,
}

impl Matcher {
    /// A matcher of any kind.
    ///
    /// # Errors
    /// Go refuses the regular expression; the text is Go's.
    pub fn new(op: MatchOp, name: &str, value: &str) -> Result<Self, String> {
        let expression = match op {
            MatchOp::Equal | MatchOp::NotEqual => value.to_string(),
            MatchOp::Regex | MatchOp::NotRegex => format!("(?-s:{value})"),
        };
        let test = pharos_model::Matcher::new(op, name, expression).map_err(|error| {
            // The error shows the expression as Alertmanager would compile it.
            match GoRegex::unanchored(&format!("^(?:{value})$")) {
                Err(refused) => refused.to_string(),
                Ok(_) => error.to_string(),
            }
        })?;
        Ok(Matcher { test, value: value.to_string() })
    }

    /// The name of the label.
    pub fn name(&self) -> &str {
        &self.test.name
    }

    /// The operator.
    pub fn op(&self) -> MatchOp {
        self.test.op
    }

    /// The value, or the regular expression as it was written.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a value of the label satisfies the matcher.
    pub fn matches(&self, value: &str) -> bool {
        self.test.matches(value)
    }

    /// The value that the label must have, if the matcher demands one that is not empty.
    pub fn required_value(&self) -> Option<&str> {
        (self.op() == MatchOp::Equal && !self.value.is_empty()).then_some(self.value.as_str())
    }

    fn key(&self) -> (&str, &str, u8) {
        let rank = match self.op() {
            MatchOp::Equal => 0,
            MatchOp::NotEqual => 1,
            MatchOp::Regex => 2,
            MatchOp::NotRegex => 3,
        };
        (self.name(), &self.value, rank)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Matcher {}

/// By name, value and operator: the order of matchers in the key of a route.
impl Ord for Matcher {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Matcher {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The text from which both syntaxes read the same matcher, or the UTF-8 syntax alone if the name needs quotes.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, op) = (self.name(), self.op().as_str());
        if name.contains(is_reserved) {
            return write!(f, "{}{op}{}", GoQuoted(name), GoQuoted(&self.value));
        }
        let escaped = self.value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
        write!(f, "{name}{op}\"{escaped}\"")
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Prints matchers in braces: `{a="1",b=~"2"}`.
pub struct InBraces<'a>(pub &'a [Matcher]);

impl fmt::Display for InBraces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, matcher) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{matcher}")?;
        }
        f.write_str("}")
    }
}

/// Whether labels satisfy all matchers. `value` returns the value of a label, or the empty text.
pub fn all_match<'v>(matchers: &[Matcher], value: impl Fn(&str) -> &'v str) -> bool {
    matchers.iter().all(|matcher| matcher.matches(value(matcher.name())))
}

/// Which syntaxes of matchers, and which label names, a process accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// Both. An input that only the classic syntax accepts is taken with a warning.
    #[default]
    Both,
    /// The classic one (feature `classic-mode`).
    Classic,
    /// The UTF-8 one (feature `utf8-strict-mode`).
    Utf8,
}

impl Syntax {
    /// Whether a label may have this name.
    pub fn is_label_name(self, name: &str) -> bool {
        match self {
            Syntax::Classic => is_legacy_label_name(name),
            Syntax::Both | Syntax::Utf8 => !name.is_empty(),
        }
    }

    /// Parses any number of matchers, with or without braces around them. `origin` names the source for warnings.
    ///
    /// # Errors
    /// The input is not in an accepted syntax.
    pub fn matchers(self, input: &str, origin: &str) -> Result<Vec<Matcher>, String> {
        match self {
            Syntax::Classic => classic::matchers(input),
            Syntax::Utf8 => utf8::matchers(input),
            Syntax::Both => both(utf8::matchers(input), classic::matchers(input), input, origin),
        }
    }

    /// Parses one matcher without braces. `origin` names the source for warnings.
    ///
    /// # Errors
    /// The input is not one matcher in an accepted syntax.
    pub fn matcher(self, input: &str, origin: &str) -> Result<Matcher, String> {
        if self == Syntax::Classic {
            return classic::matcher(input);
        }
        if input.starts_with('{') || input.ends_with('}') {
            return Err(format!("unexpected open or close brace: {input}"));
        }
        let one = |matchers: Vec<Matcher>| match <[Matcher; 1]>::try_from(matchers) {
            Ok([matcher]) => Ok(matcher),
            Err(none) if none.is_empty() => Err("no matchers".to_string()),
            Err(several) => Err(format!("expected 1 matcher, found {}", several.len())),
        };
        let parsed = utf8::matchers(input).and_then(one);
        if self == Syntax::Utf8 {
            return parsed;
        }
        let parsed = both(parsed.map(|one| vec![one]), classic::matcher(input).map(|one| vec![one]), input, origin)?;
        one(parsed)
    }
}

/// Decides between what the two syntaxes make of an input.
fn both(
    utf8: Result<Vec<Matcher>, String>,
    classic: Result<Vec<Matcher>, String>,
    input: &str,
    origin: &str,
) -> Result<Vec<Matcher>, String> {
    match (utf8, classic) {
        (Err(error), Ok(classic)) => {
            let texts: Vec<String> = classic.iter().map(ToString::to_string).collect();
            let suggestion = texts.join(",");
            tracing::warn!(
                input,
                origin,
                error,
                suggestion,
                "only the classic syntax of matchers accepts this input; quote values and escape backslashes, as the suggestion does"
            );
            Ok(classic)
        }
        (Err(_), Err(error)) => Err(error),
        (Ok(utf8), Ok(classic)) if utf8 != classic => {
            tracing::warn!(
                input,
                origin,
                "the classic and the UTF-8 syntax of matchers read this input differently; the classic one applies"
            );
            Ok(classic)
        }
        (Ok(utf8), _) => Ok(utf8),
    }
}

#[cfg(test)]
mod tests;
