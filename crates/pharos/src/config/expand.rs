//! Expands `${VAR}` and `$VAR` in the values of `external_labels`, like Go's `os.Expand`.

use super::Environment;

/// Characters that are the whole name of a shell variable.
const SPECIAL: &str = "*#$@!?-0123456789";

/// Expands variables; `$$` is a dollar sign. Unset and empty variables expand to nothing and are added to `unset`.
pub(super) fn expand(text: &str, environment: Environment<'_>, unset: &mut Vec<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        let (name, used) = variable(after);
        match name {
            "$" => out.push('$'),
            // A dollar without a name stays. `${}` and an unclosed brace are dropped.
            "" if used == 0 => out.push('$'),
            "" => {}
            name => match environment(name).filter(|value| !value.is_empty()) {
                Some(value) => out.push_str(&value),
                None => unset.push(name.to_string()),
            },
        }
        rest = &after[used..];
    }
    out.push_str(rest);
    out
}

/// The name of the variable after a dollar, and its length in bytes, braces included.
fn variable(after: &str) -> (&str, usize) {
    if let Some(braced) = after.strip_prefix('{') {
        return match braced.find('}') {
            Some(end) => (&braced[..end], end + 2),
            None => ("", 1),
        };
    }
    if after.starts_with(|c| SPECIAL.contains(c)) {
        return (&after[..1], 1);
    }
    let length = after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    (&after[..length], length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn variables() {
        let environment = |name: &str| match name {
            "HOST" => Some("db1".to_string()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, expected, missing) in [
            ("${HOST}-$HOST.x", "db1-db1.x", &[][..]),
            ("$$HOST", "$HOST", &[]),
            ("a$", "a$", &[]),
            ("a$.b", "a$.b", &[]),
            ("${}x", "x", &[]),
            ("${HOST", "HOST", &[]),
            ("[$EMPTY][${NONE}]", "[][]", &["EMPTY", "NONE"]),
            ("$1ä", "ä", &["1"]),
            ("ä$ä", "ä$ä", &[]),
        ] {
            let mut unset = Vec::new();
            assert_eq!(expand(text, &environment, &mut unset), expected, "{text}");
            assert_eq!(unset, missing, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text: String) {
            expand(&text, &|_| None, &mut Vec::new());
        }
    }
}
