//! File patterns, with the rules of Go's `filepath.Glob`: `*` and `?` stand for characters other than `/`, `[a-z]` and `[^a-z]`
//! for one of a class, and `\` takes the next character literally. Any part of a path may have them.

use std::path::{Path, PathBuf};

use crate::error::ConfigError;

/// The files that match a pattern, sorted. A folder that cannot be read has none.
///
/// # Errors
/// The pattern is malformed: a class is not closed, or nothing follows a `\`.
pub fn glob(pattern: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let text = pattern.to_string_lossy();
    // Also if there is nothing to match.
    check_pattern(&text)?;
    expand(pattern).ok_or_else(|| ConfigError::new(format!("invalid file pattern {text:?}")))
}

/// Refuses a malformed pattern.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), ConfigError> {
    match Pattern::parse(pattern) {
        Some(_) => Ok(()),
        None => Err(ConfigError::new(format!("invalid file pattern {pattern:?}"))),
    }
}

fn expand(pattern: &Path) -> Option<Vec<PathBuf>> {
    if !is_pattern(&pattern.to_string_lossy()) {
        let exists = pattern.symlink_metadata().is_ok();
        return Some(if exists { vec![pattern.to_path_buf()] } else { Vec::new() });
    }
    let Some(name) = pattern.file_name() else { return Some(Vec::new()) };
    let name = Pattern::parse(&name.to_string_lossy())?;
    let parent = pattern.parent().unwrap_or(Path::new(""));
    let folders = if is_pattern(&parent.to_string_lossy()) { expand(parent)? } else { vec![parent.to_path_buf()] };
    let mut found = Vec::new();
    for folder in folders {
        let readable = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        let Ok(entries) = std::fs::read_dir(readable) else { continue };
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        for entry in names {
            if name.matches(&entry.to_string_lossy()) {
                found.push(folder.join(entry));
            }
        }
    }
    Some(found)
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// A well-formed pattern.
struct Pattern(Vec<Token>);

impl Pattern {
    /// Parses a pattern. Returns `None` if it is malformed.
    fn parse(pattern: &str) -> Option<Self> {
        tokens(pattern).map(Pattern)
    }

    fn matches(&self, name: &str) -> bool {
        let Pattern(tokens) = self;
        let name: Vec<char> = name.chars().collect();
        // The position after the last star, and how much of the name that star has taken.
        let (mut at, mut read, mut star) = (0, 0, None);
        while read < name.len() {
            match tokens.get(at) {
                Some(Token::Star) => {
                    star = Some((at + 1, read));
                    at += 1;
                }
                Some(token) if token.takes(name[read]) => {
                    at += 1;
                    read += 1;
                }
                _ => {
                    let Some((after, taken)) = star.filter(|(_, taken)| name[*taken] != '/') else { return false };
                    star = Some((after, taken + 1));
                    at = after;
                    read = taken + 1;
                }
            }
        }
        tokens[at..].iter().all(|token| matches!(token, Token::Star))
    }
}

enum Token {
    Star,
    Any,
    Literal(char),
    Class { is_negated: bool, ranges: Vec<(char, char)> },
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Star => false,
            Token::Any => c != '/',
            Token::Literal(literal) => *literal == c,
            Token::Class { is_negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *is_negated
            }
        }
    }
}

fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::Literal(rest.next()?),
            '[' => {
                let is_negated = rest.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
                    let low = class_member(&mut rest)?;
                    let high = if rest.next_if_eq(&'-').is_some() { class_member(&mut rest)? } else { low };
                    ranges.push((low, high));
                }
                Token::Class { is_negated, ranges }
            }
            literal => Token::Literal(literal),
        });
    }
    Some(tokens)
}

/// A character of a class. `-` and `]` need a `\`.
fn class_member(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, is_match) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("*x", "xxx", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), is_match, "{pattern} {name}");
        }
        for malformed in ["[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc", "a[", "\\", "[a-b-c]"] {
            assert!(Pattern::parse(malformed).is_none(), "{malformed}");
        }
    }

    #[test]
    fn every_part_of_a_path_may_have_wildcards() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a1/x.yml", "a2/x.yml", "a2/y.yml", "b/x.yml"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let found = glob(&folder.path().join(pattern)).unwrap();
            found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_string()).collect()
        };
        assert_eq!(found("a?/x.*"), ["a1/x.yml", "a2/x.yml"]);
        assert_eq!(found("[^a]*/*.yml"), ["b/x.yml"]);
        assert_eq!(found("a2/*y*.yml"), ["a2/y.yml"]);
        assert_eq!(found("b/x.yml"), ["b/x.yml"]);
        assert!(found("b/none.yml").is_empty() && found("none/*.yml").is_empty());
        assert!(glob(&folder.path().join("[a")).is_err());
        // Tests run in the folder of the crate.
        assert_eq!(glob(Path::new("Cargo.t?ml")).unwrap(), [Path::new("Cargo.toml")]);
    }
}
