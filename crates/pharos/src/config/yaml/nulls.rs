//! Fields that are null: `sample_limit: null`, `metrics_path: ~` or nothing behind the colon. As in Prometheus, such a field has
//! its default.

use super::options;
use crate::config::source::SourceMap;

/// How many times fields are removed. A mapping without its last field is null itself.
const MAX_ROUNDS: usize = 8;

/// The text with blanks in place of fields that are null, so that all positions stay; `None` when there are none.
pub(super) fn without_null_fields(text: &str) -> Option<String> {
    let mut lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    let mut has_changed = false;
    for _ in 0..MAX_ROUNDS {
        let keys = SourceMap::new(&joined(&lines), options()).keys_of_nulls();
        let mut blanked = false;
        for key in keys {
            let line = usize::try_from(key.line - 1).ok().and_then(|number| lines.get_mut(number));
            blanked |= line.is_some_and(|line| blank_field(line, key.column.saturating_sub(1) as usize));
        }
        if !blanked {
            break;
        }
        has_changed = true;
    }
    has_changed.then(|| joined(&lines))
}

fn joined(lines: &[Vec<char>]) -> String {
    lines.iter().flat_map(|line| line.iter().copied().chain(['\n'])).collect()
}

/// Blanks the field that starts there, with the comma behind it or before it. False when it is not written on one line.
fn blank_field(line: &mut [char], start: usize) -> bool {
    let Some(mut end) = key_end(line, start) else { return false };
    let skip_blanks = |line: &[char], mut at: usize| {
        while line.get(at).is_some_and(|c| *c == ' ' || *c == '\t') {
            at += 1;
        }
        at
    };
    end = skip_blanks(line, end);
    for word in ["null", "Null", "NULL", "~"] {
        if line[end..].starts_with(&word.chars().collect::<Vec<_>>()) {
            end = skip_blanks(line, end + word.len());
            break;
        }
    }
    let mut first = start;
    match line.get(end) {
        None | Some('#') => {}
        Some(',') => end += 1,
        Some('}') => {
            let before = line[..start].iter().rposition(|c| *c != ' ');
            first = before.filter(|at| line[*at] == ',').unwrap_or(start);
        }
        Some(_) => return false,
    }
    line[first..end].fill(' ');
    true
}

/// The position behind the colon of a key.
fn key_end(line: &[char], start: usize) -> Option<usize> {
    let first = *line.get(start)?;
    let is_quoted = first == '"' || first == '\'';
    let name_end = match is_quoted {
        true => start + 1 + line[start + 1..].iter().position(|c| *c == first)? + 1,
        false => start,
    };
    Some(name_end + line[name_end..].iter().position(|c| *c == ':')? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_fields_are_blanked_and_everything_else_stays_in_place() {
        for (text, blanked) in [
            ("a: null\nb: 1\n", "       \nb: 1\n"),
            ("a:\n  b: ~ # note\n  c: 1\n", "a:\n       # note\n  c: 1\n"),
            ("- x: 1\n  \"y\":\n", "- x: 1\n      \n"),
            ("{a: null, b: 1}\n", "{         b: 1}\n"),
            ("{b: 1, a: Null}\n", "{b: 1         }\n"),
            ("é: {a: , b: 1}\n", "é: {     b: 1}\n"),
        ] {
            assert_eq!(without_null_fields(text).as_deref(), Some(blanked), "{text:?}");
        }
        assert_eq!(without_null_fields("a: 1\nb: [null]\nc: \"null\"\n"), None);
    }

    #[test]
    fn a_mapping_of_nulls_only_is_null() {
        assert_eq!(without_null_fields("a:\n  b: null\nc: 1\n").as_deref(), Some("  \n         \nc: 1\n"));
    }
}
