//! Go's regular expressions in the syntax of the `regex` crate.
//!
//! The two are close. What differs: in Go the classes `\d`, `\s`, `\w` and `\b` are ASCII, `[` inside of a class is a
//! plain character (unless `[:name:]`), `&&`, `--` and `~~` have no meaning there, and `\Q…\E` quotes.

/// Translates a Go expression. What is invalid stays so.
pub(crate) fn from_go(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len() + 8);
    let mut rest = expression;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '\\' => translate_escape(rest, in_class, &mut out),
            '[' if !in_class => {
                out.push('[');
                in_class = true;
                let mut after = &rest[1..];
                if let Some(negated) = after.strip_prefix('^') {
                    out.push('^');
                    after = negated;
                }
                // A bracket right at the start is a member.
                if let Some(literal) = after.strip_prefix(']') {
                    out.push_str("\\]");
                    after = literal;
                }
                after
            }
            '[' => match named_class(rest) {
                Some(name) => {
                    out.push_str(name);
                    &rest[name.len()..]
                }
                None => {
                    out.push_str("\\[");
                    &rest[1..]
                }
            },
            ']' => {
                out.push(']');
                in_class = false;
                &rest[1..]
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                &rest[1..]
            }
            '-' if in_class && rest.starts_with("--") => {
                out.push_str("\\-");
                &rest[1..]
            }
            _ => {
                out.push(c);
                &rest[c.len_utf8()..]
            }
        };
    }
    out
}

/// `[:name:]` at the start of the text.
fn named_class(text: &str) -> Option<&str> {
    let end = text.strip_prefix("[:")?.find(":]")? + 4;
    text[2..end - 2].bytes().all(|b| b.is_ascii_lowercase() || b == b'^').then_some(&text[..end])
}

/// Translates an escape sequence at the start of `text`; returns what follows it.
fn translate_escape<'t>(text: &'t str, in_class: bool, out: &mut String) -> &'t str {
    let Some(escaped) = text[1..].chars().next() else {
        out.push('\\');
        return "";
    };
    let after = &text[1 + escaped.len_utf8()..];
    match escaped {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        's' => out.push_str("[\\t\\n\\f\\r ]"),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        'Q' if !in_class => {
            let (quoted, rest) = after.split_once("\\E").unwrap_or((after, ""));
            out.push_str(&regex::escape(quoted));
            return rest;
        }
        _ => {
            out.push('\\');
            out.push(escaped);
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use crate::relabel::compile_regex;

    #[test]
    fn classes_mean_what_they_mean_in_go() {
        for (expression, matching, not_matching) in [
            (r"\d+", "12", "١٢"),
            (r"\w+", "a_1", "é"),
            (r"[\w.]+", "a.b", "é"),
            (r"[[]", "[", "a"),
            (r"[]a]+", "]a", "b"),
            (r"[a&&b]+", "&ab", "c"),
            (r"[[:alpha:]]+", "ab", "1"),
            (r"\Qa.b\E+", "a.bb", "acb"),
            (r"a|b", "b", "ab"),
            (r"[^\d]+", "ab", "1"),
            ("a.b", "a\nb", "ab"),
        ] {
            let regex = compile_regex(expression).unwrap();
            assert!(regex.is_match(matching), "{expression} {matching}");
            assert!(!regex.is_match(not_matching), "{expression} {not_matching}");
        }
        assert!(compile_regex("(").is_err());
        assert!(compile_regex("(a{1000}){1000}").is_err(), "bounded memory");
    }
}
