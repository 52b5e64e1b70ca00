//! `pharos tool test rules`: unit tests of rules, with promtool's file format, output and exit codes.

mod file;
mod run;
mod show;
mod store;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::config::find_files;
use file::TestFile;
use run::Context;

/// The options of the command.
pub struct TestRulesOptions {
    /// Run only test groups whose names match.
    pub run: Option<Regex>,
    /// Ignore unknown fields in rule files.
    pub ignore_unknown_fields: bool,
}

/// Runs the tests of all files and writes progress to `out` and failures to `errors`. `Ok(false)` means that a test failed.
pub fn test_rules(
    files: &[PathBuf],
    options: &TestRulesOptions,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<bool> {
    let mut all_good = true;
    for path in files {
        let mut warnings = Vec::new();
        let failures = test_file(path, options, &mut warnings);
        for warning in &warnings {
            writeln!(errors, "  WARNING: {warning}")?;
        }
        if failures.is_empty() {
            writeln!(out, "  SUCCESS")?;
        } else {
            all_good = false;
            writeln!(errors, "  FAILED:")?;
            for failure in &failures {
                writeln!(errors, "{failure}")?;
                writeln!(out)?;
            }
        }
        writeln!(out)?;
    }
    Ok(all_good)
}

/// The failures of one file.
fn test_file(path: &Path, options: &TestRulesOptions, warnings: &mut Vec<String>) -> Vec<String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return vec![format!("open {}: {error}", path.display())],
    };
    let file = match TestFile::parse(&text) {
        Ok(file) => file,
        Err(error) => return vec![error],
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rule_files = Vec::new();
    for pattern in &file.rule_files {
        match find_files(folder, pattern) {
            Ok(found) if found.is_empty() => {
                warnings.push(format!("no file match pattern {}", folder.join(pattern).display()));
            }
            Ok(found) => rule_files.extend(found),
            Err(error) => return vec![format!("{}: {error}", folder.join(pattern).display())],
        }
    }
    let mut order = std::collections::BTreeMap::new();
    for (at, name) in file.group_eval_order.iter().enumerate() {
        if order.insert(name.as_str(), at).is_some() {
            return vec![format!("group name repeated in evaluation order: {name}")];
        }
    }
    let context = Context {
        eval_interval_ms: file.eval_interval_ms(),
        order: &order,
        rule_files: &rule_files,
        fuzzy: file.fuzzy_compare,
        ignore_unknown_fields: options.ignore_unknown_fields,
    };
    let wanted = |name: &str| options.run.as_ref().is_none_or(|run| run.is_match(name));
    file.tests.iter().filter(|test| wanted(&test.name)).flat_map(|test| run::run(test, &context)).collect()
}

#[cfg(test)]
mod tests;
