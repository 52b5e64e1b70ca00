//! `pharos tool check rules`: checks rule files, with promtool's lint options, output and exit codes.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use pharos_rules::RuleGroups;
use pharos_rules::lint::duplicate_rules;

/// The limit on what is read of a file, bytes.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// The options of the command.
#[derive(Clone, Debug, Default)]
pub struct CheckRulesOptions {
    /// Lint checks: `all`, `duplicate-rules` or `none`, separated by commas.
    pub lint: String,
    /// Whether what a lint check finds is an error.
    pub lint_fatal: bool,
    /// Ignore unknown fields.
    pub ignore_unknown_fields: bool,
}

/// What the check found, over all files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckOutcome {
    /// Nothing, or only findings of lint checks that are not fatal.
    Good,
    /// Something that a lint check found.
    Lint,
    /// A file that cannot be read or is not valid.
    Bad,
}

/// Checks each file, or standard input without files.
pub fn check_rules(
    files: &[PathBuf],
    options: &CheckRulesOptions,
    input: &mut dyn Read,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<CheckOutcome> {
    let lints_duplicates = read_lint(&options.lint, out)?;
    let check = Check { options, lints_duplicates };
    let mut worst = CheckOutcome::Good;
    if files.is_empty() {
        writeln!(out, "Checking standard input")?;
        worst = check.text(read(input), None, out, errors)?;
    }
    for file in files {
        writeln!(out, "Checking {}", file.display())?;
        let text = std::fs::File::open(file).and_then(|mut file| read(&mut file));
        let text = text.map_err(|error| io::Error::new(error.kind(), format!("open {}: {error}", file.display())));
        worst = worst.max(check.text(text, Some(&file.display().to_string()), out, errors)?);
    }
    Ok(match worst {
        CheckOutcome::Lint if !options.lint_fatal => CheckOutcome::Good,
        worst => worst,
    })
}

fn read(input: &mut dyn Read) -> io::Result<String> {
    let mut text = String::new();
    input.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MAX_FILE_BYTES {
        true => Err(io::Error::other(format!("it is larger than {} MiB", MAX_FILE_BYTES >> 20))),
        false => Ok(text),
    }
}

/// Whether duplicate rules are searched for.
fn read_lint(lint: &str, out: &mut dyn Write) -> io::Result<bool> {
    let mut wanted = false;
    for setting in lint.split(',') {
        match setting {
            "all" | "duplicate-rules" => wanted = true,
            "none" => {}
            unknown => writeln!(out, "WARNING: unknown lint option: {unknown:?}")?,
        }
    }
    Ok(wanted)
}

struct Check<'a> {
    options: &'a CheckRulesOptions,
    lints_duplicates: bool,
}

impl Check<'_> {
    /// Checks the text of a file, whose name errors begin with.
    fn text(
        &self,
        text: io::Result<String>,
        name: Option<&str>,
        out: &mut dyn Write,
        errors: &mut dyn Write,
    ) -> io::Result<CheckOutcome> {
        let parsed = match text {
            Ok(text) => RuleGroups::parse(&text, self.options.ignore_unknown_fields)
                .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>()),
            Err(error) => Err(vec![error.to_string()]),
        };
        let groups = match parsed {
            Ok(parsed) => parsed.groups,
            Err(mistakes) => {
                writeln!(errors, "  FAILED:")?;
                for mistake in mistakes {
                    let place = name.map_or(String::new(), |name| format!("{name}: "));
                    writeln!(errors, "{place}{mistake}")?;
                }
                return Ok(CheckOutcome::Bad);
            }
        };
        let duplicates = if self.lints_duplicates { duplicate_rules(&groups) } else { Vec::new() };
        let outcome = if duplicates.is_empty() {
            let rules: usize = groups.iter().map(|group| group.rules.len()).sum();
            writeln!(out, "  SUCCESS: {rules} rules found")?;
            CheckOutcome::Good
        } else {
            let shown: String = duplicates.iter().map(ToString::to_string).collect();
            writeln!(errors, "  FAILED:\nlint error {} duplicate rule(s) found.", duplicates.len())?;
            writeln!(errors, "{shown}Might cause inconsistency while recording expressions")?;
            CheckOutcome::Lint
        };
        writeln!(out)?;
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "groups:\n- name: g\n  rules:\n  - {record: r, expr: up}\n";
    const TWICE: &str = "groups:\n- name: g\n  rules:\n  - {record: r, expr: up}\n  - {record: r, expr: down}\n";
    const BAD: &str = "groups:\n- name: g\n  rules:\n  - {record: r, expr: 'up +'}\n";

    /// Checks a text from standard input. Returns the outcome, the output and the errors.
    fn check(text: &str, lint: &str, lint_fatal: bool) -> (CheckOutcome, String, String) {
        let options = CheckRulesOptions { lint: lint.into(), lint_fatal, ignore_unknown_fields: false };
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let outcome = check_rules(&[], &options, &mut text.as_bytes(), &mut out, &mut errors).unwrap();
        (outcome, String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap())
    }

    #[test]
    fn a_good_file_has_its_rules_counted() {
        let expected = "Checking standard input\n  SUCCESS: 1 rules found\n\n";
        assert_eq!(check(GOOD, "duplicate-rules", true), (CheckOutcome::Good, expected.into(), String::new()));
    }

    #[test]
    fn a_bad_file_is_an_error_with_its_place() {
        let (outcome, _, errors) = check(BAD, "duplicate-rules", false);
        assert_eq!(outcome, CheckOutcome::Bad);
        assert!(
            errors.contains("group \"g\", rule 1, \"r\": could not parse expression: 1:5: parse error"),
            "{errors}"
        );
    }

    #[test]
    fn duplicates_are_an_error_if_lint_is_fatal() {
        let (outcome, _, errors) = check(TWICE, "all", true);
        assert_eq!(outcome, CheckOutcome::Lint);
        let expected = "  FAILED:\nlint error 1 duplicate rule(s) found.\nMetric: r\nLabel(s):\nMight cause inconsistency while recording expressions\n";
        assert_eq!(errors, expected);
        assert_eq!(check(TWICE, "all", false).0, CheckOutcome::Good);
        assert_eq!(check(TWICE, "none", true).0, CheckOutcome::Good);
    }

    #[test]
    fn an_unknown_lint_option_is_a_warning() {
        assert!(check(GOOD, "nonsense", false).1.contains("WARNING: unknown lint option: \"nonsense\""));
    }

    #[test]
    fn a_missing_file_is_named() {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let files = [PathBuf::from("/does/not/exist.yml")];
        let options = CheckRulesOptions::default();
        let outcome = check_rules(&files, &options, &mut io::empty(), &mut out, &mut errors).unwrap();
        assert_eq!(outcome, CheckOutcome::Bad);
        assert!(String::from_utf8(errors).unwrap().contains("/does/not/exist.yml"));
    }
}
